//! The pipeline: one burst of one port, through all stages.

use arrayvec::ArrayVec;

use super::bridging::{Admission, Frame, Verdict, decide};
use super::egress::Egress;
use super::emit::{self, Undelivered};
use super::exception::Exceptions;
use super::packet::PacketBuffer;
use super::too_big::TooBigLimiter;
use super::uplink;
use super::{BURST, access, flood};
use crate::tables::access_map::AccessMap;
use crate::tables::fdb::{AgeTick, Fdb};
use crate::tables::learning::LearnRing;
use crate::tables::outer_pattern::OuterPattern;
use crate::tables::snapshot::{Port, PortSide};
use crate::tables::{LocationKind, PortIndex, Snapshot};
use crate::telemetry::{DropReason, WorkerTelemetry};

/// When a burst is forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The FDB's age tick.
    pub tick: AgeTick,
    /// The cycle counter.
    pub cycles: u64,
}

/// All that forwarding reads, and the two places it writes to besides the packets: its own counters and its learn
/// ring.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Ports, bridges, members and tunnels, as published at the burst's start.
    pub snapshot: &'a Snapshot,
    /// MAC addresses.
    pub fdb: &'a Fdb,
    /// The worker's counters.
    pub telemetry: &'a WorkerTelemetry,
    /// The worker's way to the writer of the FDB.
    pub learn: &'a LearnRing,
    /// When the burst is forwarded.
    pub now: Moment,
}

/// A frame on its way from stage 1 to stage 3.
struct InFlight<P> {
    packet: P,
    frame: Frame,
    verdict: Verdict,
}

/// One worker's pipeline.
pub struct Forwarder<P> {
    /// The frames that stage 1 admitted.
    frames: ArrayVec<InFlight<P>, BURST>,
    too_big: TooBigLimiter,
    exceptions: Exceptions,
}

impl<P: PacketBuffer> Forwarder<P> {
    /// A pipeline whose clock runs at this many cycles a second.
    #[must_use]
    pub fn new(cycles_per_second: u64) -> Self {
        Self {
            frames: ArrayVec::new(),
            too_big: TooBigLimiter::new(cycles_per_second),
            exceptions: Exceptions::new(cycles_per_second),
        }
    }

    /// Forwards the packets that the port `ingress` received, and leaves `burst` empty. Every packet is given to
    /// `egress`, or dropped and counted under one reason.
    pub fn forward(
        &mut self,
        ingress: PortIndex,
        burst: &mut ArrayVec<P, BURST>,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) {
        let Some(port) = around.snapshot.ports.get(usize::from(ingress.0)) else {
            around.telemetry.count_drops(DropReason::UnknownVlan, burst.len() as u64);
            burst.clear();
            return;
        };
        self.admit(ingress, port, burst, around, egress);
        self.decide(around);
        self.emit(around, egress);
    }

    /// Stage 1.
    #[inline(never)]
    fn admit(
        &mut self,
        ingress: PortIndex,
        port: &Port,
        burst: &mut ArrayVec<P, BURST>,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) {
        burst.iter().for_each(PacketBuffer::prefetch_head);
        match &port.side {
            PortSide::Uplink(pattern) if pattern.is_ipv6() => {
                self.admit_from_uplink::<true>(ingress, port, pattern, burst, around, egress);
            }
            PortSide::Uplink(pattern) => {
                self.admit_from_uplink::<false>(ingress, port, pattern, burst, around, egress);
            }
            PortSide::Access(vlans) => self.admit_from_access(vlans, burst, around),
        }
    }

    #[inline(never)]
    fn admit_from_uplink<const IPV6: bool>(
        &mut self,
        ingress: PortIndex,
        port: &Port,
        pattern: &OuterPattern,
        burst: &mut ArrayVec<P, BURST>,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) {
        for mut packet in burst.drain(..) {
            match uplink::admit_usual::<IPV6, P>(&mut packet, pattern, around.snapshot, around.telemetry) {
                Some(Ok(admission)) => self.take_on(packet, &admission, around),
                Some(Err(reason)) => around.telemetry.count_drop(reason),
                None => self.admit_unusual(packet, ingress, port, around, egress),
            }
        }
    }

    #[inline(never)]
    fn admit_unusual(
        &mut self,
        mut packet: P,
        ingress: PortIndex,
        port: &Port,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) {
        match uplink::admit_unusual(&mut packet, port, around.snapshot, around.telemetry) {
            Ok(admission) => self.take_on(packet, &admission, around),
            Err(refusal) => self.exceptions.take(packet, refusal, ingress, port, around, egress),
        }
    }

    #[inline(never)]
    fn admit_from_access(&mut self, vlans: &AccessMap, burst: &mut ArrayVec<P, BURST>, around: &Surroundings<'_>) {
        for packet in burst.drain(..) {
            match access::admit(&packet, vlans, around.snapshot) {
                Ok(admission) => self.take_on(packet, &admission, around),
                Err(reason) => around.telemetry.count_drop(reason),
            }
        }
    }

    /// The end of stage 1 for a frame that goes on.
    #[inline(always)]
    fn take_on(&mut self, packet: P, admission: &Admission, around: &Surroundings<'_>) {
        let frame = Frame::prepare(admission, around);
        self.frames.push(InFlight { packet, frame, verdict: Verdict::Flood });
    }

    /// Stage 2.
    #[inline(never)]
    fn decide(&mut self, around: &Surroundings<'_>) {
        for InFlight { frame, verdict, .. } in &mut self.frames {
            *verdict = decide(frame, around);
            if *verdict != Verdict::Drop(DropReason::UnknownRemote) {
                count_received(frame, around.telemetry);
            }
        }
    }

    /// Stage 3.
    #[inline(never)]
    fn emit(&mut self, around: &Surroundings<'_>, egress: &mut impl Egress<P>) {
        for InFlight { packet, frame, verdict } in self.frames.drain(..) {
            let place = frame.place;
            let sent = match verdict {
                Verdict::Drop(reason) => Err(Undelivered::Dropped(reason)),
                Verdict::Forward(location) => match location.kind() {
                    LocationKind::Access(member) => {
                        emit::to_member(packet, place, member, around, egress).map_err(Undelivered::Dropped)
                    }
                    LocationKind::Tunnel(tunnel) => {
                        emit::to_tunnel(packet, place, tunnel, frame.bridge(), around, egress)
                    }
                },
                Verdict::Flood => {
                    flood_frame(packet, &frame, &mut self.too_big, around, egress).map_err(Undelivered::Dropped)
                }
            };
            match sent {
                Ok(()) => {}
                Err(Undelivered::Dropped(reason)) => around.telemetry.count_drop(reason),
                Err(Undelivered::TooBig { packet, max_frame }) => {
                    tell_sender(packet, &frame, max_frame, &mut self.too_big, around, egress);
                    around.telemetry.count_drop(DropReason::TooBigForTunnel);
                }
            }
        }
    }
}

/// Floods a frame. The sender of a unicast frame, its destination being unknown yet, is told if it fits not every way.
#[inline(never)]
fn flood_frame<P: PacketBuffer>(
    mut packet: P,
    frame: &Frame,
    limiter: &mut TooBigLimiter,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), DropReason> {
    let bridge = frame.bridge();
    let domain = around.snapshot.domains.get(usize::from(bridge.0)).ok_or(DropReason::UnknownVni)?;
    frame.place.extract(&mut packet).ok_or(DropReason::NoHeadroom)?;
    if let LocationKind::Access(sender) = frame.source.kind()
        && !frame.to_group
        && let Some(max_frame) = flood::shortest_limit(packet.len(), frame.source, domain, around)
    {
        limiter.tell(&packet, max_frame, sender, around, egress);
    }
    flood::flood(packet, frame.source, bridge, domain, around, egress)
}

/// Tells the sender of a frame that is too big for its way.
#[cold]
fn tell_sender<P: PacketBuffer>(
    mut packet: P,
    frame: &Frame,
    max_frame: usize,
    limiter: &mut TooBigLimiter,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) {
    if let LocationKind::Access(sender) = frame.source.kind()
        && frame.place.extract(&mut packet).is_some()
    {
        limiter.tell(&packet, max_frame, sender, around, egress);
    }
}

#[inline(always)]
fn count_received(frame: &Frame, telemetry: &WorkerTelemetry) {
    let bytes = frame.place.length();
    let bridge = telemetry.bridge(frame.bridge());
    match frame.source.kind() {
        LocationKind::Access(_) => bridge.access_received().count(bytes),
        LocationKind::Tunnel(tunnel) => {
            bridge.tunnel_received().count(bytes);
            telemetry.remote(tunnel).received().count(bytes);
        }
    }
}

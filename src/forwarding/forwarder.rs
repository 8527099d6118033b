//! The pipeline: one burst of one port, through all stages.

use arrayvec::ArrayVec;

use super::bridging::{Admission, Lookups, Verdict, decide};
use super::egress::Egress;
use super::emit::{self, Undelivered};
use super::packet::PacketBuffer;
use super::too_big::TooBigLimiter;
use super::uplink::{self, Refusal};
use super::{BURST, access, flood, local};
use crate::tables::fdb::{AgeTick, Fdb};
use crate::tables::learning::LearnRing;
use crate::tables::snapshot::{Bridge, Port, PortSide};
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

/// What is known of a frame on its way from stage 1 to stage 3.
#[derive(Clone, Copy)]
struct InFlight {
    admission: Admission,
    lookups: Lookups,
    verdict: Verdict,
}

/// One worker's pipeline.
pub struct Forwarder<P> {
    /// The frames that stage 1 admitted, and by the same index what is known of each.
    packets: ArrayVec<P, BURST>,
    frames: ArrayVec<InFlight, BURST>,
    too_big: TooBigLimiter,
}

impl<P: PacketBuffer> Forwarder<P> {
    /// A pipeline whose clock runs at this many cycles a second.
    #[must_use]
    pub fn new(cycles_per_second: u64) -> Self {
        Self { packets: ArrayVec::new(), frames: ArrayVec::new(), too_big: TooBigLimiter::new(cycles_per_second) }
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
            PortSide::Uplink => {
                for mut packet in burst.drain(..) {
                    match uplink::admit(&mut packet, port, around.snapshot, around.telemetry) {
                        Ok(admission) => self.take_on(packet, admission, around),
                        Err(Refusal::Drop(reason)) => around.telemetry.count_drop(reason),
                        Err(Refusal::Local) => {
                            if let Err(reason) = local::answer(packet, ingress, port, around, egress) {
                                around.telemetry.count_drop(reason);
                            }
                        }
                    }
                }
            }
            PortSide::Access(vlans) => {
                for mut packet in burst.drain(..) {
                    match access::admit(&mut packet, vlans, around.snapshot) {
                        Ok(admission) => self.take_on(packet, admission, around),
                        Err(reason) => around.telemetry.count_drop(reason),
                    }
                }
            }
        }
    }

    /// The end of stage 1 for a frame that goes on.
    #[inline(always)]
    fn take_on(&mut self, packet: P, admission: Admission, around: &Surroundings<'_>) {
        let lookups = Lookups::prepare(&admission, around);
        self.packets.push(packet);
        self.frames.push(InFlight { admission, lookups, verdict: Verdict::Flood });
    }

    /// Stage 2.
    fn decide(&mut self, around: &Surroundings<'_>) {
        for (packet, frame) in self.packets.iter().zip(&mut self.frames) {
            let verdict = match bridge_of(&frame.admission, around) {
                Some(bridge) => decide(&frame.admission, &frame.lookups, bridge, around),
                None => Verdict::Drop(DropReason::UnknownVni),
            };
            if verdict != Verdict::Drop(DropReason::UnknownRemote) {
                count_received(&frame.admission, packet.len(), around.telemetry);
            }
            frame.verdict = verdict;
        }
    }

    /// Stage 3.
    fn emit(&mut self, around: &Surroundings<'_>, egress: &mut impl Egress<P>) {
        for (packet, frame) in self.packets.drain(..).zip(&self.frames) {
            let InFlight { admission, verdict, .. } = frame;
            let Some(bridge) = bridge_of(admission, around) else {
                around.telemetry.count_drop(DropReason::UnknownVni);
                continue;
            };
            let sent = match *verdict {
                Verdict::Drop(reason) => Err(Undelivered::Dropped(reason)),
                Verdict::Forward(location) => match location.kind() {
                    LocationKind::Access(member) => {
                        emit::to_member(packet, member, around, egress).map_err(Undelivered::Dropped)
                    }
                    LocationKind::Tunnel(tunnel) => emit::to_tunnel(packet, tunnel, bridge, around, egress),
                },
                Verdict::Flood => {
                    tell_flood_too_big(&mut self.too_big, &packet, admission, bridge, around, egress);
                    flood::flood(packet, admission, bridge, around, egress).map_err(Undelivered::Dropped)
                }
            };
            match sent {
                Ok(()) => {}
                Err(Undelivered::Dropped(reason)) => around.telemetry.count_drop(reason),
                Err(Undelivered::TooBig { packet, max_frame }) => {
                    if let LocationKind::Access(sender) = admission.source.kind() {
                        self.too_big.tell(&packet, max_frame, sender, around, egress);
                    }
                    around.telemetry.count_drop(DropReason::TooBigForTunnel);
                }
            }
        }
        self.frames.clear();
    }
}

/// Tells the sender of a unicast frame that is flooded, its destination being unknown yet, if it fits not every way.
fn tell_flood_too_big<P: PacketBuffer>(
    limiter: &mut TooBigLimiter,
    packet: &P,
    admission: &Admission,
    bridge: &Bridge,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) {
    if let LocationKind::Access(sender) = admission.source.kind()
        && !admission.addresses.to_group()
        && let Some(max_frame) = flood::shortest_limit(packet.len(), admission, bridge, around)
    {
        limiter.tell(packet, max_frame, sender, around, egress);
    }
}

#[inline]
fn bridge_of<'a>(admission: &Admission, around: &Surroundings<'a>) -> Option<&'a Bridge> {
    around.snapshot.bridges.get(usize::from(admission.bridge.0))
}

#[inline]
fn count_received(admission: &Admission, bytes: usize, telemetry: &WorkerTelemetry) {
    let bridge = telemetry.bridge(admission.bridge);
    match admission.source.kind() {
        LocationKind::Access(_) => bridge.access_received().count(bytes),
        LocationKind::Tunnel(tunnel) => {
            bridge.tunnel_received().count(bytes);
            telemetry.remote(tunnel).received().count(bytes);
        }
    }
}

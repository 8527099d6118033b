//! The pipeline: one burst of one port, through all stages.

use arrayvec::ArrayVec;

use super::bridging::{Admission, Frame, Verdict, decide_unusual, decide_usual};
use super::common_port::CommonPort;
use super::discovery::Discoveries;
use super::egress::Egress;
use super::emit;
use super::exception::Exceptions;
use super::flow_sampler::FlowSampler;
use super::learn_filter::LearnFilter;
use super::packet::PacketBuffer;
use super::remark::Marks;
use super::storm_control::StormControl;
use super::too_big::TooBigLimiter;
use super::{BURST, access, flood, segment_size, snooping, uplink};
use crate::tables::access_map::AccessMap;
use crate::tables::fdb::{AgeTick, Fdb};
use crate::tables::learning::LearnRing;
use crate::tables::outer_pattern::UplinkPatterns;
use crate::tables::snapshot::{LinkLocal, Port, PortSide};
use crate::tables::{BindingTable, Location, LocationKind, PortIndex, Snapshot};
use crate::telemetry::{DropReason, WorkerTelemetry};
use crate::wire::ecn::Ecn;

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
    /// Which station has an IP address.
    pub bindings: &'a BindingTable,
    /// The worker's counters.
    pub telemetry: &'a WorkerTelemetry,
    /// The worker's way to the writer of the FDB and of the bindings.
    pub learn: &'a LearnRing,
    /// When the burst is forwarded.
    pub now: Moment,
}

/// One worker's pipeline.
pub struct Forwarder {
    /// What is known of each packet of the burst, in its place.
    frames: Box<[Frame; BURST]>,
    learn_filter: LearnFilter,
    too_big: TooBigLimiter,
    storms: StormControl,
    exceptions: Exceptions,
    sampler: FlowSampler,
    discoveries: Discoveries,
}

impl Forwarder {
    /// A pipeline whose clock runs at this many cycles a second.
    #[must_use]
    pub fn new(cycles_per_second: u64) -> Self {
        Self {
            frames: Box::new([Frame::NONE; BURST]),
            learn_filter: LearnFilter::new(cycles_per_second),
            too_big: TooBigLimiter::new(cycles_per_second),
            storms: StormControl::new(cycles_per_second),
            exceptions: Exceptions::new(cycles_per_second),
            sampler: FlowSampler::new(cycles_per_second),
            discoveries: Discoveries::new(cycles_per_second),
        }
    }

    /// Forwards the packets that the port `ingress` received, and leaves `burst` empty. They are counted as received, and
    /// each is given to `egress`, or dropped and counted under one reason.
    pub fn forward<P: PacketBuffer>(
        &mut self,
        ingress: PortIndex,
        burst: &mut ArrayVec<P, BURST>,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) {
        let lengths = burst.iter().map(|packet| {
            packet.prefetch_head();
            packet.len() as u64
        });
        around.telemetry.port(ingress).received().count_many(lengths.len() as u64, lengths.sum());
        let Some(port) = around.snapshot.ports.get(usize::from(ingress.0)) else {
            around.telemetry.count_drops(DropReason::UnknownVlan, burst.len() as u64);
            burst.clear();
            return;
        };
        match &port.side {
            PortSide::Uplink(patterns) if patterns.is_ipv6() => {
                self.admit_from_uplink::<true, P>(port, patterns, burst, around)
            }
            PortSide::Uplink(patterns) => self.admit_from_uplink::<false, P>(port, patterns, burst, around),
            PortSide::Access(vlans) => self.admit_from_access(port, vlans, burst, around),
        }
        self.decide(burst, around);
        if self.sampler.is_due(around) {
            self.sampler.sample(burst, &self.frames[..], around);
        }
        match self.rewrite(burst, around) {
            Some(only) => egress.transmit_burst(only, burst),
            None => self.hand_over(ingress, port, burst, around, egress),
        }
    }

    /// Stage 1 of an uplink.
    #[inline(never)]
    fn admit_from_uplink<const IPV6: bool, P: PacketBuffer>(
        &mut self,
        port: &Port,
        patterns: &UplinkPatterns,
        burst: &mut [P],
        around: &Surroundings<'_>,
    ) {
        let usual = patterns.usual();
        for (packet, frame) in burst.iter_mut().zip(self.frames.iter_mut()) {
            match uplink::admit_usual::<IPV6, P>(packet, usual, around.snapshot) {
                Some((admission, ecn)) => take_admitted(packet, frame, admission, ecn, around),
                None => {
                    let of_port = (port, patterns);
                    admit_by_other_patterns::<IPV6, P>(packet, frame, of_port, &mut self.learn_filter, around);
                }
            }
        }
    }

    /// Stage 1 of an access port.
    #[inline(never)]
    fn admit_from_access<P: PacketBuffer>(
        &mut self,
        port: &Port,
        vlans: &AccessMap,
        burst: &mut [P],
        around: &Surroundings<'_>,
    ) {
        for (packet, frame) in burst.iter_mut().zip(self.frames.iter_mut()) {
            match access::admit_usual(packet, vlans) {
                Some(admission) => frame.admit(&admission, around.fdb),
                None => {
                    let of_port = (vlans, port.link_local);
                    admit_unusual_from_access(
                        packet,
                        frame,
                        of_port,
                        (&mut self.discoveries, &mut self.learn_filter),
                        around,
                    );
                }
            }
        }
    }

    /// Stage 2.
    #[inline(never)]
    fn decide<P: PacketBuffer>(&mut self, burst: &[P], around: &Surroundings<'_>) {
        let mut unusual = ArrayVec::<(&P, &mut Frame), BURST>::new();
        let frames = burst.iter().zip(self.frames.iter_mut());
        for (packet, frame) in frames.filter(|(_, frame)| frame.verdict == Verdict::Undecided) {
            if !decide_usual(frame, around) {
                unusual.push((packet, frame));
            }
        }
        for (packet, frame) in unusual {
            decide_unusual(frame, packet.head(), Some(&mut self.learn_filter), around);
        }
    }

    /// Stage 3. Gives the port that every packet of the burst goes out of, where there is such a one, which is the usual
    /// case. Of two makes for each family of the underlay: where no priorities are carried, nothing is asked of any packet.
    fn rewrite<P: PacketBuffer>(&mut self, burst: &mut [P], around: &Surroundings<'_>) -> Option<PortIndex> {
        let unmarked = |_: &mut P, _: &Frame| Marks::NONE;
        let is_ipv6 = around.snapshot.vtep.address.is_ipv6();
        match around.snapshot.remarking.as_deref() {
            None if is_ipv6 => self.rewrite_with::<true, P>(burst, unmarked, around),
            None => self.rewrite_with::<false, P>(burst, unmarked, around),
            Some(remarking) => {
                let marks = |packet: &mut P, frame: &Frame| Marks::carry(packet, frame, remarking);
                if is_ipv6 {
                    self.rewrite_with::<true, P>(burst, marks, around)
                } else {
                    self.rewrite_with::<false, P>(burst, marks, around)
                }
            }
        }
    }

    #[inline(never)]
    fn rewrite_with<const IPV6: bool, P: PacketBuffer>(
        &mut self,
        burst: &mut [P],
        marks: impl Fn(&mut P, &Frame) -> Marks,
        around: &Surroundings<'_>,
    ) -> Option<PortIndex> {
        let mut ports = CommonPort::OF_NO_PACKET;
        let mut frames = self.frames.iter_mut();
        for packet in burst {
            let Some(frame) = frames.next() else { break };
            if let Verdict::Forward(location) = frame.verdict {
                let marks = marks(packet, frame);
                let usual = emit::usual::<IPV6, P>(packet, frame, marks, location, around);
                let usual = usual.map(|port| depart(frame, port, &mut ports));
                if usual.is_none() {
                    match rewrite_unusual(packet, frame, marks, location, around) {
                        Some(port) => depart(frame, port, &mut ports),
                        None => ports.see_none(),
                    }
                }
            } else {
                ports.see_none();
            }
        }
        ports.only()
    }

    /// Stage 4 of a burst whose packets do not all go out of one port.
    #[inline(never)]
    fn hand_over<P: PacketBuffer>(
        &mut self,
        ingress: PortIndex,
        port: &Port,
        burst: &mut ArrayVec<P, BURST>,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) {
        let Self { frames, too_big, storms, exceptions, discoveries, .. } = self;
        let mut rare = Rare { entrance: Entrance { index: ingress, port, storms }, too_big, exceptions, discoveries };
        for (packet, frame) in burst.drain(..).zip(frames.iter()) {
            match frame.verdict {
                Verdict::Forward(_) => egress.transmit(frame.egress, packet),
                _ => rare.emit(packet, frame, around, egress),
            }
        }
    }
}

/// Notes the port that a frame goes out of.
#[inline(always)]
fn depart(frame: &mut Frame, port: PortIndex, ports: &mut CommonPort) {
    frame.egress = port;
    ports.see(port);
}

/// Stage 3 of a frame that goes to one place but is not the usual one. Gives its port, unless it is not sent.
#[cold]
#[inline(never)]
fn rewrite_unusual<P: PacketBuffer>(
    packet: &mut P,
    frame: &mut Frame,
    marks: Marks,
    location: Location,
    around: &Surroundings<'_>,
) -> Option<PortIndex> {
    let sendable = emit::unusual(packet, frame, marks, location, around);
    sendable.map_err(|unsendable| frame.verdict = unsendable.into()).ok()
}

/// What stage 4 needs for all but frames that go to one place.
struct Rare<'a> {
    entrance: Entrance<'a>,
    too_big: &'a mut TooBigLimiter,
    exceptions: &'a mut Exceptions,
    discoveries: &'a mut Discoveries,
}

impl Rare<'_> {
    /// Sends what is to be flooded, answered or given to the kernel, and counts what is dropped.
    #[cold]
    #[inline(never)]
    fn emit<P: PacketBuffer>(
        &mut self,
        mut packet: P,
        frame: &Frame,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) {
        let sent = match frame.verdict {
            // Stage 2 leaves none undecided, and what goes to one place is not for here.
            Verdict::Flood | Verdict::Undecided | Verdict::Forward(_) => {
                let remarking = around.snapshot.remarking.as_deref();
                let marks = remarking.map_or(Marks::NONE, |remarking| Marks::carry(&mut packet, frame, remarking));
                flood_frame(packet, (frame, marks), &mut self.entrance, self.too_big, around, egress)
            }
            Verdict::Answer => self.discoveries.answer(packet, frame, around, egress),
            Verdict::Refuse(refusal) => {
                let Entrance { index, port, .. } = self.entrance;
                self.exceptions.take(packet, refusal, index, port, around, egress);
                Ok(())
            }
            Verdict::TooBig(max_frame) => {
                tell_sender(packet, frame, max_frame.into(), self.too_big, around, egress);
                Err(DropReason::TooBigForTunnel)
            }
            Verdict::Drop(reason) => Err(reason),
        };
        if let Err(reason) = sent {
            around.telemetry.count_drop(reason);
        }
    }
}

#[inline(always)]
fn take_admitted<P: PacketBuffer>(
    packet: &mut P,
    frame: &mut Frame,
    admission: Admission,
    ecn: Ecn,
    around: &Surroundings<'_>,
) {
    frame.admit(&admission, around.fdb);
    if ecn != Ecn::NotEct {
        take_congestion_over(packet, frame, ecn, around);
    }
}

/// A packet that the usual pattern does not fit, as one of the others has it, or as any packet.
#[cold]
#[inline(never)]
fn admit_by_other_patterns<const IPV6: bool, P: PacketBuffer>(
    packet: &mut P,
    frame: &mut Frame,
    (port, patterns): (&Port, &UplinkPatterns),
    learn_filter: &mut LearnFilter,
    around: &Surroundings<'_>,
) {
    let mut others = patterns.others().iter();
    match others.find_map(|pattern| uplink::admit_usual::<IPV6, P>(packet, pattern, around.snapshot)) {
        Some((admission, ecn)) => take_admitted(packet, frame, admission, ecn, around),
        None => admit_unusual_from_uplink(packet, frame, port, learn_filter, around),
    }
}

#[cold]
#[inline(never)]
fn take_congestion_over<P: PacketBuffer>(packet: &mut P, frame: &mut Frame, ecn: Ecn, around: &Surroundings<'_>) {
    if let Err(reason) = uplink::take_congestion_over(packet, frame.place, ecn, around.telemetry) {
        frame.verdict = Verdict::Drop(reason);
    }
}

#[cold]
#[inline(never)]
fn admit_unusual_from_uplink<P: PacketBuffer>(
    packet: &mut P,
    frame: &mut Frame,
    port: &Port,
    learn_filter: &mut LearnFilter,
    around: &Surroundings<'_>,
) {
    match uplink::admit_unusual(packet, port, around.snapshot, around.telemetry, around.learn) {
        Ok((admission, teaches)) => {
            frame.admit(&admission, around.fdb);
            segment_size::clamp(packet, frame, teaches.then_some(learn_filter), around);
            // Stage 2 would learn.
            if !teaches && matches!(frame.verdict, Verdict::Undecided) {
                decide_unusual(frame, packet.head(), None, around);
            }
        }
        Err(refusal) => frame.verdict = Verdict::Refuse(refusal),
    }
}

#[cold]
#[inline(never)]
fn admit_unusual_from_access<P: PacketBuffer>(
    packet: &mut P,
    frame: &mut Frame,
    (vlans, link_local): (&AccessMap, LinkLocal),
    (discoveries, learn_filter): (&mut Discoveries, &mut LearnFilter),
    around: &Surroundings<'_>,
) {
    match access::admit_unusual(packet, vlans, link_local, around.snapshot) {
        Ok(admission) => {
            frame.admit(&admission, around.fdb);
            segment_size::clamp(packet, frame, Some(learn_filter), around);
            discoveries.meet(packet, frame, learn_filter, around);
        }
        Err(refusal) => frame.verdict = refusal.into(),
    }
}

/// Where frames of a burst came in, and the account of what may be flooded of them.
struct Entrance<'a> {
    index: PortIndex,
    port: &'a Port,
    storms: &'a mut StormControl,
}

/// Floods a frame. The sender of a unicast frame, its destination being unknown yet, is told if it fits not every way.
#[inline(never)]
fn flood_frame<P: PacketBuffer>(
    mut packet: P,
    (frame, marks): (&Frame, Marks),
    entrance: &mut Entrance<'_>,
    limiter: &mut TooBigLimiter,
    around: &Surroundings<'_>,
    egress: &mut impl Egress<P>,
) -> Result<(), DropReason> {
    let bridge = frame.bridge();
    let domain = around.snapshot.domains.get(usize::from(bridge.0)).ok_or(DropReason::UnknownVni)?;
    let snooping = match &domain.rules {
        Some(rules) => {
            entrance.storms.admit(frame, rules, entrance.index, entrance.port, around)?;
            rules.snooping.as_deref().filter(|_| frame.is_to_group())
        }
        None => None,
    };
    let addresses = frame.addresses();
    frame.place.extract(&mut packet, addresses).ok_or(DropReason::NoHeadroom)?;
    if let Some(snooping) = snooping {
        let table = snooping.load();
        if let Some(places) = snooping::places(packet.head(), packet.len(), frame, &table, around)? {
            return flood::flood_to(packet, frame, marks, places, around, egress);
        }
    }
    if let LocationKind::Access(sender) = frame.source.kind()
        && !frame.is_to_group()
        && let Some(max_frame) = flood::shortest_limit(packet.len(), frame.source, domain, around)
    {
        limiter.tell(&packet, max_frame, sender, around, egress);
    }
    flood::flood(packet, frame, marks, domain, around, egress)
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
        && frame.place.extract(&mut packet, frame.addresses()).is_some()
    {
        limiter.tell(&packet, max_frame, sender, around, egress);
    }
}

#[cfg(test)]
mod tests;

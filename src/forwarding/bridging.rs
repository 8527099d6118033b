//! Stage 2: where a frame goes, and what its source teaches.

use super::access::is_of_vlan;
use super::emit::Unsendable;
use super::forwarder::Surroundings;
use super::framing::{Addresses, FramePlace};
use super::learn_filter::LearnFilter;
use super::packet::PacketBuffer;
use super::uplink::Refusal;
use crate::tables::fdb::{Fdb, FdbKey, FdbValue, Probe};
use crate::tables::learning::LearnEvent;
use crate::tables::snapshot::{LinkLocal, PortSide, UNKNOWN_TUNNEL};
use crate::tables::{BridgeIndex, Location, LocationKind, PortIndex};
use crate::telemetry::{DropReason, Event, WorkerTelemetry};
use crate::wire::MacAddr;
use crate::wire::ethernet::{ETHERNET_HEADER, MAX_VLAN_TAGS, VLAN_TAG};

/// A frame that stage 1 admitted: plain Ethernet, of this bridge, from there.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// The bridge.
    pub bridge: BridgeIndex,
    /// Where the frame came from.
    pub source: Location,
    /// Its addresses.
    pub addresses: Addresses,
    /// Where it is in its packet.
    pub place: FramePlace,
}

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Stage 2 decides: it is a bridged frame.
    Undecided,
    /// Send it there.
    Forward(Location),
    /// Stage 3 has found it too big for its way: frames of at most so many bytes fit.
    TooBig(u16),
    /// Send it to every member of the bridge but the one it came from, by the rules of split horizon.
    Flood,
    /// It asks for the address of a station that is known: answer it in the station's place.
    Answer,
    /// It is not bridged: the gateway answers it, the kernel gets it, or nobody.
    Refuse(Refusal),
    /// Drop it.
    Drop(DropReason),
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Drop(reason) => Self::Drop(reason),
            other => Self::Refuse(other),
        }
    }
}

impl From<Unsendable> for Verdict {
    fn from(unsendable: Unsendable) -> Self {
        match unsendable {
            Unsendable::Dropped(reason) => Self::Drop(reason),
            Unsendable::TooBig(max_frame) => Self::TooBig(max_frame),
        }
    }
}

/// What later stages may read of a frame's front: its header and tags, the longest IPv4 header, and two ports.
const FRONT: usize = ETHERNET_HEADER + MAX_VLAN_TAGS * VLAN_TAG + 60 + 4;

/// Refuses a frame whose front does not lie in its first segment: its ECN field would be lost, and its flow be another
/// one, without anyone noticing.
///
/// # Errors
/// The reason why the frame is dropped.
#[inline(always)]
pub(super) fn check_front<P: PacketBuffer>(packet: &P, place: FramePlace) -> Result<(), DropReason> {
    let head = packet.head().len();
    if head < packet.len() && head < place.start() + FRONT { Err(DropReason::HeadersScattered) } else { Ok(()) }
}

/// What the stages know of a packet; of a bridged frame, with its two FDB lookups prepared, so that their memory can be
/// asked for early.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// What is to be done with it. Where stage 1 has decided that, the rest means nothing.
    pub verdict: Verdict,
    /// Where the frame came from.
    pub source: Location,
    /// Where it is in its packet.
    pub place: FramePlace,
    /// Which port it goes out of, once stage 3 has made it what goes there, if the verdict is still to forward it.
    pub egress: PortIndex,
    /// The frame's first eight bytes.
    first_bytes: u64,
    source_probe: Probe,
    destination_probe: Probe,
}

impl Frame {
    /// Of no packet.
    pub(super) const NONE: Self = Self {
        verdict: Verdict::Undecided,
        source: Location::tunnel(UNKNOWN_TUNNEL),
        place: FramePlace::NOWHERE,
        egress: PortIndex(u16::MAX),
        first_bytes: 0,
        source_probe: Probe::NOWHERE,
        destination_probe: Probe::NOWHERE,
    };

    /// Takes down what stage 1 found out of an admitted frame, prepares its lookups and asks for their memory.
    #[inline(always)]
    pub fn admit(&mut self, admission: &Admission, fdb: &Fdb) {
        let Admission { bridge, source, addresses, place } = *admission;
        self.verdict = Verdict::Undecided;
        (self.source, self.place) = (source, place);
        self.first_bytes = addresses.first();
        self.source_probe = fdb.probe(FdbKey::from_bits(bridge, addresses.source()));
        self.destination_probe = fdb.probe(FdbKey::from_bits(bridge, addresses.destination()));
        fdb.prefetch_first(&self.source_probe);
        fdb.prefetch_first(&self.destination_probe);
    }

    /// The same frame at another place in its packet.
    #[must_use]
    pub fn placed(&self, place: FramePlace) -> Self {
        Self { place, ..*self }
    }

    /// The bridge.
    #[inline(always)]
    #[must_use]
    pub fn bridge(&self) -> BridgeIndex {
        self.source_probe.key().bridge()
    }

    /// The frame's addresses.
    #[inline(always)]
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        Addresses::beginning_with(self.first_bytes, self.source_probe.key().to_word())
    }

    /// It is for a group: multicast or broadcast.
    #[inline(always)]
    #[must_use]
    pub fn is_to_group(&self) -> bool {
        self.destination_probe.key().to_word() & MacAddr::GROUP_BIT != 0
    }
}

/// Decides where the usual frame goes: from a known station to another that it may send to, both of them in the first of
/// their two buckets. False, and nothing done but that the second bucket is asked for of who is not in the first, for any
/// other, which is for [`decide_unusual`] when that memory has had the time to arrive.
#[inline(always)]
pub fn decide_usual(frame: &mut Frame, around: &Surroundings<'_>) -> bool {
    let Some(known) = around.fdb.glance(&frame.source_probe) else {
        ask_for_source(frame, around.fdb);
        return false;
    };
    let Some(destination) = around.fdb.glance(&frame.destination_probe) else {
        ask_for_destination(frame, around.fdb);
        return false;
    };
    let to = destination.location();
    if !is_here(known, frame, around) || !frame.source.may_send_to(to) {
        return false;
    }
    count_received(frame, around.telemetry);
    frame.verdict = Verdict::Forward(to);
    true
}

/// Asks for the second bucket of a frame's source, and of its destination if that is not in the first one either.
#[cold]
#[inline(never)]
fn ask_for_source(frame: &Frame, fdb: &Fdb) {
    fdb.prefetch_second(&frame.source_probe);
    if fdb.glance(&frame.destination_probe).is_none() {
        ask_for_destination(frame, fdb);
    }
}

/// Asks for the second bucket of a frame's destination. A group is in no bucket.
#[cold]
#[inline(never)]
fn ask_for_destination(frame: &Frame, fdb: &Fdb) {
    if !frame.is_to_group() {
        fdb.prefetch_second(&frame.destination_probe);
    }
}

/// What the FDB says of a frame's source is that it is where the frame came from, and was heard in this tick. The tick of
/// a static entry stands still.
#[inline(always)]
fn is_here(value: FdbValue, frame: &Frame, around: &Surroundings<'_>) -> bool {
    value.is_current(frame.source, around.now.tick) || (value.is_static() && value.location() == frame.source)
}

/// Learns from any frame's source, counts the frame as received by its bridge, and decides where it goes. `head` is its
/// packet's first segment, as it arrived. Of a frame that [`decide_usual`] decides on, it says the same. Without a filter,
/// nothing is learned.
#[inline(never)]
pub fn decide_unusual(
    frame: &mut Frame,
    head: &[u8],
    learn_filter: Option<&mut LearnFilter>,
    around: &Surroundings<'_>,
) {
    let known = around.fdb.lookup(&frame.source_probe);
    if !known.is_some_and(|value| is_here(value, frame, around))
        && let Err(refusal) = meet_source(frame, head, known, learn_filter, around)
    {
        frame.verdict = refusal.into();
        return;
    }
    if frame.is_to_group() {
        return decide_group(frame, head, around);
    }
    count_received(frame, around.telemetry);
    frame.verdict = match around.fdb.lookup(&frame.destination_probe).map(FdbValue::location) {
        Some(to) if frame.source.may_send_to(to) => Verdict::Forward(to),
        Some(to) => Verdict::Drop(refusal(frame.source, to)),
        None => Verdict::Flood,
    };
}

/// Multicasts and broadcasts are flooded.
fn decide_group(frame: &mut Frame, head: &[u8], around: &Surroundings<'_>) {
    if let Err(refusal) = check_group(frame, head, around) {
        frame.verdict = refusal.into();
        return;
    }
    count_received(frame, around.telemetry);
    frame.verdict = Verdict::Flood;
}

/// Why a frame for a known station does not go there: never from tunnel to tunnel (RFC 8365, 6: split horizon;
/// conformance row V10), and never back where it came from.
fn refusal(source: Location, destination: Location) -> DropReason {
    match (source.kind(), destination.kind()) {
        (LocationKind::Tunnel(_), LocationKind::Tunnel(_)) => DropReason::SplitHorizon,
        _ => DropReason::SamePort,
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

/// Refuses reserved link-local destinations, unless the bridge forwards them (conformance row B5).
fn check_group(frame: &Frame, head: &[u8], around: &Surroundings<'_>) -> Result<(), Refusal> {
    let destination = frame.destination_probe.key().mac();
    if !destination.is_link_local_group() {
        Ok(())
    } else if is_kept_by_port(frame, head, around) {
        Err(Refusal::LinkLocal)
    } else if around.snapshot.policy(frame.bridge()).link_local && !destination.is_mac_control_group() {
        Ok(())
    } else {
        Err(DropReason::LinkLocal.into())
    }
}

/// A frame of the link of an access port that keeps these: it came without the tag of a VLAN.
fn is_kept_by_port(frame: &Frame, head: &[u8], around: &Surroundings<'_>) -> bool {
    let LocationKind::Access(index) = frame.source.kind() else { return false };
    let member = around.snapshot.members.get(index.0 as usize);
    let port = member.and_then(|member| around.snapshot.ports.get(usize::from(member.port().0)));
    let Some(port) = port.filter(|port| port.link_local != LinkLocal::AsBridge) else { return false };
    matches!(&port.side, PortSide::Access(vlans) if !is_of_vlan(head, vlans.tpid()))
}

/// The source is not known to be here, or was last heard of some ticks ago.
///
/// What is checked of a source is checked here alone: one that no station can have is never in the FDB (row B4), and one
/// whose entry names this very place was checked, its remote VTEP included, when it was learned. So known stations are
/// spared all of it.
fn meet_source(
    frame: &Frame,
    head: &[u8],
    known: Option<FdbValue>,
    learn_filter: Option<&mut LearnFilter>,
    around: &Surroundings<'_>,
) -> Result<(), Refusal> {
    let key = frame.source_probe.key();
    if !key.mac().is_station() {
        return Err(DropReason::InvalidSourceMac.into());
    }
    check_group(frame, head, around)?;
    if let Some(value) = known.filter(|value| value.location() == frame.source) {
        if learn_filter.is_some() && around.fdb.refresh(&frame.source_probe, value, around.now.tick) {
            around.telemetry.event(Event::AgeRefreshed);
        }
        return Ok(());
    }
    let policy = around.snapshot.policy(frame.bridge());
    let mut learnable = policy.learning;
    if let LocationKind::Tunnel(tunnel) = frame.source.kind() {
        let domain = around.snapshot.domains.get(usize::from(frame.bridge().0));
        if policy.source_check && !domain.is_some_and(|domain| domain.accepts(tunnel)) {
            return Err(DropReason::UnknownRemote.into());
        }
        learnable &= tunnel != UNKNOWN_TUNNEL && !domain.is_some_and(|domain| domain.taught);
    }
    match known {
        Some(value) if value.is_pinned() => return Err(DropReason::PinnedElsewhere.into()),
        Some(value) if value.is_static() => around.telemetry.event(Event::StaticConflict),
        Some(value) if value.is_frozen() => around.telemetry.event(Event::FrozenConflict),
        _ => {
            if let Some(filter) = learn_filter.filter(|_| learnable) {
                let event = LearnEvent { key, location: frame.source };
                around.telemetry.event(filter.report(event, known, around.now.cycles, around.learn));
            }
        }
    }
    Ok(())
}

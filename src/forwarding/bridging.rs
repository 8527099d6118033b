//! Stage 2: where a frame goes, and what its source teaches.

use super::forwarder::Surroundings;
use super::framing::{ADDRESSES, FramePlace};
use super::packet::PacketBuffer;
use crate::tables::fdb::{FdbKey, FdbValue, Probe};
use crate::tables::learning::LearnEvent;
use crate::tables::snapshot::{BridgePolicy, UNKNOWN_TUNNEL};
use crate::tables::{BridgeIndex, Location, LocationKind};
use crate::telemetry::{DropReason, Event};
use crate::wire::MacAddr;
use crate::wire::ethernet::{ETHERNET_HEADER, MAX_VLAN_TAGS, VLAN_TAG};

/// A frame that stage 1 admitted: plain Ethernet, of this bridge, from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A frame's MAC addresses, as [`MacAddr::to_u64`] gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    destination: u64,
    source: u64,
}

impl Addresses {
    /// Reads them off a frame's header, of any length from 12 bytes on.
    #[inline(always)]
    #[must_use]
    pub fn of<const HEADER: usize>(header: &[u8; HEADER]) -> Self {
        const { assert!(HEADER >= ADDRESSES) };
        let (destination, source) = header.first_chunk().map_or((0, 0), MacAddr::pair_to_u64);
        Self { destination, source }
    }

    /// True for a frame to a group: multicast or broadcast.
    #[inline(always)]
    #[must_use]
    pub fn to_group(&self) -> bool {
        self.destination & MacAddr::GROUP_BIT != 0
    }

    /// Refuses what a bridge does not forward: a source that is no station (conformance row B4), a reserved link-local
    /// destination (B5).
    ///
    /// # Errors
    /// The reason why the frame is dropped.
    #[inline(always)]
    pub fn check(self, policy: BridgePolicy) -> Result<Self, DropReason> {
        if self.source & MacAddr::GROUP_BIT != 0 || self.source == 0 {
            return Err(DropReason::InvalidSourceMac);
        }
        if self.to_group() && MacAddr::from_u64(self.destination).is_link_local_group() && !policy.link_local {
            return Err(DropReason::LinkLocal);
        }
        Ok(self)
    }
}

/// What is to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it there.
    Forward(Location),
    /// Send it to every member of the bridge but the one it came from, by the rules of split horizon.
    Flood,
    /// Drop it.
    Drop(DropReason),
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

/// What the later stages know of a frame, with its two FDB lookups prepared, so that their memory can be asked for early.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Where the frame came from.
    pub source: Location,
    /// Where it is in its packet.
    pub place: FramePlace,
    /// It is for a group: multicast or broadcast.
    pub to_group: bool,
    source_probe: Probe,
    destination_probe: Probe,
}

impl Frame {
    /// Prepares the lookups of an admitted frame and asks for their memory.
    #[inline(always)]
    #[must_use]
    pub fn prepare(admission: &Admission, around: &Surroundings<'_>) -> Self {
        let probe = |mac| {
            let probe = around.fdb.probe(FdbKey::from_bits(admission.bridge, mac));
            around.fdb.prefetch_first(&probe);
            probe
        };
        let Admission { source, addresses, place, .. } = *admission;
        Self {
            source,
            place,
            to_group: addresses.to_group(),
            source_probe: probe(addresses.source),
            destination_probe: probe(addresses.destination),
        }
    }

    /// The bridge.
    #[inline(always)]
    #[must_use]
    pub fn bridge(&self) -> BridgeIndex {
        self.source_probe.key().bridge()
    }
}

/// Learns from a frame's source and decides where the frame goes.
#[inline(always)]
#[must_use]
pub fn decide(frame: &Frame, around: &Surroundings<'_>) -> Verdict {
    let known = around.fdb.lookup(&frame.source_probe);
    let is_here = |value: FdbValue| {
        // The tick of a static entry stands still.
        value.is_current(frame.source, around.now.tick) || (value.is_static() && value.location() == frame.source)
    };
    if !known.is_some_and(is_here)
        && let Err(reason) = meet_source(frame, known, around)
    {
        return Verdict::Drop(reason);
    }
    if frame.to_group {
        return Verdict::Flood;
    }
    match around.fdb.lookup(&frame.destination_probe) {
        None => Verdict::Flood,
        Some(value) => direct(frame.source, value.location()),
    }
}

/// A frame for a known station goes there, but never back where it came from and never from tunnel to tunnel
/// (RFC 8365, 6: split horizon; conformance row V10).
#[inline(always)]
fn direct(source: Location, destination: Location) -> Verdict {
    match (source.kind(), destination.kind()) {
        (LocationKind::Tunnel(_), LocationKind::Tunnel(_)) => Verdict::Drop(DropReason::SplitHorizon),
        _ if source == destination => Verdict::Drop(DropReason::SamePort),
        _ => Verdict::Forward(destination),
    }
}

/// The source is not known to be here, or was last heard of some ticks ago.
///
/// A source whose entry names this very place was checked when it was learned, so the check of the remote VTEP costs
/// nothing for known stations.
#[cold]
fn meet_source(frame: &Frame, known: Option<FdbValue>, around: &Surroundings<'_>) -> Result<(), DropReason> {
    if let Some(value) = known.filter(|value| value.location() == frame.source) {
        if around.fdb.refresh(&frame.source_probe, value, around.now.tick) {
            around.telemetry.event(Event::AgeRefreshed);
        }
        return Ok(());
    }
    let place = usize::from(frame.bridge().0);
    let (Some(bridge), Some(domain)) = (around.snapshot.bridges.get(place), around.snapshot.domains.get(place)) else {
        return Err(DropReason::UnknownVni);
    };
    let mut learnable = bridge.policy.learning;
    if let LocationKind::Tunnel(tunnel) = frame.source.kind() {
        if bridge.policy.source_check && !domain.accepts(tunnel) {
            return Err(DropReason::UnknownRemote);
        }
        learnable &= tunnel != UNKNOWN_TUNNEL;
    }
    if known.is_some_and(FdbValue::is_static) {
        around.telemetry.event(Event::StaticConflict);
    } else if learnable {
        let event = LearnEvent { key: frame.source_probe.key(), location: frame.source };
        let sent = around.learn.send(event);
        around.telemetry.event(if sent { Event::LearnSent } else { Event::LearnLost });
    }
    Ok(())
}

//! Stage 2: where a frame goes, and what its source teaches.

use super::forwarder::Surroundings;
use super::packet::PacketBuffer;
use crate::tables::fdb::{FdbKey, FdbValue, Probe};
use crate::tables::learning::LearnEvent;
use crate::tables::snapshot::{Bridge, BridgePolicy, UNKNOWN_TUNNEL};
use crate::tables::{BridgeIndex, Location, LocationKind};
use crate::telemetry::{DropReason, Event};
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
}

/// A frame's MAC addresses, as [`MacAddr::to_u64`] gives them.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    destination: u64,
    source: u64,
}

impl Addresses {
    /// Reads them off a frame's front; none where it is too short.
    #[inline(always)]
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let (destination, source) = MacAddr::pair_to_u64(frame.first_chunk()?);
        Some(Self { destination, source })
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
pub(super) fn check_front<P: PacketBuffer>(packet: &P) -> Result<(), DropReason> {
    let head = packet.head().len();
    if head < FRONT && head < packet.len() { Err(DropReason::HeadersScattered) } else { Ok(()) }
}

/// The two FDB lookups of a frame, prepared so that their memory can be asked for early.
#[derive(Clone, Copy, Debug)]
pub struct Lookups {
    source: Probe,
    destination: Probe,
}

impl Lookups {
    /// Prepares the lookups of an admitted frame and asks for their memory.
    #[inline(always)]
    #[must_use]
    pub fn prepare(admission: &Admission, around: &Surroundings<'_>) -> Self {
        let probe = |mac| {
            let probe = around.fdb.probe(FdbKey::from_bits(admission.bridge, mac));
            around.fdb.prefetch_first(&probe);
            probe
        };
        Self { source: probe(admission.addresses.source), destination: probe(admission.addresses.destination) }
    }
}

/// Learns from a frame's source and decides where the frame goes.
#[inline(always)]
#[must_use]
pub fn decide(admission: &Admission, lookups: &Lookups, bridge: &Bridge, around: &Surroundings<'_>) -> Verdict {
    let known = around.fdb.lookup(&lookups.source);
    let is_here = |value: FdbValue| {
        // The tick of a static entry stands still.
        value.is_current(admission.source, around.now.tick)
            || (value.is_static() && value.location() == admission.source)
    };
    if !known.is_some_and(is_here)
        && let Err(reason) = meet_source(admission, lookups, known, bridge, around)
    {
        return Verdict::Drop(reason);
    }
    if admission.addresses.to_group() {
        return Verdict::Flood;
    }
    match around.fdb.lookup(&lookups.destination) {
        None => Verdict::Flood,
        Some(value) => direct(admission.source, value.location()),
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
fn meet_source(
    admission: &Admission,
    lookups: &Lookups,
    known: Option<FdbValue>,
    bridge: &Bridge,
    around: &Surroundings<'_>,
) -> Result<(), DropReason> {
    let here = known.filter(|value| value.location() == admission.source);
    if let Some(value) = here {
        if around.fdb.refresh(&lookups.source, value, around.now.tick) {
            around.telemetry.event(Event::AgeRefreshed);
        }
        return Ok(());
    }
    let mut learnable = bridge.policy.learning;
    if let LocationKind::Tunnel(tunnel) = admission.source.kind() {
        if bridge.policy.source_check && !bridge.accepts(tunnel) {
            return Err(DropReason::UnknownRemote);
        }
        learnable &= tunnel != UNKNOWN_TUNNEL;
    }
    if known.is_some_and(FdbValue::is_static) {
        around.telemetry.event(Event::StaticConflict);
    } else if learnable {
        let event = LearnEvent { key: lookups.source.key(), location: admission.source };
        let sent = around.learn.send(event);
        around.telemetry.event(if sent { Event::LearnSent } else { Event::LearnLost });
    }
    Ok(())
}

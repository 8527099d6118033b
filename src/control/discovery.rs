//! Remote VTEPs that nobody named: they sent to a bridge with a `group`, and stations are to be learned behind them
//! (RFC 7348, 4.2).
//!
//! There are no more than [`MOST`]; beyond, packets of further ones are still bridged, but stations behind them are not
//! learned, and frames to these are flooded to the group. One behind which no station has been known for two looks is
//! forgotten; its next packet brings it back.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::tables::{Fdb, LocationKind, TunnelIndex};

/// The most that are known at the same time.
pub const MOST: usize = 4096;
/// How long news are gathered before a snapshot is made of them: many appear together.
const GATHERED: Duration = Duration::from_millis(20);
/// How often it is looked who has stations, at the most.
const LOOK: Duration = Duration::from_secs(60);

/// The discovered remote VTEPs.
#[derive(Debug)]
pub struct Discovery {
    /// By address, whether the last look found no station behind it.
    known: BTreeMap<IpAddr, bool>,
    /// Since when there is something that the snapshot in force has not.
    changed: Option<Instant>,
    looked: Instant,
    full: bool,
}

impl Discovery {
    /// Nothing is discovered yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { known: BTreeMap::new(), changed: None, looked: now, full: false }
    }

    /// Their addresses.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.known.keys().copied().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// A worker met a packet from this address, which a gateway of the address `own` may not know.
    pub fn add(&mut self, address: IpAddr, own: IpAddr, now: Instant) {
        let can_be_one = address != own
            && address.is_ipv4() == own.is_ipv4()
            && !(address.is_multicast() || address.is_unspecified() || address.is_loopback());
        if !can_be_one || self.known.contains_key(&address) {
            return;
        }
        if self.known.len() >= MOST {
            if !std::mem::replace(&mut self.full, true) {
                warn!(%address, most = MOST, "too many remote VTEPs are discovered; stations behind further ones are not learned");
            }
            return;
        }
        self.known.insert(address, false);
        self.changed.get_or_insert(now);
    }

    /// True where it is time for a snapshot with what is new; it is then taken as made.
    pub fn take_change(&mut self, now: Instant) -> bool {
        self.changed.take_if(|since| now.saturating_duration_since(*since) >= GATHERED).is_some()
    }

    /// Forgets those that had no station twice, if it is time to look; `index` gives an address its place. `ageing` is how
    /// long stations are kept that are not heard of: for ever, and remote VTEPs are, too.
    pub fn forget(
        &mut self,
        now: Instant,
        ageing: Option<Duration>,
        fdb: &Fdb,
        index: impl Fn(IpAddr) -> Option<TunnelIndex>,
    ) {
        let Some(ageing) = ageing else { return };
        if now.saturating_duration_since(self.looked) < ageing.max(LOOK) {
            return;
        }
        self.looked = now;
        if self.known.is_empty() {
            return;
        }
        let tunnel = |location: crate::tables::Location| match location.kind() {
            LocationKind::Tunnel(tunnel) => Some(tunnel),
            LocationKind::Access(_) => None,
        };
        let with_stations: HashSet<TunnelIndex> =
            fdb.iter().filter_map(|(_, value)| tunnel(value.location())).collect();
        let before = self.known.len();
        self.known.retain(|address, was_idle| {
            let is_idle = !index(*address).is_some_and(|index| with_stations.contains(&index));
            !(std::mem::replace(was_idle, is_idle) && is_idle)
        });
        if self.known.len() < before {
            self.changed.get_or_insert(now);
            self.full = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{BridgeIndex, FdbKey, FdbValue, Location, Quiescence};
    use crate::wire::MacAddr;

    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a01_0000 + n).into()
    }

    #[test]
    fn only_what_can_be_a_remote_vtep_is_one_and_no_more_than_the_bound() {
        let now = Instant::now();
        let mut discovery = Discovery::new(now);
        for wrong in ["10.0.0.1", "0.0.0.0", "127.0.0.1", "239.1.1.1", "fd00::2"] {
            discovery.add(wrong.parse().expect("an address"), OWN, now);
        }
        assert!(discovery.count() == 0 && !discovery.take_change(now + GATHERED));
        (0..MOST as u32 + 10).for_each(|n| discovery.add(address(n), OWN, now));
        assert_eq!(discovery.count(), MOST);
        assert!(!discovery.take_change(now), "more may come");
        assert!(discovery.take_change(now + GATHERED) && !discovery.take_change(now + GATHERED));
        discovery.add(address(0), OWN, now);
        assert!(!discovery.take_change(now + 2 * GATHERED), "it is known");
    }

    #[test]
    fn one_without_stations_is_forgotten_after_two_looks_and_one_with_stations_stays() {
        let start = Instant::now();
        let mut discovery = Discovery::new(start);
        let (fdb, mut writer) = Fdb::with_writer(64, Quiescence::new()).expect("memory");
        let index = |address: IpAddr| Some(TunnelIndex(u16::from(address == self::address(2)) + 1));
        discovery.add(address(1), OWN, start);
        discovery.add(address(2), OWN, start);
        let key = FdbKey::new(BridgeIndex(0), MacAddr([2, 0, 0, 0, 0, 1]));
        writer.insert(key, FdbValue::fixed(Location::tunnel(TunnelIndex(2)))).expect("room");
        let ageing = Some(Duration::from_secs(300));
        for (seconds, left) in [(100, 2), (301, 2), (500, 2), (602, 1), (10_000, 1)] {
            discovery.forget(start + Duration::from_secs(seconds), ageing, &fdb, index);
            assert_eq!(discovery.count(), left, "after {seconds} s");
        }
        assert_eq!(discovery.addresses(), BTreeSet::from([address(2)]));
        discovery.forget(start + Duration::from_secs(20_000), None, &fdb, index);
        assert_eq!(discovery.count(), 1);
    }
}

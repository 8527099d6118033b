//! From the ways to remote VTEPs to what workers read of them: headers, and groups of next hops that remote VTEPs share.

use std::net::IpAddr;

use rustc_hash::FxHashMap;
use tracing::warn;

use super::Running;
use crate::config::model::Neighbour;
use crate::control::Kernel;
use crate::control::compile::{PortFacts, adjacency, next_hop};
use crate::control::underlay::{Way, Ways};
use crate::tables::next_hop_group::{Adjacency, GroupIndex, MAX_GROUPS, NextHopGroup};
use crate::tables::tunnel::NextHop;
use crate::tables::{PortIndex, Snapshot};
use crate::telemetry::KernelTelemetry;
use crate::wire::MacAddr;

/// Puts the kernel's ways into a snapshot. Where they are more different groups than a snapshot takes, the remote VTEPs
/// beyond go by the first of their ways, which is counted, and logged when it begins.
pub(super) fn set_ways(snapshot: &mut Snapshot, running: &Running, kernel: &Kernel, telemetry: &KernelTelemetry) {
    let (mut groups, mut unspread) = (NextHopGroups::default(), 0);
    for (address, ways) in kernel.ways() {
        let place = running.registry.tunnel(address).and_then(|index| snapshot.next_hops.get_mut(usize::from(index.0)));
        let Some(next_hop) = place else { continue };
        let several = ways.list.len() > 1;
        let group = if several { groups.index_of(ways, &running.ports) } else { None };
        unspread += u64::from(several && group.is_none());
        *next_hop = way_of(running, address, ways, group).unwrap_or(NextHop::UNKNOWN);
    }
    snapshot.next_hop_groups = groups.list;
    telemetry.next_hop_groups.set(snapshot.next_hop_groups.len() as u64);
    if unspread > 0 && telemetry.unspread.get() == 0 {
        warn!(
            remotes = unspread,
            groups = MAX_GROUPS,
            "there are more different groups of next hops than the gateway has room for; flows to some remote VTEPs are \
             not spread"
        );
    }
    telemetry.unspread.set(unspread);
}

/// The headers of a remote VTEP, by a group or by its first way. What fits each of the ways fits the group: a path MTU
/// that differed from flow to flow would help no sender.
fn way_of(running: &Running, address: IpAddr, ways: &Ways, group: Option<GroupIndex>) -> Option<NextHop> {
    let by = |way: &Way| {
        let neighbour = Neighbour { address, mac: way.mac, port: way.port };
        next_hop(&running.config, &neighbour, &running.ports, way.mtu)
    };
    let Some(group) = group else { return by(ways.first()?) };
    let narrowest = ways.list.iter().filter_map(by).min_by_key(NextHop::max_frame)?;
    Some(narrowest.spread_over(group))
}

/// What a group is made of: its next hops, and by bucket the place of its next hop.
type Makings<'a> = (Vec<(PortIndex, MacAddr)>, &'a [usize]);

/// Groups as they are collected, none twice.
#[derive(Default)]
struct NextHopGroups<'a> {
    list: Vec<NextHopGroup>,
    places: FxHashMap<Makings<'a>, GroupIndex>,
}

impl<'a> NextHopGroups<'a> {
    /// The group of these ways; none where there is no room for one more, or a way leads by no port.
    fn index_of(&mut self, ways: &'a Ways, ports: &[PortFacts]) -> Option<GroupIndex> {
        let next_hops: Vec<_> = ways.list.iter().map(|way| (way.port, way.mac)).collect();
        let adjacencies: Option<Vec<Adjacency>> =
            next_hops.iter().map(|(port, mac)| adjacency(*port, *mac, ports)).collect();
        let adjacencies = adjacencies?;
        let makings = (next_hops, &ways.slots[..]);
        if let Some(index) = self.places.get(&makings) {
            return Some(*index);
        }
        let first = *adjacencies.first()?;
        let of_bucket = |bucket: usize| ways.slots.get(bucket).and_then(|place| adjacencies.get(*place));
        let index = GroupIndex(u16::try_from(self.list.len()).ok().filter(|index| usize::from(*index) < MAX_GROUPS)?);
        self.list.push(NextHopGroup::new(|bucket| of_bucket(bucket).copied().unwrap_or(first)));
        self.places.insert(makings, index);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::slots::{SLOTS, slots};

    const PORTS: [PortFacts; 2] = [
        PortFacts { mac: MacAddr([2, 0, 0, 0, 0xaa, 0]), mtu: 1600, receivers: 1 },
        PortFacts { mac: MacAddr([2, 0, 0, 0, 0xaa, 1]), mtu: 1600, receivers: 1 },
    ];

    /// Ways by alternating uplinks to next hops with these last octets and weights.
    fn ways(next_hops: &[(u8, u32)]) -> Ways {
        let way = |(number, (last, weight)): (usize, &(u8, u32))| Way {
            port: PortIndex(number as u16 % 2),
            mac: MacAddr([2, 0, 0, 0, 0xbb, *last]),
            weight: *weight,
            mtu: 1600,
        };
        let weights: Vec<u32> = next_hops.iter().map(|(_, weight)| *weight).collect();
        Ways { list: next_hops.iter().enumerate().map(way).collect(), slots: slots(&weights, &[]) }
    }

    #[test]
    fn a_group_has_its_next_hops_by_weight_with_the_addresses_of_their_uplinks() {
        let ways = ways(&[(1, 3), (2, 1)]);
        let mut groups = NextHopGroups::default();
        assert_eq!(groups.index_of(&ways, &PORTS), Some(GroupIndex(0)));
        let buckets: Vec<_> = (0..SLOTS as u32).map(|hash| *groups.list[0].next_hop(hash)).collect();
        let first = Adjacency::new(PortIndex(0), PORTS[0].mac, MacAddr([2, 0, 0, 0, 0xbb, 1]));
        let second = Adjacency::new(PortIndex(1), PORTS[1].mac, MacAddr([2, 0, 0, 0, 0xbb, 2]));
        let count = |wanted| buckets.iter().filter(|bucket| **bucket == wanted).count();
        assert_eq!((count(first), count(second)), (48, 16));
        assert_eq!(second.addresses(), &[2, 0, 0, 0, 0xbb, 2, 2, 0, 0, 0, 0xaa, 1]);
        assert_eq!(groups.list[0].next_hop(SLOTS as u32 * 7 + 3), groups.list[0].next_hop(3), "its lower bits count");
    }

    #[test]
    fn remote_vteps_with_the_same_next_hops_share_a_group_and_others_do_not() {
        let all = [ways(&[(1, 1), (2, 1)]), ways(&[(1, 1), (2, 1)]), ways(&[(1, 2), (2, 1)]), ways(&[(1, 1), (3, 1)])];
        let mut groups = NextHopGroups::default();
        let places: Vec<_> = all.iter().map(|ways| groups.index_of(ways, &PORTS).map(|index| index.0)).collect();
        assert_eq!(places, [Some(0), Some(0), Some(1), Some(2)]);
        let elsewhere = Ways { list: vec![Way { port: PortIndex(7), ..all[0].list[0] }; 2], slots: vec![0; SLOTS] };
        assert_eq!(groups.index_of(&elsewhere, &PORTS), None, "there is no such port");
    }

    #[test]
    fn there_is_no_group_beyond_the_most_and_those_before_are_still_found() {
        let all: Vec<Ways> = (0..=MAX_GROUPS as u32)
            .map(|number| {
                let mut ways = ways(&[(1, 1), (2, 1)]);
                let [_, _, high, low] = number.to_be_bytes();
                (ways.list[0].mac.0[3], ways.list[0].mac.0[4]) = (high, low);
                ways
            })
            .collect();
        let mut groups = NextHopGroups::default();
        let places: Vec<_> = all.iter().map(|ways| groups.index_of(ways, &PORTS)).collect();
        assert_eq!(places[MAX_GROUPS - 1], Some(GroupIndex(MAX_GROUPS as u16 - 1)));
        assert_eq!(places[MAX_GROUPS], None);
        assert_eq!(groups.index_of(&all[5], &PORTS), Some(GroupIndex(5)));
    }
}

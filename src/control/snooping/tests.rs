//! What is heard becomes the places where frames go, for as long as it is to be believed.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::tables::flood_rules::FloodRules;
use crate::tables::snapshot::{Bridge, BridgePolicy};
use crate::tables::tunnel::Tunnel;
use crate::tables::{MemberIndex, StormRates, TunnelIndex};
use crate::wire::Vni;

const BRIDGE: BridgeIndex = BridgeIndex(0);
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 1, 1));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 1, 2));

fn access(member: u32) -> Location {
    Location::access(MemberIndex(member))
}

fn remote(tunnel: u16) -> Location {
    Location::tunnel(TunnelIndex(tunnel))
}

/// A bridge of three access members and the remote VTEPs 0 and 1, which floods reach; 2 is a group of the underlay if it
/// is in the flood list.
fn snapshot(flood_list: &[u16]) -> Snapshot {
    let config = crate::config::Config::parse(
        "test.toml",
        "[vtep]\naddress = \"10.0.0.1\"\n[workers]\ncores = [0]\n\
         [[port]]\nname = \"uplink0\"\ndevice = \"net_null0\"\nrole = \"uplink\"\n",
    );
    let config = config.map_err(|wrong| wrong.render(false)).expect("a config").config;
    let mut snapshot =
        crate::control::compile(&config, &[], &mut crate::control::Registry::default()).expect("indices");
    let rules = FloodRules { unknown_unicast: true, storm: StormRates::default(), snooping: Some(Arc::default()) };
    snapshot.bridges = vec![Bridge { vni: Vni::default(), policy: BridgePolicy::CLOSED }];
    snapshot.domains = vec![BroadcastDomain {
        members: (0..3).map(MemberIndex).collect(),
        flood_list: flood_list.iter().map(|tunnel| TunnelIndex(*tunnel)).collect(),
        sources: [TunnelIndex(0), TunnelIndex(1)].into(),
        clamps_segments: false,
        discovers: false,
        taught: false,
        rules: Some(Box::new(rules)),
        neighbours: Default::default(),
    }];
    let address = |n: u8| if n == 2 { IpAddr::from([239, 9, 9, 9]) } else { IpAddr::from([10, 0, 0, 2 + n]) };
    snapshot.tunnels = (0..4).map(|n| Tunnel { address: address(n) }).collect();
    snapshot
}

struct World {
    snooping: Snooping,
    snapshot: Snapshot,
    telemetry: Arc<ControlTelemetry>,
    start: Instant,
    now: Instant,
}

impl World {
    fn new(flood_list: &[u16]) -> Self {
        let (start, telemetry) = (Instant::now(), Arc::new(ControlTelemetry::new()));
        let mut snapshot = snapshot(flood_list);
        let mut snooping = Snooping::new(Arc::clone(&telemetry), start);
        snooping.adopt(&mut snapshot);
        Self { snooping, snapshot, telemetry, start, now: start }
    }

    fn hear(&mut self, place: Location, what: Saying) {
        self.snooping.hear(&Heard { bridge: BRIDGE, place, what }, self.now);
        self.round();
    }

    fn query(&mut self, place: Location, group: Option<IpAddr>, response_ms: u32) {
        let source = [192, 0, 2, 1].into();
        let query = Query { source, group, response_ms, timing: None, of_sources: false, is_older: true };
        self.hear(place, Saying::Query(query));
    }

    /// A round, when the bridge's tables may be made again.
    fn round(&mut self) {
        self.now += PACE;
        self.snooping.round(&self.snapshot, self.now);
    }

    /// It is that many seconds after the start.
    fn at(&mut self, seconds: u64) {
        self.now = self.start + Duration::from_secs(seconds);
        self.round();
    }

    fn table(&self) -> Arc<GroupTable> {
        let rules = self.snapshot.domains[0].rules.as_ref().expect("it has rules");
        Arc::clone(&rules.snooping.as_ref().expect("it snoops").load())
    }

    /// Where frames for the group go, or for one that nobody wants.
    fn places(&self, group: IpAddr) -> Vec<Location> {
        let table = self.table();
        let family = table.of(group);
        family.groups.get(&group).unwrap_or(&family.routers).to_vec()
    }
}

#[test]
fn nothing_is_cut_before_a_querier_is_heard_and_after_it_has_gone() {
    let mut world = World::new(&[0, 1]);
    world.hear(access(1), Saying::Wanted(GROUP));
    assert!(!world.table().of(GROUP).queried);
    world.query(access(0), None, 10_000);
    let table = world.table();
    assert!(table.of(GROUP).queried && !table.families()[1].queried, "of its family alone");
    assert_eq!(world.places(GROUP), [access(0), access(1)]);
    assert_eq!(world.places(OTHER), [access(0)], "to routers only");
    world.at(254);
    assert!(world.table().of(GROUP).queried);
    world.at(256);
    assert!(!world.table().of(GROUP).queried);
}

#[test]
fn memberships_are_believed_as_long_as_the_queriers_timing_says() {
    let mut world = World::new(&[0, 1]);
    let source = [192, 0, 2, 1].into();
    let query =
        Query { source, group: None, response_ms: 1000, timing: Some((10, 3)), of_sources: false, is_older: false };
    world.hear(remote(0), Saying::Query(query));
    world.hear(access(1), Saying::Wanted(GROUP));
    world.hear(remote(1), Saying::Wanted(GROUP));
    assert_eq!(world.places(GROUP), [access(1), remote(0), remote(1)]);
    world.at(20);
    world.hear(remote(0), Saying::Query(query));
    world.hear(remote(1), Saying::Wanted(GROUP));
    world.at(30);
    assert_eq!(world.places(GROUP), [access(1), remote(0), remote(1)]);
    world.at(32);
    assert_eq!(world.places(GROUP), [remote(0), remote(1)], "three intervals of ten seconds and one");
    assert_eq!(world.telemetry.memberships.get(), 1);
}

#[test]
fn who_leaves_is_believed_for_a_moment_and_stays_if_another_answers() {
    let mut world = World::new(&[]);
    world.query(access(0), None, 10_000);
    world.hear(access(1), Saying::Wanted(GROUP));
    world.hear(access(1), Saying::Unwanted(GROUP));
    world.hear(access(2), Saying::Unwanted(GROUP));
    world.at(1);
    assert_eq!(world.places(GROUP), [access(0), access(1)]);
    world.hear(access(1), Saying::Wanted(GROUP));
    world.at(10);
    assert_eq!(world.places(GROUP), [access(0), access(1)]);
    // A question about one group that nobody answers.
    world.query(access(0), Some(GROUP), 1000);
    world.at(13);
    assert_eq!(world.places(GROUP), [access(0)]);
}

#[test]
fn no_query_makes_memberships_shorter_than_true_answers_take() {
    let source = [192, 0, 2, 1].into();
    let forged =
        Query { source, group: None, response_ms: 0, timing: Some((1, 1)), of_sources: false, is_older: false };
    for group in [None, Some(GROUP)] {
        let mut world = World::new(&[]);
        world.query(access(0), None, 10_000);
        world.hear(access(0), Saying::Query(Query { group, ..forged }));
        world.hear(access(1), Saying::Wanted(GROUP));
        world.hear(access(0), Saying::Query(Query { group, ..forged }));
        let lasts = if group.is_some() { 2 } else { 20 };
        world.at(lasts - 1);
        assert_eq!(world.places(GROUP), [access(0), access(1)], "{group:?}");
        world.at(lasts + 1);
        assert!(!world.places(GROUP).contains(&access(1)), "{group:?}");
    }
}

/// RFC 3376, 5.2 and 6.6: only who wants one of these sources answers, and sources are not told apart here.
#[test]
fn a_question_about_sources_makes_nobody_forgotten_who_wants_others() {
    let mut world = World::new(&[]);
    world.query(access(0), None, 10_000);
    world.hear(access(1), Saying::Wanted(GROUP));
    let source = [192, 0, 2, 1].into();
    let about = Query {
        source,
        group: Some(GROUP),
        response_ms: 1000,
        timing: Some((125, 2)),
        of_sources: true,
        is_older: false,
    };
    world.hear(access(0), Saying::Query(about));
    world.at(100);
    assert_eq!(world.places(GROUP), [access(0), access(1)]);
    world.hear(access(0), Saying::Query(Query { of_sources: false, ..about }));
    world.at(103);
    assert_eq!(world.places(GROUP), [access(0)]);
}

#[test]
fn reports_go_to_routers_and_to_every_remote_vtep() {
    let mut world = World::new(&[0, 1]);
    world.query(access(0), None, 10_000);
    world.hear(access(2), Saying::Router { ipv6: false });
    let table = world.table();
    assert_eq!(table.of(GROUP).report_to[..], [access(0), access(2), remote(0), remote(1)]);
    assert_eq!(table.of(GROUP).routers_seen.iter().map(|seen| seen.1).collect::<Vec<_>>(), [true, false]);
    world.at(110);
    assert_eq!(world.places(OTHER), [access(0)], "a Hello is believed for 105 s");
}

#[test]
fn a_switch_that_asks_without_an_address_is_no_router() {
    let mut world = World::new(&[]);
    let source = Ipv4Addr::UNSPECIFIED.into();
    let query = Query { source, group: None, response_ms: 1000, timing: None, of_sources: false, is_older: true };
    world.hear(access(0), Saying::Query(query));
    assert!(world.table().of(GROUP).queried);
    assert_eq!(world.places(GROUP), []);
}

#[test]
fn remote_vteps_of_a_group_of_the_underlay_are_reached_by_it_and_others_by_themselves() {
    let mut world = World::new(&[0, 2]);
    world.query(access(0), None, 10_000);
    world.hear(remote(0), Saying::Wanted(GROUP));
    world.hear(remote(3), Saying::Wanted(OTHER));
    world.hear(remote(1), Saying::Wanted(OTHER));
    assert_eq!(world.places(GROUP), [access(0), remote(0)]);
    assert_eq!(world.places(OTHER), [access(0), remote(2)], "one packet for all of them");
}

#[test]
fn a_new_snapshot_keeps_what_is_known_as_far_as_it_has_the_places() {
    let mut world = World::new(&[0, 1]);
    world.query(access(0), None, 10_000);
    for place in [access(1), access(2), remote(0), remote(1)] {
        world.hear(place, Saying::Wanted(GROUP));
    }
    let mut after = snapshot(&[1]);
    after.domains[0].members = [MemberIndex(0), MemberIndex(2)].into();
    after.domains[0].sources = [TunnelIndex(1)].into();
    world.snooping.adopt(&mut after);
    world.snapshot = after;
    world.round();
    assert_eq!(world.places(GROUP), [access(0), access(2), remote(1)]);
    let mut without = snapshot(&[1]);
    without.domains[0].rules = None;
    assert_eq!(world.telemetry.memberships.get(), 4);
    world.snooping.adopt(&mut without);
    assert!(world.snooping.is_idle());
    assert_eq!(world.telemetry.memberships.get(), 0);
}

#[test]
fn a_crowd_of_memberships_makes_few_tables_and_a_single_one_does_not_wait() {
    let mut world = World::new(&[]);
    world.query(access(0), None, 10_000);
    let group = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0xef00_0000 + n));
    world.at(1);
    let (mut tables, mut last) = (0, world.table());
    for n in 0..200 {
        world.now += Duration::from_millis(1);
        world.snooping.hear(&Heard { bridge: BRIDGE, place: access(1), what: Saying::Wanted(group(n)) }, world.now);
        world.snooping.round(&world.snapshot, world.now);
        let table = world.table();
        assert!(n > 0 || table.of(GROUP).groups.contains_key(&group(0)), "the first one is there at once");
        tables += u32::from(!Arc::ptr_eq(&table, &last));
        last = table;
    }
    assert!((2..=11).contains(&tables), "{tables} tables in 200 ms");
    world.round();
    assert_eq!(world.table().of(GROUP).groups.len(), 200);
}

#[test]
fn a_bridge_that_is_full_again_after_it_was_well_says_so_again() {
    let mut world = World::new(&[]);
    world.query(access(0), None, 10_000);
    let group = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0xef00_0000 + n));
    let full = |world: &World| world.snooping.bridges[&BRIDGE].full_logged;
    for n in 0..=MOST_GROUPS as u32 {
        world.snooping.hear(&Heard { bridge: BRIDGE, place: access(1), what: Saying::Wanted(group(n)) }, world.now);
    }
    world.round();
    assert!(full(&world));
    world.at(300);
    assert!(!full(&world));
}

#[test]
fn beyond_the_bound_groups_are_refused_and_flooded_until_it_is_well_again() {
    let mut world = World::new(&[]);
    world.query(access(0), None, 10_000);
    let group = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0xef00_0000 + n));
    for n in 0..MOST_GROUPS as u32 + 5 {
        world.snooping.hear(&Heard { bridge: BRIDGE, place: access(1), what: Saying::Wanted(group(n)) }, world.now);
    }
    world.round();
    let table = world.table();
    assert_eq!((table.of(GROUP).groups.len(), table.of(GROUP).overflown), (MOST_GROUPS, true));
    assert_eq!(world.telemetry.memberships_refused.get(), 5);
    world.at(250);
    world.query(access(0), None, 10_000);
    world.at(261);
    let table = world.table();
    assert_eq!((table.of(GROUP).groups.len(), table.of(GROUP).overflown), (0, false));
}

#[test]
fn nobody_knows_where_in_the_table_a_group_is() {
    let order = || {
        let mut world = World::new(&[]);
        world.query(access(0), None, 10_000);
        (0..64).for_each(|last| world.hear(access(1), Saying::Wanted([239, 0, 0, last].into())));
        world.table().of(GROUP).groups.keys().copied().collect::<Vec<_>>()
    };
    assert_ne!(order(), order());
}

#[test]
fn a_table_that_a_worker_holds_is_not_freed_by_it() {
    let mut world = World::new(&[]);
    world.query(access(0), None, 10_000);
    let held = world.table();
    world.hear(access(1), Saying::Wanted(GROUP));
    world.round();
    assert!(Arc::strong_count(&held) > 1, "control has it, too");
    let held = Arc::downgrade(&{ held });
    world.round();
    assert_eq!(held.strong_count(), 0);
}

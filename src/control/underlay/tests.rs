//! Ways by a mirror and routes that are made up: what is asked for and when, and what follows without being asked.

use super::*;
use crate::netlink::{Event, Link, Neighbour, NeighbourState, NextHop, Prefix, Source};

const UPLINK: u32 = 2;
const OTHER: u32 = 3;
const REMOTE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn router(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn known(last: u8, state: u16, managed: bool) -> Neighbour {
    Neighbour { mac: Some(mac(last)), state: NeighbourState(state), managed, ..Neighbour::default() }
}

/// An underlay with one uplink and one remote VTEP, and the mirror it goes by.
struct Bench {
    underlay: Underlay,
    mirror: Mirror,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let uplinks = vec![Uplink { port: PortIndex(0), interface: "up0".to_owned() }];
        let mut bench = Self { underlay: Underlay::new(uplinks), mirror: Mirror::default(), now: Instant::now() };
        bench.link(UPLINK, "up0", true);
        bench.link(OTHER, "eth0", true);
        bench.underlay.set_remotes(&[REMOTE].into(), bench.now);
        bench
    }

    fn tell(&mut self, event: Event) {
        if let Some(change) = self.mirror.apply(event, Source::Event) {
            self.underlay.note(change, &self.mirror, self.now);
        }
    }

    fn link(&mut self, index: u32, name: &str, lower_up: bool) {
        let link = Link { index, name: name.to_owned(), mtu: 1500, up: true, lower_up, ..Link::default() };
        self.tell(Event::Link(Box::new(link)));
    }

    fn neighbour(&mut self, last: u8, state: u16, managed: bool) {
        let neighbour = Some(known(last, state, managed));
        self.tell(Event::Neighbour { link: UPLINK, address: router(last), neighbour });
    }

    /// Answers with a route of these routers on the uplink and weights.
    fn answer(&mut self, routers: &[(u8, u16)]) {
        while self.underlay.next_doubtful().is_some() {}
        let gateway =
            |(last, weight): &(u8, u16)| Gateway { link: UPLINK, address: Some(router(*last)), weight: *weight };
        let route = Route { gateways: routers.iter().map(gateway).collect(), ..Route::default() };
        self.underlay.answered(REMOTE, Some(route), &self.mirror);
    }

    /// The ways: last octet of the next hop, and weight.
    fn ways(&mut self) -> Vec<(u8, u32)> {
        self.underlay.settle(&self.mirror);
        let (_, ways) = self.underlay.ways().next().expect("there is one remote VTEP");
        ways.list.iter().map(|way| (way.mac.0[5], way.weight)).collect()
    }

    fn state(&mut self) -> RemoteState {
        self.underlay.settle(&self.mirror);
        self.underlay.state(REMOTE).expect("it is there")
    }
}

const REACHABLE: u16 = 0x02;
const FAILED: u16 = 0x20;
const PERMANENT: u16 = 0x80;

#[test]
fn a_link_or_neighbour_that_fails_takes_its_ways_without_a_question() {
    let mut bench = Bench::new();
    bench.neighbour(2, REACHABLE, true);
    bench.neighbour(3, REACHABLE, true);
    bench.answer(&[(2, 3), (3, 1)]);
    assert_eq!(bench.ways(), [(2, 3), (3, 1)]);
    bench.neighbour(2, FAILED, true);
    assert_eq!(bench.ways(), [(3, 1)]);
    bench.neighbour(2, REACHABLE, true);
    assert_eq!(bench.ways(), [(2, 3), (3, 1)]);
    bench.link(UPLINK, "up0", false);
    assert_eq!(bench.ways(), []);
    assert_eq!(bench.state(), RemoteState::LinkDown);
    bench.link(UPLINK, "up0", true);
    assert_eq!(bench.ways(), [(2, 3), (3, 1)]);
    bench.tell(Event::LinkGone(UPLINK));
    assert_eq!((bench.ways(), bench.state()), (vec![], RemoteState::NoUplink));
}

#[test]
fn the_state_is_that_of_the_way_that_comes_nearest() {
    let mut bench = Bench::new();
    assert_eq!(bench.state(), RemoteState::NoRoute);
    let elsewhere = Gateway { link: OTHER, address: Some(router(9)), weight: 1 };
    let unresolved = Gateway { link: UPLINK, address: Some(router(2)), weight: 1 };
    for (gateways, state) in [
        (vec![], RemoteState::NoRoute),
        (vec![elsewhere], RemoteState::NoUplink),
        (vec![elsewhere, unresolved], RemoteState::Unresolved),
    ] {
        bench.underlay.answered(REMOTE, Some(Route { gateways, ..Route::default() }), &bench.mirror);
        assert_eq!(bench.state(), state);
    }
    bench.neighbour(2, REACHABLE, false);
    assert_eq!(bench.state(), RemoteState::Reachable);
    assert_eq!(bench.underlay.states().iter().sum::<usize>(), 1);
}

#[test]
fn routes_are_asked_for_a_moment_after_the_last_change_and_in_time_if_changes_go_on() {
    let mut bench = Bench::new();
    bench.answer(&[]);
    let route = |prefix: [u8; 4], length| Event::Route(Prefix::new(prefix.into(), length));
    bench.tell(route([198, 51, 100, 0], 24));
    assert!(!bench.underlay.is_due(bench.now + QUIET), "that route is not for it");
    bench.tell(route([192, 0, 2, 0], 24));
    assert!(!bench.underlay.is_due(bench.now));
    assert!(bench.underlay.is_due(bench.now + QUIET));
    // A remote VTEP that is in doubt already makes no new doubt, so crowds of changes put nothing off for ever.
    let first = bench.now;
    for _ in 0..100 {
        bench.now += Duration::from_micros(100);
        bench.tell(route([0, 0, 0, 0], 0));
    }
    assert!(bench.underlay.is_due(first + AT_MOST));
    assert_eq!(bench.underlay.next_doubtful(), Some(REMOTE));
    assert_eq!(bench.underlay.next_doubtful(), None);
    assert!(!bench.underlay.is_due(bench.now + AT_MOST));
    bench.tell(Event::Rules);
    assert!(bench.underlay.is_due(bench.now + QUIET));
}

#[test]
fn a_route_that_is_only_a_number_goes_by_its_next_hop_objects() {
    let mut bench = Bench::new();
    bench.neighbour(2, PERMANENT, false);
    let object = |last| NextHop { link: Some(UPLINK), gateway: Some(router(last)), ..NextHop::default() };
    let told = |id, next_hop| Event::NextHop { id, next_hop: Some(next_hop) };
    bench.tell(told(1, object(2)));
    bench.tell(told(2, NextHop { blackhole: true, ..NextHop::default() }));
    bench.tell(told(10, NextHop { group: vec![(1, 5), (2, 1), (77, 1)], ..NextHop::default() }));
    let route = |next_hop| Some(Route { next_hop: Some(next_hop), ..Route::default() });
    bench.underlay.answered(REMOTE, route(10), &bench.mirror);
    assert_eq!(bench.ways(), [(2, 5)]);
    bench.underlay.answered(REMOTE, route(1), &bench.mirror);
    assert_eq!(bench.ways(), [(2, 1)]);
    // The object changes: of that the kernel tells nothing with the route.
    while bench.underlay.next_doubtful().is_some() {}
    bench.tell(told(1, object(3)));
    assert_eq!(bench.underlay.next_doubtful(), Some(REMOTE));
}

#[test]
fn two_gateways_that_are_one_neighbour_are_one_way() {
    let mut bench = Bench::new();
    bench.neighbour(2, REACHABLE, true);
    let six: IpAddr = "fe80::2".parse().expect("an address");
    let neighbour = Some(known(2, REACHABLE, true));
    bench.tell(Event::Neighbour { link: UPLINK, address: six, neighbour });
    let gateway = |address| Gateway { link: UPLINK, address: Some(address), weight: 2 };
    let route = Route { gateways: vec![gateway(router(2)), gateway(six)], mtu: Some(1400), ..Route::default() };
    bench.underlay.answered(REMOTE, Some(route), &bench.mirror);
    assert_eq!(bench.ways(), [(2, 4)]);
    let reach = bench.underlay.reach();
    assert_eq!(
        reach.get(&REMOTE).map(|(state, ways)| (*state, ways.list[0].mtu)),
        Some((RemoteState::Reachable, 1400))
    );
}

#[test]
fn flows_of_the_ways_that_stay_keep_their_slots() {
    let mut bench = Bench::new();
    for last in [2, 3, 4] {
        bench.neighbour(last, REACHABLE, true);
    }
    bench.answer(&[(2, 1), (3, 1), (4, 1)]);
    let by_mac = |bench: &mut Bench| {
        bench.underlay.settle(&bench.mirror);
        let (_, ways) = bench.underlay.ways().next().expect("there is one");
        ways.slots.iter().map(|slot| ways.list[*slot].mac).collect::<Vec<_>>()
    };
    let before = by_mac(&mut bench);
    bench.neighbour(2, FAILED, true);
    let after = by_mac(&mut bench);
    let moved = before.iter().zip(&after).filter(|(old, new)| **old != mac(2) && old != new).count();
    assert!(moved <= 2, "{moved} of {SLOTS} moved without need");
}

#[test]
fn next_hops_are_cared_for_until_nothing_goes_through_them() {
    let mut bench = Bench::new();
    bench.answer(&[(2, 1)]);
    let care = |bench: &mut Bench, seconds| {
        bench.now += Duration::from_secs(seconds);
        bench.underlay.care(&bench.mirror, bench.now)
    };
    let resolve = [Order::Resolve { link: UPLINK, address: router(2) }];
    assert_eq!(care(&mut bench, 0), resolve);
    assert_eq!(care(&mut bench, 0), [], "it was asked just now");
    assert_eq!(care(&mut bench, 1), resolve, "it does not answer");
    bench.neighbour(2, REACHABLE, true);
    assert_eq!(care(&mut bench, 5), [], "the kernel keeps it");
    // An old kernel does not: it is asked again and again.
    bench.neighbour(2, REACHABLE, false);
    assert_eq!(care(&mut bench, 5), resolve);
    bench.neighbour(2, PERMANENT, false);
    assert_eq!(care(&mut bench, 5), [], "somebody has said what it is");
    bench.neighbour(2, REACHABLE, true);
    bench.answer(&[]);
    assert_eq!(care(&mut bench, 0), [Order::Release { link: UPLINK, address: router(2) }]);
    assert_eq!(care(&mut bench, 5), []);
    assert_eq!(bench.underlay.releases(&bench.mirror), []);
    // One that somebody has said for good since then is not the gateway's to release.
    bench.neighbour(2, FAILED, false);
    bench.answer(&[(2, 1)]);
    assert_eq!(care(&mut bench, 0), resolve);
    assert_eq!(bench.underlay.releases(&bench.mirror), [Order::Release { link: UPLINK, address: router(2) }]);
    bench.neighbour(2, PERMANENT, false);
    assert_eq!(bench.underlay.releases(&bench.mirror), []);
    bench.answer(&[]);
    assert_eq!(care(&mut bench, 0), []);
    // So is one of which the kernel has not said yet that it keeps it, or did and was not heard.
    bench.neighbour(2, FAILED, false);
    bench.answer(&[(2, 1)]);
    assert_eq!(care(&mut bench, 0), resolve);
    bench.answer(&[]);
    assert_eq!(care(&mut bench, 0), [Order::Release { link: UPLINK, address: router(2) }]);
}

//! Which device is adopted, and what of it is taken.

use super::rounds::ROUND;
use super::*;
use crate::netlink::{Event, Link, NextHop, Origin, Source, Vxlan};

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn config() -> Config {
    let text = "[vtep]\naddress = \"192.0.2.1\"\n[workers]\ncores = [0]\n\
                [[port]]\nname = \"trunk0\"\ndevice = \"net_null1\"\nrole = \"access\"\n\
                [[port]]\nname = \"up0\"\ndevice = \"net_null0\"\nrole = \"uplink\"\n\
                [[bridge]]\nvni = 100\nvlan = 100\nports = [\"trunk0\"]\ncontrol = \"kernel\"\n\
                [[bridge]]\nvni = 200\nvlan = 200\nports = [\"trunk0\"]\n";
    Config::parse("adoption.toml", text).map_err(|wrong| wrong.render(false)).expect("it is valid").config
}

fn vni(number: u32) -> Vni {
    Vni::new(number).expect("24 bits")
}

/// An adoption for [`config`], and the mirror it goes by.
struct Bench {
    adoption: Adoption,
    mirror: Mirror,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self { adoption: Adoption::new(), mirror: Mirror::default(), now: Instant::now() };
        bench.adoption.set_bridges(&config(), &bench.mirror, bench.now);
        bench
    }

    fn tell(&mut self, event: Event) {
        if let Some(change) = self.mirror.apply(event, Source::Event) {
            self.adoption.note(change, &self.mirror, self.now);
        }
        self.adoption.settle(&self.mirror, self.now);
    }

    fn device(&mut self, index: u32, vxlan: Vxlan) {
        self.tell(Event::Link(Box::new(Link { index, vxlan: Some(vxlan), ..Link::default() })));
    }

    fn entry(&mut self, device: u32, mac: MacAddr, destination: Destination, present: bool) {
        let origin = present.then_some(Origin { state: 0x02, flags: 0x12 });
        self.tell(Event::Tunnelled { device, mac, destination, origin });
    }

    fn remote(&self) -> Option<IpAddr> {
        self.adoption.station(vni(100), STATION).map(|station| station.remote)
    }

    fn said(&self) -> KernelBridge {
        self.adoption.said().get(&vni(100)).cloned().unwrap_or_default()
    }
}

fn remote(last: u8) -> Destination {
    Destination::remote([192, 0, 2, last].into())
}

const PLAIN: Vxlan = Vxlan { vni: 100, port: 4789, local: None, group: None, learning: false, external: false };

#[test]
fn of_several_devices_the_one_with_the_gateways_address_and_port_is_adopted() {
    let mut bench = Bench::new();
    bench.device(7, Vxlan { external: true, ..PLAIN });
    bench.entry(7, STATION, remote(7), true);
    assert_eq!(bench.remote(), None, "one for all VNIs has none of its own");
    bench.device(8, Vxlan { port: 8472, ..PLAIN });
    bench.entry(8, STATION, remote(8), true);
    assert_eq!(bench.remote(), Some([192, 0, 2, 8].into()));
    bench.device(9, PLAIN);
    bench.entry(9, STATION, remote(9), true);
    assert_eq!(bench.remote(), Some([192, 0, 2, 9].into()));
    bench.device(10, Vxlan { local: Some([192, 0, 2, 1].into()), ..PLAIN });
    assert_eq!(bench.remote(), None, "it has nothing");
    bench.entry(10, STATION, remote(10), true);
    assert_eq!(bench.remote(), Some([192, 0, 2, 10].into()));
    bench.tell(Event::LinkGone(10));
    assert_eq!(bench.remote(), Some([192, 0, 2, 9].into()));
    bench.device(11, Vxlan { vni: 200, ..PLAIN });
    bench.entry(11, STATION, remote(11), true);
    assert_eq!(bench.adoption.station_count(), 1, "bridge 200 is not the kernel's");
}

#[test]
fn what_the_gateway_cannot_send_to_is_left_out() {
    let mut bench = Bench::new();
    bench.device(9, PLAIN);
    let address: IpAddr = [192, 0, 2, 2].into();
    let full = |port, vni| Destination::Remote { address, port, vni, link: None };
    for (destination, taken) in [
        (full(Some(8472), None), false),
        (full(None, Some(101)), false),
        (full(Some(4789), Some(100)), true),
        (Destination::remote("2001:db8::2".parse().expect("an address")), false),
        (remote(1), false),
        (Destination::remote([239, 0, 0, 1].into()), false),
        (Destination::NextHop(77), false),
        (remote(2), true),
    ] {
        bench.entry(9, STATION, destination, true);
        assert_eq!(bench.remote().is_some(), taken, "{destination:?}");
        bench.entry(9, MacAddr::ZERO, destination, true);
        assert_eq!(bench.said().flood_list.contains(&address), taken, "{destination:?} in the flood list");
        bench.entry(9, MacAddr::ZERO, destination, false);
    }
}

#[test]
fn a_remote_vtep_may_send_as_long_as_it_has_a_station() {
    let mut bench = Bench::new();
    bench.device(9, PLAIN);
    let other = MacAddr([2, 0, 0, 0, 0, 2]);
    bench.entry(9, STATION, remote(2), true);
    bench.entry(9, other, remote(2), true);
    assert_eq!(bench.said().sources.len(), 1);
    bench.entry(9, STATION, remote(3), true);
    assert_eq!(bench.said().sources.len(), 2);
    bench.entry(9, other, remote(2), false);
    assert_eq!(bench.said().sources, [IpAddr::from([192, 0, 2, 3])].into());
    let due: Vec<MacAddr> = std::iter::from_fn(|| bench.adoption.next_due()).map(|due| due.mac).collect();
    assert_eq!(due, [STATION, other], "each once, however often it changed");
    // One snapshot for all of it, not before it is quiet, and not while the last one has cost too much.
    let (long_ago, cheap) = (bench.now, Duration::ZERO);
    assert!(!bench.adoption.take_shape_change(bench.now, (long_ago, cheap)));
    let later = bench.now + QUIET;
    assert!(!bench.adoption.take_shape_change(later, (later, QUIET)));
    assert!(bench.adoption.take_shape_change(later, (long_ago, cheap)));
    assert!(!bench.adoption.take_shape_change(later + AT_MOST, (long_ago, cheap)));
}

#[test]
fn stations_of_a_group_spread_over_its_members_and_may_be_heard_from_all() {
    let mut bench = Bench::new();
    bench.device(9, PLAIN);
    let object = |last: u8| NextHop { gateway: Some([192, 0, 2, last].into()), ..NextHop::default() };
    let group = |members: &[u32]| NextHop { group: members.iter().map(|id| (*id, 1)).collect(), ..NextHop::default() };
    for (id, next_hop) in [(2, object(2)), (3, object(3)), (10, group(&[2, 3]))] {
        bench.tell(Event::NextHop { id, next_hop: Some(next_hop) });
    }
    for last in 1..=10 {
        bench.entry(9, MacAddr([2, 0, 0, 0, 0, last]), Destination::NextHop(10), true);
    }
    let behind = |bench: &Bench, vtep: u8| {
        let stations = (1..=10).filter_map(|last| bench.adoption.station(vni(100), MacAddr([2, 0, 0, 0, 0, last])));
        stations.filter(|station| station.remote == IpAddr::from([192, 0, 2, vtep])).count()
    };
    assert_eq!((behind(&bench, 2), behind(&bench, 3)), (5, 5));
    let both = [2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
    assert_eq!(bench.said().sources, both.into());
    // A member leaves: all are behind the other, and nothing is taken from the first any more.
    bench.tell(Event::NextHop { id: 10, next_hop: Some(group(&[3])) });
    assert_eq!((behind(&bench, 2), behind(&bench, 3)), (0, 10));
    assert_eq!(bench.said().sources, [both[1]].into());
}

#[test]
fn a_next_hop_that_only_routes_use_has_no_station_looked_at_again() {
    let mut bench = Bench::new();
    bench.device(9, PLAIN);
    let object = |last: u8| NextHop { gateway: Some([192, 0, 2, last].into()), ..NextHop::default() };
    let group = NextHop { group: vec![(2, 1), (3, 1)], ..NextHop::default() };
    // Whether a change of the object has a station looked at.
    let matters = |bench: &mut Bench, id: u32, next_hop: NextHop| {
        let change = bench.mirror.apply(Event::NextHop { id, next_hop: Some(next_hop) }, Source::Event);
        bench.adoption.note(change.expect("it is another"), &bench.mirror, bench.now);
        let matters = !bench.adoption.rerouted.is_empty();
        bench.adoption.settle(&bench.mirror, bench.now);
        matters
    };
    assert!(
        !matters(&mut bench, 2, object(2)) && !matters(&mut bench, 3, object(3)) && !matters(&mut bench, 10, group)
    );
    bench.entry(9, STATION, remote(2), true);
    assert!(!matters(&mut bench, 2, object(4)), "nothing goes by it");
    bench.entry(9, STATION, Destination::NextHop(10), true);
    assert!(matters(&mut bench, 2, object(5)), "it is in the station's group");
    assert!(matters(&mut bench, 10, NextHop { group: vec![(2, 1)], ..NextHop::default() }));
    assert!(!matters(&mut bench, 3, object(6)), "it has left the group");
    assert_eq!(bench.remote(), Some([192, 0, 2, 5].into()));
    bench.entry(9, STATION, remote(2), true);
    assert!(!matters(&mut bench, 10, NextHop { group: vec![(3, 1)], ..NextHop::default() }));
    bench.entry(9, MacAddr::ZERO, Destination::NextHop(2), true);
    bench.entry(9, MacAddr::ZERO, Destination::NextHop(2), true);
    assert!(matters(&mut bench, 2, object(7)));
    // With the device goes what it had.
    bench.tell(Event::LinkGone(9));
    assert!(!matters(&mut bench, 2, object(8)));
    // So it does where a resync does not meet it.
    bench.device(9, PLAIN);
    bench.entry(9, STATION, Destination::NextHop(2), true);
    assert!(matters(&mut bench, 2, object(9)));
    for _ in 0..2 {
        assert!(matters(&mut bench, 2, object(3)) || matters(&mut bench, 2, object(4)));
        bench.mirror.begin_resync();
        bench.device(9, Vxlan { learning: true, ..PLAIN });
        bench.mirror.end_resync();
    }
    assert!(!matters(&mut bench, 2, object(2)));
}

#[test]
fn however_many_stations_go_by_a_next_hop_that_changes_a_round_looks_at_some_of_them() {
    let mut bench = Bench::new();
    bench.device(9, PLAIN);
    let object = |last: u8| NextHop { gateway: Some([192, 0, 2, last].into()), ..NextHop::default() };
    bench.tell(Event::NextHop { id: 2, next_hop: Some(object(2)) });
    let count = 2 * ROUND + 7;
    let station = |number: usize| MacAddr::from_u64(0x0200_0000_0000 | number as u64);
    (0..count).for_each(|number| bench.entry(9, station(number), Destination::NextHop(2), true));
    let behind = |bench: &Bench, last: u8| {
        let stations = (0..count).filter_map(|number| bench.adoption.station(vni(100), station(number)));
        stations.filter(|station| station.remote == IpAddr::from([192, 0, 2, last])).count()
    };
    assert_eq!(behind(&bench, 2), count);
    bench.tell(Event::NextHop { id: 2, next_hop: Some(object(3)) });
    assert_eq!((behind(&bench, 2), behind(&bench, 3)), (count - ROUND, ROUND));
    assert!(bench.adoption.settle(&bench.mirror, bench.now), "there are more");
    // It changes once more meanwhile: all are looked at again.
    bench.tell(Event::NextHop { id: 2, next_hop: Some(object(4)) });
    while bench.adoption.settle(&bench.mirror, bench.now) {}
    assert_eq!(behind(&bench, 4), count);
    // A group of it changes with it.
    bench.tell(Event::NextHop { id: 10, next_hop: Some(NextHop { group: vec![(2, 1)], ..NextHop::default() }) });
    bench.entry(9, station(0), Destination::NextHop(10), true);
    bench.tell(Event::NextHop { id: 2, next_hop: Some(object(5)) });
    while bench.adoption.settle(&bench.mirror, bench.now) {}
    assert_eq!(behind(&bench, 5), count);
}

#[test]
fn however_many_stations_are_repeated_a_round_repeats_some_of_them() {
    let mut bench = Bench::new();
    bench.device(9, PLAIN);
    let count = ROUND + 7;
    let station = |number: usize| MacAddr::from_u64(0x0200_0000_0000 | number as u64);
    (0..count).for_each(|number| bench.entry(9, station(number), remote(2), true));
    while bench.adoption.next_due().is_some() {}
    bench.adoption.repeat();
    assert!(bench.adoption.settle(&bench.mirror, bench.now), "there are more");
    assert_eq!(bench.adoption.waiting(), ROUND);
    assert!(!bench.adoption.settle(&bench.mirror, bench.now));
    let due: BTreeSet<MacAddr> = std::iter::from_fn(|| bench.adoption.next_due()).map(|due| due.mac).collect();
    assert_eq!(due.len(), count);
}

#[test]
fn stations_that_wait_for_a_snapshot_wait_once_however_often_all_are_repeated() {
    let mut bench = Bench::new();
    bench.device(9, PLAIN);
    for last in 1..=10 {
        bench.entry(9, MacAddr([2, 0, 0, 0, 0, last]), remote(2), true);
    }
    for _ in 0..5 {
        bench.adoption.repeat();
        assert!(!bench.adoption.settle(&bench.mirror, bench.now), "ten are few");
        for _ in 0..bench.adoption.waiting() {
            let due = bench.adoption.next_due().expect("it waits");
            assert!(due.news, "that it was put off makes it no older");
            bench.adoption.put_off(due);
        }
        assert_eq!(bench.adoption.waiting(), 10);
    }
    assert_eq!(bench.adoption.station_count_of(vni(100)), 10);
    bench.entry(9, STATION, remote(2), false);
    assert_eq!((bench.adoption.station_count_of(vni(100)), bench.adoption.waiting()), (9, 10));
}

#[test]
fn a_config_without_the_bridge_lets_go_of_all_it_had() {
    let mut bench = Bench::new();
    bench.device(9, PLAIN);
    bench.entry(9, STATION, remote(2), true);
    bench.entry(9, MacAddr::ZERO, remote(2), true);
    let mut without = config();
    without.bridges.remove(0);
    bench.adoption.set_bridges(&without, &bench.mirror, bench.now);
    assert_eq!((bench.remote(), bench.said()), (None, KernelBridge::default()));
    bench.adoption.set_bridges(&config(), &bench.mirror, bench.now);
    assert_eq!(bench.remote(), Some([192, 0, 2, 2].into()));
    assert_eq!(bench.said().flood_list.len(), 1);
}

#[test]
fn the_group_of_a_device_is_taken_with_the_uplinks_that_it_goes_out_of() {
    let mut bench = Bench::new();
    for (index, name) in [(3, "up0"), (4, "eth7")] {
        bench.tell(Event::Link(Box::new(Link { index, name: name.to_owned(), ..Link::default() })));
    }
    bench.device(9, PLAIN);
    let by = |last, link| Destination::Remote { address: [239, 1, 1, last].into(), port: None, vni: None, link };
    let group = |bench: &Bench| bench.said().group.map(|group| (group.address, group.ports));
    let taken = |last: u8| Some((IpAddr::from([239, 1, 1, last]), vec![PortIndex(1)]));
    bench.entry(9, MacAddr::ZERO, by(1, Some(4)), true);
    assert_eq!(group(&bench), None, "eth7 is no uplink");
    bench.entry(9, MacAddr::ZERO, by(3, Some(3)), true);
    assert_eq!(group(&bench), taken(3));
    bench.entry(9, MacAddr::ZERO, by(2, None), true);
    assert_eq!(group(&bench), taken(2), "of two the lower one, by all uplinks");
    assert!(bench.said().flood_list.is_empty() && bench.said().sources.is_empty());
    bench.entry(9, MacAddr::ZERO, by(2, None), false);
    bench.entry(9, MacAddr::ZERO, by(3, Some(3)), false);
    assert_eq!(group(&bench), None);
    bench.entry(9, MacAddr::ZERO, Destination::remote("ff05::1".parse().expect("an address")), true);
    assert_eq!(group(&bench), None, "of the other family");
}

//! What both halves of the FDB mean, row by row, and what goes with a link.

use super::*;
use crate::netlink::event::NeighbourState;
use crate::netlink::link::Vxlan;

const BRIDGE: u32 = 10;
const DEVICE: u32 = 11;
const ACCESS: u32 = 12;
const OTHER_DEVICE: u32 = 13;
const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn vxlan(index: u32, master: Option<u32>) -> Event {
    let vxlan = Some(Vxlan { vni: index, port: 4789, ..Vxlan::default() });
    Event::Link(Box::new(Link { index, master, vxlan, ..Link::default() }))
}

fn port(index: u32) -> Event {
    Event::Link(Box::new(Link { index, master: Some(BRIDGE), ..Link::default() }))
}

fn remote(last: u8) -> Destination {
    Destination::remote([192, 0, 2, last].into())
}

/// An entry of the device's half, as FRR makes it.
fn own(mac: MacAddr, destination: Destination) -> Event {
    Event::Tunnelled { device: DEVICE, mac, destination, origin: Some(Origin { state: 0x02, flags: 0x12 }) }
}

/// An entry of the bridge's half.
fn bridged(port: u32, state: u16) -> Event {
    let place = Some(Bridged { port, origin: Origin { state, flags: 0x10 } });
    Event::Bridged { bridge: BRIDGE, mac: STATION, vlan: 0, place }
}

fn mirror(events: impl IntoIterator<Item = Event>) -> Mirror {
    let mut mirror = Mirror::default();
    for event in events {
        mirror.apply(event, Source::Event);
    }
    mirror
}

#[test]
fn the_two_halves_mean_what_the_kernel_would_do_with_them() {
    let reachable = 0x02;
    let enslaved = || vec![vxlan(DEVICE, Some(BRIDGE)), port(ACCESS), vxlan(OTHER_DEVICE, Some(BRIDGE))];
    let with = |events: Vec<Event>| mirror(enslaved().into_iter().chain(events)).place(DEVICE, STATION);
    let alone = mirror([vxlan(DEVICE, None), own(STATION, remote(1))]);
    assert_eq!(alone.place(DEVICE, STATION), Place::Remote(remote(1)), "no bridge: the device's half");
    for (what, events, place) in [
        ("nobody knows it", vec![], Place::Unknown),
        ("behind a port", vec![bridged(ACCESS, reachable)], Place::Local { port: ACCESS }),
        (
            "behind a port, and the device has an old entry",
            vec![own(STATION, remote(1)), bridged(ACCESS, reachable)],
            Place::Local { port: ACCESS },
        ),
        ("both halves", vec![bridged(DEVICE, reachable), own(STATION, remote(1))], Place::Remote(remote(1))),
        ("the bridge's half alone", vec![bridged(DEVICE, reachable)], Place::Flooded),
        ("the device's half alone", vec![own(STATION, remote(1))], Place::Remote(remote(1))),
        ("behind another device", vec![bridged(OTHER_DEVICE, reachable)], Place::Unknown),
        ("the address of a port", vec![bridged(ACCESS, 0x80)], Place::Unknown),
        (
            "replaced without a deletion",
            vec![own(STATION, remote(1)), own(STATION, remote(2))],
            Place::Remote(remote(2)),
        ),
    ] {
        assert_eq!(with(events), place, "{what}");
    }
}

#[test]
fn the_flood_list_has_every_destination_and_a_station_one() {
    let mut mirror = mirror([vxlan(DEVICE, None)]);
    for last in [1, 2, 3] {
        assert_eq!(
            mirror.apply(own(MacAddr::ZERO, remote(last)), Source::Event),
            Some(Change::Tunnelled(DEVICE, MacAddr::ZERO))
        );
        mirror.apply(own(STATION, remote(last)), Source::Event);
    }
    assert_eq!(mirror.apply(own(MacAddr::ZERO, remote(2)), Source::Event), None, "it is no news");
    let gone = Event::Tunnelled { device: DEVICE, mac: MacAddr::ZERO, destination: remote(2), origin: None };
    assert!(mirror.apply(gone, Source::Event).is_some());
    assert_eq!(mirror.flood_list(DEVICE).collect::<Vec<_>>(), [remote(1), remote(3)]);
    assert_eq!(mirror.place(DEVICE, STATION), Place::Remote(remote(3)));
    assert_eq!((mirror.entries().floods, mirror.entries().tunnelled), (2, 1));
}

#[test]
fn with_a_link_goes_all_that_was_on_it_and_nothing_else() {
    let neighbour = |link| Event::Neighbour {
        link,
        address: [10, 0, 0, 1].into(),
        neighbour: Some(Neighbour { mac: Some(STATION), state: NeighbourState(0x02), ..Neighbour::default() }),
    };
    let address = |link| Event::Address { link, address: [10, 0, 0, 9].into(), present: true };
    let events = [vxlan(DEVICE, None), port(ACCESS), own(STATION, remote(1)), own(MacAddr::ZERO, remote(1))];
    let more = [neighbour(DEVICE), neighbour(ACCESS), address(DEVICE), address(ACCESS)];
    let mut mirror = mirror(events.into_iter().chain(more));
    assert_eq!(mirror.apply(Event::LinkGone(DEVICE), Source::Event), Some(Change::Link(DEVICE)));
    let left = Entries { links: 1, neighbours: 1, addresses: 1, ..Entries::default() };
    assert_eq!(mirror.entries(), left);
    assert!(mirror.is_local([10, 0, 0, 9].into()));
    assert_eq!(mirror.apply(Event::LinkGone(DEVICE), Source::Event), None);
}

#[test]
fn a_resync_sweeps_what_is_gone_and_says_so() {
    let mut mirror =
        mirror([vxlan(DEVICE, None), port(ACCESS), own(STATION, remote(1)), own(MacAddr::ZERO, remote(1))]);
    let mut resync = || {
        mirror.begin_resync();
        assert_eq!(mirror.apply(vxlan(DEVICE, None), Source::Dump), None);
        assert_eq!(mirror.apply(own(MacAddr::ZERO, remote(1)), Source::Dump), None);
        let Resynced { changes, in_doubt } = mirror.end_resync();
        (changes, in_doubt)
    };
    assert_eq!(resync(), (vec![Change::Link(ACCESS)], 1), "a dump of an FDB may leave out what is there");
    assert_eq!(resync(), (vec![Change::Tunnelled(DEVICE, STATION)], 0));
    assert_eq!(resync(), (vec![], 0));
    assert_eq!(mirror.flood_list(DEVICE).count(), 1);
    assert!(mirror.link(ACCESS).is_none());
}

#[test]
fn a_dump_that_was_under_way_when_its_link_went_brings_nothing_back() {
    let mut mirror = mirror([vxlan(DEVICE, None), own(STATION, remote(1))]);
    mirror.begin_resync();
    assert_eq!(mirror.apply(vxlan(DEVICE, None), Source::Dump), None);
    assert_eq!(mirror.apply(Event::LinkGone(DEVICE), Source::Event), Some(Change::Link(DEVICE)));
    for entry in [own(STATION, remote(1)), own(MacAddr::ZERO, remote(1)), vxlan(DEVICE, None)] {
        assert_eq!(mirror.apply(entry, Source::Dump), None);
    }
    assert_eq!(mirror.end_resync().changes, []);
    assert_eq!(mirror.entries(), Entries::default());
    // The kernel gives the index to another link.
    mirror.begin_resync();
    assert!(mirror.apply(Event::LinkGone(DEVICE), Source::Event).is_none());
    assert!(mirror.apply(vxlan(DEVICE, None), Source::Event).is_some());
    assert!(mirror.apply(own(STATION, remote(1)), Source::Dump).is_some());
    assert_eq!(mirror.end_resync().in_doubt, 0);
    assert_eq!(mirror.entries().tunnelled, 1);
}

#[test]
fn a_resync_that_is_given_up_sweeps_nothing() {
    let mut mirror = mirror([vxlan(DEVICE, None), own(STATION, remote(1))]);
    mirror.begin_resync();
    mirror.abandon_resync();
    assert_eq!(mirror.place(DEVICE, STATION), Place::Remote(remote(1)));
}

//! What the kernel is told, by a mirror that is made up.

use std::time::Duration;

use super::*;
use crate::netlink::{Bridged, Destination, Event, Link, Neighbour, NeighbourState, Origin, PROTOCOL, Source};

const BRIDGE: u32 = 10;
const DEVICE: u32 = 11;
const PORT: u32 = 12;
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SHADOW: Shadow = Shadow { bridge: BRIDGE, device: DEVICE, port: Some(PORT) };

fn vni() -> Vni {
    Vni::new(100).expect("24 bits")
}

fn ip() -> IpAddr {
    [10, 1, 0, 1].into()
}

struct Bench {
    publisher: Publisher,
    mirror: Mirror,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let (mut publisher, mirror) = (Publisher::default(), Mirror::default());
        publisher.set_shadows([(vni(), SHADOW)].into(), &mirror);
        Self { publisher, mirror, now: Instant::now() }
    }

    fn tell(&mut self, event: Event) {
        if let Some(change) = self.mirror.apply(event, Source::Event) {
            self.publisher.note(change, &self.mirror);
        }
    }

    /// The kernel's bridge has the station behind a port, or not at all.
    fn bridged(&mut self, port: Option<u32>) {
        self.bridged_as(port, Origin { state: 0x02, flags: 0x10 });
    }

    fn bridged_as(&mut self, port: Option<u32>, origin: Origin) {
        let place = port.map(|port| Bridged { port, origin });
        self.tell(Event::Bridged { bridge: BRIDGE, mac: MAC, vlan: 0, place });
    }

    fn tunnelled(&mut self, present: bool) {
        let origin = present.then_some(Origin { state: 0x02, flags: 0x12 });
        let destination = Destination::remote([192, 0, 2, 2].into());
        self.tell(Event::Tunnelled { device: DEVICE, mac: MAC, destination, origin });
    }

    fn neighbour(&mut self, neighbour: Option<Neighbour>) {
        self.tell(Event::Neighbour { link: BRIDGE, address: ip(), neighbour });
    }

    fn orders(&mut self) -> Vec<Order> {
        self.publisher.orders(100, &self.mirror, self.now)
    }

    /// Orders that are carried out, but for the kernel's messages about them.
    fn carried_out(&mut self) -> Vec<Order> {
        let orders = self.orders();
        for order in &orders {
            self.publisher.done(&Outcome { order: order.clone(), result: Ok(()) }, self.now);
        }
        orders
    }

    /// A station that the kernel was told.
    fn published(mut self) -> Self {
        self.publisher.station_came(vni(), MAC, false);
        assert_eq!(self.carried_out(), [put()]);
        self.bridged(Some(PORT));
        assert_eq!(self.carried_out(), []);
        self
    }
}

fn put() -> Order {
    Order::PutStation { port: PORT, mac: MAC, sticky: false }
}

fn take() -> Order {
    Order::TakeStation { port: PORT, mac: MAC }
}

fn bind() -> Order {
    Order::PutNeighbour { link: BRIDGE, address: ip(), mac: MAC, router: false }
}

fn unbind() -> Order {
    Order::TakeNeighbour { link: BRIDGE, address: ip() }
}

fn ours() -> Option<Neighbour> {
    Some(Neighbour { mac: Some(MAC), state: NeighbourState(0x80), protocol: PROTOCOL, ..Neighbour::default() })
}

fn zebras(last: u8) -> Option<Neighbour> {
    let mac = Some(MacAddr([2, 0, 0, 0, 0, last]));
    Some(Neighbour { mac, state: NeighbourState(0x40), external: true, protocol: 11, ..Neighbour::default() })
}

#[test]
fn a_station_is_told_once_and_taken_back_when_it_goes() {
    let mut bench = Bench::new().published();
    assert_eq!(bench.publisher.station_count(), 1);
    bench.publisher.station_went(vni(), MAC);
    assert_eq!(bench.carried_out(), [take()]);
    bench.bridged(None);
    assert_eq!((bench.carried_out(), bench.publisher.station_count()), (vec![], 0));
    assert_eq!(bench.publisher.take_told(), Told { published: 1, withdrawn: 1, failed: 0 });
}

#[test]
fn a_static_station_is_told_as_one_that_does_not_move_and_what_becomes_of_it() {
    let sticky = Origin { state: 0x40, flags: 0x40 };
    // It was learned, then an operator makes it static.
    let mut bench = Bench::new().published();
    bench.publisher.station_came(vni(), MAC, true);
    assert_eq!(bench.carried_out(), [Order::PutStation { port: PORT, mac: MAC, sticky: true }]);
    bench.bridged_as(Some(PORT), sticky);
    assert_eq!((bench.carried_out(), bench.publisher.station_count()), (vec![], 1));
    // A kernel that does not know the flag is not told over and over.
    bench.bridged(Some(PORT));
    assert_eq!((bench.carried_out(), bench.publisher.station_count()), (vec![], 1));
    bench.bridged_as(Some(PORT), sticky);
    // It is static no more, and heard again at once. The kernel takes the flag away with the entry alone.
    bench.publisher.station_went(vni(), MAC);
    bench.publisher.station_came(vni(), MAC, false);
    assert_eq!(bench.carried_out(), [take()]);
    bench.bridged(None);
    assert_eq!(bench.carried_out(), [put()]);
    bench.bridged(Some(PORT));
    assert_eq!((bench.carried_out(), bench.publisher.station_count()), (vec![], 1));
    // A port that was made anew is told the same.
    bench.publisher.station_came(vni(), MAC, true);
    assert_eq!(bench.carried_out(), [Order::PutStation { port: PORT, mac: MAC, sticky: true }]);
    bench.bridged(None);
    bench.publisher.set_shadows([(vni(), Shadow { port: Some(20), ..SHADOW })].into(), &bench.mirror);
    assert_eq!(bench.carried_out(), [Order::PutStation { port: 20, mac: MAC, sticky: true }]);
}

#[test]
fn a_station_waits_for_its_port() {
    let mut bench = Bench::new();
    bench.publisher.set_shadows([(vni(), Shadow { port: None, ..SHADOW })].into(), &bench.mirror);
    bench.publisher.station_came(vni(), MAC, false);
    bench.bridged(Some(DEVICE));
    assert_eq!(bench.carried_out(), []);
    bench.publisher.set_shadows([(vni(), SHADOW)].into(), &bench.mirror);
    assert_eq!(bench.carried_out(), [put()], "it is news yet, also to who has it elsewhere");
}

#[test]
fn a_station_that_is_heard_here_is_taken_over_from_a_remote_vtep() {
    let mut bench = Bench::new();
    bench.bridged(Some(DEVICE));
    bench.tunnelled(true);
    assert_eq!(bench.carried_out(), []);
    bench.publisher.station_came(vni(), MAC, false);
    let destination = Destination::remote([192, 0, 2, 2].into());
    assert_eq!(bench.carried_out(), [put(), Order::TakeRemote { device: DEVICE, mac: MAC, destination }]);
}

#[test]
fn what_the_kernel_has_moved_away_is_not_fought_for() {
    let mut bench = Bench::new().published();
    bench.bridged(Some(DEVICE));
    assert_eq!((bench.carried_out(), bench.publisher.station_count()), (vec![], 0), "a static one stays known");
    bench.publisher.station_went(vni(), MAC);
    assert_eq!(bench.carried_out(), [], "what is behind a remote VTEP is not taken away");
    bench.publisher.station_came(vni(), MAC, false);
    assert_eq!(bench.carried_out(), [put()], "it is heard again");
}

#[test]
fn an_order_under_way_is_not_repeated_by_what_the_mirror_had_before() {
    let mut bench = Bench::new();
    bench.publisher.station_came(vni(), MAC, false);
    assert_eq!(bench.orders(), [put()]);
    bench.publisher.station_came(vni(), MAC, false);
    assert_eq!(bench.orders(), []);
    bench.publisher.done(&Outcome { order: put(), result: Ok(()) }, bench.now);
    assert_eq!(bench.orders(), [], "the message is under way");
    // Zebra moves it to a remote VTEP before the gateway has read anything.
    bench.bridged(Some(PORT));
    bench.bridged(Some(DEVICE));
    assert_eq!(bench.orders(), []);
}

#[test]
fn a_port_that_was_made_anew_is_told_all_but_what_is_elsewhere() {
    let mut bench = Bench::new().published();
    bench.bridged(None);
    bench.publisher.set_shadows([(vni(), Shadow { port: Some(20), ..SHADOW })].into(), &bench.mirror);
    assert_eq!(bench.carried_out(), [Order::PutStation { port: 20, mac: MAC, sticky: false }]);
    bench.bridged(Some(DEVICE));
    bench.publisher.set_shadows([(vni(), Shadow { port: Some(21), ..SHADOW })].into(), &bench.mirror);
    assert_eq!(bench.carried_out(), []);
}

#[test]
fn what_somebody_has_deleted_is_told_again() {
    let mut bench = Bench::new().published();
    bench.bridged(None);
    assert_eq!(bench.carried_out(), [put()]);
}

#[test]
fn what_the_kernel_refuses_is_tried_a_few_times() {
    let mut bench = Bench::new();
    bench.publisher.station_came(vni(), MAC, false);
    let mut tries = 0;
    for _ in 0..20 {
        for order in bench.orders() {
            tries += 1;
            bench.publisher.done(&Outcome { order, result: Err(Errno::ENOMEM) }, bench.now);
        }
        bench.now += Duration::from_secs(1);
    }
    assert_eq!(tries, TRIES);
    assert_eq!(bench.publisher.take_told().failed, u64::from(TRIES));
    bench.publisher.station_came(vni(), MAC, false);
    assert_eq!(bench.carried_out(), [put()], "it is heard anew");
}

#[test]
fn an_address_is_told_as_long_as_its_station_is() {
    let mut bench = Bench::new();
    bench.publisher.bind(vni(), ip(), MAC, false);
    assert_eq!(bench.carried_out(), [], "its station is not known");
    let mut bench = bench.published_with(bind());
    bench.neighbour(ours());
    assert_eq!((bench.carried_out(), bench.publisher.binding_count()), (vec![], 1));
    bench.publisher.bind(vni(), ip(), MAC, false);
    assert_eq!(bench.carried_out(), [], "the same is no news");
    bench.publisher.station_went(vni(), MAC);
    assert_eq!(bench.carried_out(), [take(), unbind()]);
    bench.bridged(None);
    bench.neighbour(None);
    bench.publisher.station_came(vni(), MAC, false);
    assert_eq!(bench.carried_out(), [put()]);
    bench.bridged(Some(PORT));
    assert_eq!(bench.carried_out(), [bind()], "it is still bound");
    bench.neighbour(ours());
    bench.publisher.unbind(vni(), ip());
    assert_eq!(bench.carried_out(), [unbind()]);
    assert_eq!(bench.publisher.binding_count(), 0);
}

impl Bench {
    /// As [`Bench::published`], and this is ordered then.
    fn published_with(mut self, order: Order) -> Self {
        self.publisher.station_came(vni(), MAC, false);
        assert_eq!(self.carried_out(), [put()]);
        self.bridged(Some(PORT));
        assert_eq!(self.carried_out(), [order]);
        self
    }
}

#[test]
fn remote_addresses_are_given_and_take_over_what_is_bound() {
    let mut bench = Bench::new().published();
    bench.publisher.bind(vni(), ip(), MAC, false);
    assert_eq!(bench.carried_out(), [bind()]);
    bench.neighbour(ours());
    assert_eq!(bench.publisher.next_remote_binding(), None);
    bench.neighbour(zebras(9));
    let remote =
        RemoteBinding { vni: vni(), address: ip(), mac: Some(MacAddr([2, 0, 0, 0, 0, 9])), router: false, news: true };
    assert_eq!(bench.publisher.next_remote_binding(), Some(remote));
    assert_eq!(bench.carried_out(), [], "it is not fought for");
    bench.publisher.unbind(vni(), ip());
    assert_eq!(bench.carried_out(), [], "zebra's stays");
    // It is bound anew: that is news.
    bench.publisher.bind(vni(), ip(), MAC, false);
    assert_eq!(bench.carried_out(), [bind()]);
    bench.neighbour(ours());
    assert_eq!(bench.publisher.next_remote_binding(), Some(RemoteBinding { mac: None, ..remote }));
    assert_eq!(bench.publisher.next_remote_binding(), None);
}

#[test]
fn neighbours_that_a_crash_has_left_are_removed_and_others_are_not() {
    let mut bench = Bench::new();
    bench.neighbour(ours());
    assert_eq!(bench.carried_out(), [unbind()]);
    let mut bench = Bench::new().published();
    let operators = Some(Neighbour { protocol: 0, ..ours().expect("it is one") });
    bench.neighbour(operators);
    bench.publisher.bind(vni(), ip(), MAC, false);
    assert_eq!(bench.carried_out(), []);
}

#[test]
fn a_bridge_that_is_gone_takes_its_remote_addresses_along() {
    let mut bench = Bench::new();
    bench.tell(Event::Link(Box::new(Link { index: BRIDGE, ..Link::default() })));
    bench.neighbour(zebras(9));
    assert!(bench.publisher.next_remote_binding().is_some_and(|binding| binding.mac.is_some()));
    bench.tell(Event::LinkGone(BRIDGE));
    bench.publisher.set_shadows(BTreeMap::new(), &bench.mirror);
    assert_eq!(
        bench.publisher.next_remote_binding(),
        Some(RemoteBinding { vni: vni(), address: ip(), mac: None, router: false, news: true })
    );
}

#[test]
fn the_neighbours_of_a_device_in_no_bridge_are_remote_addresses_and_it_is_told_nothing() {
    let mut bench = Bench::new();
    bench.publisher.set_shadows([(vni(), Shadow::alone(DEVICE))].into(), &bench.mirror);
    let flannels = Neighbour { protocol: 0, ..ours().expect("it is one") };
    bench.tell(Event::Neighbour { link: DEVICE, address: ip(), neighbour: Some(flannels) });
    let remote = RemoteBinding { vni: vni(), address: ip(), mac: Some(MAC), router: false, news: true };
    assert_eq!(bench.publisher.next_remote_binding(), Some(remote));
    // What is behind access ports has nobody to be told to.
    let here: IpAddr = [10, 1, 0, 2].into();
    bench.publisher.station_came(vni(), MAC, false);
    bench.publisher.bind(vni(), here, MAC, false);
    bench.publisher.bind(vni(), ip(), MAC, false);
    assert_eq!(bench.carried_out(), []);
    bench.tell(Event::Neighbour { link: DEVICE, address: ip(), neighbour: None });
    assert_eq!(bench.publisher.next_remote_binding(), Some(RemoteBinding { mac: None, ..remote }));
    // It becomes the port of a bridge: what counts is the bridge's.
    bench.tell(Event::Neighbour { link: DEVICE, address: ip(), neighbour: Some(flannels) });
    assert_eq!(bench.publisher.next_remote_binding(), Some(remote));
    bench.publisher.set_shadows([(vni(), SHADOW)].into(), &bench.mirror);
    assert_eq!(bench.publisher.next_remote_binding(), Some(RemoteBinding { mac: None, ..remote }));
}

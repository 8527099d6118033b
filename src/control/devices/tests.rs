//! Devices against a kernel that is made up: orders become links, as the kernel would make them.

use super::*;
use crate::netlink::{Event, Source, Vxlan};

const VNI: u32 = 100;

fn config(rest: &str) -> Config {
    let text = format!(
        r#"
        [vtep]
        address = "192.0.2.1"
        [workers]
        cores = [0]
        [[port]]
        name = "up0"
        device = "net_null0"
        role = "uplink"
        [[port]]
        name = "trunk0"
        device = "net_null1"
        role = "access"
        [[bridge]]
        vni = {VNI}
        vlan = 10
        ports = ["trunk0"]
        {rest}
        "#
    );
    Config::parse("devices.toml", &text).map_err(|wrong| wrong.render(false)).expect("it is valid").config
}

/// Links by index, the mirror of them, and who orders more.
struct Bench {
    devices: Devices,
    mirror: Mirror,
    next: u32,
    now: Instant,
    orders: Vec<Order>,
}

impl Bench {
    fn new(rest: &str) -> Self {
        let mut devices = Devices::new();
        devices.set_bridges(&config(rest));
        Self { devices, mirror: Mirror::default(), next: 10, now: Instant::now(), orders: Vec::new() }
    }

    fn vni() -> Vni {
        Vni::new(VNI).expect("24 bits")
    }

    fn link(&self, name: &str) -> Option<&Link> {
        self.mirror.links().find(|link| link.name == name)
    }

    fn tell(&mut self, link: Link) {
        self.mirror.apply(Event::Link(Box::new(link)), Source::Event);
        self.devices.note_link();
    }

    fn make(&mut self, link: Link) -> u32 {
        self.next += 1;
        self.tell(Link { index: self.next, ..link });
        self.next
    }

    fn change(&mut self, link: u32, change: impl FnOnce(&mut Link)) {
        let mut link = self.mirror.link(link).expect("the link is there").clone();
        change(&mut link);
        self.tell(link);
    }

    /// Removes a link, and those that go with it.
    fn remove(&mut self, link: u32) {
        let upper = self.mirror.links().filter(|upper| upper.lower == Some(link)).map(|upper| upper.index);
        for link in upper.chain([link]).collect::<Vec<_>>() {
            self.mirror.apply(Event::LinkGone(link), Source::Event);
        }
        self.devices.note_link();
    }

    fn carry_out(&mut self, order: &Order) {
        let index = |bench: &Self, name: &str| bench.link(name).expect("the link is there").index;
        match order.clone() {
            Order::MakeBridge { name, group } => {
                self.make(Link { name, group, kind: "bridge".to_owned(), ..Link::default() });
            }
            Order::MakeVxlan { name, group, vni, local, port, bridge } => {
                let vxlan = Vxlan { vni: vni.get(), port, local: Some(local), ..Vxlan::default() };
                let kind = "vxlan".to_owned();
                self.make(Link { name, group, kind, master: Some(bridge), vxlan: Some(vxlan), ..Link::default() });
            }
            Order::HoldTap { name } => {
                self.make(Link { name, kind: "tun".to_owned(), ..Link::default() });
            }
            Order::ReleaseTap { name } => self.remove(index(self, &name)),
            Order::MakePort { name, group, lower, bridge } => {
                let (kind, master, lower) = ("macvlan".to_owned(), Some(bridge), Some(lower));
                self.make(Link { name, group, kind, master, lower, ..Link::default() });
            }
            Order::Mark { name, alias } => self.change(index(self, &name), |link| link.alias = alias),
            Order::KeepSilent { .. } => {}
            Order::Enslave { link, group, bridge } => {
                self.change(link, |link| (link.group, link.master) = (group, bridge));
            }
            Order::SetUp { link, up } => self.change(link, |link| link.up = up),
            Order::DropWhatIsSent { link } => self.change(link, |link| link.queueing = SILENT.to_owned()),
            Order::RemoveLink { link } => self.remove(link),
            other => panic!("{other:?} is none about devices"),
        }
        self.devices.done(&Outcome { order: order.clone(), result: Ok(()) });
        self.orders.push(order.clone());
    }

    /// What each bridge goes by, as adoption would find it.
    fn adopted(&self) -> BTreeMap<Vni, Adopted> {
        let device = self.mirror.links().find(|link| link.vxlan.is_some_and(|vxlan| vxlan.vni == VNI));
        let adopted = device.filter(|_| !self.devices.wanted.is_empty());
        adopted.map(|link| (Self::vni(), Adopted { device: link.index, bridge: link.master })).into_iter().collect()
    }

    /// Goes round until nothing is ordered, and gives the orders.
    fn settle(&mut self) -> Vec<Order> {
        self.orders.clear();
        for _ in 0..20 {
            let orders = self.devices.orders(&self.mirror, &self.adopted(), self.now);
            if orders.is_empty() {
                return std::mem::take(&mut self.orders);
            }
            orders.iter().for_each(|order| self.carry_out(order));
        }
        panic!("it never ends: {:?}", self.orders);
    }

    fn shadow(&self) -> Option<Shadow> {
        self.devices.shadows(&self.mirror, &self.adopted()).remove(&Self::vni())
    }

    fn names(&self) -> Vec<&str> {
        self.mirror.links().map(|link| &*link.name).collect()
    }
}

#[test]
fn what_is_missing_is_made_and_stands_as_it_should() {
    let mut bench = Bench::new("control = \"kernel\"");
    bench.settle();
    let [bridge, vxlan, port, tap] =
        ["vtbr100", "vtvx100", "vtac100", "vtac-vtepd"].map(|name| bench.link(name).expect("it is made"));
    assert_eq!((vxlan.master, port.master, tap.master), (Some(bridge.index), Some(bridge.index), None));
    assert!(vxlan.up && bridge.up && vxlan.queueing == SILENT, "{vxlan:?}");
    assert!([bridge, vxlan, port, tap].iter().all(|link| link.group == GROUP && link.alias == "vtepd vtepd"));
    assert_eq!(port.lower, Some(tap.index), "it goes with the TAP, and that with the process");
    let is = vxlan.vxlan.expect("a vxlan device");
    assert_eq!((is.vni, is.port, is.local), (VNI, 4789, Some([192, 0, 2, 1].into())));
    let (bridge, device, port) = (bridge.index, vxlan.index, Some(port.index));
    assert_eq!(bench.shadow(), Some(Shadow { bridge, device, port }));
    assert_eq!(bench.settle(), [], "nothing is made twice");
}

#[test]
fn a_bridge_that_is_not_the_kernels_gets_nothing() {
    assert_eq!(Bench::new("").settle(), []);
}

#[test]
fn what_an_earlier_run_made_is_taken_over() {
    let mut before = Bench::new("control = \"kernel\"");
    before.settle();
    let mut after = Bench::new("control = \"kernel\"");
    after.next = before.next;
    // The TAP was gone with the process, and its port; the supervisor has set the others down.
    for name in ["vtbr100", "vtvx100"] {
        let link = before.link(name).expect("it was made");
        after.tell(Link { up: false, ..link.clone() });
    }
    let orders = after.settle();
    assert!(
        !orders.iter().any(|order| matches!(order, Order::MakeBridge { .. } | Order::MakeVxlan { .. })),
        "{orders:?}"
    );
    assert!(["vtbr100", "vtvx100"].iter().all(|name| after.link(name).is_some_and(|link| link.up)));
    assert!(after.shadow().is_some_and(|shadow| shadow.port.is_some()));
}

#[test]
fn one_with_another_local_address_is_made_anew() {
    let mut bench = Bench::new("control = \"kernel\"");
    bench.settle();
    let before = bench.link("vtvx100").expect("it was made").index;
    bench.change(before, |link| {
        link.vxlan = Some(Vxlan { local: Some([192, 0, 2, 9].into()), ..link.vxlan.unwrap_or_default() })
    });
    bench.now += LONGEST;
    let orders = bench.settle();
    assert_eq!(orders[..2], [Order::SetUp { link: before, up: false }, Order::RemoveLink { link: before }]);
    let after = bench.link("vtvx100").and_then(|link| link.vxlan).expect("it is made");
    assert_eq!(after.local, Some([192, 0, 2, 1].into()));
}

#[test]
fn another_ones_device_is_adopted_and_gets_the_port_alone() {
    let mut bench = Bench::new("control = \"kernel\"");
    let bridge = bench.make(Link { name: "br100".to_owned(), ..Link::default() });
    let vxlan = Some(Vxlan { vni: VNI, ..Vxlan::default() });
    let device = bench.make(Link { name: "vx100".to_owned(), vxlan, master: Some(bridge), ..Link::default() });
    bench.settle();
    assert_eq!(bench.names(), ["br100", "vx100", "vtac-vtepd", "vtac100"]);
    let port = bench.link("vtac100").map(|link| link.index);
    assert_eq!(bench.shadow(), Some(Shadow { bridge, device, port }));
    // It leaves its bridge: there is nobody to tell any more. Then it joins another.
    bench.change(device, |link| link.master = None);
    bench.settle();
    assert_eq!((bench.names(), bench.shadow()), (vec!["br100", "vx100"], None));
    bench.now += LONGEST;
    bench.change(device, |link| link.master = Some(bridge));
    bench.settle();
    assert!(bench.shadow().is_some_and(|shadow| shadow.port.is_some()));
    // The bridge is the kernel's no more: what was made goes, what was adopted stays as it is.
    bench.devices.set_bridges(&config(""));
    bench.settle();
    assert_eq!(bench.names(), ["br100", "vx100"]);
}

#[test]
fn a_device_of_that_name_that_is_anothers_is_left_alone() {
    let mut bench = Bench::new("control = \"kernel\"");
    bench.make(Link { name: "vtbr100".to_owned(), ..Link::default() });
    assert_eq!(bench.settle(), []);
    let other = Link { name: "vtvx100".to_owned(), group: GROUP, alias: "vtepd other".to_owned(), ..Link::default() };
    bench.make(other);
    assert_eq!(bench.settle(), []);
    // Nor is a port put in the place of another's, or taken for one.
    let mut ports = Bench::new("control = \"kernel\"");
    ports.make(Link { name: "vtac100".to_owned(), ..Link::default() });
    assert!(!ports.settle().iter().any(|order| matches!(order, Order::MakePort { .. })));
    assert!(ports.shadow().is_some_and(|shadow| shadow.port.is_none()));
    bench.devices.set_bridges(&config(""));
    assert_eq!(bench.settle(), []);
}

#[test]
fn nothing_is_made_for_a_bridge_that_names_its_device() {
    let mut bench = Bench::new("control = \"kernel\"\nkernel_device = \"flannel.1\"");
    assert_eq!(bench.settle(), []);
}

#[test]
fn what_was_removed_is_made_again_but_not_over_and_over() {
    let mut bench = Bench::new("control = \"kernel\"");
    bench.settle();
    let makes = |orders: &[Order]| orders.iter().filter(|order| matches!(order, Order::MakePort { .. })).count();
    let remove = |bench: &mut Bench| {
        let port = bench.link("vtac100").expect("it is made").index;
        bench.remove(port);
    };
    remove(&mut bench);
    assert_eq!(makes(&bench.settle()), 0, "it was made a moment ago");
    bench.now += PAUSE;
    assert_eq!(makes(&bench.settle()), 1);
    remove(&mut bench);
    bench.now += PAUSE;
    assert_eq!(makes(&bench.settle()), 0, "twice in a row takes longer");
    bench.now += PAUSE;
    assert_eq!(makes(&bench.settle()), 1);
}

#[test]
fn a_bridge_that_comes_back_gets_its_devices_at_once() {
    let mut bench = Bench::new("control = \"kernel\"");
    let makes = |orders: &[Order]| orders.iter().filter(|order| matches!(order, Order::MakeVxlan { .. })).count();
    for _ in 0..3 {
        bench.devices.set_bridges(&config("control = \"kernel\""));
        assert_eq!(makes(&bench.settle()), 1, "what was made for a bridge that has gone is no attempt");
        bench.devices.set_bridges(&config(""));
        bench.settle();
        assert!(bench.link("vtvx100").is_none());
        bench.settle();
    }
}

#[test]
fn a_tap_that_was_removed_is_made_again_with_its_ports() {
    let mut bench = Bench::new("control = \"kernel\"");
    bench.settle();
    let tap = bench.link("vtac-vtepd").expect("it is made").index;
    bench.remove(tap);
    assert_eq!((bench.names(), bench.shadow().and_then(|shadow| shadow.port)), (vec!["vtbr100", "vtvx100"], None));
    bench.now += PAUSE;
    bench.settle();
    assert!(bench.shadow().is_some_and(|shadow| shadow.port.is_some()));
    // One on another link does not go with the process: it is none of this run's.
    let port = bench.link("vtac100").expect("it is made").index;
    bench.change(port, |link| link.lower = Some(1));
    assert!(bench.shadow().is_some_and(|shadow| shadow.port.is_none()));
    bench.now += LONGEST;
    assert_eq!(bench.settle().first(), Some(&Order::RemoveLink { link: port }));
    assert!(bench.shadow().is_some_and(|shadow| shadow.port.is_some()));
}

#[test]
fn an_order_that_is_not_carried_out_is_given_again_after_a_while() {
    let mut bench = Bench::new("control = \"kernel\"");
    let orders = bench.devices.orders(&bench.mirror, &BTreeMap::new(), bench.now);
    assert!(orders.iter().any(|order| matches!(order, Order::MakeBridge { .. })));
    let refuse = |bench: &mut Bench, orders: Vec<Order>| {
        for order in orders {
            assert!(bench.devices.done(&Outcome { order, result: Err(Errno::EPERM) }));
        }
    };
    refuse(&mut bench, orders);
    assert_eq!(bench.devices.orders(&bench.mirror, &BTreeMap::new(), bench.now), []);
    let again = bench.devices.orders(&bench.mirror, &BTreeMap::new(), bench.now + PAUSE);
    assert!(again.iter().any(|order| matches!(order, Order::MakeBridge { .. })));
}

#[test]
fn a_kernel_that_cannot_drop_what_is_sent_keeps_its_bridge_down() {
    let mut bench = Bench::new("control = \"kernel\"");
    for _ in 0..20 {
        for order in bench.devices.orders(&bench.mirror, &bench.adopted(), bench.now) {
            if matches!(order, Order::DropWhatIsSent { .. }) {
                bench.devices.done(&Outcome { order, result: Err(Errno::ENOENT) });
            } else {
                bench.carry_out(&order);
            }
        }
    }
    assert!(bench.link("vtvx100").is_some_and(|link| link.up));
    assert!(bench.link("vtbr100").is_some_and(|link| !link.up));
}

#[test]
fn all_goes_at_once_where_the_group_is_the_gateways_alone() {
    let mut bench = Bench::new("control = \"kernel\"");
    bench.settle();
    let vxlan = bench.link("vtvx100").expect("it is made").index;
    let [down, remove] = bench.devices.removal(&bench.mirror);
    assert_eq!(down, [Order::SetUp { link: vxlan, up: false }]);
    assert_eq!(remove, [Order::RemoveGroup { group: GROUP }]);
    let other = Link { name: "vtbr7".to_owned(), group: GROUP, alias: "vtepd other".to_owned(), ..Link::default() };
    let other = bench.make(other);
    let [_, remove] = bench.devices.removal(&bench.mirror);
    assert_eq!(remove.len(), 4);
    assert!(!remove.contains(&Order::RemoveLink { link: other }));
}

#[test]
fn what_somebody_else_has_put_into_the_group_of_links_stays_at_the_end() {
    let mut bench = Bench::new("control = \"kernel\"");
    bench.settle();
    let own = bench.devices.removal(&bench.mirror);
    let foreign = bench.make(Link { name: "vx7".to_owned(), group: GROUP, ..Link::default() });
    let [down, remove] = bench.devices.removal(&bench.mirror);
    assert_eq!(down, own[0]);
    assert!(!remove.is_empty() && !remove.contains(&Order::RemoveGroup { group: GROUP }), "{remove:?}");
    assert!(!remove.contains(&Order::RemoveLink { link: foreign }), "{remove:?}");
}

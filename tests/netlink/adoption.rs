//! Bridges with `control = "kernel"`: the FDB of the kernel's vxlan device is the gateway's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vtepd::config::Config;
use vtepd::config::model::AccessVlan;
use vtepd::control::{Gateway, Kernel, PortFacts};
use vtepd::netlink::{Executor, Listener};
use vtepd::tables::bindings::{Binding, BindingKey, BindingReport};
use vtepd::tables::learning::{LearnEvent, LearnRing};
use vtepd::tables::{FdbKey, FdbValue, Location, LocationKind, PortIndex};
use vtepd::telemetry::{ControlTelemetry, FdbEvent};
use vtepd::wire::nd::TargetFlags;
use vtepd::wire::{MacAddr, VlanId, Vni};

use crate::namespace::{bridge_batch, in_namespace, ip, mac, run};

pub fn config(control: &str, rest: &str) -> Config {
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
        vni = 100
        vlan = 10
        ports = ["trunk0"]
        control = "{control}"
        {rest}
        "#
    );
    Config::parse("adoption.toml", &text).map_err(|wrong| wrong.render(false)).expect("it is valid").config
}

/// A gateway that follows the kernel, and one worker that reports.
pub struct Desk {
    pub gateway: Gateway,
    ring: Arc<LearnRing>,
    pub telemetry: Arc<ControlTelemetry>,
}

impl Desk {
    pub fn new(config: Config) -> Self {
        Self::start(config, None)
    }

    /// One that also makes devices in the kernel, and tells it what is heard.
    pub fn with_orders(config: Config, executor: Executor) -> Self {
        Self::start(config, Some(executor))
    }

    fn start(config: Config, executor: Option<Executor>) -> Self {
        let facts = vec![
            PortFacts { mac: mac(0xaa), mtu: 1500, receivers: 1 },
            PortFacts { mac: mac(0xbb), mtu: 1500, receivers: 1 },
        ];
        let (telemetry, ring) = (Arc::new(ControlTelemetry::new()), Arc::<LearnRing>::default());
        let kernel = Kernel::follow(Listener::start().expect("a listener"), Vec::new(), Arc::clone(&telemetry));
        let started = Gateway::start(config, facts, vec![Arc::clone(&ring)], Arc::clone(&telemetry));
        let mut gateway = started.expect("it starts");
        let mut kernel = kernel.expect("the kernel");
        executor.into_iter().for_each(|executor| kernel.give_orders_to(executor));
        gateway.follow(kernel);
        Self { gateway, ring, telemetry }
    }

    fn key(&self, station: MacAddr) -> Option<FdbKey> {
        let vni = Vni::new(100).expect("24 bits");
        Some(FdbKey::new(self.gateway.running().load().registry.bridge(vni)?, station))
    }

    fn entry(&self, station: MacAddr) -> Option<FdbValue> {
        let fdb = &self.gateway.tables().fdb;
        fdb.lookup(&fdb.probe(self.key(station)?))
    }

    /// Where a station is: behind a remote VTEP, or behind an access port.
    pub fn place(&self, station: MacAddr) -> Option<String> {
        let snapshot = self.gateway.tables().snapshot.load();
        Some(match self.entry(station)?.location().kind() {
            LocationKind::Tunnel(tunnel) => snapshot.tunnels[usize::from(tunnel.0)].address.to_string(),
            LocationKind::Access(_) => "access".to_owned(),
        })
    }

    /// The remote VTEPs that a flood goes to, and those that may send.
    fn shape(&self) -> [Vec<String>; 2] {
        let snapshot = self.gateway.tables().snapshot.load();
        let domain = &snapshot.domains[0];
        [&domain.flood_list, &domain.sources].map(|list| {
            let mut names: Vec<String> =
                list.iter().map(|tunnel| snapshot.tunnels[usize::from(tunnel.0)].address.to_string()).collect();
            names.sort();
            names
        })
    }

    pub fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < Duration::from_secs(10), "not within 10 s: {what}; {:?}", self.shape());
            if self.gateway.round() == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        began.elapsed()
    }

    pub fn until_at(&mut self, station: u8, place: Option<&str>) {
        self.until(&format!("station {station} is at {place:?}"), |desk| desk.place(mac(station)).as_deref() == place);
    }

    fn until_shape(&mut self, flood: &[&str], sources: &[&str]) {
        self.until(&format!("{flood:?} and {sources:?}"), |desk| desk.shape() == [flood, sources]);
    }

    pub fn for_a_while(&mut self, time: Duration) {
        let end = Instant::now() + time;
        self.until("time goes by", |_| Instant::now() >= end);
    }

    /// As [`Desk::until`], while the gateway's clock shows a later time.
    pub fn until_later(&mut self, later: Instant, what: &str, is_so: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
            self.gateway.round_at(later + began.elapsed());
        }
    }

    /// What the gateway has of an address.
    pub fn binding(&self, address: IpAddr) -> Option<Binding> {
        let bridge = self.key(mac(0))?.bridge();
        self.gateway.tables().bindings.lookup(BindingKey { bridge, address })
    }

    /// A worker hears a station say that an address is its own.
    pub fn hear_say(&mut self, station: u8, address: IpAddr, flags: Option<TargetFlags>) {
        self.hear(station);
        let bridge = self.key(mac(station)).expect("the bridge").bridge();
        let key = BindingKey { bridge, address };
        assert!(self.ring.report(BindingReport { key, mac: mac(station), flags }));
    }

    /// Many stations are heard behind the access port.
    pub fn hear_many(&mut self, count: u32) {
        for number in 0..count {
            let [_, _, middle, low] = number.to_be_bytes();
            self.hear_one(MacAddr([2, 0, 1, 0, middle, low]));
            if number % 4096 == 0 {
                self.gateway.round();
            }
        }
    }

    /// A station is heard behind the access port.
    pub fn hear(&mut self, station: u8) {
        self.hear_one(mac(station));
        self.gateway.round();
    }

    /// A station is heard behind a remote VTEP.
    pub fn hear_behind(&mut self, remote: IpAddr, station: u8) {
        let tunnel = self.gateway.running().load().registry.tunnel(remote).expect("it is known");
        let key = self.key(mac(station)).expect("the bridge is there");
        assert!(self.ring.send(LearnEvent { key, location: Location::tunnel(tunnel) }));
        self.gateway.round();
    }

    fn hear_one(&self, station: MacAddr) {
        let key = self.key(station).expect("the bridge is there");
        let vlan = AccessVlan::Tagged(VlanId::new(10).expect("a VLAN"));
        let name = (Vni::new(100).expect("24 bits"), PortIndex(1), vlan);
        let member = self.gateway.running().load().registry.member(&name).expect("the member is there");
        assert!(self.ring.send(LearnEvent { key, location: Location::access(member) }));
    }
}

pub const DEVICE: &str = "
    link add br100 type bridge
    link add vx100 type vxlan id 100 local 192.0.2.1 dstport 4789 nolearning
    link set vx100 master br100
    link set vx100 up";

/// As zebra programs a remote MAC.
pub fn remote(verb: &str, station: u8, vtep: u8) {
    run(
        "bridge",
        &format!("fdb {verb} 02:00:00:00:00:{station:02x} dev vx100 self dst 192.0.2.{vtep} extern_learn dynamic"),
    );
    run("bridge", &format!("fdb {verb} 02:00:00:00:00:{station:02x} dev vx100 master extern_learn dynamic"));
}

/// The groups that the first uplink receives, each with whether the bridge takes it, and whether it takes from anyone.
fn groups(desk: &Desk) -> (Vec<String>, bool) {
    let snapshot = desk.gateway.tables().snapshot.load();
    let index = desk.key(mac(0)).expect("the bridge is there").bridge();
    let groups = snapshot.ports[0].groups.iter().filter(|group| group.carries(index));
    (groups.map(|group| group.address.to_string()).collect(), !snapshot.policy(index).source_check)
}

#[test]
fn a_device_with_a_group_floods_to_it_and_takes_from_it() {
    in_namespace(|| {
        ip("link add up0 type veth peer name far0
            link set up0 up
            link add vx100 type vxlan id 100 local 192.0.2.1 group 239.1.1.1 dev up0 dstport 4789");
        run("bridge", "fdb append 00:00:00:00:00:00 dev vx100 dst 192.0.2.2");
        let in_group = |group: &str| (vec![group.to_owned()], true);
        let mut desk = Desk::new(config("kernel", ""));
        assert_eq!(desk.shape(), [vec!["192.0.2.2", "239.1.1.1"], vec!["192.0.2.2"]]);
        assert_eq!(groups(&desk), in_group("239.1.1.1"));
        // It has another one, by another way to say so; then none.
        run("bridge", "fdb del 00:00:00:00:00:00 dev vx100 dst 239.1.1.1 via up0");
        desk.until_shape(&["192.0.2.2"], &["192.0.2.2"]);
        assert_eq!(groups(&desk), (vec![], false));
        run("bridge", "fdb append 00:00:00:00:00:00 dev vx100 dst 239.1.1.2 via up0");
        desk.until_shape(&["192.0.2.2", "239.1.1.2"], &["192.0.2.2"]);
        assert_eq!(groups(&desk), in_group("239.1.1.2"));
        // The config's own word goes before it.
        desk.gateway.apply(config("kernel", "group = \"239.9.9.9\"\nsource_check = true")).expect("it is applied");
        desk.until_shape(&["192.0.2.2", "239.9.9.9"], &["192.0.2.2"]);
        assert_eq!(groups(&desk), (vec!["239.9.9.9".to_owned()], false));
        desk.gateway.apply(config("kernel", "")).expect("it is applied");
        desk.until_shape(&["192.0.2.2", "239.1.1.2"], &["192.0.2.2"]);
        ip("link del vx100");
        desk.until_shape(&[], &[]);
        assert_eq!(groups(&desk), (vec![], false));
    });
}

#[test]
fn remote_stations_and_flood_lists_are_the_kernels() {
    in_namespace(|| {
        ip(DEVICE);
        run("bridge", "fdb append 00:00:00:00:00:00 dev vx100 dst 192.0.2.2");
        remote("add", 1, 2);
        // What is there at the start is there before the first packet.
        let mut desk = Desk::new(config("kernel", ""));
        assert_eq!(desk.place(mac(1)).as_deref(), Some("192.0.2.2"));
        assert_eq!(desk.shape(), [["192.0.2.2"], ["192.0.2.2"]]);
        // A VTEP that nobody floods to may send, because it has a station.
        remote("add", 2, 3);
        desk.until_at(2, Some("192.0.2.3"));
        desk.until_shape(&["192.0.2.2"], &["192.0.2.2", "192.0.2.3"]);
        // It moves to another VTEP, then it goes, and its VTEP with it.
        remote("replace", 2, 2);
        desk.until_at(2, Some("192.0.2.2"));
        desk.until_shape(&["192.0.2.2"], &["192.0.2.2"]);
        run("bridge", "fdb del 02:00:00:00:00:02 dev vx100 self");
        run("bridge", "fdb del 02:00:00:00:00:02 dev vx100 master");
        desk.until_at(2, None);
        run("bridge", "fdb append 00:00:00:00:00:00 dev vx100 dst 192.0.2.4");
        desk.until_shape(&["192.0.2.2", "192.0.2.4"], &["192.0.2.2", "192.0.2.4"]);
        run("bridge", "fdb del 00:00:00:00:00:00 dev vx100 dst 192.0.2.4");
        desk.until_shape(&["192.0.2.2"], &["192.0.2.2"]);
        // The device is deleted under it, and made again.
        ip("link del vx100");
        desk.until_at(1, None);
        desk.until_shape(&[], &[]);
        ip("link add vx100 type vxlan id 100 local 192.0.2.1 dstport 4789 nolearning
            link set vx100 up");
        run("bridge", "fdb append 02:00:00:00:00:01 dev vx100 dst 192.0.2.5");
        desk.until_at(1, Some("192.0.2.5"));
        assert_eq!(desk.telemetry.kernel.stations.get(), 1);
    });
}

#[test]
fn a_station_that_is_heard_here_has_moved_here_unless_it_may_not() {
    in_namespace(|| {
        ip(DEVICE);
        remote("add", 1, 2);
        run("bridge", "fdb add 02:00:00:00:00:02 dev vx100 self dst 192.0.2.2 sticky");
        let mut desk = Desk::new(config("kernel", ""));
        desk.until_at(2, Some("192.0.2.2"));
        desk.hear(1);
        desk.hear(2);
        assert_eq!(desk.place(mac(1)).as_deref(), Some("access"));
        assert_eq!(desk.place(mac(2)).as_deref(), Some("192.0.2.2"), "it may not move");
        // It moves away again: that is news.
        remote("replace", 1, 3);
        desk.until_at(1, Some("192.0.2.3"));
        // A withdrawal takes nothing away that was heard here.
        desk.hear(1);
        run("bridge", "fdb del 02:00:00:00:00:01 dev vx100 self");
        run("bridge", "fdb del 02:00:00:00:00:01 dev vx100 master");
        desk.until("the kernel does not have it", |desk| desk.telemetry.kernel.stations.get() == 1);
        assert_eq!(desk.place(mac(1)).as_deref(), Some("access"));
    });
}

#[test]
fn a_station_that_is_heard_here_moves_here_only_where_its_bridge_may_learn_another() {
    in_namespace(|| {
        ip(DEVICE);
        remote("add", 1, 2);
        let mut desk = Desk::new(config("kernel", "max_macs = 1"));
        desk.until_at(1, Some("192.0.2.2"));
        desk.hear(3);
        desk.hear(1);
        assert_eq!(desk.place(mac(3)).as_deref(), Some("access"));
        assert_eq!(desk.place(mac(1)).as_deref(), Some("192.0.2.2"));
        assert_eq!(desk.telemetry.fdb.events(FdbEvent::RefusedByBridgeLimit), 1);
    });
}

#[test]
fn what_the_kernel_says_does_not_age_and_comes_back_when_what_was_heard_here_has_aged() {
    in_namespace(|| {
        ip(DEVICE);
        remote("add", 1, 2);
        remote("add", 2, 2);
        let mut desk = Desk::new(config("kernel", ""));
        desk.hear(2);
        desk.hear(3);
        let now = Instant::now();
        for second in (0..900).step_by(2) {
            desk.gateway.round_at(now + Duration::from_secs(second));
        }
        assert_eq!(desk.place(mac(1)).as_deref(), Some("192.0.2.2"));
        assert_eq!(desk.place(mac(2)).as_deref(), Some("192.0.2.2"), "the next resync has brought it back");
        assert_eq!(desk.place(mac(3)), None, "it was learned, and has aged");
    });
}

#[test]
fn flannels_commands_lead_to_entries() {
    in_namespace(|| {
        // In flannel's order: the device first, then for each other node the neighbour, the FDB entry and the route.
        ip("link add flannel.1 type vxlan id 100 local 192.0.2.1 dstport 8472 nolearning
            link set flannel.1 up
            neigh replace 10.244.7.0 lladdr 02:00:00:00:00:07 dev flannel.1 nud permanent");
        let text = config("kernel", "").to_toml().replace("udp_port = 4789", "udp_port = 8472");
        let config = Config::parse("flannel.toml", &text).map_err(|wrong| wrong.render(false)).expect("valid").config;
        let mut desk = Desk::new(config);
        run("bridge", "fdb append 02:00:00:00:00:07 dev flannel.1 dst 192.0.2.17");
        desk.until_at(7, Some("192.0.2.17"));
        desk.until_shape(&[], &["192.0.2.17"]);
    });
}

#[test]
fn the_file_wins_and_a_reload_gives_and_takes_the_kernels_say() {
    in_namespace(|| {
        ip(DEVICE);
        remote("add", 1, 2);
        remote("add", 2, 2);
        let fixed =
            "remotes = [\"192.0.2.9\"]\n[[static]]\nvni = 100\nmac = \"02:00:00:00:00:02\"\nport = \"trunk0\"\n";
        let mut desk = Desk::new(config("static", fixed));
        assert_eq!(desk.place(mac(1)), None);
        desk.gateway.apply(config("kernel", fixed)).expect("it is applied");
        desk.until_at(1, Some("192.0.2.2"));
        assert_eq!(desk.place(mac(2)).as_deref(), Some("access"), "the file's entry wins");
        assert_eq!(desk.shape(), [vec!["192.0.2.9"], vec!["192.0.2.2", "192.0.2.9"]]);
        // A reload that changes nothing of it touches nothing.
        desk.gateway.apply(config("kernel", fixed)).expect("it is applied");
        assert_eq!(desk.place(mac(1)).as_deref(), Some("192.0.2.2"));
        desk.gateway.apply(config("static", fixed)).expect("it is applied");
        assert_eq!(desk.place(mac(1)), None);
        assert_eq!(desk.shape(), [["192.0.2.9"], ["192.0.2.9"]]);
    });
}

#[test]
fn nothing_is_learned_from_remote_vteps_where_the_kernel_says_what_is_behind_them() {
    in_namespace(|| {
        ip(DEVICE);
        run("bridge", "fdb append 00:00:00:00:00:00 dev vx100 dst 192.0.2.2");
        let mut desk = Desk::new(config("kernel", ""));
        desk.hear_behind([192, 0, 2, 2].into(), 5);
        assert_eq!(desk.place(mac(5)), None);
    });
}

#[test]
fn ten_thousand_stations_come_and_go() {
    in_namespace(|| {
        ip(DEVICE);
        let mut desk = Desk::new(config("kernel", ""));
        let stations = |verb: &'static str| {
            (0..10_000_u32).map(move |number| {
                let [_, _, middle, low] = number.to_be_bytes();
                let vtep = 2 + number % 50;
                format!("fdb {verb} 02:00:00:01:{middle:02x}:{low:02x} dev vx100 dst 192.0.2.{vtep}")
            })
        };
        let entries = |desk: &Desk| desk.gateway.tables().fdb.iter().count();
        bridge_batch(stations("append"));
        let time = desk.until("10000 entries", |desk| entries(desk) == 10_000);
        println!("10000 stations in the FDB {time:?} after the kernel had them");
        bridge_batch(stations("del"));
        let time = desk.until("none", |desk| entries(desk) == 0);
        println!("and gone {time:?} after the kernel had none");
        desk.until_shape(&[], &[]);
        // One, from the kernel's message to the entry.
        let mut times: Vec<Duration> = (1..=20)
            .map(|station| {
                remote("add", station, 60 + station);
                desk.until("it is there", |desk| desk.place(mac(station)).is_some())
            })
            .collect();
        times.sort();
        println!("a station behind a new remote VTEP: {:?}, at most {:?}", times[10], times[19]);
        // A quarter of them: other tests have the processors, too.
        assert!(times[5] < Duration::from_millis(50), "{times:?}");
    });
}

//! The gateway's snapshot has the kernel's ways.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vtepd::config::Config;
use vtepd::control::underlay::Uplink;
use vtepd::control::{Gateway, Kernel, PortFacts};
use vtepd::netlink::Listener;
use vtepd::tables::PortIndex;
use vtepd::tables::next_hop_group::BUCKETS;
use vtepd::tables::tunnel::Header;
use vtepd::telemetry::ControlTelemetry;

use crate::namespace::{in_namespace, ip, mac, uplink};

fn config(remotes: &str) -> Config {
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
        name = "up1"
        device = "net_null2"
        role = "uplink"
        [[port]]
        name = "trunk0"
        device = "net_null1"
        role = "access"
        [[neighbour]]
        address = "192.0.2.3"
        mac = "02:00:00:00:00:33"
        port = "up0"
        [[bridge]]
        vni = 100
        vlan = 10
        ports = ["trunk0"]
        remotes = [{remotes}]
        "#
    );
    Config::parse("gateway.toml", &text).map_err(|wrong| wrong.render(false)).expect("it is valid").config
}

/// The MAC address that packets to a remote VTEP get.
fn next_hop(gateway: &Gateway, remote: &str) -> Option<u8> {
    let address: IpAddr = remote.parse().expect("an address");
    let index = gateway.running().load().registry.tunnel(address)?;
    let snapshot = gateway.tables().snapshot.load();
    let next_hop = &snapshot.next_hops[usize::from(index.0)];
    let Header::Ipv4(header) = next_hop.header() else { return None };
    (!next_hop.is_unknown()).then_some(header[5])
}

fn until(gateway: &mut Gateway, remote: &str, way: Option<u8>) {
    wait(gateway, |gateway| next_hop(gateway, remote) == way, || format!("{remote} by {way:?}"));
}

/// Runs rounds until that is so.
fn wait(gateway: &mut Gateway, so: impl Fn(&Gateway) -> bool, what: impl Fn() -> String) {
    let end = Instant::now() + Duration::from_secs(5);
    while !so(gateway) {
        assert!(Instant::now() < end, "not so: {}", what());
        if gateway.round() == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// How many of the buckets of flows to a remote VTEP have each next hop: uplink, MAC address and count. Where there is
/// one for all flows, all buckets have it.
fn spread(gateway: &Gateway, remote: &str) -> Vec<(u16, u8, usize)> {
    let address: IpAddr = remote.parse().expect("an address");
    let index = gateway.running().load().registry.tunnel(address).expect("it is there");
    let snapshot = gateway.tables().snapshot.load();
    let way = &snapshot.next_hops[usize::from(index.0)];
    let Some(group) = way.group() else {
        return next_hop(gateway, remote).map(|mac| (way.port().0, mac, BUCKETS)).into_iter().collect();
    };
    let group = &snapshot.next_hop_groups[usize::from(group.0)];
    let mut counts = std::collections::BTreeMap::new();
    for hash in 0..BUCKETS as u32 {
        let next_hop = group.next_hop(hash);
        *counts.entry((next_hop.port().0, next_hop.addresses()[5])).or_insert(0) += 1;
    }
    counts.into_iter().map(|((port, mac), count)| (port, mac, count)).collect()
}

/// A gateway that follows the kernel on two uplinks.
fn following(config: Config) -> Gateway {
    let facts = [0xaa, 0xab, 0xbb].map(|last| PortFacts { mac: mac(last), mtu: 1500, receivers: 1 }).to_vec();
    let telemetry = Arc::new(ControlTelemetry::new());
    let uplinks = [(0, "up0"), (1, "up1")];
    let uplinks = uplinks.map(|(port, name)| Uplink { port: PortIndex(port), interface: name.to_owned() }).to_vec();
    let kernel = Kernel::follow(Listener::start().expect("a listener"), uplinks, Arc::clone(&telemetry));
    let mut gateway = Gateway::start(config, facts, Vec::new(), telemetry).expect("it starts");
    gateway.follow(kernel.expect("the kernel"));
    gateway
}

#[test]
fn flows_to_a_remote_vtep_are_spread_over_its_ways_and_off_one_that_fails_within_ten_milliseconds() {
    in_namespace(|| {
        uplink("up0");
        uplink("up1");
        ip("addr add 10.0.0.1/24 dev up0
            addr add 10.0.1.1/24 dev up1");
        let mut gateway = following(config(r#""192.0.2.2", "192.0.2.3", "192.0.2.4""#));
        let ways = "link set up0p up
            neigh replace 10.0.0.2 lladdr 02:00:00:00:00:02 dev up0
            neigh replace 10.0.1.4 lladdr 02:00:00:00:00:04 dev up1
            route replace 192.0.2.0/24 nexthop via 10.0.0.2 weight 3 nexthop via 10.0.1.4 weight 1";
        let (both, second) = ([(0, 2, BUCKETS / 4 * 3), (1, 4, BUCKETS / 4)], [(1, 4, BUCKETS)]);
        let mut times: Vec<Duration> = (0..12)
            .map(|_| {
                ip(ways);
                wait(&mut gateway, |gateway| spread(gateway, "192.0.2.4") == both, || format!("{both:?}"));
                assert_eq!(spread(&gateway, "192.0.2.2"), both);
                assert_eq!(spread(&gateway, "192.0.2.3"), [(0, 0x33, BUCKETS)], "the file's neighbour wins");
                assert_eq!(gateway.tables().snapshot.load().next_hop_groups.len(), 1, "they share a group");
                ip("link set up0p down");
                let began = Instant::now();
                wait(&mut gateway, |gateway| spread(gateway, "192.0.2.4") == second, || format!("{second:?}"));
                began.elapsed()
            })
            .collect();
        assert_eq!(spread(&gateway, "192.0.2.2"), second);
        assert_eq!(gateway.tables().snapshot.load().next_hop_groups.len(), 0);
        times.sort();
        println!("out of use after {times:?}");
        // The fourth: others use this machine as well.
        assert!(times[3] < Duration::from_millis(10), "{times:?}");
    });
}

#[test]
fn remote_vteps_without_a_neighbour_in_the_file_go_the_kernels_way() {
    in_namespace(|| {
        uplink("up0");
        ip("addr add 10.0.0.1/24 dev up0
            neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev up0
            neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev up0
            route add 192.0.2.0/24 via 10.0.0.2");
        let facts = [0xaa, 0xab, 0xbb].map(|last| PortFacts { mac: mac(last), mtu: 1500, receivers: 1 }).to_vec();
        let telemetry = Arc::new(ControlTelemetry::new());
        let uplinks = vec![Uplink { port: PortIndex(0), interface: "up0".to_owned() }];
        let kernel = Kernel::follow(Listener::start().expect("a listener"), uplinks, Arc::clone(&telemetry));
        let first = config(r#""192.0.2.2", "192.0.2.3""#);
        let mut gateway = Gateway::start(first, facts, Vec::new(), telemetry).expect("it starts");
        assert_eq!(next_hop(&gateway, "192.0.2.2"), None);
        gateway.follow(kernel.expect("the kernel"));
        assert_eq!(next_hop(&gateway, "192.0.2.2"), Some(2));
        assert_eq!(next_hop(&gateway, "192.0.2.3"), Some(0x33), "the file's neighbour wins");
        ip("route replace 192.0.2.0/24 via 10.0.0.9");
        until(&mut gateway, "192.0.2.2", Some(9));
        // A reload keeps the kernel's ways, and finds those of new remote VTEPs at once.
        gateway.apply(config(r#""192.0.2.2", "192.0.2.3", "192.0.2.4""#)).expect("it is applied");
        assert_eq!(next_hop(&gateway, "192.0.2.2"), Some(9));
        assert_eq!(next_hop(&gateway, "192.0.2.4"), Some(9));
        ip("link set up0p down");
        until(&mut gateway, "192.0.2.2", None);
        assert_eq!(next_hop(&gateway, "192.0.2.3"), Some(0x33), "the file's neighbour asks nobody");
    });
}

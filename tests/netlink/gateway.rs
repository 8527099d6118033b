//! The gateway's snapshot has the kernel's ways.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vtepd::config::Config;
use vtepd::control::underlay::Uplink;
use vtepd::control::{Gateway, Kernel, PortFacts};
use vtepd::netlink::Listener;
use vtepd::tables::PortIndex;
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
    let end = Instant::now() + Duration::from_secs(5);
    while next_hop(gateway, remote) != way {
        assert!(Instant::now() < end, "{remote}: {:?} instead of {way:?}", next_hop(gateway, remote));
        if gateway.round() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn remote_vteps_without_a_neighbour_in_the_file_go_the_kernels_way() {
    in_namespace(|| {
        uplink("up0");
        ip("addr add 10.0.0.1/24 dev up0
            neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev up0
            neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev up0
            route add 192.0.2.0/24 via 10.0.0.2");
        let facts = vec![
            PortFacts { mac: mac(0xaa), mtu: 1500, receivers: 1 },
            PortFacts { mac: mac(0xbb), mtu: 1500, receivers: 1 },
        ];
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

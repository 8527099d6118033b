//! The ways to remote VTEPs, by every form that the kernel's routes have.

use std::net::IpAddr;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use vtepd::control::slots::SLOTS;
use vtepd::telemetry::RemoteState;

use crate::namespace::{Followed, in_namespace, ip, run, sysctl, uplink, way_list};

/// Two uplinks with two neighbours each, and a third interface that is none.
fn two_uplinks() {
    for name in ["up0", "up1", "other"] {
        uplink(name);
    }
    ip("addr add 10.0.0.1/24 dev up0
        addr add 10.0.1.1/24 dev up1
        addr add 10.0.2.1/24 dev other
        addr add 2001:db8:0::1/64 dev up0 nodad
        addr add 2001:db8:1::1/64 dev up1 nodad
        neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev up0
        neigh add 10.0.0.3 lladdr 02:00:00:00:00:03 dev up0
        neigh add 10.0.1.4 lladdr 02:00:00:00:00:04 dev up1
        neigh add 10.0.2.5 lladdr 02:00:00:00:00:05 dev other
        neigh add fe80::2 lladdr 02:00:00:00:00:02 dev up0
        neigh add fe80::4 lladdr 02:00:00:00:00:04 dev up1
        neigh add 2001:db8:0::9 lladdr 02:00:00:00:00:09 dev up0");
}

fn state(followed: &Followed, remote: &str) -> Option<RemoteState> {
    followed.kernel.underlay().state(remote.parse::<IpAddr>().expect("an address"))
}

#[test]
fn every_form_of_a_route_gives_its_ways() {
    in_namespace(|| {
        two_uplinks();
        ip("route add 192.0.2.1 via 10.0.0.2
            route add 192.0.2.2 nexthop via 10.0.0.2 weight 3 nexthop via 10.0.1.4 weight 1
            nexthop add id 1 via 10.0.0.3 dev up0
            nexthop add id 2 via 10.0.1.4 dev up1
            nexthop add id 10 group 1,5/2,2
            route add 192.0.2.3 nhid 10
            route add 192.0.2.4 via inet6 fe80::2 dev up0
            route add 192.0.2.5 nexthop via inet6 fe80::2 dev up0 nexthop via inet6 fe80::4 dev up1
            nexthop add id 3 via fe80::4 dev up1
            route add 192.0.2.6 nhid 3
            route add 192.0.2.7 via 10.0.0.2 mtu 1400
            route add 192.0.2.8 via 192.0.2.99 dev up0 onlink
            neigh add 192.0.2.99 lladdr 02:00:00:00:00:63 dev up0
            route add 192.0.2.9 nexthop via 10.0.0.2 nexthop via 10.0.2.5
            route add 2001:db8:f::1 nexthop via fe80::2 dev up0 nexthop via fe80::4 dev up1
            route add 2001:db8:f::2 via fe80::4 dev up1");
        let remotes = [
            ("192.0.2.1", &[(0, 2, 1)][..]),
            ("192.0.2.2", &[(0, 2, 3), (1, 4, 1)]),
            ("192.0.2.3", &[(0, 3, 5), (1, 4, 2)]),
            ("192.0.2.4", &[(0, 2, 1)]),
            ("192.0.2.5", &[(0, 2, 1), (1, 4, 1)]),
            ("192.0.2.6", &[(1, 4, 1)]),
            ("192.0.2.7", &[(0, 2, 1)]),
            ("192.0.2.8", &[(0, 0x63, 1)]),
            // One of two is no uplink of the gateway's.
            ("192.0.2.9", &[(0, 2, 1)]),
            ("2001:db8:f::1", &[(0, 2, 1), (1, 4, 1)]),
            ("2001:db8:f::2", &[(1, 4, 1)]),
            // On the link itself.
            ("10.0.0.3", &[(0, 3, 1)]),
            ("2001:db8:0::9", &[(0, 9, 1)]),
        ];
        let names = remotes.map(|(remote, _)| remote);
        let followed = Followed::new(&["up0", "up1"], &names);
        for (remote, ways) in remotes {
            assert_eq!(followed.ways(remote), ways, "{remote}");
            assert_eq!(state(&followed, remote), Some(RemoteState::Reachable), "{remote}");
        }
        assert_eq!(way_list(&followed.kernel, "192.0.2.7")[0].mtu, 1400);
        assert_eq!(way_list(&followed.kernel, "192.0.2.1")[0].mtu, 1500);
        let (_, ways) =
            followed.kernel.ways().find(|(remote, _)| remote.to_string() == "192.0.2.2").expect("it is there");
        assert_eq!(ways.slots.iter().filter(|slot| **slot == 0).count(), SLOTS / 4 * 3);

        // Where the kernel tells no more of a route than its next-hop object.
        sysctl("net.ipv4.nexthop_compat_mode", "0");
        let followed = Followed::new(&["up0", "up1"], &names);
        for (remote, ways) in remotes {
            assert_eq!(followed.ways(remote), ways, "{remote}");
        }
    });
}

#[test]
fn it_is_said_what_a_remote_vtep_without_a_way_lacks() {
    in_namespace(|| {
        two_uplinks();
        ip("route add 192.0.2.2 via 10.0.2.5
            route add 192.0.2.3 via 10.0.0.77
            route add blackhole 192.0.2.4
            link set other down
            link set up1p down
            route add unreachable 192.0.2.5");
        let lonely = ["192.0.2.1", "192.0.2.2", "192.0.2.4", "192.0.2.5", "10.0.0.1"];
        let mut followed = Followed::new(&["up0", "up1"], &[&lonely[..], &["192.0.2.3", "10.0.1.4"]].concat());
        for remote in lonely {
            assert_eq!(state(&followed, remote), Some(RemoteState::NoRoute), "{remote}");
            assert_eq!(followed.ways(remote), []);
        }
        assert_eq!(state(&followed, "192.0.2.3"), Some(RemoteState::Unresolved));
        // The kernel takes its time to say that a carrier is gone.
        followed.until("no route over the link without a carrier", |kernel| {
            kernel.underlay().states()[RemoteState::NoRoute as usize] == 6
        });
        let count = |followed: &Followed, state| followed.telemetry.kernel.remotes(state).get();
        assert_eq!((count(&followed, RemoteState::NoRoute), count(&followed, RemoteState::Unresolved)), (6, 1));
        // With a carrier, what is on the link is there again; an interface that is no uplink is said to be none.
        ip("link set up1p up
            link set other up
            addr replace 10.0.2.1/24 dev other
            route replace 192.0.2.2 via 10.0.2.5
            neigh replace 10.0.1.4 lladdr 02:00:00:00:00:04 dev up1");
        followed.until("a way over up1", |kernel| !way_list(kernel, "10.0.1.4").is_empty());
        followed.until("a route over no uplink", |kernel| {
            kernel.underlay().state([192, 0, 2, 2].into()) == Some(RemoteState::NoUplink)
        });
        let counts = RemoteState::ALL.iter().map(|state| followed.telemetry.kernel.remotes(*state).get());
        assert_eq!(counts.collect::<Vec<_>>(), [4, 1, 0, 1, 1]);
    });
}

#[test]
fn changes_of_routes_are_followed() {
    in_namespace(|| {
        two_uplinks();
        let mut followed = Followed::new(&["up0", "up1"], &["192.0.2.1"]);
        let mut expect = |commands: &str, ways: &[(u16, u8, u32)]| {
            ip(commands);
            followed.until(commands, |kernel| crate::namespace::ways(kernel, "192.0.2.1") == ways);
        };
        expect("route add default via 10.0.0.2", &[(0, 2, 1)]);
        expect("route add 192.0.2.0/24 via 10.0.1.4", &[(1, 4, 1)]);
        expect("route add 192.0.2.1 via 10.0.0.3", &[(0, 3, 1)]);
        expect("route del 192.0.2.1", &[(1, 4, 1)]);
        // A group changes under its route, of which the kernel says nothing.
        expect(
            "nexthop add id 1 via 10.0.0.3 dev up0
             nexthop add id 2 via 10.0.1.4 dev up1
             nexthop add id 10 group 1/2
             route add 192.0.2.1 nhid 10",
            &[(0, 3, 1), (1, 4, 1)],
        );
        expect("nexthop replace id 10 group 1,3/2", &[(0, 3, 3), (1, 4, 1)]);
        expect("nexthop del id 2", &[(0, 3, 1)]);
        expect("nexthop del id 10", &[(1, 4, 1)]);
        // A rule leads to another table.
        expect(
            "route add 192.0.2.1 via 10.0.0.2 table 77
             rule add to 192.0.2.1 lookup 77",
            &[(0, 2, 1)],
        );
        expect("rule del to 192.0.2.1 lookup 77", &[(1, 4, 1)]);
        // The neighbour has another address now.
        expect("neigh replace 10.0.1.4 lladdr 02:00:00:00:00:44 dev up1", &[(1, 0x44, 1)]);
        // The interface is made again, under another index.
        expect("link del up1", &[(0, 2, 1)]);
        uplink("up1");
        expect(
            "addr add 10.0.1.1/24 dev up1
             neigh add 10.0.1.4 lladdr 02:00:00:00:00:04 dev up1
             route add 192.0.2.0/24 via 10.0.1.4",
            &[(1, 4, 1)],
        );
    });
}

#[test]
fn next_hops_are_resolved_and_kept_so_without_a_packet() {
    in_namespace(|| {
        uplink("up0");
        // The router is in a namespace of its own, for as long as its thread waits.
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let router = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a second namespace");
            tell.send(gettid()).expect("it is awaited");
            let _ = stopped.recv();
        });
        let place = format!("/proc/{}/task/{}/ns/net", std::process::id(), told.recv().expect("it runs"));
        run("ip", &format!("link set up0p netns {place}"));
        let there = |words: &str| {
            let net = format!("--net={place}");
            let status = Command::new("nsenter").arg(net).arg("ip").args(words.split(' ')).status().expect("nsenter");
            assert!(status.success(), "{words}");
        };
        there("link set up0p address 02:00:00:00:00:02");
        there("addr add 10.0.0.2/24 dev up0p");
        there("addr add 2001:db8::2/64 dev up0p nodad");
        there("link set up0p up");
        ip("addr add 10.0.0.1/24 dev up0
            addr add 2001:db8::1/64 dev up0 nodad
            route add 192.0.2.0/24 via 10.0.0.2
            route add 2001:db8:f::/48 via 2001:db8::2");
        let mut followed = Followed::new(&["up0"], &["192.0.2.1", "2001:db8:f::1"]);
        for remote in ["192.0.2.1", "2001:db8:f::1"] {
            followed.until(remote, |kernel| crate::namespace::ways(kernel, remote) == [(0, 2, 1)]);
        }
        let index = followed.kernel.mirror().links().find(|link| link.name == "up0").expect("it is there").index;
        let managed = |followed: &Followed| {
            followed.kernel.mirror().neighbour(index, IpAddr::from([10, 0, 0, 2])).is_some_and(|known| known.managed)
        };
        followed.for_a_while(Duration::from_millis(50));
        assert!(managed(&followed), "the kernel keeps it resolved");
        // With the carrier the kernel forgets its neighbours. They are asked for again.
        there("link set up0p down");
        followed.until("no way", |kernel| way_list(kernel, "192.0.2.1").is_empty());
        there("link set up0p up");
        followed.until("a way again", |kernel| crate::namespace::ways(kernel, "192.0.2.1") == [(0, 2, 1)]);
        // Nobody needs it any more: the kernel is told, also by a gateway that stops.
        drop(followed);
        let after = Followed::new(&["up0"], &[]);
        assert!(!managed(&after));
        drop(stop);
        router.join().expect("the router ends");
    });
}

//! The two halves of the kernel's VXLAN FDB, and what they mean together.

use std::net::IpAddr;

use vtepd::netlink::{Destination, Place};
use vtepd::wire::MacAddr;

use crate::namespace::{Followed, in_namespace, ip, mac, run};

/// The index of a link.
fn index(followed: &Followed, name: &str) -> u32 {
    followed.kernel.mirror().links().find(|link| link.name == name).expect("the link is there").index
}

fn remote(address: &str) -> Place {
    Place::Remote(Destination::remote(address.parse().expect("an address")))
}

/// A VNI as FRR has it: a bridge, a vxlan device and an access port.
const VNI: &str = "
    link add br100 type bridge
    link add vx100 type vxlan id 100 local 192.0.2.1 dstport 4789 nolearning
    link add acc100 type veth peer name acc100p
    link set vx100 master br100
    link set acc100 master br100
    link set acc100 up
    link set vx100 up";

#[test]
fn a_station_is_where_both_halves_together_say() {
    in_namespace(|| {
        ip(VNI);
        let mut followed = Followed::new(&[], &[]);
        let vx100 = index(&followed, "vx100");
        let acc100 = index(&followed, "acc100");
        let mut expect = |station: u8, place: Place| {
            followed.until(&format!("station {station} is at {place:?}"), |kernel| {
                kernel.mirror().place(vx100, mac(station)) == place
            });
        };
        // What zebra programs for a remote MAC: both halves.
        run("bridge", "fdb add 02:00:00:00:00:01 dev vx100 self dst 192.0.2.11 extern_learn dynamic");
        run("bridge", "fdb add 02:00:00:00:00:01 dev vx100 master extern_learn dynamic");
        expect(1, remote("192.0.2.11"));
        // It is replaced without a deletion.
        run("bridge", "fdb replace 02:00:00:00:00:01 dev vx100 self dst 192.0.2.12 extern_learn dynamic");
        expect(1, remote("192.0.2.12"));
        // It moves behind the access port: the bridge's half decides, also while the other is still there.
        run("bridge", "fdb replace 02:00:00:00:00:01 dev acc100 master dynamic extern_learn");
        expect(1, Place::Local { port: acc100 });
        run("bridge", "fdb del 02:00:00:00:00:01 dev acc100 master");
        expect(1, remote("192.0.2.12"));
        run("bridge", "fdb del 02:00:00:00:00:01 dev vx100 self");
        expect(1, Place::Unknown);
        // Behind the device, but nobody says where.
        run("bridge", "fdb add 02:00:00:00:00:02 dev vx100 master static");
        expect(2, Place::Flooded);
        // The device's half alone.
        run("bridge", "fdb append 02:00:00:00:00:03 dev vx100 self dst 192.0.2.13");
        expect(3, remote("192.0.2.13"));
        // The port's own address is no station.
        let own = followed.kernel.mirror().link(acc100).and_then(|link| link.mac).expect("it has an address");
        assert_eq!(followed.kernel.mirror().place(vx100, own), Place::Unknown);
    });
}

#[test]
fn flood_lists_are_as_long_as_the_kernels() {
    in_namespace(|| {
        ip(VNI);
        let mut followed = Followed::new(&[], &[]);
        let vx100 = index(&followed, "vx100");
        let mut expect = |list: &[&str]| {
            let list: Vec<Destination> =
                list.iter().map(|address| Destination::remote(address.parse().expect("an address"))).collect();
            followed
                .until(&format!("{list:?}"), |kernel| kernel.mirror().flood_list(vx100).collect::<Vec<_>>() == list);
        };
        run("bridge", "fdb append 00:00:00:00:00:00 dev vx100 dst 192.0.2.12");
        run("bridge", "fdb append 00:00:00:00:00:00 dev vx100 dst 192.0.2.11");
        expect(&["192.0.2.11", "192.0.2.12"]);
        run("bridge", "fdb del 00:00:00:00:00:00 dev vx100 dst 192.0.2.12");
        expect(&["192.0.2.11"]);
        // A new mirror finds the same by its dump as the old one by events.
        followed.until("both are the same", |kernel| {
            let again = Followed::new(&[], &[]);
            again.kernel.mirror().entries() == kernel.mirror().entries()
        });
        assert_eq!(Followed::new(&[], &[]).kernel.mirror().flood_list(vx100).count(), 1);
    });
}

#[test]
fn devices_are_told_by_what_they_are_and_take_their_entries_with_them() {
    in_namespace(|| {
        ip(VNI);
        // Flannel's: no bridge, another UDP port, entries and neighbours that are permanent.
        ip("link add flannel.1 type vxlan id 1 local 192.0.2.1 dstport 8472 nolearning
            link set flannel.1 up
            neigh replace 10.244.7.0 lladdr 02:00:00:00:00:07 dev flannel.1 nud permanent");
        run("bridge", "fdb append 02:00:00:00:00:07 dev flannel.1 dst 192.0.2.17");
        let mut followed = Followed::new(&[], &[]);
        let mirror = followed.kernel.mirror();
        let flannel = mirror.links().find(|link| link.name == "flannel.1").expect("it is there");
        let vxlan = flannel.vxlan.expect("it is a vxlan device");
        assert_eq!((vxlan.vni, vxlan.port, vxlan.learning, vxlan.external), (1, 8472, false, false));
        assert_eq!(vxlan.local, Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!((flannel.master, flannel.carries()), (None, true));
        assert_eq!(mirror.place(flannel.index, mac(7)), remote("192.0.2.17"));
        let known = mirror.neighbour(flannel.index, IpAddr::from([10, 244, 7, 0])).expect("it is known");
        assert_eq!(known.usable(), Some(mac(7)));
        let bridge = mirror.links().find(|link| link.name == "br100").expect("it is there");
        assert_eq!((bridge.kind.as_str(), bridge.up), ("bridge", false));
        let vx100 = index(&followed, "vx100");
        assert_eq!(followed.kernel.mirror().link(vx100).expect("it is there").master, Some(bridge.index));

        // A port that leaves its bridge is told of like a link that is gone. It is not.
        let index = index(&followed, "flannel.1");
        ip("link set vx100 nomaster");
        followed
            .until("vx100 has left", |kernel| kernel.mirror().link(vx100).is_some_and(|link| link.master.is_none()));
        ip("link del flannel.1");
        followed.until("flannel.1 is gone", |kernel| kernel.mirror().link(index).is_none());
        assert_eq!(followed.kernel.mirror().place(index, mac(7)), Place::Unknown);
        followed.until("both are the same", |kernel| {
            let again = Followed::new(&[], &[]);
            again.kernel.mirror().entries() == kernel.mirror().entries()
        });
    });
}

#[test]
fn fdb_next_hop_objects_stand_for_their_members() {
    in_namespace(|| {
        ip(VNI);
        ip("nexthop add id 1 via 192.0.2.11 fdb
            nexthop add id 2 via 192.0.2.12 fdb
            nexthop add id 10 group 1/2 fdb");
        run("bridge", "fdb add 02:00:00:00:00:05 dev vx100 nhid 10 self extern_learn");
        let followed = Followed::new(&[], &[]);
        let mirror = followed.kernel.mirror();
        let Place::Remote(destination) = mirror.place(index(&followed, "vx100"), mac(5)) else { panic!("no place") };
        assert_eq!(destination, Destination::NextHop(10));
        assert_eq!(mirror.remotes(destination), [IpAddr::from([192, 0, 2, 11]), IpAddr::from([192, 0, 2, 12])]);
        assert_eq!(mirror.flood_list(index(&followed, "vx100")).count(), 0);
        assert_eq!(mirror.place(index(&followed, "vx100"), MacAddr::ZERO), Place::Unknown);
    });
}

//! What the kernel drops because it is read too late is made up for.

use std::time::{Duration, Instant};

use vtepd::netlink::{Destination, Listener};

use crate::namespace::{Followed, bridge_batch, in_namespace, ip, mac, run, uplink, ways};

fn entry(number: u32, verb: &str) -> String {
    let [_, high, middle, low] = number.to_be_bytes();
    format!("fdb {verb} 02:00:00:{high:02x}:{middle:02x}:{low:02x} dev vx100 dst 192.0.2.11")
}

#[test]
fn ten_thousand_entries_through_a_tiny_buffer_all_arrive_and_all_go() {
    in_namespace(|| {
        uplink("up0");
        ip("link add vx100 type vxlan id 100 local 192.0.2.1 dstport 4789 nolearning
            link set vx100 up
            addr add 10.0.0.1/24 dev up0
            neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev up0");
        // The kernel's least: room for a message or two.
        let listener = Listener::with_receive_buffer(1).expect("a listener");
        let mut followed = Followed::by(listener, &["up0"], &["10.0.0.2"]);
        bridge_batch((0..10_000).map(|number| entry(number, "add")));
        let time = followed.until("10000 entries", |kernel| kernel.mirror().entries().tunnelled == 10_000);
        let telemetry = &followed.telemetry.kernel;
        assert!(telemetry.overruns.get() > 0, "the buffer was not tiny");
        println!("{} events of 10000, the rest by a resync after {time:?}", telemetry.events.get());
        // Also what nobody tells of any more: it goes with the second resync that does not name it.
        let before = telemetry.resyncs.get();
        bridge_batch((0..10_000).map(|number| entry(number, "del")));
        followed.until("no entries", |kernel| kernel.mirror().entries().tunnelled == 0);
        assert!(followed.telemetry.kernel.resyncs.get() > before);
        assert_eq!(followed.telemetry.kernel.resync_failures.get(), 0);
    });
}

#[test]
fn what_changes_after_an_overrun_is_not_lost_behind_the_backlog() {
    in_namespace(|| {
        uplink("up0");
        ip("link add vx100 type vxlan id 100 local 192.0.2.1 dstport 4789 nolearning
            link set vx100 up");
        let listener = Listener::with_receive_buffer(16 << 20).expect("a listener");
        let mut followed = Followed::by(listener, &["up0"], &[]);
        let resyncs = followed.telemetry.kernel.resyncs.get();
        let replace = |last: u32| format!("fdb replace {} dev vx100 self dst 192.0.2.{last}", mac(1));
        // More than the queue and the kernel's buffer hold together, of an FDB that a resync has read at once. Nobody
        // takes them in, so that the reader stands still.
        bridge_batch((0..80_000).map(|number| replace(11 + number % 2)));
        let telemetry = std::sync::Arc::clone(&followed.telemetry);
        followed.until("a resync", |_| telemetry.kernel.resyncs.get() > resyncs);
        assert!(followed.telemetry.kernel.overruns.get() > 0, "the kernel's buffer was not full");
        run("bridge", &replace(13));
        let vx100 = followed.kernel.mirror().links().find(|link| &*link.name == "vx100").expect("it is there").index;
        let destination = Destination::remote("192.0.2.13".parse().expect("an address"));
        let time = followed
            .until("the last destination", |kernel| kernel.mirror().remote_of(vx100, mac(1)) == Some(destination));
        assert!(time < Duration::from_secs(3), "{time:?}");
        // Nor does something older come after it.
        followed.for_a_while(Duration::from_millis(200));
        assert_eq!(followed.kernel.mirror().remote_of(vx100, mac(1)), Some(destination));
    });
}

#[test]
fn a_resync_changes_no_way_that_is_as_it_was() {
    in_namespace(|| {
        uplink("up0");
        ip("addr add 10.0.0.1/24 dev up0
            neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev up0");
        let mut followed = Followed::new(&["up0"], &["10.0.0.2"]);
        let resyncs = followed.telemetry.kernel.resyncs.get();
        let changes = followed.telemetry.kernel.way_changes.get();
        // The slow comparison is due after half a minute, so that long is skipped.
        let mut later = Instant::now() + Duration::from_secs(31);
        while followed.telemetry.kernel.resyncs.get() == resyncs {
            let round = followed.kernel.round(later);
            assert!(!round.ways_changed);
            assert_eq!(ways(&followed.kernel, "10.0.0.2"), [(0, 2, 1)]);
            later += Duration::from_millis(1);
        }
        followed.for_a_while(Duration::from_millis(50));
        assert_eq!(followed.telemetry.kernel.way_changes.get(), changes);
        assert!(followed.telemetry.kernel.route_queries.get() >= 2, "the route was asked for again");
    });
}

#[test]
fn what_fails_while_messages_are_dropped_is_out_of_use_all_the_same() {
    in_namespace(|| {
        uplink("up0");
        uplink("up1");
        ip("link add vx100 type vxlan id 100 local 192.0.2.1 dstport 4789 nolearning
            link set vx100 up
            addr add 10.0.0.1/24 dev up0
            addr add 10.0.1.1/24 dev up1");
        let repair = "link set up0p up
            neigh replace 10.0.0.2 lladdr 02:00:00:00:00:02 dev up0
            neigh replace 10.0.1.4 lladdr 02:00:00:00:00:04 dev up1
            route replace 192.0.2.0/24 nexthop via 10.0.0.2 nexthop via 10.0.1.4";
        ip(repair);
        let listener = Listener::with_receive_buffer(1).expect("a listener");
        let mut followed = Followed::by(listener, &["up0", "up1"], &["192.0.2.1"]);
        let replace = |last: u32| format!("fdb replace {} dev vx100 self dst 192.0.2.{last}", mac(1));
        for fail in [
            "link set up0p down",
            "neigh del 10.0.0.2 dev up0",
            "neigh replace 10.0.0.2 dev up0 nud failed",
            "route replace 192.0.2.0/24 via 10.0.1.4",
        ] {
            ip(repair);
            followed.until("both ways", |kernel| ways(kernel, "192.0.2.1").len() == 2);
            let overruns = followed.telemetry.kernel.overruns.get();
            // Nobody takes these in, and there is no room for what follows.
            bridge_batch((0..80_000).map(|number| replace(11 + number % 2)));
            ip(fail);
            let time = followed.until(fail, |kernel| ways(kernel, "192.0.2.1") == [(1, 4, 1)]);
            assert!(followed.telemetry.kernel.overruns.get() > overruns, "{fail}: there was room for it");
            println!("{fail}: out of use {time:?} after the gateway could look again");
            assert!(time < Duration::from_secs(5), "{fail}: {time:?}");
        }
    });
}

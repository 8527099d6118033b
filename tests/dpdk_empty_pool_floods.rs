//! A packet pool without a free buffer: floods lose copies, each counted; known stations lose nothing; and with buffers
//! every copy is sent again.

#![cfg(feature = "dpdk")]

#[path = "support/crew.rs"]
mod crew;
mod support;
#[path = "support/wired.rs"]
mod wired;

use crew::{HERE, THERE, bridge, decode, frame, statics, tagged};
use support::packet;
use vtepd::dpdk::Mbuf;
use vtepd::telemetry::{DropReason, Event};
use wired::{TRUNK0, UPLINK, Wired};

const FRAMES: usize = 60;
/// The places of a flood from trunk0: trunk1 and two remote VTEPs.
const COPIES: u64 = 3;

fn packets(wired: &Wired, destination: [u8; 6]) -> Vec<Mbuf> {
    (0..FRAMES).map(|number| packet(&wired.pool, &tagged(&frame(destination, HERE, number, 100), 100))).collect()
}

#[test]
fn without_buffers_floods_lose_copies_that_are_counted_and_known_stations_lose_nothing() {
    let rest = bridge(100, "[\"trunk0\", \"trunk1\"]") + &statics(100);
    let mut wired = Wired::new("empty-pool-floods", &wired::config("cores = [0]", &rest), 2047, None);
    let [floods, known, more] = [[0xff; 6], THERE, [0xff; 6]].map(|to| packets(&wired, to));
    // The worker does not run yet: it would keep some buffers in its cache.
    let hoard = wired.hoard();
    wired.start(false);

    wired.feed_packets(TRUNK0, floods);
    let sent: u64 = wired.take_counts().iter().sum::<usize>() as u64;
    let lost = wired.telemetry[0].dropped(DropReason::NoBuffer);
    assert!(lost > 0, "there was a buffer for every copy");
    assert_eq!(sent + lost, FRAMES as u64 * COPIES, "every copy is sent or counted");
    assert_eq!((wired.events(Event::FloodCopy), wired.sent()), (sent, sent));

    wired.feed_packets(TRUNK0, known);
    let arrived: Vec<_> = wired.take(UPLINK).iter().map(|packet| decode(packet).3).collect();
    assert!(arrived == (0..FRAMES).map(|number| frame(THERE, HERE, number, 100)).collect::<Vec<_>>());
    assert_eq!(wired.drops(), [(DropReason::NoBuffer, lost)]);

    drop(hoard);
    wired.feed_packets(TRUNK0, more);
    assert_eq!(wired.take_counts(), [2 * FRAMES, 0, FRAMES]);
    assert_eq!(wired.drops(), [(DropReason::NoBuffer, lost)], "with buffers every copy is sent");
    wired.close();
}

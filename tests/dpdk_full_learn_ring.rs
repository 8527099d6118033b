//! A full learn ring: control does not look, and more new stations speak than the ring holds.

#![cfg(feature = "dpdk")]

#[path = "support/crew.rs"]
mod crew;
mod support;
#[path = "support/wired.rs"]
mod wired;

use crew::{HERE, THERE, bridge, decode, frame, statics, tagged};
use vtepd::tables::learning::LearnRing;
use vtepd::telemetry::{Event, FdbEvent};
use wired::{TRUNK0, TRUNK1, UPLINK, Wired};

/// Stations that find the ring full.
const LOST: usize = 1000;

fn station(number: usize) -> [u8; 6] {
    [2, 0, 0, 8, (number >> 8) as u8, number as u8]
}

#[test]
fn frames_of_stations_that_could_not_be_reported_are_forwarded_and_their_next_ones_report_them() {
    let rest = bridge(100, "[\"trunk0\", \"trunk1\"]") + &statics(100) + "[fdb]\nmax_entries = 16384\n";
    let mut wired = Wired::new("full-learn-ring", &wired::config("cores = [0]", &rest), 4095, None);
    wired.start(false);
    let all = LearnRing::CAPACITY + LOST;
    let speak = |number: usize| tagged(&frame(THERE, station(number), number, 80), 100);
    let reports = |wired: &Wired| [Event::LearnSent, Event::LearnLost].map(|event| wired.events(event));

    // Control has no round meanwhile. Each frame goes where it should all the same.
    for first in (0..all).step_by(512) {
        let numbers = first..all.min(first + 512);
        wired.feed(TRUNK0, &numbers.clone().map(speak).collect::<Vec<_>>());
        let arrived: Vec<_> = wired.take(UPLINK).iter().map(|packet| decode(packet).3).collect();
        assert!(arrived == numbers.map(|number| frame(THERE, station(number), number, 80)).collect::<Vec<_>>());
        // A station that is known is not held up.
        wired.feed(TRUNK1, &[tagged(&frame(HERE, station(0), first, 80), 100)]);
        assert_eq!(wired.take_counts(), [0, 1, 0]);
    }
    let asides = all.div_ceil(512) as u64;
    // Station 0 was seen on trunk1 as well each time, which is a report too, unless the last one was just before; those of
    // the last turns were lost.
    let [sent, lost] = reports(&wired);
    let repeated = wired.events(Event::LearnRepeated);
    assert_eq!((sent, sent + lost + repeated), (LearnRing::CAPACITY as u64, all as u64 + asides));
    assert_eq!((wired.drops(), wired.sent()), (Vec::new(), wired.received()));
    assert_eq!(wired.fdb_events(FdbEvent::Learned), 0);

    // Control looks again: the ring's are learned, and the next frame of each of the others reports it.
    wired.control();
    let learned = wired.fdb_events(FdbEvent::Learned);
    assert!(learned <= sent && learned >= sent - asides, "{learned} of {sent}");
    let again: Vec<_> = (LearnRing::CAPACITY - asides as usize..all).collect();
    for numbers in again.chunks(512) {
        wired.feed(TRUNK0, &numbers.iter().map(|number| speak(*number)).collect::<Vec<_>>());
        wired.control();
        assert_eq!(wired.take_counts(), [numbers.len(), 0, 0]);
    }
    assert_eq!((wired.fdb_events(FdbEvent::Learned), reports(&wired)[1]), (all as u64, lost));
    let calls: Vec<_> = again.iter().map(|number| tagged(&frame(station(*number), HERE, *number, 80), 100)).collect();
    for calls in calls.chunks(512) {
        wired.feed(TRUNK1, calls);
        assert_eq!(wired.take_counts(), [0, calls.len(), 0], "to where each was learned, and nowhere else");
    }
    assert_eq!((wired.drops(), wired.events(Event::FloodedFrame)), (Vec::new(), 0));
    wired.close();
}

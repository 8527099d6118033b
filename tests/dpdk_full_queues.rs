//! Full queues on a packet's way out: a transmit queue that nobody empties, and a hand-over ring whose owner stands.

#![cfg(feature = "dpdk")]

#[path = "support/crew.rs"]
mod crew;
mod support;
#[path = "support/wired.rs"]
mod wired;

use crew::{HERE, THERE, bridge, decode, encapsulated, frame, statics, tagged};
use vtepd::tables::PortIndex;
use vtepd::telemetry::{DropReason, Event};
use vtepd::worker::outlet::HANDOVER_CAPACITY;
use wired::{RING, TRUNK0, TRUNK1, UPLINK, Wired};

/// Frames beyond what fits.
const BEYOND: usize = 500;

fn outward(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers.map(|number| frame(THERE, [2, 0, 0, 0, 1, 2], number, 100)).collect()
}

fn with_tags(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| tagged(frame, 100)).collect()
}

#[test]
fn what_does_not_fit_a_queue_is_counted_and_the_other_queues_and_later_packets_are_not_held_up() {
    let rest = bridge(100, "[\"trunk0\", \"trunk1\"]") + &statics(100);
    let fixed = "[[static]]\nvni = 100\nmac = \"02:00:00:00:01:02\"\nport = \"trunk1\"\n";
    let text = wired::config("cores = [0, 1]", &(rest + fixed));
    let mut wired = Wired::with_handover("full-queues", &text, 8191);

    // The second worker hands over to the first, which does not run yet.
    wired.start(true);
    let first = outward(0..HANDOVER_CAPACITY + BEYOND);
    wired.feed(TRUNK1, &with_tags(&first));
    assert_eq!(wired.drops(), [(DropReason::HandoverFull, BEYOND as u64)]);
    assert_eq!(wired.events(Event::HandedOver), HANDOVER_CAPACITY as u64);
    // Its own queue, to trunk0, is not touched by that.
    let local: Vec<_> = (0..RING).map(|number| frame(HERE, [2, 0, 0, 0, 1, 2], number, 60)).collect();
    wired.feed(TRUNK1, &with_tags(&local));
    assert!(wired.take(TRUNK0) == with_tags(&local));

    // The first worker runs, and nobody empties the uplink: it holds a ring's worth of what was handed over.
    wired.start(false);
    let unsent = (HANDOVER_CAPACITY - RING) as u64;
    let full = |wired: &Wired| wired.telemetry[0].dropped(DropReason::TransmitFull);
    wired.until("what was handed over is sent or dropped", |wired| full(wired) == unsent);
    // What the worker receives from there is forwarded meanwhile, and more to there is counted.
    let answers: Vec<_> = (0..300).map(|number| frame([2, 0, 0, 0, 1, 2], THERE, number, 100)).collect();
    wired.feed(UPLINK, &answers.iter().map(|frame| encapsulated(frame, 100)).collect::<Vec<_>>());
    assert!(wired.take(TRUNK1) == with_tags(&answers));
    let more: Vec<_> = (0..BEYOND).map(|number| frame(THERE, HERE, number, 100)).collect();
    wired.feed(TRUNK0, &with_tags(&more));
    assert_eq!(full(&wired), unsent + BEYOND as u64);

    // It is emptied: in order and whole, what fitted; and from now on everything passes.
    let sent: Vec<_> = wired.take(UPLINK).iter().map(|packet| decode(packet).3).collect();
    assert!(sent == first[..RING]);
    let later = outward(5000..5900);
    wired.feed(TRUNK1, &with_tags(&later));
    let expected = (RING + later.len()) as u64;
    wired.until("the later packets are sent", |wired| {
        wired.telemetry[0].port(PortIndex(UPLINK as u16)).sent().packets() == expected
    });
    assert!(wired.take(UPLINK).iter().map(|packet| decode(packet).3).collect::<Vec<_>>() == later);
    wired.feed(TRUNK0, &with_tags(&more));
    assert!(wired.take(UPLINK).iter().map(|packet| decode(packet).3).collect::<Vec<_>>() == more);

    let dropped = [(DropReason::TransmitFull, unsent + BEYOND as u64), (DropReason::HandoverFull, BEYOND as u64)];
    assert_eq!(wired.drops(), dropped);
    let lost: u64 = dropped.iter().map(|(_, count)| count).sum();
    assert_eq!(wired.received(), wired.sent() + lost, "every packet is sent or counted once");
    wired.close();
}

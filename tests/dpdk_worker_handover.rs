//! A port with fewer transmit queues than workers: the second worker's packets leave through the first one's queue.

#![cfg(feature = "dpdk")]

#[path = "support/crew.rs"]
mod crew;
mod support;

use crew::{HERE, Rig, THERE, bridge, config, decode, frame, statics, tagged};
use support::{read_capture, write_capture};
use vtepd::tables::PortIndex;
use vtepd::telemetry::{DropReason, Event};
use vtepd::worker::outlet::HANDOVER_CAPACITY;

#[test]
fn a_worker_without_a_transmit_queue_hands_over_and_a_full_ring_is_counted() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let frames = |first: usize, count: usize| (first..first + count).map(|n| frame(THERE, HERE, n, 100)).collect();
    let (first, second): (Vec<_>, Vec<_>) = (frames(0, 100), frames(1000, HANDOVER_CAPACITY + 500));
    for (name, frames) in [("q0", &first), ("q1", &second), ("nothing", &Vec::new())] {
        let tagged: Vec<_> = frames.iter().map(|frame| tagged(frame, 100)).collect();
        write_capture(path(name).as_ref(), &tagged);
    }
    // Two receive queues and one transmit queue; the uplink has one of each.
    let ports = [
        ("uplink0", format!("net_pcap0,rx_pcap={},tx_pcap={}", path("nothing"), path("to-fabric"))),
        ("trunk0", format!("net_pcap1,rx_pcap={},rx_pcap={},tx_pcap={}", path("q0"), path("q1"), path("to-trunk"))),
    ];
    let text = config("cores = [0, 1]", &ports, &(bridge(100, "[\"trunk0\"]") + &statics(100)));
    let mut rig = Rig::new("handover", &text);
    assert_eq!((rig.ports[1].plan.receive, rig.ports[1].plan.transmit), (2, 1));
    assert_eq!((rig.ports[0].plan.receive, rig.ports[0].plan.transmit), (1, 1));

    // The owner of the queue does not run yet: the ring fills.
    let giver = rig.start(1, || {});
    rig.until("the second worker has received all", |rig| rig.telemetry[1].run.packets.get() == second.len() as u64);
    let full = (second.len() - HANDOVER_CAPACITY) as u64;
    rig.until("all are handed over or dropped", |rig| rig.telemetry[1].dropped(DropReason::HandoverFull) == full);
    assert_eq!(rig.telemetry[1].events(Event::HandedOver), HANDOVER_CAPACITY as u64);
    assert_eq!(rig.telemetry[1].port(PortIndex(0)).sent().packets(), 0);
    let taker = rig.start(0, || {});
    let expected = (first.len() + HANDOVER_CAPACITY) as u64;
    rig.until("the first worker sent both shares", |rig| {
        rig.telemetry[0].port(PortIndex(0)).sent().packets() == expected
    });
    taker.stop();
    giver.stop();
    assert_eq!(rig.drops(), [(DropReason::HandoverFull, full)]);
    rig.close();

    let mut sent: Vec<_> = read_capture(path("to-fabric").as_ref()).iter().map(|packet| decode(packet).3).collect();
    let mut wanted = [&first[..], &second[..HANDOVER_CAPACITY]].concat();
    // In order from each worker; the two interleave as they may.
    let of_second: Vec<_> = sent.iter().filter(|frame| !first.contains(frame)).cloned().collect();
    assert!(of_second == second[..HANDOVER_CAPACITY], "the second worker's packets are reordered");
    sent.sort();
    wanted.sort();
    assert!(sent == wanted, "packets differ");
}

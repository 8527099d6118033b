//! Workers stopped one after the other under endless floods: what waits in hand-over rings is freed, too.

#![cfg(feature = "dpdk")]

#[path = "support/crew.rs"]
mod crew;
mod support;

use crew::{HERE, Rig, THERE, bridge, config, frame, statics, tagged};
use support::write_capture;
use vtepd::telemetry::{DropReason, Event};

#[test]
fn workers_stopped_in_mid_traffic_give_every_buffer_back_also_those_in_hand_over_rings() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let destination = |n: usize| if n.is_multiple_of(3) { [0xff; 6] } else { THERE };
    let frames: Vec<_> = (0..32).map(|n| tagged(&frame(destination(n), HERE, n, 100), 100)).collect();
    write_capture(path("trunk").as_ref(), &frames);
    write_capture(path("nothing").as_ref(), &[]);
    let trunk = path("trunk");
    let ports = [
        ("uplink0", format!("net_pcap0,rx_pcap={},tx_pcap={}", path("nothing"), "/dev/null")),
        ("trunk0", format!("net_pcap1,rx_pcap={trunk},rx_pcap={trunk},infinite_rx=1")),
    ];
    let text = config("cores = [0, 1]", &ports, &(bridge(100, "[\"trunk0\"]") + &statics(100)));
    let mut rig = Rig::new("stop", &text);
    assert_eq!((rig.ports[1].plan.receive, rig.ports[0].plan.transmit), (2, 1));
    let (taker, giver) = (rig.start(0, || {}), rig.start(1, || {}));
    rig.until("both forward", |rig| {
        rig.telemetry.iter().all(|worker| worker.run.packets.get() > 20_000)
            && rig.telemetry[1].events(Event::HandedOver) > 1000
    });
    taker.stop();
    // Nobody takes any more: the ring stays full.
    let full = rig.telemetry[1].dropped(DropReason::HandoverFull);
    rig.until("the ring overflows", |rig| rig.telemetry[1].dropped(DropReason::HandoverFull) > full + 5000);
    giver.stop();
    let drops = rig.drops();
    assert!(drops.iter().all(|(reason, _)| *reason == DropReason::HandoverFull), "{drops:?}");
    rig.close();
}

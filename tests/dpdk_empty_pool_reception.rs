//! A packet pool so empty that a port cannot receive: its losses are in its driver's count, the other ports are not
//! held up, and reception goes on when there are buffers.

#![cfg(feature = "dpdk")]

#[path = "support/crew.rs"]
mod crew;
mod support;
#[path = "support/wired.rs"]
mod wired;

use std::time::{Duration, Instant};

use crew::{HERE, THERE, bridge, decode, frame, statics, tagged};
use support::{packet, write_capture};
use vtepd::tables::PortIndex;
use vtepd::telemetry::DropReason;
use wired::{TRUNK0, TRUNK1, UPLINK, Wired};

/// Frames that arrive at trunk1. Its driver loses one each time it is asked, so that some are left when there are
/// buffers again: an adaptive worker that finds nothing does not ask often.
const CAPTURED: u64 = 50_000;
const KNOWN: usize = 60;

#[test]
fn a_port_that_finds_no_buffer_loses_counted_packets_and_receives_again_when_there_are_some() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("trunk1.pcap");
    let call = |number| tagged(&frame(HERE, [2, 0, 0, 0, 1, 2], number, 60), 100);
    write_capture(&path, &(0..CAPTURED as usize).map(call).collect::<Vec<_>>());
    let device = format!("net_pcap0,rx_pcap={}", path.display());
    let fixed = "[[static]]\nvni = 100\nmac = \"02:00:00:00:01:02\"\nport = \"trunk1\"\n";
    let rest = bridge(100, "[\"trunk0\", \"trunk1\"]") + &statics(100) + fixed;
    let text = wired::config("cores = [0]\nidle = \"adaptive\"", &rest);
    let mut wired = Wired::new("empty-pool-reception", &text, 4095, Some(&device));
    let frames: Vec<_> = (0..KNOWN).map(|number| frame(THERE, HERE, number, 100)).collect();
    let known = frames.iter().map(|frame| packet(&wired.pool, &tagged(frame, 100))).collect();
    let hoard = wired.hoard();
    wired.start(false);

    let no_buffer = |wired: &Wired| {
        let port = wired.device.as_ref().expect("the device");
        port.statistics().expect("statistics").rx_no_buffer
    };
    let received = |wired: &Wired| wired.telemetry[0].port(PortIndex(TRUNK1 as u16)).received().packets();
    wired.until("trunk1 finds no buffer", |wired| no_buffer(wired) > 0);
    wired.feed_packets(TRUNK0, known);
    let arrived: Vec<_> = wired.take(UPLINK).iter().map(|packet| decode(packet).3).collect();
    assert!(arrived == frames, "known stations of another port lose nothing");
    assert_eq!((wired.drops(), received(&wired)), (Vec::new(), 0));

    drop(hoard);
    let (mut taken, began) = (0, Instant::now());
    while received(&wired) + no_buffer(&wired) < CAPTURED {
        taken += wired.take(TRUNK0).len() as u64;
        assert!(began.elapsed() < Duration::from_secs(30), "{} received", received(&wired));
    }
    let got = received(&wired);
    wired.until("what arrived is forwarded", |wired| wired.received() == got + KNOWN as u64);
    taken += wired.take(TRUNK0).len() as u64;
    assert!(got > CAPTURED / 4, "only {got} after the shortage");
    assert_eq!(got + no_buffer(&wired), CAPTURED, "every frame is received or in the driver's count");
    // The test may be slower than the worker.
    let full = wired.telemetry[0].dropped(DropReason::TransmitFull);
    assert_eq!(got, taken + full);
    assert!(wired.drops().iter().all(|(reason, _)| *reason == DropReason::TransmitFull), "{:?}", wired.drops());
    wired.close();
}

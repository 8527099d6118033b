//! A worker's end of the exception path: frames of the kernel leave whole, whatever their length, and packets for the
//! kernel arrive in the ring of their class.

#![cfg(feature = "dpdk")]

#[path = "support/crew.rs"]
mod crew;
mod support;

use crew::{Rig, UPLINK_MAC, bridge, config};
use etherparse::PacketBuilder;
use support::{read_capture, write_capture};
use vtepd::tables::{ExceptionPath, PortIndex};
use vtepd::telemetry::{DropReason, PuntClass};

/// A frame of another host to the VTEP's address.
fn to_kernel(port: u16, length: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0xbb, 0, 2], UPLINK_MAC).ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64);
    let mut frame = Vec::new();
    builder.tcp(40_000, port, 1, 1000).write(&mut frame, &support::pattern(length, length)).expect("a frame");
    frame
}

#[test]
fn frames_cross_between_the_kernels_end_and_the_uplink_and_a_full_ring_is_counted() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    // Of the other class, more bytes than its ring holds, which nobody empties meanwhile.
    let (bgp, other) = ([to_kernel(179, 20), to_kernel(179, 5000)], vec![to_kernel(22, 8000); 40]);
    let received = [&other[..20], &bgp, &other[20..]].concat();
    write_capture(path("fabric").as_ref(), &received);
    write_capture(path("nothing").as_ref(), &[]);
    let ports = [
        ("uplink0", format!("net_pcap0,rx_pcap={},tx_pcap={}", path("fabric"), path("to-fabric"))),
        ("trunk0", format!("net_pcap1,rx_pcap={},tx_pcap={}", path("nothing"), path("to-trunk"))),
    ];
    let mut rig = Rig::new("exception", &config("cores = [0]", &ports, &bridge(100, "[\"trunk0\"]")));
    let mut exception = ExceptionPath::new(&[true]);
    exception.add(PortIndex(0), true);
    rig.gateway.set_exception_path(exception);

    // A reload keeps the path.
    let text = config("cores = [0]", &ports, &bridge(101, "[\"trunk0\"]"));
    let mut again = crew::parse(&text);
    again.api = rig.gateway.running().load().config.api.clone();
    rig.gateway.apply(again).expect("it differs in a bridge");

    // Lengths around what a buffer holds, and one that wraps around the ring's end.
    let mut sent = Vec::new();
    for length in [14, 42, 60, 1514, 2047, 2048, 2049, 4096, 4097, 9014, 9722] {
        sent.push(support::pattern(length, length));
    }
    let worker = rig.start(0, || {});
    for _ in 0..8 {
        for frame in &sent {
            rig.until("room for the frame", |rig| rig.kernel.from_kernel.has_room(frame.len()));
            assert!(rig.kernel.from_kernel.push(PortIndex(0), || frame.chunks(1000)));
        }
    }
    let count = 8 * sent.len() as u64;
    rig.until("all frames sent", |rig| rig.telemetry[0].port(PortIndex(0)).sent().packets() == count);
    rig.until("all packets received", |rig| rig.telemetry[0].run.packets.get() == received.len() as u64);
    worker.stop();

    let mut taken = |class: PuntClass| {
        let ring = &mut rig.kernel.to_kernel[0][class as usize];
        std::iter::from_fn(|| ring.take(|port, first, second| (port, [first, second].concat()))).collect::<Vec<_>>()
    };
    let expected = |frames: &[Vec<u8>]| frames.iter().map(|frame| (PortIndex(0), frame.clone())).collect::<Vec<_>>();
    assert!(taken(PuntClass::Bgp) == expected(&bgp), "a class loses nothing to another");
    let of_other = taken(PuntClass::Other);
    assert!((10..40).contains(&of_other.len()), "{} frames of 8 kB in the ring", of_other.len());
    assert!(of_other == expected(&other[..of_other.len()]));
    assert_eq!(rig.drops(), [(DropReason::PuntFull, 40 - of_other.len() as u64)]);
    rig.close();

    let mut captured = read_capture(path("to-fabric").as_ref());
    assert_eq!(captured.len(), count as usize);
    for (captured, frame) in captured.drain(..).zip(sent.iter().cycle()) {
        let mut frame = frame.clone();
        frame.resize(frame.len().max(60), 0);
        assert!(captured == frame, "a frame of {} bytes is not as it was", frame.len());
    }
}

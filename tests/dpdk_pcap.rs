//! net_pcap: frames from one file, through the port, into another, also larger than a buffer.

#![cfg(feature = "dpdk")]

mod support;

use support::{bytes, pattern, read_capture, write_capture};
use vtepd::dpdk::{Burst, Device, PacketPool, PortOptions, Unsent};
use vtepd::forwarding::PacketBuffer;

#[test]
fn frames_pass_from_file_to_file_byte_for_byte_also_in_several_segments() {
    let folder = tempfile::tempdir().expect("folder");
    let (input, output) = (folder.path().join("in.pcap"), folder.path().join("out.pcap"));
    let lengths = [60, 61, 1514, 2047, 2048, 2049, 4096, 9014];
    let frames: Vec<Vec<u8>> = (0..200).map(|number| pattern(number, lengths[number % lengths.len()])).collect();
    write_capture(&input, &frames);

    let eal = support::start("pcap");
    let pool = PacketPool::create(&eal, 4095).expect("pool");
    let device = format!("net_pcap0,rx_pcap={},tx_pcap={}", input.display(), output.display());
    let options = PortOptions { mtu: Some(9000), ..PortOptions::default() };
    let mut port = Device::probe(&eal, "pcap0", &device).expect("probe").open(&options, &pool).expect("open");
    let mut burst = Burst::new();
    let mut forwarded = 0;
    while port.receive[0].receive(&mut burst) > 0 {
        for packet in &mut burst {
            assert_eq!(bytes(packet), frames[forwarded]);
            assert_eq!(packet.segment_count(), packet.len().div_ceil(2048));
            // As decapsulation does, and padding of a short frame.
            assert!(packet.trim_front(14) && (packet.len() > 1600 || packet.grow_back_zeroed(2)));
            forwarded += 1;
        }
        assert_eq!(port.transmit[0].transmit(&mut burst), Unsent::default());
    }
    assert_eq!(forwarded, frames.len());
    drop(port);
    let expected: Vec<Vec<u8>> = frames
        .iter()
        .map(|frame| if frame.len() > 1614 { frame[14..].to_vec() } else { [&frame[14..], &[0, 0]].concat() })
        .collect();
    assert!(read_capture(&output) == expected, "the output differs");
    assert_eq!(pool.available(), 4095);
}

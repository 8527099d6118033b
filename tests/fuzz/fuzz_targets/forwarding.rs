//! Any bytes, and valid packets with any bytes over them, as bursts through the whole pipeline.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz forwarding`

#![no_main]

#[path = "../../fixtures/frames.rs"]
#[allow(dead_code, reason = "the conformance tests use the rest")]
mod frames;
#[path = "../../fixtures/gateway.rs"]
#[allow(dead_code, reason = "the conformance tests use the rest")]
mod gateway;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use vtepd::config::model::Tags;
use vtepd::forwarding::{BURST, ChecksumVerdict, Forwarder, HeapPacket, ReceiveChecksums};
use vtepd::tables::PortIndex;
use vtepd::telemetry::Event;
use vtepd::wire::MacAddr;

use frames::{FAMILIES, Family, Outer, Sent, UdpSum, arp_request, ipv4_udp, ipv6_udp, station, tagged};
use gateway::{CYCLES_PER_SECOND, Gateway, Outcome, TAG, TRUNK0, TRUNK1, UPLINK, VNI, bridge};

/// A gateway that carries tags in one of its bridges, and valid packets for it.
struct Bench {
    gateway: Gateway,
    packets: Vec<Vec<u8>>,
}

thread_local! {
    static BENCHES: RefCell<[Bench; 2]> = RefCell::new(FAMILIES.map(bench));
}

fuzz_target!(|input: &[u8]| {
    let [flags, records @ ..] = input else { return };
    BENCHES.with_borrow_mut(|benches| {
        let bench = &mut benches[usize::from(flags & 1)];
        let port = PortIndex(u16::from(flags >> 1 & 3) % 3);
        bench.gateway.buffers = if flags & 8 == 0 { 4096 } else { 5 };
        bench.gateway.forwarder = Forwarder::new(CYCLES_PER_SECOND);
        let verdict = if flags & 16 == 0 { ChecksumVerdict::Unverified } else { ChecksumVerdict::Good };
        let burst = burst(records, &bench.packets, verdict);
        let received = burst.len() as u64;
        let outcome = bench.gateway.receive_packets(port, burst);
        check(port, received, &outcome);
    });
});

fn bench(family: Family) -> Bench {
    let mut gateway = Gateway::with(family, |config| {
        let mut carrying = bridge(200, None, &[TRUNK0, TRUNK1], &[family.remote(1), family.remote(2)]);
        (carrying.tags, carrying.source_check) = (Tags::Carry, Some(false));
        config.bridges.push(carrying);
    });
    for vni in [VNI, 200] {
        let (near, far) = (gateway.member(vni, TRUNK1), gateway.tunnel(family.remote(1)));
        gateway.know(vni, station(1), near);
        gateway.know(vni, station(2), far);
    }
    let mut packets = Vec::new();
    for destination in [station(1), station(2), MacAddr::BROADCAST] {
        let frames = [
            ipv4_udp(destination, station(9), 80, 3, true),
            ipv6_udp(destination, station(9), 1560, 2),
            arp_request(station(9), [10, 0, 0, 2].into(), [10, 0, 0, 1].into()),
        ];
        for frame in frames {
            packets.push(tagged(&frame, &[TAG]));
            packets.push(Outer { sum: UdpSum::Right, traffic_class: 2, ..Outer::new(family, VNI, &frame) }.build());
            packets.push(Outer { sum: UdpSum::Zero, ..Outer::new(family, 200, &frame) }.build());
            let mut options = Outer::new(family, VNI, &frame);
            match family {
                Family::V4 => options.options = vec![1; 8],
                Family::V6 => options.extensions = Some((0, vec![44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 7])),
            }
            packets.push(options.build());
            packets.push(frame);
        }
    }
    Bench { gateway, packets }
}

/// Reads records: which valid packet, if any; where the bytes go over it; where it ends and is split; the bytes.
fn burst(mut input: &[u8], packets: &[Vec<u8>], verdict: ChecksumVerdict) -> Vec<HeapPacket> {
    let mut burst = Vec::new();
    while let [kind, at, cut, split, length, rest @ ..] = input
        && burst.len() < BURST
    {
        let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let mut packet = packets.get(usize::from(*kind)).cloned().unwrap_or_else(|| bytes.to_vec());
        for (to, from) in packet.iter_mut().skip(usize::from(*at)).zip(bytes) {
            *to = *from;
        }
        packet.truncate(packet.len() - usize::from(*cut).min(packet.len()));
        let split = if *split == 0 { packet.len() } else { usize::from(*split) };
        let checksums = ReceiveChecksums { ip: verdict, l4: verdict };
        burst.push(HeapPacket::segmented(&packet, &[split]).with_receive_checksums(checksums));
        input = rest;
    }
    burst
}

/// Every packet has a fate; a flood has one for each of its two or three destinations. What is encapsulated decodes.
fn check(port: PortIndex, received: u64, outcome: &Outcome) {
    let dropped: u64 = outcome.drops.iter().map(|(_, count)| count).sum();
    let fates = outcome.sent.len() as u64 - outcome.events_of(Event::TooBigSent) + dropped;
    let copies = if port == UPLINK { 2 } else { 3 };
    let flooded = outcome.events_of(Event::FloodedFrame);
    assert_eq!(fates, received - flooded + copies * flooded, "{:?} {:?}", outcome.drops, outcome.events);
    if port != UPLINK {
        for bytes in outcome.on(UPLINK) {
            let _checked = Sent::decode(&bytes);
        }
    }
}

//! A worker on its thread forwards from capture to capture: to remote VTEPs, from them, and to all by floods.

#![cfg(feature = "dpdk")]

#[path = "support/crew.rs"]
mod crew;
mod support;

use std::net::Ipv4Addr;

use crew::{HERE, Rig, THERE, bridge, config, decode, encapsulated, frame, statics, tagged};
use support::{read_capture, write_capture};
use vtepd::tables::{BridgeIndex, FdbKey, PortIndex};
use vtepd::telemetry::{DropReason, Event, FdbEvent};
use vtepd::wire::MacAddr;

const LENGTHS: [usize; 6] = [60, 61, 300, 1000, 1400, 1450];

/// A station that no entry knows.
fn unknown(number: usize) -> [u8; 6] {
    [2, 0, 0, 1, (number >> 8) as u8, number as u8]
}

#[test]
fn frames_pass_between_captures_whole_and_every_counter_and_buffer_agrees() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    let to_there: Vec<_> = (0..300).map(|n| frame(THERE, HERE, n, LENGTHS[n % LENGTHS.len()])).collect();
    let to_here: Vec<_> = (0..300).map(|n| frame(HERE, THERE, 5000 + n, LENGTHS[n % LENGTHS.len()])).collect();
    let to_unknown: Vec<_> = (0..50).map(|n| frame(unknown(n), unknown(1000 + n), n, 100 + n)).collect();
    let strangers: Vec<_> = (0..20).map(|n| tagged(&frame(THERE, HERE, n, 100), 999)).collect();
    let tag = |frames: &[Vec<u8>]| frames.iter().map(|frame| tagged(frame, 100)).collect::<Vec<_>>();
    let from_trunk = [tag(&to_there), tag(&to_unknown), strangers].concat();
    let from_fabric: Vec<_> = to_here.iter().map(|frame| encapsulated(frame, 100)).collect();
    write_capture(&path("trunk"), &from_trunk);
    write_capture(&path("fabric"), &from_fabric);
    write_capture(&path("nothing"), &[]);
    let device = |number: usize, rx: &str, tx: &str| {
        format!("net_pcap{number},rx_pcap={},tx_pcap={}", path(rx).display(), path(tx).display())
    };
    let ports = [
        ("uplink0", device(0, "fabric", "to-fabric")),
        ("trunk0", device(1, "trunk", "to-trunk0")),
        ("trunk1", device(2, "nothing", "to-trunk1")),
    ];
    let rest = bridge(100, "[\"trunk0\", \"trunk1\"]") + &statics(100);
    let mut rig = Rig::new("forwarding", &config("cores = [0]", &ports, &rest));

    let worker = rig.start(0, || {});
    let all = (from_trunk.len() + from_fabric.len()) as u64;
    rig.until("all are received and learned", |rig| {
        rig.telemetry[0].run.packets.get() == all && rig.control.fdb.events(FdbEvent::Learned) == 50
    });
    worker.stop();

    // Counters.
    let telemetry = &rig.telemetry[0];
    assert_eq!(rig.drops(), [(DropReason::UnknownVlan, 20)]);
    assert_eq!((rig.events(Event::FloodedFrame), rig.events(Event::FloodCopy)), (50, 150));
    let sum = |frames: &[Vec<u8>]| (frames.len() as u64, frames.iter().map(|frame| frame.len() as u64).sum::<u64>());
    let port = |number| telemetry.port(PortIndex(number));
    assert_eq!((port(0).received().packets(), port(0).received().bytes()), sum(&from_fabric));
    assert_eq!((port(1).received().packets(), port(1).received().bytes()), sum(&from_trunk));
    let sent = [0, 1, 2].map(|number| (port(number).sent().packets(), port(number).sent().bytes()));
    let fdb = &rig.gateway.tables().fdb;
    let bridge = BridgeIndex(0);
    let learned = (0..50).filter(|n| {
        fdb.lookup(&fdb.probe(FdbKey::new(bridge, MacAddr(unknown(1000 + n))))).is_some_and(|value| !value.is_static())
    });
    assert_eq!(learned.count(), 50);
    rig.close();

    // Content.
    let outputs = ["to-fabric", "to-trunk0", "to-trunk1"].map(|name| read_capture(&path(name)));
    assert_eq!([0, 1, 2].map(|number| sum(&outputs[number])), sent);
    let [to_fabric, to_trunk0, to_trunk1] = outputs;
    assert!(to_trunk0 == tag(&to_here), "decapsulated frames differ");
    assert!(to_trunk1 == tag(&to_unknown), "flooded frames differ");
    let (us, remotes) = (Ipv4Addr::new(10, 0, 0, 1), [2, 3].map(|number| Ipv4Addr::new(10, 0, 0, number)));
    let mut inner = [Vec::new(), Vec::new()];
    for packet in &to_fabric {
        let (source, destination, vni, frame) = decode(packet);
        assert_eq!((source, vni), (us, 100));
        inner[remotes.iter().position(|remote| *remote == destination).expect("a remote VTEP")].push(frame);
    }
    assert!(inner[0] == [to_there, to_unknown.clone()].concat(), "what remote VTEP 2 gets differs");
    assert!(inner[1] == to_unknown, "what remote VTEP 3 gets differs");
}

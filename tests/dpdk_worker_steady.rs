//! A worker under endless traffic: it allocates nothing, loses nothing to reloads, frees no snapshot, and stopped at
//! any moment it gives every buffer back.

#![cfg(feature = "dpdk")]

#[path = "support/crew.rs"]
mod crew;
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crew::{HERE, Rig, THERE, bridge, config, encapsulated, frame, parse, statics, tagged};
use support::write_capture;
use vtepd::tables::{BridgeIndex, TunnelIndex};
use vtepd::telemetry::{DropReason, Event};

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// What watched threads asked of the allocator: memory given and taken back.
static CALLS: AtomicU64 = AtomicU64::new(0);

struct Counting;

fn note() {
    if WATCHED.get() {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is the system allocator's; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        note();
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ENOUGH: u64 = 200_000;

#[test]
fn endless_traffic_allocates_nothing_and_reloads_lose_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let outward: Vec<_> = (0..64).map(|n| tagged(&frame(THERE, HERE, n, 100 + n), 100)).collect();
    let inward: Vec<_> = (0..64).map(|n| encapsulated(&frame(HERE, THERE, n, 100 + n), 100)).collect();
    // On a bridge of its own: floods, and frames of no bridge.
    let broadcast = |n| tagged(&frame([0xff; 6], [2, 0, 0, 0, 3, 3], n, 200), 200);
    let mixed: Vec<_> = (0..32).flat_map(|n| [broadcast(n), tagged(&frame(THERE, HERE, n, 60), 999)]).collect();
    for (name, frames) in [("fabric", &inward), ("trunk0", &outward), ("trunk1", &mixed)] {
        write_capture(path(name).as_ref(), frames);
    }
    let device = |number: usize, rx: &str| format!("net_pcap{number},rx_pcap={},infinite_rx=1", path(rx));
    let ports = [("uplink0", device(0, "fabric")), ("trunk0", device(1, "trunk0")), ("trunk1", device(2, "trunk1"))];
    let rest = bridge(100, "[\"trunk0\"]") + &bridge(200, "[\"trunk1\"]") + &statics(100);
    let text = config("cores = [0]", &ports, &rest);
    let mut rig = Rig::new("steady", &text);
    let free = rig.pool.available();

    let worker = rig.start(0, || WATCHED.set(true));
    let packets = |rig: &Rig| rig.telemetry[0].run.packets.get();
    rig.until("the worker is warm", |rig| packets(rig) > ENOUGH / 4);
    let (calls, warm) = (CALLS.load(Ordering::Relaxed), packets(&rig));
    assert!(calls > 0, "the worker's start allocates: the count works");
    rig.until("enough packets", |rig| packets(rig) > warm + ENOUGH);
    assert_eq!(CALLS.load(Ordering::Relaxed), calls, "the worker's steady state allocates");

    let mut old = Vec::new();
    for number in 0..20 {
        old.push(Arc::downgrade(&rig.gateway.tables().snapshot.load_full()));
        let more = if number % 2 == 0 { bridge(300 + number, "[\"trunk0\", \"trunk1\"]") } else { String::new() };
        rig.gateway.apply(parse(&(text.clone() + &more))).expect("reload");
        let now = packets(&rig);
        rig.until("traffic under the new snapshot", |rig| packets(rig) > now + 1000);
    }
    rig.until("old snapshots are freed", |_| old.iter().all(|snapshot| snapshot.upgrade().is_none()));
    assert_eq!(CALLS.load(Ordering::Relaxed), calls, "the worker freed a snapshot, or allocated for one");
    let end = packets(&rig) + ENOUGH / 4;
    rig.until("more traffic", |rig| packets(rig) > end);
    // The end of the worker frees what it has.
    worker.stop();

    let telemetry = &rig.telemetry[0];
    let unicast = telemetry.bridge(BridgeIndex(0));
    let counts = [unicast.access_received(), unicast.tunnel_sent(), unicast.tunnel_received(), unicast.access_sent()]
        .map(|traffic| (traffic.packets(), traffic.bytes()));
    assert!(counts[0].0 > ENOUGH / 10 && counts[2].0 > ENOUGH / 10, "{counts:?}");
    assert_eq!((counts[0], counts[2]), (counts[1], counts[3]), "what came in went out");
    let floods = telemetry.bridge(BridgeIndex(1));
    assert_eq!(floods.tunnel_sent().packets(), 2 * floods.access_received().packets());
    assert_eq!(rig.events(Event::FloodedFrame), floods.access_received().packets());
    assert!(telemetry.remote(TunnelIndex(1)).sent().packets() > ENOUGH / 100);
    let drops = rig.drops();
    assert!(drops.iter().all(|(reason, _)| *reason == DropReason::UnknownVlan), "{drops:?}");
    assert_eq!(rig.pool.available(), free, "the stopped worker holds buffers back");
    rig.close();
}

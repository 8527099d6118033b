//! A worker that stops: what is under way is sent or counted.

#![cfg(feature = "dpdk")]

mod support;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use rustc_hash::FxHashMap;
use support::{bytes, packet, pattern};
use vtepd::config::model::Idle;
use vtepd::dpdk::{Burst, Device, OpenPort, PacketPool, PortOptions, TransmitQueue};
use vtepd::tables::remote_map::RemoteMap;
use vtepd::tables::snapshot::{LocalVtep, OuterDscp, Snapshot};
use vtepd::tables::vni_map::VniMap;
use vtepd::tables::{ExceptionPath, PortIndex, Tables};
use vtepd::telemetry::{DropReason, WorkerTelemetry};
use vtepd::wire::flow_hash::SourcePorts;
use vtepd::worker::Worker;
use vtepd::worker::outlet::{HandoverRing, Outlet, Outlets};

const PORT: PortIndex = PortIndex(0);

fn nothing() -> Snapshot {
    Snapshot {
        vtep: LocalVtep {
            address: IpAddr::from([10, 0, 0, 1]),
            other_addresses: Box::new([]),
            udp_ports: Box::new([4789]),
            source_ports: SourcePorts::DYNAMIC,
            zero_checksum_ipv6: false,
            full_checksum_ipv4: false,
            dscp: OuterDscp::INHERITED,
            strict: false,
        },
        ports: Vec::new(),
        bridges: Vec::new(),
        encapsulations: Vec::new(),
        domains: Vec::new(),
        members: Vec::new(),
        tunnels: Vec::new(),
        next_hops: Vec::new(),
        next_hop_groups: Vec::new(),
        vnis: VniMap::new([]),
        group_policies: FxHashMap::default(),
        remotes: RemoteMap::new([]),
        exception: ExceptionPath::default(),
        remarking: None,
    }
}

/// The worker that owns the queue, and takes what the ring brings.
fn owner(queue: TransmitQueue, ring: &HandoverRing, pool: &PacketPool) -> (Worker, Arc<WorkerTelemetry>) {
    let telemetry = Arc::new(WorkerTelemetry::new());
    let ports = vec![Outlet::queue(queue)];
    let outlets = Outlets { ports, pool: pool.clone(), telemetry: Arc::clone(&telemetry), exception: None };
    let (tables, ..) = Tables::new(nothing(), 1, 1).expect("memory");
    let inlets = vec![(PORT, Arc::clone(ring))];
    (Worker::new(Vec::new(), inlets, outlets, Arc::default(), tables, Idle::Poll), telemetry)
}

fn open(eal: &vtepd::dpdk::Eal, name: &str, pool: &PacketPool) -> OpenPort {
    let device = Device::probe(eal, name, name).expect("probe");
    device.open(&PortOptions::default(), pool).expect("open")
}

/// What came out of a port whose wire is a loop.
fn sent(port: &mut OpenPort) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut burst = Burst::new();
        if port.receive[0].receive(&mut burst) == 0 {
            return all;
        }
        all.extend(burst.iter().map(bytes));
    }
}

#[test]
fn a_worker_that_stops_sends_what_others_hand_over_until_they_end_and_waits_for_nobody_for_ever() {
    let eal = support::start("stop");
    let pool = PacketPool::create(&eal, 1023).expect("pool");
    let stop = AtomicBool::new(true);
    let packets: Vec<_> = (0..200).map(|number| pattern(number, 60)).collect();

    // Another time where this machine kept the other thread waiting for as long as the worker waits.
    let is_told = (2..7).any(|number| {
        let mut port = open(&eal, &format!("net_ring{number}"), &pool);
        let ring: HandoverRing = Arc::new(ArrayQueue::new(256));
        let (worker, telemetry) = owner(port.transmit.remove(0), &ring, &pool);
        let took = std::thread::scope(|scope| {
            let (pool, packets, began) = (&pool, &packets, Instant::now());
            let pushing = scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                packets.iter().for_each(|bytes| ring.push(packet(pool, bytes)).expect("room"));
                began.elapsed()
            });
            worker.run(&stop);
            pushing.join().expect("it pushes")
        });
        let (sent, is_slow) = (sent(&mut port), took > Duration::from_millis(80));
        assert!(
            is_slow || sent == packets,
            "{} of {} packets are sent, pushed within {took:?}",
            sent.len(),
            packets.len()
        );
        assert_eq!(telemetry.dropped(DropReason::HandoverFull), 0);
        sent == packets
    });
    assert!(is_told, "this machine is too slow to tell");

    let mut port = open(&eal, "net_ring1", &pool);
    let hung: HandoverRing = Arc::new(ArrayQueue::new(256));
    packets.iter().for_each(|bytes| hung.push(packet(&pool, bytes)).expect("room"));
    let (worker, telemetry) = owner(port.transmit.remove(0), &hung, &pool);
    let began = Instant::now();
    worker.run(&stop);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!((sent(&mut port), telemetry.dropped(DropReason::HandoverFull)), (packets, 0));
}

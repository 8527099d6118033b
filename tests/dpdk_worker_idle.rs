//! An adaptive worker sleeps when nothing arrives, and the first packet after a silence does not wait long.

#![cfg(feature = "dpdk")]

#[path = "support/crew.rs"]
mod crew;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crew::{HERE, THERE, bridge, config, frame, parse, statics, tagged};
use crossbeam::queue::ArrayQueue;
use support::{burst_of, packet};
use vtepd::config::model::Idle;
use vtepd::control::{Gateway, PortFacts};
use vtepd::dpdk::{Device, PacketPool, PortOptions, Unsent, WorkerThread};
use vtepd::tables::PortIndex;
use vtepd::tables::learning::LearnRing;
use vtepd::telemetry::{ControlTelemetry, WorkerTelemetry};
use vtepd::wire::MacAddr;
use vtepd::worker::outlet::{Outlet, Outlets};
use vtepd::worker::{Worker, WorkerPort};

#[test]
fn an_adaptive_worker_sleeps_in_a_silence_and_wakes_within_milliseconds() {
    let eal = support::start("idle");
    let pool = PacketPool::create(&eal, 2047).expect("pool");
    let open = |name: &str, device: &str| {
        Device::probe(&eal, name, device).expect("probe").open(&PortOptions::default(), &pool).expect("open")
    };
    // What the test sends on the ring arrives at the trunk; what the worker sends on the uplink is swallowed.
    let mut trunk = open("trunk0", "net_ring0");
    let mut uplink = open("uplink0", "net_null0,no-rx=1");
    let names = [("uplink0", "net_null0".to_owned()), ("trunk0", "net_ring0".to_owned())];
    let config = parse(&config("cores = [0]", &names, &(bridge(100, "[\"trunk0\"]") + &statics(100))));
    let facts = vec![PortFacts { mac: MacAddr([2, 0, 0, 0, 0, 1]), mtu: 1600, receivers: 1 }; 2];
    let ring: Arc<LearnRing> = Arc::default();
    let gateway = Gateway::start(config, facts, vec![Arc::clone(&ring)], Arc::new(ControlTelemetry::new()));
    let tables = Arc::clone(gateway.expect("gateway").tables());
    let telemetry = Arc::new(WorkerTelemetry::new());
    let outlets = Outlets {
        ports: vec![Outlet::queue(uplink.transmit.remove(0)), Outlet::Handover(Arc::new(ArrayQueue::new(1)))],
        pool: pool.clone(),
        telemetry: Arc::clone(&telemetry),
        exception: None,
    };
    let receive = |index, queue| WorkerPort { index: PortIndex(index), queue };
    let ports = vec![receive(0, uplink.receive.remove(0)), receive(1, trunk.receive.remove(0))];
    let worker = Worker::new(ports, Vec::new(), outlets, ring, tables, Idle::Adaptive);
    let stop = std::sync::atomic::AtomicBool::new(false);

    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _registered = WorkerThread::register(&eal).expect("register");
            worker.run(&stop);
        });
        let mut latencies = Vec::new();
        for number in 0..30 {
            let (sleeps, silent) = (telemetry.run.sleeps.get(), Instant::now());
            let slept = || telemetry.run.sleeps.get() - sleeps;
            std::thread::sleep(Duration::from_millis(50));
            let late = Instant::now();
            // Longer only where this machine stood still meanwhile.
            while slept() < 5 {
                assert!(late.elapsed() < Duration::from_secs(1), "{} sleeps in a silence of 1 s", slept());
                std::thread::yield_now();
            }
            let (slept, silence) = (slept(), silent.elapsed());
            assert!(u128::from(slept) <= 40 * silence.as_millis(), "{slept} sleeps in a silence of {silence:?}");
            let frame = tagged(&frame(THERE, HERE, number, 100), 100);
            let began = Instant::now();
            assert_eq!(trunk.transmit[0].transmit(&mut burst_of(packet(&pool, &frame))), Unsent::default());
            while telemetry.port(PortIndex(0)).sent().packets() <= number as u64 {
                assert!(began.elapsed() < Duration::from_secs(10), "the worker does not wake");
                std::thread::yield_now();
            }
            latencies.push(began.elapsed());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        // The median: another process may have the core for a while.
        latencies.sort();
        assert!(latencies[15] < Duration::from_millis(5), "{latencies:?}");
    });
    let run = &telemetry.run;
    assert_eq!(run.packets.get(), 30);
    assert!(
        run.idle_cycles.get() > 10 * run.busy_cycles.get(),
        "{} idle, {} busy",
        run.idle_cycles.get(),
        run.busy_cycles.get()
    );
    drop((trunk, uplink));
    assert_eq!(pool.available(), 2047);
}

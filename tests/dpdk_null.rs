//! net_null: a port that always has packets to receive and swallows what is sent.

#![cfg(feature = "dpdk")]

mod support;

use std::time::{Duration, Instant};

use vtepd::dpdk::{Burst, Device, PacketPool, PortOptions, WorkerThread, clock};
use vtepd::forwarding::PacketBuffer;

#[test]
fn a_registered_worker_receives_full_bursts_and_every_buffer_comes_back() {
    let before = support::allowed_cores();
    let eal = support::start("null");
    assert_eq!(support::allowed_cores(), before, "EAL left the thread pinned");
    let folder = support::run_folder("null");
    let pool = PacketPool::create(&eal, 4095).expect("pool");
    assert_eq!(pool.available(), 4095);

    let device = Device::probe(&eal, "null0", "net_null0,size=100").expect("probe");
    assert_eq!(device.capabilities().driver, "net_null");
    let twice = Device::probe(&eal, "other", "net_null0").err().expect("one device, one port").to_string();
    assert!(twice.contains("`other`") && twice.contains("open as another port"), "{twice}");
    let mut open = device.open(&PortOptions { promiscuous: true, ..PortOptions::default() }, &pool).expect("open");
    let port = open.port.clone();
    assert_eq!((port.name(), port.driver()), ("null0", "net_null"));
    assert!(port.link().expect("link").up);
    let mut receive = open.receive.remove(0);
    let mut transmit = open.transmit.remove(0);
    drop(open);

    let (sent, worker_pool) = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let _registered = WorkerThread::register(&eal).expect("register");
                assert!(WorkerThread::register(&eal).is_err(), "registered twice");
                let mut burst = Burst::new();
                for _ in 0..100 {
                    assert_eq!(receive.receive(&mut burst), 64);
                    assert!(burst.is_full());
                    assert!(burst.iter().all(|packet| packet.len() == 100 && packet.head().len() == 100));
                    assert_eq!(transmit.transmit(&mut burst).packets, 0);
                    assert!(burst.is_empty());
                }
                (6400, pool.clone())
            })
            .join()
            .expect("worker")
    });
    drop(worker_pool);
    let counted = port.statistics().expect("statistics");
    assert_eq!((counted.rx_packets, counted.tx_packets), (sent, sent));
    let extended = port.extended_statistics().expect("extended statistics");
    assert!(extended.contains(&("tx_good_packets".to_owned(), sent)), "{extended:?}");
    assert_eq!(pool.available(), 4095);

    let (cycles, instant) = (clock::cycles(), Instant::now());
    std::thread::sleep(Duration::from_millis(100));
    let counted = (clock::cycles() - cycles) as f64 / clock::cycles_per_second() as f64;
    let elapsed = instant.elapsed().as_secs_f64();
    assert!((counted / elapsed - 1.0).abs() < 0.2, "{counted} s by cycles, {elapsed} s by the clock");

    drop((receive, transmit, port, pool, eal));
    assert!(!folder.exists(), "{} is left behind", folder.display());
}

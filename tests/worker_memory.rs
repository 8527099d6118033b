//! No line of memory is written by two cores in steady state: where what they write lies. What is private to its room
//! is looked at in the room's own tests (`telemetry/worker.rs`, `tables/quiescence.rs`), DPDK's in `dpdk/shim.c`;
//! `bench/README.md` has the whole list.

use std::sync::Arc;

use vtepd::control::{Gateway, PortFacts};
use vtepd::tables::learning::LearnRing;
use vtepd::tables::{Fdb, Quiescence, Tables};
use vtepd::telemetry::{ControlTelemetry, WorkerTelemetry};
use vtepd::wire::MacAddr;

/// Two cache lines: what the core fetches together.
const PAIR: usize = 128;

/// Begins and ends on a boundary of two lines, so that nothing else lies on those it has; behind an `Arc`, its counts
/// of references do not either.
fn has_pairs_of_its_own<T>() -> bool {
    align_of::<T>().is_multiple_of(PAIR) && size_of::<T>().is_multiple_of(PAIR)
}

#[test]
fn what_threads_share_begins_and_ends_with_pairs_of_lines() {
    assert!(has_pairs_of_its_own::<WorkerTelemetry>());
    assert!(has_pairs_of_its_own::<ControlTelemetry>());
    assert!(has_pairs_of_its_own::<LearnRing>());
    assert!(has_pairs_of_its_own::<Quiescence>());
    assert!(has_pairs_of_its_own::<Tables>());
    assert!(has_pairs_of_its_own::<Fdb>());
    #[cfg(feature = "dpdk")]
    {
        assert!(has_pairs_of_its_own::<vtepd::worker::Worker>());
        assert!(has_pairs_of_its_own::<vtepd::worker::outlet::Gathering>());
    }
    assert!(has_pairs_of_its_own::<crossbeam::queue::ArrayQueue<u64>>(), "a hand-over ring");
    assert!(has_pairs_of_its_own::<crossbeam::utils::CachePadded<std::sync::atomic::AtomicBool>>(), "the stop flag");
}

#[test]
fn the_age_clock_which_control_writes_lies_with_nothing_else_that_workers_read() {
    let config = vtepd::config::Config::parse(
        "memory.toml",
        "[vtep]\naddress = \"10.0.0.1\"\n[workers]\ncores = [0]\n\
         [[port]]\nname = \"uplink0\"\ndevice = \"net_null0\"\nrole = \"uplink\"\n",
    );
    let config = config.map_err(|wrong| wrong.render(false)).expect("a config").config;
    let facts = vec![PortFacts { mac: MacAddr([2, 0, 0, 0, 0, 1]), mtu: 1500, receivers: 1 }];
    let gateway = Gateway::start(config, facts, Vec::new(), Arc::new(ControlTelemetry::new())).expect("a gateway");
    let tables = gateway.tables();
    let pair = |address: usize| address / PAIR;
    let age = pair(std::ptr::from_ref(&tables.age).addr());
    let read = [
        std::ptr::from_ref(&tables.snapshot).addr(),
        std::ptr::from_ref(&tables.fdb).addr(),
        std::ptr::from_ref(&tables.quiescence).addr(),
    ];
    assert!(read.iter().all(|address| pair(*address) != age), "{read:x?}, age {age:x}");
    assert!(has_pairs_of_its_own::<vtepd::tables::published::AgeClock>());
}

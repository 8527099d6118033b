//! What telemetry costs before anything is counted. By itself in its process: memory that other tests gave back would
//! be handed out again, and is then written to.

use vtepd::tables::{BridgeIndex, TunnelIndex};
use vtepd::telemetry::WorkerTelemetry;

/// The process's resident memory in bytes (proc_pid_statm(5)).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("the kernel tells a process its memory");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages") * 4096
}

#[test]
fn bridges_and_remotes_that_were_never_counted_take_no_memory() {
    let before = resident();
    let workers: Vec<_> = (0..16).map(|_| Box::new(WorkerTelemetry::new())).collect();
    for worker in &workers {
        worker.bridge(BridgeIndex(9)).tunnel_sent().count(60);
        worker.remote(TunnelIndex(9)).sent().count(60);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 4 << 20, "16 workers with tables of 6 MiB each took {grown} bytes");
    for worker in &workers {
        (0..=u16::MAX).for_each(|index| worker.bridge(BridgeIndex(index)).tunnel_sent().count(60));
    }
    let grown = resident().saturating_sub(before);
    assert!(grown >= 64 << 20, "so the measure works: all bridges of 16 workers took {grown} bytes");
}

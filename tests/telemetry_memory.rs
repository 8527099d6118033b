//! What telemetry costs before anything is counted. By itself in its process: memory that other tests gave back would
//! be handed out again, and is then written to.

use vtepd::tables::{BridgeIndex, TunnelIndex};
use vtepd::telemetry::WorkerTelemetry;

/// The process's resident memory in bytes (proc_pid_statm(5)).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("the kernel tells a process its memory");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages") * 4096
}

/// What docs/operations.md states of a row's bytes.
fn stated(what: &str) -> f64 {
    let text = include_str!("../docs/operations.md");
    let row = text.lines().find_map(|line| line.strip_prefix("| ")?.strip_prefix(what)?.strip_prefix(" | "));
    row.and_then(|row| row.trim_end_matches(" |").parse().ok()).expect("a row of the table of memory")
}

#[test]
fn bridges_and_remotes_take_what_is_stated_and_nothing_before_they_are_counted() {
    const WORKERS: usize = 16;
    let before = resident();
    let workers: Vec<_> = (0..WORKERS).map(|_| Box::new(WorkerTelemetry::new())).collect();
    for worker in &workers {
        worker.bridge(BridgeIndex(9)).tunnel_sent().count(60);
        worker.remote(TunnelIndex(9)).sent().count(60);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 4 << 20, "{WORKERS} workers with tables of 6 MiB each took {grown} bytes");
    let each_of = |count: &dyn Fn(&WorkerTelemetry, u16)| {
        let before = resident();
        workers.iter().for_each(|worker| (0..=u16::MAX).for_each(|index| count(worker, index)));
        (resident() - before) as f64 / (WORKERS << 16) as f64
    };
    let bridge = each_of(&|worker, index| worker.bridge(BridgeIndex(index)).tunnel_sent().count(60));
    let remote = each_of(&|worker, index| worker.remote(TunnelIndex(index)).sent().count(60));
    for (what, each) in [("a bridge, for each worker", bridge), ("a remote VTEP, for each worker", remote)] {
        let stated = stated(what);
        assert!(
            (each - stated).abs() <= stated * 0.02,
            "{what}: {each:.1} bytes, and docs/operations.md states {stated}"
        );
    }
}

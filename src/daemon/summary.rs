//! What the daemon says of its life when it stops.

use std::fmt::Write;
use std::time::Duration;

use crate::telemetry::{DropReason, WorkerHandle};

/// A few lines: how long it ran, what it forwarded, what it dropped and why.
#[must_use]
pub fn summary(workers: &[WorkerHandle], uptime: Duration) -> String {
    let received: u64 = workers.iter().map(|worker| worker.telemetry.run.packets.get()).sum();
    let dropped = |reason| workers.iter().map(|worker| worker.telemetry.dropped(reason)).sum::<u64>();
    let mut drops: Vec<(u64, DropReason)> =
        DropReason::ALL.iter().map(|reason| (dropped(*reason), *reason)).filter(|(count, _)| *count > 0).collect();
    drops.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let all: u64 = drops.iter().map(|(count, _)| count).sum();
    let mut text = format!("stopped after {:.1} s: {received} packets received, {all} dropped", uptime.as_secs_f64());
    for (count, reason) in drops {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {count:>12} {:<26} {}", reason.name(), reason.help());
    }
    text
}

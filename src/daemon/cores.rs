//! Which cores the threads run on.

use core_affinity::CoreId;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use thiserror::Error;

/// A core of the config that cannot be used.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "core {core} in `[workers] cores` is not there, or not allowed to this process; it may use {}",
    list(available)
)]
pub struct CoreMissing {
    core: usize,
    available: Vec<usize>,
}

/// The cores this process may use.
#[must_use]
pub fn available() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Checks that every worker's core can be used.
///
/// # Errors
/// [`CoreMissing`] for the first that cannot.
pub fn check(workers: &[usize]) -> Result<(), CoreMissing> {
    let available = available();
    match workers.iter().find(|core| !available.contains(core)) {
        Some(core) => Err(CoreMissing { core: *core, available }),
        None => Ok(()),
    }
}

/// The cores for everything but the workers: those that no worker has, or all where workers have all.
#[must_use]
pub fn for_control(workers: &[usize]) -> Vec<usize> {
    let available = available();
    let free: Vec<usize> = available.iter().copied().filter(|core| !workers.contains(core)).collect();
    if free.is_empty() { available } else { free }
}

/// Keeps the calling thread, and those it starts from now on, on these cores. What the system does not allow is left
/// as it was: it costs time, not correctness.
pub fn keep_to(cores: &[usize]) {
    let mut set = CpuSet::new();
    let fits = cores.iter().all(|core| set.set(*core).is_ok());
    if !fits || sched_setaffinity(Pid::from_raw(0), &set).is_err() {
        tracing::warn!(?cores, "could not keep the control threads to these cores");
    }
}

/// Pins the calling thread to one core.
#[must_use]
pub fn pin(core: usize) -> bool {
    core_affinity::set_for_current(CoreId { id: core })
}

/// Numbers with runs drawn together: `0-3, 8`.
fn list(cores: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for core in cores {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *core => *last = *core,
            _ => runs.push((*core, *core)),
        }
    }
    let run = |(first, last): &(usize, usize)| {
        if first == last { format!("core {first}") } else { format!("cores {first}-{last}") }
    };
    runs.iter().map(run).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_not_there_is_named_with_those_that_are() {
        let error = check(&[100_000]).expect_err("no machine has that core").to_string();
        assert!(error.contains("core 100000") && error.contains("it may use core"), "{error}");
    }

    #[test]
    fn runs_of_cores_are_drawn_together() {
        assert_eq!(list(&[0, 1, 2, 5, 7, 8]), "cores 0-2, core 5, cores 7-8");
    }
}

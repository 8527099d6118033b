//! What keeps a thread from its core: other threads, and the machine below this one.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::testbed::Fallible;

/// What keeps a thread from its core.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Preemption {
    /// How often the kernel gave the core to another thread.
    pub switches: u64,
    /// How long the thread waited to have it back, in microseconds.
    pub waited: u64,
    /// How long the core itself was taken from this machine, in milliseconds.
    pub stolen: u64,
}

impl Preemption {
    /// So far, of a thread of this process that is pinned to `core` (proc_pid_status(5), proc_stat(5)).
    ///
    /// # Errors
    /// Where it has ended.
    pub fn of(thread: i32, core: usize) -> Fallible<Self> {
        let task = format!("/proc/self/task/{thread}");
        let status = fs::read_to_string(format!("{task}/status"))?;
        let switches = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
        let times = fs::read_to_string(format!("{task}/schedstat"))?;
        let machine = fs::read_to_string("/proc/stat")?;
        let core = format!("cpu{core} ");
        let stolen = machine.lines().find_map(|line| line.strip_prefix(&core)?.split(' ').nth(7));
        Ok(Self {
            switches: switches.ok_or("no count of context switches")?.trim().parse()?,
            waited: times.split(' ').nth(1).ok_or("no time of waiting")?.parse::<u64>()? / 1000,
            stolen: stolen.ok_or("no stolen time")?.parse::<u64>()? * 10,
        })
    }

    /// Whether there was any.
    pub fn is_none(self) -> bool {
        self.switches == 0 && self.stolen == 0
    }

    /// What came since.
    pub fn since(self, before: Self) -> Self {
        Self {
            switches: self.switches - before.switches,
            waited: self.waited - before.waited,
            stolen: self.stolen - before.stolen,
        }
    }
}

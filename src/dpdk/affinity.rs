//! The processors a thread may run on: EAL pins the thread that starts it, and every later thread would inherit that.

use std::io;
use std::mem;

use nix::libc::{self, cpu_set_t};

/// A set of processors.
pub(super) struct Affinity(cpu_set_t);

impl Affinity {
    /// Those the calling thread may run on.
    pub(super) fn of_this_thread() -> io::Result<Self> {
        // SAFETY: the set is plain bits; the kernel writes at most its size.
        unsafe {
            let mut set: cpu_set_t = mem::zeroed();
            match libc::sched_getaffinity(0, mem::size_of::<cpu_set_t>(), &raw mut set) {
                0 => Ok(Self(set)),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// The named ones.
    pub(super) fn on(cores: &[usize]) -> io::Result<Self> {
        // SAFETY: plain bits, all of which may be zero.
        let mut set: cpu_set_t = unsafe { mem::zeroed() };
        for &core in cores {
            if core >= Self::limit() {
                return Err(io::Error::from(io::ErrorKind::InvalidInput));
            }
            // SAFETY: the core is inside the set.
            unsafe { libc::CPU_SET(core, &mut set) };
        }
        Ok(Self(set))
    }

    /// Lets the calling thread run on exactly these.
    pub(super) fn apply(&self) -> io::Result<()> {
        // SAFETY: the kernel reads the set.
        match unsafe { libc::sched_setaffinity(0, mem::size_of::<cpu_set_t>(), &raw const self.0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The numbers of the processors in the set.
    pub(super) fn cores(&self) -> Vec<usize> {
        // SAFETY: each number is inside the set.
        (0..Self::limit()).filter(|&core| unsafe { libc::CPU_ISSET(core, &self.0) }).collect()
    }

    const fn limit() -> usize {
        mem::size_of::<cpu_set_t>() * 8
    }
}

//! Hugepages for the time of a run.

use std::fs;
use std::io;

const COUNT: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const FREE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
/// Whoever writes here has the kernel move memory together.
const COMPACT: &str = "/proc/sys/vm/compact_memory";

/// How often memory is moved together for pages that the kernel did not find.
const TRIES: u32 = 3;

/// Pages that were reserved beyond what there was; given back when dropped.
pub struct Reservation {
    before: u64,
}

fn read(path: &str) -> io::Result<u64> {
    fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}

impl Reservation {
    /// Sees to it that so many MiB of 2 MiB pages are free.
    ///
    /// # Errors
    /// Where the kernel has none, does not give as many, or does not let this user ask.
    pub fn make(mib: u32) -> io::Result<Self> {
        let (before, free) = (read(COUNT)?, read(FREE)?);
        let reservation = Self { before };
        let missing = u64::from(mib.div_ceil(2)).saturating_sub(free);
        if missing == 0 {
            return Ok(reservation);
        }
        for tries in 0.. {
            fs::write(COUNT, (before + missing).to_string())?;
            let got = read(COUNT)?.saturating_sub(before);
            if got >= missing {
                break;
            } else if tries == TRIES {
                return Err(io::Error::other(format!("the kernel gave {got} of {missing} pages of 2 MiB")));
            }
            // Free memory lies in small pieces, as it does after a build.
            fs::write(COMPACT, "1")?;
        }
        Ok(reservation)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if read(COUNT).is_ok_and(|now| now > self.before)
            && let Err(error) = fs::write(COUNT, self.before.to_string())
        {
            eprintln!("hugepages were not given back: {error}");
        }
    }
}

//! What the kernel has of addresses and groups. It is asked by a thread of its own: to list addresses it may wait until
//! another process has removed a thousand links, and neither BGP nor BFD is to wait with it.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use crossbeam::channel::{self, RecvTimeoutError, Sender};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};

use crate::wire::MacAddr;

/// How often the kernel is asked.
const PACE: Duration = Duration::from_secs(1);

/// What the kernel said in the network namespace of the thread that asked.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The addresses of its interfaces, with the interface's name.
    addresses: Vec<(IpAddr, String)>,
    /// The groups that its interfaces receive, by the interface's number.
    pub(super) memberships: Vec<(u32, MacAddr)>,
}

impl Survey {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The system's, where it does not list addresses.
    pub(super) fn take() -> io::Result<Self> {
        let addresses = getifaddrs()?.filter_map(|found| Some((ip(&found)?, found.interface_name))).collect();
        let table = fs::read_to_string("/proc/thread-self/net/dev_mcast").unwrap_or_default();
        Ok(Self { addresses, memberships: table.lines().filter_map(membership).collect() })
    }

    /// The interfaces that have this address.
    pub(super) fn owners(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        self.addresses.iter().filter(move |(found, _)| *found == address).map(|(_, name)| name.as_str())
    }
}

fn ip(found: &InterfaceAddress) -> Option<IpAddr> {
    let storage = found.address?;
    match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(v4), _) => Some(v4.ip().into()),
        (_, Some(v6)) => Some(v6.ip().into()),
        _ => None,
    }
}

/// A line of the kernel's table: number, name, users, other users, address.
fn membership(line: &str) -> Option<(u32, MacAddr)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (index, address) = (fields.first()?.parse().ok()?, fields.get(4)?);
    let octet = |at: usize| u8::from_str_radix(address.get(2 * at..2 * at + 2)?, 16).ok();
    let mac = MacAddr([octet(0)?, octet(1)?, octet(2)?, octet(3)?, octet(4)?, octet(5)?]);
    (address.len() == 12 && mac.is_group()).then_some((index, mac))
}

/// The thread that asks, over and over until this is dropped.
#[derive(Debug)]
pub(super) struct Surveyor {
    latest: Arc<ArcSwap<Survey>>,
    heartbeat: Arc<AtomicU64>,
    /// Dropped, it ends the thread at its next turn. That is not waited for: the kernel may have it wait, and it holds
    /// nothing.
    _stop: Sender<()>,
}

impl Surveyor {
    /// The thread's name.
    pub(super) const THREAD: &str = "vtepd-survey";

    /// Starts the thread, for the network namespace of the calling one. The first survey is there already.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub(super) fn start() -> io::Result<Self> {
        let latest = Arc::new(ArcSwap::from_pointee(Survey::take().unwrap_or_default()));
        let (stop, stopped) = channel::bounded::<()>(0);
        let heartbeat = Arc::<AtomicU64>::default();
        let (to, turns) = (Arc::clone(&latest), Arc::clone(&heartbeat));
        let body = move || {
            while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                turns.fetch_add(1, Ordering::Relaxed);
                // Where the kernel does not answer, what it said before holds on.
                if let Ok(survey) = Survey::take() {
                    to.store(Arc::new(survey));
                }
            }
        };
        std::thread::Builder::new().name(Self::THREAD.to_owned()).spawn(body)?;
        Ok(Self { latest, heartbeat, _stop: stop })
    }

    /// A number that grows each second as long as the thread lives and the kernel does not keep it.
    pub(super) fn heartbeat(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heartbeat)
    }

    /// What the kernel said last.
    pub(super) fn latest(&self) -> Guard<Arc<Survey>> {
        self.latest.load()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_line_of_the_kernels_table_is_a_group_of_an_interface() {
        let group = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(membership("4    up0             1     0     333300000001"), Some((4, group)));
        assert_eq!(membership("12   fabric0         2     0     01005e000001").map(|found| found.0), Some(12));
        for other in
            ["", "4 up0 1 0", "4 up0 1 0 3333", "x up0 1 0 333300000001", "4 up0 1 0 023300000001", "4 ü 1 0 ü"]
        {
            assert_eq!(membership(other), None, "{other}");
        }
    }

    #[test]
    fn loopback_owns_its_address_and_nobody_one_of_documentation() {
        let survey = Survey::take().expect("the kernel lists addresses");
        assert!(survey.owners(IpAddr::from([127, 0, 0, 1])).any(|name| name == "lo"));
        assert_eq!(survey.owners(IpAddr::from([192, 0, 2, 77])).next(), None);
    }

    #[test]
    fn the_kernel_is_asked_again_and_again_until_nobody_wants_to_know() {
        let surveyor = Surveyor::start().expect("there is a thread");
        let first = Arc::as_ptr(&surveyor.latest());
        assert!(surveyor.latest().owners(IpAddr::from([127, 0, 0, 1])).next().is_some(), "it has asked already");
        let wait = |is_so: &dyn Fn() -> bool| {
            let began = Instant::now();
            while !is_so() {
                assert!(began.elapsed() < Duration::from_secs(10));
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        wait(&|| Arc::as_ptr(&surveyor.latest()) != first);
        let latest = Arc::downgrade(&surveyor.latest);
        drop(surveyor);
        wait(&|| latest.strong_count() == 0);
    }
}

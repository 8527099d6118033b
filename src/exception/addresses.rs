//! Which interfaces have which addresses.
//!
//! A thread of its own asks the kernel, for that waits where somebody adds or removes links, in whichever network
//! namespace, and a thousand of them take many seconds. The thread that carries BFD must not wait with it.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};

/// How often the kernel is asked.
const INTERVAL: Duration = Duration::from_millis(500);

/// Addresses, each with an interface that has it.
type Known = Vec<(IpAddr, String)>;

/// What the kernel said last.
#[derive(Debug)]
pub(super) struct Addresses {
    known: Arc<ArcSwap<Known>>,
    heartbeat: Arc<AtomicU64>,
}

impl Addresses {
    /// The thread's name.
    pub(super) const THREAD: &str = "vtepd-addresses";

    /// Asks the kernel, and starts the thread that goes on asking until this is dropped, for the network namespace of the
    /// calling thread.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub(super) fn follow() -> io::Result<Self> {
        let known = Arc::new(ArcSwap::from_pointee(ask()));
        let heartbeat = Arc::<AtomicU64>::default();
        let (told, turns) = (Arc::downgrade(&known), Arc::clone(&heartbeat));
        thread::Builder::new().name(Self::THREAD.to_owned()).spawn(move || keep(&told, &turns))?;
        Ok(Self { known, heartbeat })
    }

    /// A number that grows twice a second as long as the thread lives and the kernel does not keep it.
    pub(super) fn heartbeat(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heartbeat)
    }

    /// The interfaces that have this address.
    pub(super) fn owners(&self, address: IpAddr) -> HashSet<String> {
        let known = self.known.load();
        known.iter().filter(|(of, _)| *of == address).map(|(_, interface)| interface.clone()).collect()
    }
}

/// The thread's life.
fn keep(told: &Weak<ArcSwap<Known>>, turns: &AtomicU64) {
    loop {
        turns.fetch_add(1, Ordering::Relaxed);
        thread::sleep(INTERVAL);
        let found = ask();
        let Some(known) = told.upgrade() else { return };
        known.store(Arc::new(found));
    }
}

fn ask() -> Known {
    let known = |found: InterfaceAddress| {
        let storage = found.address?;
        let ip: IpAddr = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
            (Some(v4), _) => v4.ip().into(),
            (_, Some(v6)) => v6.ip().into(),
            _ => return None,
        };
        Some((ip, found.interface_name))
    };
    getifaddrs().into_iter().flatten().filter_map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_owns_its_address_and_nobody_one_of_documentation() {
        let addresses = Addresses::follow().expect("a thread");
        assert!(addresses.owners(IpAddr::from([127, 0, 0, 1])).contains("lo"));
        assert!(addresses.owners(IpAddr::from([192, 0, 2, 77])).is_empty());
    }
}

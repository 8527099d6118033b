//! The tables as workers share them.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam::utils::CachePadded;

use super::bindings::{BindingTable, BindingWriter};
use super::fdb::{AgeTick, Fdb, FdbWriter};
use super::quiescence::Quiescence;
use super::snapshot::Snapshot;
use super::sync::{AtomicU64, Ordering};

/// Everything that workers look up in. Control publishes; workers and the stats thread read.
#[derive(Debug)]
pub struct Tables {
    /// The snapshot in force. A worker reads it through an [`arc_swap::Cache`], one load per burst; control keeps old
    /// ones until nobody else holds them, so that no worker ever frees one.
    pub snapshot: ArcSwap<Snapshot>,
    /// MAC addresses.
    pub fdb: Arc<Fdb>,
    /// Which station has an IP address.
    pub bindings: Arc<BindingTable>,
    /// Where workers say that they have passed a burst boundary.
    pub quiescence: Arc<Quiescence>,
    /// The clock of the FDB and of the bindings.
    pub age: AgeClock,
}

impl Tables {
    /// The tables with a first snapshot, an empty FDB for up to `max_entries` addresses and room for `max_bindings`, and the
    /// writers of both.
    ///
    /// # Errors
    /// The system's, where it has not that much memory.
    pub fn new(
        snapshot: Snapshot,
        max_entries: usize,
        max_bindings: usize,
    ) -> io::Result<(Arc<Self>, FdbWriter, BindingWriter)> {
        let quiescence = Quiescence::new();
        let (fdb, writer) = Fdb::with_writer(max_entries, Arc::clone(&quiescence))?;
        let (bindings, binding_writer) = BindingTable::with_writer(max_bindings)?;
        let snapshot = ArcSwap::from_pointee(snapshot);
        let tables = Self { snapshot, fdb, bindings, quiescence, age: AgeClock::default() };
        Ok((Arc::new(tables), writer, binding_writer))
    }
}

/// The clock by which FDB entries age. Control turns it; everyone reads it. It lies on a line of its own, which changes
/// once a tick.
#[derive(Debug)]
pub struct AgeClock(CachePadded<AtomicU64>);

impl Default for AgeClock {
    fn default() -> Self {
        Self(CachePadded::new(AtomicU64::new(0)))
    }
}

impl AgeClock {
    /// The current tick.
    #[inline]
    #[must_use]
    pub fn now(&self) -> AgeTick {
        AgeTick(self.0.load(Ordering::Relaxed) as u16)
    }

    /// Sets the tick; for the control thread.
    pub fn set(&self, ticks: u64) {
        self.0.store(ticks, Ordering::Relaxed);
    }
}

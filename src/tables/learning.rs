//! From the workers to the writer of the FDB and of the bindings: sources that are new, or seen in a new place, and what
//! stations say of their addresses.

use crossbeam::queue::ArrayQueue;

use super::Location;
use super::bindings::BindingReport;
use super::fdb::FdbKey;

/// A source that a worker met and that the FDB does not know to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnEvent {
    /// Bridge and MAC address.
    pub key: FdbKey,
    /// Where the frame came from.
    pub location: Location,
}

/// One worker's two bounded rings: of sources, and of bindings. A full ring refuses what is sent: the source's next packet
/// tries again, the station's next message does.
#[derive(Debug)]
pub struct LearnRing {
    sources: ArrayQueue<LearnEvent>,
    bindings: ArrayQueue<BindingReport>,
}

impl LearnRing {
    /// Sources that wait at most. The writer looks every millisecond, so this is good for 8 million new ones a second.
    pub const CAPACITY: usize = 8192;
    /// Reports of bindings that wait at most.
    pub const REPORTS: usize = 2048;

    /// Two empty rings.
    #[must_use]
    pub fn new() -> Self {
        Self { sources: ArrayQueue::new(Self::CAPACITY), bindings: ArrayQueue::new(Self::REPORTS) }
    }

    /// Sends a source; false where the ring is full.
    #[inline]
    #[must_use]
    pub fn send(&self, event: LearnEvent) -> bool {
        self.sources.push(event).is_ok()
    }

    /// Takes the oldest source.
    #[must_use]
    pub fn take(&self) -> Option<LearnEvent> {
        self.sources.pop()
    }

    /// Sends what a station says of an address, behind the station as a source; false where the ring is full.
    #[must_use]
    pub fn report(&self, report: BindingReport) -> bool {
        self.bindings.push(report).is_ok()
    }

    /// Takes the oldest report.
    #[must_use]
    pub fn take_report(&self) -> Option<BindingReport> {
        self.bindings.pop()
    }
}

impl Default for LearnRing {
    fn default() -> Self {
        Self::new()
    }
}

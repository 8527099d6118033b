//! From the workers to the writer of the FDB: sources that are new, or seen in a new place.

use crossbeam::queue::ArrayQueue;

use super::Location;
use super::fdb::FdbKey;

/// A source that a worker met and that the FDB does not know to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnEvent {
    /// Bridge and MAC address.
    pub key: FdbKey,
    /// Where the frame came from.
    pub location: Location,
}

/// One worker's bounded ring of events. A full ring refuses the event: the source's next packet tries again.
#[derive(Debug)]
pub struct LearnRing(ArrayQueue<LearnEvent>);

impl LearnRing {
    /// Events a ring holds. The writer looks every millisecond, so this is good for 8 million new sources a second.
    pub const CAPACITY: usize = 8192;

    /// An empty ring.
    #[must_use]
    pub fn new() -> Self {
        Self(ArrayQueue::new(Self::CAPACITY))
    }

    /// Sends an event; false where the ring is full.
    #[inline]
    #[must_use]
    pub fn send(&self, event: LearnEvent) -> bool {
        self.0.push(event).is_ok()
    }

    /// Takes the oldest event.
    #[must_use]
    pub fn take(&self) -> Option<LearnEvent> {
        self.0.pop()
    }
}

impl Default for LearnRing {
    fn default() -> Self {
        Self::new()
    }
}

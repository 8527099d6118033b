//! From the workers to the writer of the FDB: sources that are new, or seen in a new place.

use std::net::IpAddr;

use crossbeam::queue::ArrayQueue;

use super::Location;
use super::fdb::FdbKey;
use super::snooping::Heard;

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
pub struct LearnRing {
    sources: ArrayQueue<LearnEvent>,
    remotes: ArrayQueue<IpAddr>,
    heard: ArrayQueue<Heard>,
}

impl LearnRing {
    /// Events a ring holds. The writer looks every millisecond, so this is good for 8 million new sources a second.
    pub const CAPACITY: usize = 8192;

    /// Addresses of unknown VTEPs that a ring holds.
    pub const REMOTES: usize = 256;

    /// What is said of multicast groups that a ring holds: good for half a million memberships a second.
    pub const HEARD: usize = 1024;

    /// An empty ring.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sources: ArrayQueue::new(Self::CAPACITY),
            remotes: ArrayQueue::new(Self::REMOTES),
            heard: ArrayQueue::new(Self::HEARD),
        }
    }

    /// Sends an event; false where the ring is full.
    #[inline]
    #[must_use]
    pub fn send(&self, event: LearnEvent) -> bool {
        self.sources.push(event).is_ok()
    }

    /// Takes the oldest event.
    #[must_use]
    pub fn take(&self) -> Option<LearnEvent> {
        self.sources.pop()
    }

    /// Sends the address of a VTEP that is to become a remote one; where there is no room, its next packet tries again.
    pub fn send_remote(&self, address: IpAddr) {
        // Nothing is lost: as long as the VTEP is unknown, each of its packets brings it here again.
        let _ = self.remotes.push(address);
    }

    /// Sends what was heard of a multicast group; false where the ring is full. Hosts and routers say it again.
    #[must_use]
    pub fn send_heard(&self, heard: Heard) -> bool {
        self.heard.push(heard).is_ok()
    }

    /// Takes the oldest of what was heard of multicast groups.
    #[must_use]
    pub fn take_heard(&self) -> Option<Heard> {
        self.heard.pop()
    }

    /// Takes the oldest address of a VTEP.
    #[must_use]
    pub fn take_remote(&self) -> Option<IpAddr> {
        self.remotes.pop()
    }
}

impl Default for LearnRing {
    fn default() -> Self {
        Self::new()
    }
}

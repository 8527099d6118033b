//! From the workers to the control thread: sources that are new, or seen in a new place; what stations say of their
//! addresses; and what routers say of the paths to remote VTEPs.

use std::net::IpAddr;

use crossbeam::queue::ArrayQueue;

use super::bindings::BindingReport;
use super::fdb::FdbKey;
use super::snooping::Heard;
use super::{Location, TunnelIndex};

/// A source that a worker met and that the FDB does not know to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnEvent {
    /// Bridge and MAC address.
    pub key: FdbKey,
    /// Where the frame came from.
    pub location: Location,
}

/// A path that takes less than was thought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    /// The remote VTEP at its end.
    pub tunnel: TunnelIndex,
    /// The largest IP packet that it takes, in bytes.
    pub mtu: u16,
}

/// One worker's bounded rings. A full one refuses what it is sent: the source's next packet tries again, and so do the
/// station's next message and the next packet that does not fit.
#[derive(Debug)]
pub struct LearnRing {
    events: ArrayQueue<LearnEvent>,
    remotes: ArrayQueue<IpAddr>,
    bindings: ArrayQueue<BindingReport>,
    path_mtus: ArrayQueue<PathMtu>,
    heard: ArrayQueue<Heard>,
}

impl LearnRing {
    /// Sources that wait at most. The writer looks every millisecond, so this is good for 8 million new ones a second.
    pub const CAPACITY: usize = 8192;
    /// Reports of bindings that wait at most.
    pub const REPORTS: usize = 2048;

    /// Addresses of unknown VTEPs that a ring holds.
    pub const REMOTES: usize = 256;
    /// Paths a ring holds.
    pub const PATH_MTUS: usize = 64;

    /// What is said of multicast groups that a ring holds: good for half a million memberships a second.
    pub const HEARD: usize = 1024;

    /// Empty rings.
    #[must_use]
    pub fn new() -> Self {
        Self {
            events: ArrayQueue::new(Self::CAPACITY),
            remotes: ArrayQueue::new(Self::REMOTES),
            bindings: ArrayQueue::new(Self::REPORTS),
            path_mtus: ArrayQueue::new(Self::PATH_MTUS),
            heard: ArrayQueue::new(Self::HEARD),
        }
    }

    /// Sends a source; false where the ring is full.
    #[inline]
    #[must_use]
    pub fn send(&self, event: LearnEvent) -> bool {
        self.events.push(event).is_ok()
    }

    /// Takes the oldest source.
    #[must_use]
    pub fn take(&self) -> Option<LearnEvent> {
        self.events.pop()
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

    /// Sends what is known of a path; false where the ring is full.
    #[must_use]
    pub fn send_path_mtu(&self, path: PathMtu) -> bool {
        self.path_mtus.push(path).is_ok()
    }

    /// Takes what was sent of a path first.
    #[must_use]
    pub fn take_path_mtu(&self) -> Option<PathMtu> {
        self.path_mtus.pop()
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

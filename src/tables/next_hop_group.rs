//! The next hops among which the flows to a remote VTEP are spread, where there are several (RFC 2992).
//!
//! The outer headers of a remote VTEP are the same whichever way its packets go, but for the Ethernet addresses. So its
//! [`NextHop`](super::tunnel::NextHop) has the headers, and a group has uplinks and addresses: one group serves all
//! remote VTEPs that are behind the same next hops, which in a fabric of leaves and spines are all of them.

use super::PortIndex;
use crate::wire::MacAddr;

/// The buckets of a group: a flow's hash names one, and each has a next hop. Enough that each of eight equal next hops
/// has its share to within a per cent or so.
pub const BUCKETS: usize = 64;

/// The most groups of a snapshot: 4 MiB of them.
pub const MAX_GROUPS: usize = 4096;

/// A group's place in the snapshot's group table, below [`MAX_GROUPS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupIndex(pub u16);

/// A next hop as one of a group: an uplink, and the Ethernet addresses in front of the outer headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjacency {
    addresses: [u8; 12],
    port: PortIndex,
}

impl Adjacency {
    /// The next hop with the MAC address `destination` behind the uplink `port`, which has the MAC address `source`.
    #[must_use]
    pub fn new(port: PortIndex, source: MacAddr, destination: MacAddr) -> Self {
        let mut addresses = [0; 12];
        addresses[..6].copy_from_slice(&destination.0);
        addresses[6..].copy_from_slice(&source.0);
        Self { addresses, port }
    }

    /// The uplink.
    #[inline]
    #[must_use]
    pub fn port(&self) -> PortIndex {
        self.port
    }

    /// Destination and source MAC address, as they stand at the front of a packet.
    #[inline]
    #[must_use]
    pub fn addresses(&self) -> &[u8; 12] {
        &self.addresses
    }
}

/// A next hop for each bucket.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct NextHopGroup([Adjacency; BUCKETS]);

impl NextHopGroup {
    /// The group that has in each bucket what `of_bucket` says of its number.
    #[must_use]
    pub fn new(of_bucket: impl FnMut(usize) -> Adjacency) -> Self {
        Self(std::array::from_fn(of_bucket))
    }

    /// The next hop of the flows with this hash.
    #[inline]
    #[must_use]
    pub fn next_hop(&self, hash: u32) -> &Adjacency {
        // A remainder below the length: this needs no check.
        &self.0[hash as usize % BUCKETS]
    }
}

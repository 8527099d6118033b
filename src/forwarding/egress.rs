//! Where forwarded packets go.

use super::packet::PacketBuffer;
use crate::tables::PortIndex;

/// Takes packets towards the ports and gives out buffers for new ones.
pub trait Egress<P: PacketBuffer> {
    /// Queues a packet on a port. What the port does not take is dropped and counted there.
    fn transmit(&mut self, port: PortIndex, packet: P);

    /// An empty packet with headroom for outer headers and tailroom for a frame of 1514 bytes, or none where the pool
    /// is used up.
    fn allocate(&mut self) -> Option<P>;
}

//! Where forwarded packets go.

use arrayvec::ArrayVec;

use super::BURST;
use super::packet::PacketBuffer;
use crate::tables::PortIndex;
use crate::telemetry::PuntClass;

/// Takes packets towards the ports and gives out buffers for new ones.
pub trait Egress<P: PacketBuffer> {
    /// Queues a packet on a port. What the port does not take is dropped and counted there.
    fn transmit(&mut self, port: PortIndex, packet: P);

    /// Queues all packets of a burst on a port, in their order, and leaves the burst empty.
    fn transmit_burst(&mut self, port: PortIndex, burst: &mut ArrayVec<P, BURST>) {
        burst.drain(..).for_each(|packet| self.transmit(port, packet));
    }

    /// An empty packet with headroom for outer headers and tailroom for a frame of 1514 bytes, or none where the pool
    /// is used up.
    fn allocate(&mut self) -> Option<P>;

    /// Gives the kernel a copy of a packet that the port `ingress` received, as far as the class has room. False where
    /// it has none, or there is no way to the kernel.
    fn punt(&mut self, _ingress: PortIndex, _class: PuntClass, _packet: &P) -> bool {
        false
    }
}

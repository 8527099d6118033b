//! A worker's end of the exception path: packets copied into rings for the kernel, and the kernel's frames made packets.

use crate::dpdk::mempool::DATA_ROOM;
use crate::dpdk::{Mbuf, PacketPool};
use crate::exception::WorkerEnd;
use crate::forwarding::PacketBuffer;
use crate::tables::PortIndex;
use crate::telemetry::PuntClass;
use crate::wire::ethernet::ETHERNET_MINIMUM;

/// The most frames of the kernel that are sent in one round: what forwarding waits for at the most, some microseconds.
pub const FROM_KERNEL_AT_ONCE: usize = 32;

/// Copies a packet for the kernel into the ring of its class. False where that is full.
pub fn punt(end: &mut WorkerEnd, port: PortIndex, class: PuntClass, packet: &Mbuf) -> bool {
    end.to_kernel.get_mut(class as usize).is_some_and(|ring| ring.push(port, || packet.segments()))
}

/// Gives the kernel's frames, each in two pieces, to `send`, a round's worth at the most. Gives how many there were.
pub fn take_from_kernel(end: &mut WorkerEnd, mut send: impl FnMut(PortIndex, &[u8], &[u8])) -> usize {
    let Some(ring) = &mut end.from_kernel else { return 0 };
    (0..FROM_KERNEL_AT_ONCE).map_while(|_| ring.take(&mut send)).count()
}

/// A packet with these bytes, of at least the smallest length of a frame, in as many segments as it needs. It is put
/// together from its end, for a packet is chained behind a single segment. None where the pool is used up.
pub fn packet_of(pool: &PacketPool, first: &[u8], second: &[u8]) -> Option<Mbuf> {
    let length = first.len() + second.len();
    let mut whole: Option<Mbuf> = None;
    for piece in (0..length.div_ceil(DATA_ROOM)).rev() {
        let (start, end) = (piece * DATA_ROOM, length.min((piece + 1) * DATA_ROOM));
        let of_first = first.get(start.min(first.len())..end.min(first.len()))?;
        let of_second = second.get(start.saturating_sub(first.len())..end.saturating_sub(first.len()))?;
        let mut segment = pool.allocate()?;
        if !segment.append(of_first) || !segment.append(of_second) {
            return None;
        }
        if let Some(rest) = &whole
            && !segment.chain_shared(rest)
        {
            return None;
        }
        whole = Some(segment);
    }
    let mut packet = whole?;
    let missing = ETHERNET_MINIMUM.saturating_sub(length);
    (missing == 0 || packet.grow_back_zeroed(missing)).then_some(packet)
}

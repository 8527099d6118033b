//! The packet-buffer trait: what forwarding asks of a packet, whether it is an mbuf or bytes in a test.

/// What is known about one checksum of a received packet before software looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ChecksumVerdict {
    /// Nobody verified it: software must.
    #[default]
    Unverified,
    /// The NIC found it right.
    Good,
    /// The NIC found it wrong.
    Bad,
}

/// The NIC's verdicts on the outer headers of a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReceiveChecksums {
    /// The IPv4 header checksum.
    pub ip: ChecksumVerdict,
    /// The UDP checksum.
    pub l4: ChecksumVerdict,
}

/// A packet that is owned by whoever holds it; dropping it gives its memory back to where it came from.
///
/// A packet is a chain of one or more segments. Headers are read and rewritten in the first one, the head; forwarding
/// checks that the head holds what it reads. Segments behind the head may be shared between packets and are then never
/// written.
pub trait PacketBuffer: Sized {
    /// The bytes of the first segment.
    fn head(&self) -> &[u8];

    /// The bytes of the first segment, to rewrite.
    fn head_mut(&mut self) -> &mut [u8];

    /// Asks for the head's memory, which will soon be read. Does nothing unless the implementation knows how.
    fn prefetch_head(&self) {}

    /// The length of all segments together, in bytes.
    fn len(&self) -> usize;

    /// True where the packet holds no byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every segment's bytes, in order, the head first.
    fn segments(&self) -> impl Iterator<Item = &[u8]>;

    /// Takes `taken` bytes off the front of the head and puts `PUT` others there, which hold anything: here they are, to
    /// be written. None, and nothing changed, where the head is shorter, where there is not that much headroom, or
    /// where another packet holds the head, too.
    #[must_use]
    fn replace_front<const PUT: usize>(&mut self, taken: usize) -> Option<&mut [u8; PUT]>;

    /// Takes `count` bytes off the front of the head. False, and nothing changed, where the head is shorter or shared.
    #[must_use]
    fn trim_front(&mut self, count: usize) -> bool {
        self.replace_front::<0>(count).is_some()
    }

    /// Cuts the packet at `length` bytes; segments wholly behind the cut are given back. True, and nothing to do, for a
    /// packet that is not longer. False, and nothing changed, where the cut would change a shared segment.
    #[must_use]
    fn truncate(&mut self, length: usize) -> bool;

    /// Adds `count` zero bytes at the end. False, and nothing changed, where there is not that much tailroom.
    #[must_use]
    fn grow_back_zeroed(&mut self, count: usize) -> bool;

    /// Chains `payload` behind this packet's single segment without copying it: the payload's memory is given back
    /// when the last packet that shares it is dropped. False, and nothing changed, where this packet already has more
    /// segments, or the payload is in as many packets as can be counted.
    #[must_use]
    fn share(&mut self, payload: &Self) -> bool;

    /// What the NIC found out about the outer checksums.
    fn receive_checksums(&self) -> ReceiveChecksums;
}

//! A packet in DPDK's memory.
//!
//! Who may write: a segment that one packet holds belongs to the owner of that packet alone. A segment that several
//! packets hold ([`Mbuf::chain_shared`]) is written by nobody, neither its bytes nor its fields; every method that
//! would write looks at the count first, which is in the cache line it writes anyway. An `Mbuf` can be sent to another
//! thread but not used by two at once, so only its owner can make it shared.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::slice;

use super::dpdk_sys::{self as sys, rte_mbuf};
use super::segment::Segment;
use crate::forwarding::{ChecksumVerdict, PacketBuffer, ReceiveChecksums};

/// An owned packet, one segment or a chain; dropping it gives its segments back to their pool.
///
/// It is one pointer, so that an array of them is what DPDK's burst functions take.
#[repr(transparent)]
pub struct Mbuf {
    raw: NonNull<rte_mbuf>,
}

// SAFETY: a packet that moves to another thread takes its exclusive segments with it; shared ones are only read and
// counted atomically; and pools take buffers back from any thread.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes ownership of a packet.
    ///
    /// # Safety
    /// `raw` is a packet's first mbuf, well-formed (lengths inside the buffers, `nb_segs` true), whose other segments
    /// nobody but holders of whole packets refers to, and nobody else owns the packet.
    #[inline]
    #[must_use]
    pub unsafe fn from_raw(raw: NonNull<rte_mbuf>) -> Self {
        Self { raw }
    }

    /// Gives up ownership: whoever gets the pointer frees the packet.
    #[inline]
    #[must_use]
    pub fn into_raw(self) -> NonNull<rte_mbuf> {
        ManuallyDrop::new(self).raw
    }

    #[inline(always)]
    fn first(&self) -> Segment {
        // SAFETY: the packet is owned, so its head is live while `self` is.
        unsafe { Segment::new(self.raw) }
    }

    /// The last segment; only a chain's second cache lines are touched.
    #[inline]
    fn last(&self) -> Segment {
        let mut segment = self.first();
        for _ in 1..segment.segment_count() {
            let Some(next) = segment.next() else { break };
            segment = next;
        }
        segment
    }

    /// How many segments the packet has; at least one.
    #[inline]
    #[must_use]
    pub fn segment_count(&self) -> usize {
        usize::from(self.first().segment_count())
    }

    /// The bytes [`PacketBuffer::replace_front`] can put in front of the data.
    #[inline]
    #[must_use]
    pub fn headroom(&self) -> usize {
        usize::from(self.first().data_off())
    }

    /// The bytes [`PacketBuffer::grow_back_zeroed`] and [`Mbuf::append`] can add.
    #[inline]
    #[must_use]
    pub fn tailroom(&self) -> usize {
        usize::from(self.last().tailroom())
    }

    /// Room for `count` bytes behind the last segment's data, now part of the packet; null where there is none, or
    /// where the packet is shared.
    #[inline]
    fn extend_back(&mut self, count: usize) -> Option<NonNull<u8>> {
        let head = self.first();
        let last = self.last();
        let added = u16::try_from(count).ok().filter(|&added| added <= last.tailroom())?;
        if head.is_shared() || last.is_shared() {
            return None;
        }
        // SAFETY: the data ends inside the buffer or at its end.
        let end = unsafe { last.data().add(usize::from(last.data_len())) };
        last.set_data_len(last.data_len() + added);
        head.set_packet_len(head.packet_len() + u32::from(added));
        Some(end)
    }

    /// Adds `bytes` at the end. False, and nothing changed, where the last segment has not that much tailroom or is
    /// shared.
    #[inline]
    #[must_use]
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        match self.extend_back(bytes.len()) {
            // SAFETY: `extend_back` made exactly this room, which nobody else holds.
            Some(end) => unsafe {
                end.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                true
            },
            None => false,
        }
    }

    /// Chains `payload`, one segment or many, behind this packet's single segment without copying it. False, and
    /// nothing changed, where this packet already has a chain, is itself shared, or where the payload is in as many
    /// packets as can be counted (65,280).
    #[inline]
    #[must_use]
    pub fn chain_shared(&mut self, payload: &Self) -> bool {
        let head = self.first();
        let tail = payload.first();
        if head.segment_count() != 1 || head.is_shared() {
            return false;
        }
        let Some(count) = tail.segment_count().checked_add(1) else { return false };
        let Some(length) = head.packet_len().checked_add(tail.packet_len()) else { return false };
        if !payload.chain().all(Segment::has_room_for_holder) {
            return false;
        }
        payload.chain().for_each(Segment::add_holder);
        head.set_next_raw(tail.raw());
        head.set_segment_count(count);
        head.set_packet_len(length);
        true
    }

    /// Copies what is behind the head into the head's tailroom. False, and nothing changed, where it does not fit or
    /// the head is shared.
    pub(super) fn linearise(&mut self) -> bool {
        // SAFETY: the packet is owned, and its head, the only segment written, is nobody else's.
        !self.first().is_shared() && unsafe { sys::vtepd_mbuf_linearise(self.raw.as_ptr()) } == 0
    }

    #[inline]
    fn chain(&self) -> Chain<'_> {
        let head = self.first();
        Chain { next: Some(head), left: head.segment_count(), packet: PhantomData }
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the packet is owned, and this is its end; segments that other packets hold are only counted down.
        unsafe { sys::vtepd_mbuf_free(self.raw.as_ptr()) }
    }
}

impl std::fmt::Debug for Mbuf {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Mbuf").field("len", &self.len()).field("segments", &self.segment_count()).finish()
    }
}

/// The segments of a packet in order. It goes by their number, so that a single segment's `next`, which is in another
/// cache line, is not read.
struct Chain<'packet> {
    next: Option<Segment>,
    left: u16,
    packet: PhantomData<&'packet Mbuf>,
}

impl Iterator for Chain<'_> {
    type Item = Segment;

    #[inline]
    fn next(&mut self) -> Option<Segment> {
        let segment = self.next?;
        self.left = self.left.saturating_sub(1);
        self.next = if self.left == 0 { None } else { segment.next() };
        Some(segment)
    }
}

impl PacketBuffer for Mbuf {
    #[inline(always)]
    fn head(&self) -> &[u8] {
        let head = self.first();
        // SAFETY: the head's data lies inside its buffer, all of it was mapped zeroed or written since, and it cannot
        // be written while `self` is borrowed.
        unsafe { slice::from_raw_parts(head.data().as_ptr(), usize::from(head.data_len())) }
    }

    /// The bytes of the first segment, to rewrite; none where another packet holds them, too.
    #[inline(always)]
    fn head_mut(&mut self) -> &mut [u8] {
        let head = self.first();
        if head.is_shared() {
            return &mut [];
        }
        // SAFETY: as for `head`; no other packet holds the segment, and this one is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(head.data().as_ptr(), usize::from(head.data_len())) }
    }

    /// Asks the processor for the first cache line of the data.
    #[inline(always)]
    fn prefetch_head(&self) {
        let data = self.first().data();
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch of any address is harmless.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(data.as_ptr().cast_const().cast());
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: a prefetch of any address is harmless, and writes nothing.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{}]", in(reg) data.as_ptr(), options(nostack, preserves_flags, readonly));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = data;
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.first().packet_len() as usize
    }

    #[inline]
    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: as for `head`, for each segment.
        self.chain()
            .map(|segment| unsafe { slice::from_raw_parts(segment.data().as_ptr(), usize::from(segment.data_len())) })
    }

    #[inline(always)]
    fn replace_front<const PUT: usize>(&mut self, taken: usize) -> Option<&mut [u8; PUT]> {
        let head = self.first();
        let (offset, length) = (usize::from(head.data_off()), usize::from(head.data_len()));
        if taken > length || PUT > offset + taken || head.is_shared() {
            return None;
        }
        // The data now begins `PUT` before the end of what was taken, which is inside the buffer, and ends where it did.
        let grown = (PUT as u32).wrapping_sub(taken as u32);
        head.set_data_off((offset as u32).wrapping_sub(grown) as u16);
        head.set_data_len((length as u32).wrapping_add(grown) as u16);
        head.set_packet_len(head.packet_len().wrapping_add(grown));
        // SAFETY: as for `head_mut`: the head has at least these bytes now.
        Some(unsafe { head.data().cast::<[u8; PUT]>().as_mut() })
    }

    #[inline]
    fn truncate(&mut self, length: usize) -> bool {
        let head = self.first();
        let Ok(length) = u32::try_from(length) else { return true };
        if length >= head.packet_len() {
            return true;
        }
        if head.is_shared() {
            return false;
        }
        let mut kept = 0_u16;
        let mut left = length;
        for segment in self.chain() {
            kept += 1;
            match u16::try_from(left) {
                Ok(last) if last <= segment.data_len() => {
                    if segment.is_shared() {
                        return false;
                    }
                    segment.set_data_len(last);
                    if kept < head.segment_count() {
                        let behind = segment.next_raw();
                        segment.set_next_raw(std::ptr::null_mut());
                        // SAFETY: the segments behind the cut are no longer reachable from this packet, whose hold on
                        // them is given up here. Null is allowed.
                        unsafe { sys::vtepd_mbuf_free(behind) };
                    }
                    head.set_segment_count(kept);
                    head.set_packet_len(length);
                    return true;
                }
                _ => left -= u32::from(segment.data_len()),
            }
        }
        false
    }

    #[inline]
    fn grow_back_zeroed(&mut self, count: usize) -> bool {
        match self.extend_back(count) {
            // SAFETY: `extend_back` made exactly this room, which nobody else holds.
            Some(end) => unsafe {
                end.as_ptr().write_bytes(0, count);
                true
            },
            None => false,
        }
    }

    /// [`Mbuf::chain_shared`].
    #[inline]
    fn share(&mut self, payload: &Self) -> bool {
        self.chain_shared(payload)
    }

    #[inline]
    fn receive_checksums(&self) -> ReceiveChecksums {
        let head = self.first();
        let flags = head.offload_flags();
        let verdict = |good: u64, bad: u64| match (flags & good != 0, flags & bad != 0) {
            // Both: the sum in the packet is unfinished, but its sender vouches for the bytes.
            (true, _) => ChecksumVerdict::Good,
            (false, true) => ChecksumVerdict::Bad,
            (false, false) => ChecksumVerdict::Unverified,
        };
        if head.packet_type() & sys::VTEPD_PTYPE_TUNNEL_MASK == 0 {
            return ReceiveChecksums {
                ip: verdict(sys::VTEPD_RX_IP_CKSUM_GOOD, sys::VTEPD_RX_IP_CKSUM_BAD),
                l4: verdict(sys::VTEPD_RX_L4_CKSUM_GOOD, sys::VTEPD_RX_L4_CKSUM_BAD),
            };
        }
        // The NIC saw that this is a tunnel packet: its plain flags speak of the inner headers. For the outer L4 "both"
        // means invalid, and for the outer IP header only "bad" exists.
        let l4 = match verdict(sys::VTEPD_RX_OUTER_L4_CKSUM_GOOD, sys::VTEPD_RX_OUTER_L4_CKSUM_BAD) {
            ChecksumVerdict::Good if flags & sys::VTEPD_RX_OUTER_L4_CKSUM_BAD != 0 => ChecksumVerdict::Unverified,
            verdict => verdict,
        };
        ReceiveChecksums { ip: verdict(0, sys::VTEPD_RX_OUTER_IP_CKSUM_BAD), l4 }
    }
}

//! One mbuf of a chain: its fields, read and written in place.
//!
//! The fields are reached by offsets that the C compiler computed from the installed headers, because releases of DPDK
//! nest them differently. A `Segment` is as good as the pointer it was made from; the rules of who may write what are
//! kept by [`Mbuf`](super::Mbuf), which is the only one to use it.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use super::dpdk_sys::{self as sys, rte_mbuf};

/// More holders than this, and a segment is not shared further: the count has 16 bits, and the distance to its end
/// covers every thread that might add at the same moment.
const MOST_HOLDERS: u16 = 0xff00;

/// A pointer to a live mbuf.
#[derive(Clone, Copy)]
pub(super) struct Segment(NonNull<rte_mbuf>);

macro_rules! field {
    ($get:ident, $set:ident, $kind:ty, $offset:ident) => {
        #[inline(always)]
        pub(super) fn $get(self) -> $kind {
            // SAFETY: the mbuf is live, and the offset is that of an aligned field of this size.
            unsafe { self.at::<$kind>(sys::$offset).read() }
        }

        #[inline(always)]
        pub(super) fn $set(self, value: $kind) {
            // SAFETY: as above; the caller holds the only reference to this segment.
            unsafe { self.at::<$kind>(sys::$offset).write(value) }
        }
    };
    ($get:ident, $kind:ty, $offset:ident) => {
        #[inline(always)]
        pub(super) fn $get(self) -> $kind {
            // SAFETY: the mbuf is live, and the offset is that of an aligned field of this size.
            unsafe { self.at::<$kind>(sys::$offset).read() }
        }
    };
}

impl Segment {
    /// # Safety
    /// `raw` points to an mbuf that stays allocated for as long as the segment and its copies are used.
    #[inline(always)]
    pub(super) unsafe fn new(raw: NonNull<rte_mbuf>) -> Self {
        Self(raw)
    }

    #[inline(always)]
    pub(super) fn raw(self) -> *mut rte_mbuf {
        self.0.as_ptr()
    }

    /// # Safety
    /// `offset` is that of a field inside the mbuf, of type `T`.
    #[inline(always)]
    unsafe fn at<T>(self, offset: u32) -> *mut T {
        // SAFETY: the field is inside the mbuf, says the caller.
        unsafe { self.0.as_ptr().cast::<u8>().add(offset as usize).cast() }
    }

    field!(data_off, set_data_off, u16, VTEPD_MBUF_DATA_OFF);
    field!(data_len, set_data_len, u16, VTEPD_MBUF_DATA_LEN);
    field!(packet_len, set_packet_len, u32, VTEPD_MBUF_PKT_LEN);
    field!(segment_count, set_segment_count, u16, VTEPD_MBUF_NB_SEGS);
    field!(buffer_len, u16, VTEPD_MBUF_BUF_LEN);
    field!(buffer, NonNull<u8>, VTEPD_MBUF_BUF_ADDR);
    field!(offload_flags, u64, VTEPD_MBUF_OL_FLAGS);
    field!(packet_type, u32, VTEPD_MBUF_PACKET_TYPE);
    field!(next_raw, set_next_raw, *mut rte_mbuf, VTEPD_MBUF_NEXT);

    /// The segment behind this one. It is in the mbuf's second cache line: ask only where there is one.
    #[inline(always)]
    pub(super) fn next(self) -> Option<Self> {
        NonNull::new(self.next_raw()).map(Self)
    }

    #[inline(always)]
    pub(super) fn data(self) -> NonNull<u8> {
        // SAFETY: DPDK keeps data_off + data_len <= buf_len, and so does `Mbuf`.
        unsafe { self.buffer().add(usize::from(self.data_off())) }
    }

    /// The bytes between the data's end and the buffer's.
    #[inline(always)]
    pub(super) fn tailroom(self) -> u16 {
        self.buffer_len().saturating_sub(self.data_off()).saturating_sub(self.data_len())
    }

    #[inline(always)]
    fn holders(&self) -> &AtomicU16 {
        // SAFETY: DPDK accesses the field atomically, too.
        unsafe { AtomicU16::from_ptr(self.at::<u16>(sys::VTEPD_MBUF_REFCNT)) }
    }

    /// True where another packet holds this segment, too, so that nobody may write it. Only a holder can add another,
    /// so "no" stays true for as long as the asker holds its packet exclusively.
    #[inline(always)]
    pub(super) fn is_shared(self) -> bool {
        // Acquire: what a former holder read, it read before the writes that follow.
        self.holders().load(Ordering::Acquire) != 1
    }

    /// True where one more packet may hold this segment.
    #[inline(always)]
    pub(super) fn has_room_for_holder(self) -> bool {
        self.holders().load(Ordering::Relaxed) < MOST_HOLDERS
    }

    /// Counts one more packet that holds this segment.
    #[inline(always)]
    pub(super) fn add_holder(self) {
        let holders = self.holders();
        if holders.load(Ordering::Relaxed) == 1 {
            // The caller's is the only packet, and no other thread has it: nobody else counts.
            holders.store(2, Ordering::Relaxed);
        } else {
            holders.fetch_add(1, Ordering::Relaxed);
        }
    }
}

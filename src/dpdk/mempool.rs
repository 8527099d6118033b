//! The memory that packets live in.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

use super::dpdk_sys as sys;
use super::eal::{Eal, EalHold};
use super::{Burst, Mbuf, describe_errno, errno};

/// The bytes of one buffer behind the headroom: an Ethernet frame of the usual MTU, or a piece of a larger one.
pub const DATA_ROOM: usize = 2048;

/// The bytes in front of a received packet, for headers to be added.
pub const HEADROOM: usize = sys::VTEPD_MBUF_HEADROOM as usize;

/// Each worker keeps up to this many free buffers (and half as many again) to itself: the most DPDK allows, and at
/// least 512, so that bursts of 64 in both directions do not go to the shared ring.
const CACHE: u32 = 512;

/// Pools have names, and no name twice.
static POOLS: AtomicU32 = AtomicU32::new(0);

/// Why there is no pool.
#[derive(Debug, Error)]
pub enum PoolError {
    /// Not a number of buffers DPDK can have.
    #[error("a pool of {0} packet buffers cannot be: choose 2 to 16777215")]
    Count(u32),
    /// The memory given to DPDK does not suffice.
    #[error(
        "{packets} packet buffers need about {needed_mib} MiB, which DPDK's memory does not have ({reason}): raise \
         `memory_mib` or lower `packet_buffers` in [dpdk]"
    )]
    Memory {
        /// The buffers asked for.
        packets: u32,
        /// The memory they need, in MiB.
        needed_mib: u64,
        /// DPDK's error.
        reason: String,
    },
}

/// A pool of packet buffers, shared by ports and workers. Clones are handles to the same pool.
#[derive(Clone)]
pub struct PacketPool {
    shared: Arc<Pool>,
}

struct Pool {
    raw: NonNull<sys::rte_mempool>,
    capacity: u32,
    eal: EalHold,
}

// SAFETY: a pool's ring takes any number of producers and consumers, and its caches belong to one thread each.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl PacketPool {
    /// Makes a pool of `packets` buffers of [`HEADROOM`] and [`DATA_ROOM`] bytes, about 2.4 KiB each. DPDK packs best
    /// with a power of two less one. Every worker may hold 768 of them back in its cache: count them in.
    ///
    /// # Errors
    /// [`PoolError`], where the number is out of range or DPDK's memory too small.
    pub fn create(eal: &Eal, packets: u32) -> Result<Self, PoolError> {
        if !(2..=0xff_ffff).contains(&packets) {
            return Err(PoolError::Count(packets));
        }
        let name = format!("packets{}", POOLS.fetch_add(1, Ordering::Relaxed));
        let name = CString::new(name).unwrap_or_default();
        // DPDK refuses a cache of which one and a half do not fit into the pool.
        let cache = CACHE.min(packets / 2);
        let room = u16::try_from(HEADROOM + DATA_ROOM).unwrap_or(u16::MAX);
        const ANY_SOCKET: i32 = -1;
        // SAFETY: EAL runs, as `eal` shows, and the name is copied.
        let raw = unsafe { sys::rte_pktmbuf_pool_create(name.as_ptr(), packets, cache, 0, room, ANY_SOCKET) };
        match NonNull::new(raw) {
            Some(raw) => Ok(Self { shared: Arc::new(Pool { raw, capacity: packets, eal: eal.hold() }) }),
            None => Err(PoolError::Memory {
                packets,
                needed_mib: (u64::from(packets) * 2432).div_ceil(1 << 20),
                reason: describe_errno(errno()),
            }),
        }
    }

    /// An empty packet with [`HEADROOM`] bytes of headroom and [`DATA_ROOM`] of tailroom; `None` where all buffers are
    /// in use.
    #[inline]
    #[must_use]
    pub fn allocate(&self) -> Option<Mbuf> {
        // SAFETY: the pool is live.
        let raw = unsafe { sys::vtepd_mbuf_allocate(self.shared.raw.as_ptr()) };
        // SAFETY: a fresh mbuf is well-formed, and nobody else's.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// Appends `count` empty packets to `burst`. False, and none, where the burst has no room for them or the pool has
    /// not that many.
    #[inline]
    #[must_use]
    pub fn allocate_bulk(&self, burst: &mut Burst, count: usize) -> bool {
        let held = burst.len();
        let Some(asked) = u32::try_from(count).ok().filter(|_| count <= burst.remaining_capacity()) else {
            return false;
        };
        if count == 0 {
            return true;
        }
        // SAFETY: `Mbuf` is a transparent, non-null pointer, so the burst's free part is an array for `count` of them;
        // DPDK fills in all or none.
        unsafe {
            let free = burst.as_mut_ptr().add(held).cast::<*mut sys::rte_mbuf>();
            if sys::vtepd_mbuf_allocate_bulk(self.shared.raw.as_ptr(), free, asked) != 0 {
                return false;
            }
            burst.set_len(held + count);
        }
        true
    }

    /// The buffers that are free now, caches included. Walks all caches: not for the fast path, and only exact while
    /// nobody allocates or frees.
    #[must_use]
    pub fn available(&self) -> u32 {
        self.shared.available()
    }

    /// The buffers there are.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.shared.capacity
    }

    pub(super) fn raw(&self) -> *mut sys::rte_mempool {
        self.shared.raw.as_ptr()
    }
}

impl Pool {
    fn available(&self) -> u32 {
        // SAFETY: the pool is live.
        unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.available() < self.capacity {
            // A packet somewhere still points into the pool: its memory stays until the process ends.
            self.eal.keep_memory();
            return;
        }
        // SAFETY: this is the last handle, and every buffer is back.
        unsafe { sys::rte_mempool_free(self.raw.as_ptr()) };
    }
}

//! Memory from the kernel: zeroed, aligned to pages, and taken only where it is touched. Tables that are large, sparse and
//! made once lie in it: the FDB, and the counters of bridges and remote VTEPs.

#![allow(unsafe_code)]

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use zerocopy::FromZeros;

/// Memory of at least this many bytes is worth transparent hugepages: two of them on x86-64.
const HUGE: usize = 4 << 20;

/// What a page is aligned to at least, in bytes.
const PAGE: usize = 4096;

/// An anonymous mapping of so many `T`, all of them zero at first, that is unmapped when it is dropped. Dropping it drops
/// no `T`.
#[derive(Debug)]
pub struct Mapping<T> {
    first: NonNull<T>,
    count: usize,
}

// SAFETY: the mapping belongs to this value alone and does not depend on the thread that made it; what is shared of it is
// what `T` allows.
unsafe impl<T: Send> Send for Mapping<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Mapping<T> {}

impl<T: FromZeros> Mapping<T> {
    const CHECKED: () = assert!(align_of::<T>() <= PAGE && !std::mem::needs_drop::<T>());

    /// Room for `count` zeroes.
    ///
    /// # Errors
    /// The system's, where there is not that much address space; [`io::ErrorKind::OutOfMemory`] for none at all.
    pub fn zeroed(count: usize) -> io::Result<Self> {
        let () = Self::CHECKED;
        let bytes = count
            .checked_mul(size_of::<T>())
            .and_then(NonZeroUsize::new)
            .filter(|bytes| isize::try_from(bytes.get()).is_ok())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_PRIVATE)? };
        Ok(Self { first: start.cast(), count })
    }

    /// Asks for transparent hugepages, where that is worth it: fewer misses of the address cache, but 2 MiB for the first
    /// touch. Where the kernel has none to give, the memory works all the same.
    pub fn prefer_hugepages(&self) {
        if self.bytes() >= HUGE {
            // SAFETY: the range is the mapping that `zeroed` made, and the advice changes no contents.
            let _ = unsafe { madvise(self.first.cast(), self.bytes(), MmapAdvise::MADV_HUGEPAGE) };
        }
    }

    /// The first of them.
    #[inline(always)]
    #[must_use]
    pub fn first(&self) -> &T {
        // SAFETY: as for `as_slice`: the mapping has at least one, for `zeroed` makes none without.
        unsafe { self.first.as_ref() }
    }

    /// All of it.
    #[inline(always)]
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: the mapping has `count` of them, starts at a page and so is aligned, lives as long as `self`, and all
        // zero, as it was mapped, is a valid `T`. Nobody has a `&mut` to it.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl<T> Mapping<T> {
    fn bytes(&self) -> usize {
        self.count * size_of::<T>()
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping that `zeroed` made, unmapped nowhere else, and no borrow of it outlives `self`.
        // It can fail only for a range that is not a mapping's.
        let _ = unsafe { munmap(self.first.cast(), self.bytes()) };
    }
}

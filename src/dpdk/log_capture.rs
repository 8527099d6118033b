//! What DPDK logs while it works for us, so that an error can quote it.

use std::ffi::c_char;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use nix::libc::{self, FILE};

use super::dpdk_sys as sys;

/// The stream, once made, is kept: another DPDK thread may still be about to write to it when a capture ends.
static STREAM: Mutex<Option<Stream>> = Mutex::new(None);

/// A C stream that writes into memory. libc updates the two places when the stream is flushed, so they are never moved.
struct Stream {
    file: *mut FILE,
    text: *const Places,
}

struct Places {
    start: *mut c_char,
    length: usize,
}

// SAFETY: the stream is used under the mutex only, except by DPDK's logging, which locks the FILE.
unsafe impl Send for Stream {}

impl Stream {
    fn open() -> Option<Self> {
        let places: *mut Places = Box::into_raw(Box::new(Places { start: ptr::null_mut(), length: 0 }));
        // SAFETY: both places stay where they are for as long as the process lives.
        let file = unsafe { libc::open_memstream(&raw mut (*places).start, &raw mut (*places).length) };
        if file.is_null() {
            // SAFETY: made above, and nobody got it.
            drop(unsafe { Box::from_raw(places) });
            return None;
        }
        Some(Self { file, text: places })
    }

    /// What was written since the last call. The memory is written anew from then on.
    fn take(&mut self) -> String {
        // SAFETY: the stream is open. After a flush the places hold the text and its length, until the next write,
        // which `during` prevents by taking the stream away from DPDK first; the volatile reads see what libc wrote.
        let written = unsafe {
            libc::fflush(self.file);
            let start = (&raw const (*self.text).start).read_volatile();
            let length = (&raw const (*self.text).length).read_volatile();
            if start.is_null() { &[][..] } else { std::slice::from_raw_parts(start.cast::<u8>(), length) }
        };
        let fresh = String::from_utf8_lossy(written).into_owned();
        // SAFETY: the stream is open. The text was copied: what is written next may lie where it was.
        unsafe { libc::fseek(self.file, 0, libc::SEEK_SET) };
        fresh
    }
}

/// Runs `work` and returns with its result what DPDK logged meanwhile, one message a line, without repeats. The
/// messages also go to our own log, at debug level.
pub(super) fn during<T>(work: impl FnOnce() -> T) -> (T, String) {
    let mut held = STREAM.lock().unwrap_or_else(PoisonError::into_inner);
    if held.is_none() {
        *held = Stream::open();
    }
    let Some(stream) = held.as_mut() else { return (work(), String::new()) };
    // SAFETY: the stream is open and stays so.
    unsafe { sys::rte_openlog_stream(stream.file.cast()) };
    let result = work();
    // SAFETY: null gives logging back to EAL's default.
    unsafe { sys::rte_openlog_stream(ptr::null_mut()) };
    let mut lines: Vec<String> = Vec::new();
    for line in stream.take().lines().map(str::trim).filter(|line| !line.is_empty()) {
        if lines.last().is_none_or(|last| last != line) {
            tracing::debug!(target: "dpdk", "{line}");
            lines.push(line.to_owned());
        }
    }
    (result, lines.join("; "))
}

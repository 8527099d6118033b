//! Worker threads as DPDK knows them.

use std::marker::PhantomData;

use thiserror::Error;

use super::dpdk_sys as sys;
use super::eal::{Eal, EalHold};
use super::{describe_errno, errno};

/// Why a thread could not be registered.
#[derive(Debug, Error)]
pub enum ThreadError {
    /// This thread already is a DPDK thread.
    #[error("this thread is registered with DPDK already")]
    Twice,
    /// DPDK refused.
    #[error("DPDK takes no further worker thread ({0}): configure fewer `cores` in [workers]")]
    Refused(String),
}

/// This thread has an lcore id, and with it a cache in every pool, until the guard is dropped.
///
/// Pin the thread first: DPDK notes its affinity when it registers.
pub struct WorkerThread {
    _eal: EalHold,
    /// The registration is this thread's: the guard must not leave it.
    _thread: PhantomData<*mut ()>,
}

impl WorkerThread {
    /// Registers the calling thread.
    ///
    /// # Errors
    /// [`ThreadError`], where it is registered (as the thread that started EAL is) or DPDK has no room.
    pub fn register(eal: &Eal) -> Result<Self, ThreadError> {
        // SAFETY: reads this thread's lcore id.
        if unsafe { sys::vtepd_is_lcore() } {
            return Err(ThreadError::Twice);
        }
        // SAFETY: EAL runs, as `eal` shows.
        if unsafe { sys::rte_thread_register() } != 0 {
            return Err(ThreadError::Refused(describe_errno(errno())));
        }
        Ok(Self { _eal: eal.hold(), _thread: PhantomData })
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        // SAFETY: the guard cannot leave the thread that registered.
        unsafe { sys::rte_thread_unregister() }
    }
}

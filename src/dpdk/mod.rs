//! DPDK, made safe: the only room that knows it. Start-up, packet buffers, ports and their queues, worker threads.
//!
//! Everything here keeps what it needs alive: a queue its port, a port its pool, a pool the EAL; so they may be dropped
//! in any order, and DPDK is left when the last of them goes.

#![allow(unsafe_code)]

mod affinity;
pub mod clock;
pub mod device;
pub mod dpdk_sys;
pub mod eal;
mod kernel_interface;
mod log_capture;
pub mod mbuf;
pub mod mempool;
mod multicast;
mod packet_mtu;
pub mod port;
pub mod port_error;
pub mod queue;
mod segment;
mod tap_mtu;
pub mod thread;

pub use device::{Capabilities, Device, OpenPort, PortOptions};
pub use eal::{Eal, EalError, EalOptions};
pub use mbuf::Mbuf;
pub use mempool::{PacketPool, PoolError};
pub use port::{Link, Port, PortStatistics};
pub use port_error::{PortError, PortFault};
pub use queue::{ReceiveQueue, TransmitQueue, Unsent};
pub use thread::{ThreadError, WorkerThread};

/// The most packets a queue is asked for or given at once. A burst is the prefetch distance of the fast path: 128 gains
/// nothing over it, and 256 loses.
pub const BURST: usize = 64;

/// Packets on their way through one turn of a worker.
pub type Burst = arrayvec::ArrayVec<Mbuf, BURST>;

/// What DPDK calls an error number; `code` may have either sign.
fn describe_errno(code: i32) -> String {
    // SAFETY: rte_strerror takes any number and returns a string that stays valid until this thread's next call.
    let text = unsafe { std::ffi::CStr::from_ptr(dpdk_sys::rte_strerror(code.saturating_abs())) };
    text.to_string_lossy().into_owned()
}

/// What a driver means by the status it returned.
fn describe_status(status: i32) -> String {
    // Many drivers say -1 for anything, which is not meant as EPERM.
    if status == -1 { "it gives no reason".to_owned() } else { describe_errno(status) }
}

/// This thread's rte_errno: why the last DPDK call that returned a null pointer failed.
fn errno() -> i32 {
    // SAFETY: reads a thread-local.
    unsafe { dpdk_sys::vtepd_errno() }
}

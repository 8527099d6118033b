//! Jumbo frames over `net_tap` of DPDK 22.11.
//!
//! That driver reads and writes frames of any length, but tells DPDK that 1522 bytes are its largest, so DPDK refuses an
//! MTU over 1504 for it, whatever the kernel's interface can do. What limits the frames it sends is the port's MTU, to
//! which each of its transmit queues has a pointer. The MTU is written through that pointer, after it has proved to be
//! the right one: it must follow two changes that DPDK itself makes. Software for a laptop and CI deserves no more
//! than that, and no less, for jumbo frames are what an overlay needs first.

use super::port::Attached;
use super::{dpdk_sys as sys, kernel_interface};

/// The largest MTU of a TAP interface that leaves room for an Ethernet header in 16 bits.
pub(super) const LARGEST: u16 = 65_000;

/// Sets the MTU of a started `net_tap` port, and of its kernel interface. `refused_over` is the largest MTU that DPDK
/// takes. False, and nothing changed, where the driver is not as this release's is known to be.
pub(super) fn set(port: &Attached, mtu: u16, refused_over: u16) -> bool {
    // SAFETY: the port is started, so its queues are set up; the driver is `net_tap`.
    let place = unsafe { sys::vtepd_tap_mtu(port.id) };
    if place.is_null() || !place.is_aligned() {
        return false;
    }
    let follows = |value: u16| {
        // SAFETY: DPDK checks the value; the driver takes an MTU at any time. The pointer is the driver's own, as its
        // version in the shim says, and no worker has the queue yet.
        unsafe { sys::rte_eth_dev_set_mtu(port.id, value) == 0 && place.read() == value }
    };
    if !follows(refused_over - 1) || !follows(refused_over) {
        return false;
    }
    // SAFETY: as above; it is the port's MTU.
    unsafe { place.write(mtu) };
    if let Some(interface) = kernel_interface::of_tap(&port.device)
        && let Err(error) = kernel_interface::set_mtu(interface, mtu)
    {
        // Frames longer than the kernel's end takes are dropped there, and counted there.
        tracing::warn!(port = port.name, %error, "could not set the MTU of the kernel's end");
    }
    true
}

/// True where this DPDK's `net_tap` takes an MTU by [`set`].
pub(super) const IS_KNOWN: bool = sys::VTEPD_TAP_MTU_IS_KNOWN;

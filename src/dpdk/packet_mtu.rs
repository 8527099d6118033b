//! MTUs over 1500 over `net_af_packet` of DPDK 22.11.
//!
//! That driver sends and receives frames as long as the slots of its ring, but tells DPDK that 1518 bytes are its
//! largest, so DPDK refuses the MTU that a fabric needs where hosts have 1500. Nothing in it depends on DPDK's notion
//! of the MTU: the interface is given the wanted one past DPDK, and the port remembers it.

use nix::libc;

use super::kernel_interface;
use super::port::Attached;
use super::port_error::PortError;

/// The largest MTU: a slot has 2048 bytes, of which the kernel takes 66 before the frame (TPACKET_V2), and a frame has
/// 22 around its MTU's worth.
pub(super) const LARGEST: u16 = 2048 - 66 - 22;

/// True where the slots are as long as [`LARGEST`] takes them to be.
pub(super) fn is_known(driver: &str, device: &str) -> bool {
    driver == "net_af_packet" && !device.contains("framesz=")
}

/// Sets the MTU of the port's interface, and lets the port have it.
///
/// # Errors
/// [`PortError`], where the interface does not take it.
pub(super) fn set(port: &Attached, mtu: u16) -> Result<(), PortError> {
    port.step("take its MTU", "lower `mtu` to what `ip -d link` shows as the interface's maxmtu", || {
        let interface = kernel_interface::borrowed(&port.device).unwrap_or_default();
        match kernel_interface::set_mtu(interface, mtu) {
            Ok(()) => 0,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        }
    })?;
    port.keep_mtu(mtu);
    Ok(())
}

//! The kernel's interface behind a `net_tap` device.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::libc;

/// The interface that a device string names, as in `net_tap0,iface=up0`; `None` where it names none, or the device is
/// no TAP.
pub(super) fn name(device: &str) -> Option<&str> {
    let (driver, arguments) = device.split_once(',')?;
    driver.strip_prefix("net_tap")?;
    arguments.split(',').find_map(|argument| argument.strip_prefix("iface="))
}

/// Whether the interface is up and something is on its other end: for a TAP, a process that has it open.
pub(super) fn is_in_use(name: &str) -> bool {
    const UP_AND_RUNNING: i32 = libc::IFF_UP | libc::IFF_RUNNING;
    flags(name).is_ok_and(|flags| flags & UP_AND_RUNNING == UP_AND_RUNNING)
}

/// The interface's flags.
fn flags(name: &str) -> io::Result<i32> {
    let mut asked = request(name);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: an open socket, and a request that names an interface, for the kernel to fill in.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut asked) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has written the flags.
    Ok(i32::from(unsafe { asked.ifr_ifru.ifru_flags }))
}

/// Whether the interface that a device string names is not in this network namespace.
pub(super) fn has_left(device: &str) -> bool {
    name(device).is_some_and(|name| matches!(flags(name), Err(error) if error.raw_os_error() == Some(libc::ENODEV)))
}

/// Sets the interface's MTU, as the driver does for an MTU it is given.
pub(super) fn set_mtu(name: &str, mtu: u16) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut request = request(name);
    request.ifr_ifru.ifru_mtu = mtu.into();
    // SAFETY: an open socket, and a request that names an interface and its MTU.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFMTU, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A request (netdevice(7)) about an interface.
fn request(name: &str) -> libc::ifreq {
    // SAFETY: all zero is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte less than the field: the name ends with a zero.
    for (place, byte) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_what_a_tap_device_names() {
        assert_eq!(name("net_tap0,iface=up0"), Some("up0"));
        assert_eq!(name("net_tap1,mac=fixed,iface=ac0"), Some("ac0"));
        assert_eq!(name("net_tap1"), None);
        assert_eq!(name("net_af_packet0,iface=eth0"), None);
    }

    #[test]
    fn loopback_is_in_use_and_what_is_not_there_is_not() {
        assert!(is_in_use("lo") && !is_in_use("vtepdnosuch0"));
    }
}

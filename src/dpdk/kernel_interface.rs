//! The kernel's interface behind a device: a TAP's own, or one that `net_af_xdp` and `net_af_packet` borrow.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::libc;

/// The interface that a `net_tap` device string names, as in `net_tap0,iface=up0`; `None` where it names none, or the
/// device is no TAP.
pub(super) fn of_tap(device: &str) -> Option<&str> {
    behind(device, &["net_tap"])
}

/// The interface that a device of a driver on the kernel's sockets names, as in `net_af_xdp0,iface=eth0`. It was there
/// before the gateway and stays.
pub(super) fn borrowed(device: &str) -> Option<&str> {
    behind(device, &["net_af_xdp", "net_af_packet"])
}

fn behind<'a>(device: &'a str, drivers: &[&str]) -> Option<&'a str> {
    let (name, arguments) = device.split_once(',')?;
    let driver = name.trim_end_matches(|last: char| last.is_ascii_digit());
    if !drivers.contains(&driver) {
        return None;
    }
    arguments.split(',').find_map(|argument| argument.strip_prefix("iface="))
}

/// Whether frames can pass: the interface is up, and its other end is; for a TAP, a process has it open.
pub(super) fn is_running(name: &str) -> bool {
    const UP_AND_RUNNING: i32 = libc::IFF_UP | libc::IFF_RUNNING;
    flags(name).is_ok_and(|flags| flags & UP_AND_RUNNING == UP_AND_RUNNING)
}

/// Whether there is such an interface in this network namespace.
pub(super) fn exists(name: &str) -> bool {
    !matches!(flags(name), Err(error) if error.raw_os_error() == Some(libc::ENODEV))
}

/// Whether somebody has set the interface up (`ip link set up`).
pub(super) fn is_up(name: &str) -> bool {
    flags(name).is_ok_and(|flags| flags & libc::IFF_UP != 0)
}

/// Whether somebody has set the interface promiscuous (`ip link set promisc on`).
pub(super) fn is_promiscuous(name: &str) -> bool {
    flags(name).is_ok_and(|flags| flags & libc::IFF_PROMISC != 0)
}

/// The interface's flags (netdevice(7)).
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
    fn the_interface_is_what_the_device_names() {
        assert_eq!(of_tap("net_tap0,iface=up0"), Some("up0"));
        assert_eq!(of_tap("net_tap1,mac=fixed,iface=ac0"), Some("ac0"));
        assert_eq!(of_tap("net_tap1"), None);
        assert_eq!(of_tap("net_af_packet0,iface=eth0"), None);
        assert_eq!(borrowed("net_af_packet0,iface=eth0"), Some("eth0"));
        assert_eq!(borrowed("net_af_xdp12,start_queue=1,iface=eth0,queue_count=1"), Some("eth0"));
        assert_eq!(borrowed("net_tap0,iface=up0"), None);
    }

    #[test]
    fn loopback_is_there_and_what_is_not_there_is_nothing() {
        assert!(exists("lo") && is_up("lo") && is_running("lo") && !is_promiscuous("lo"));
        let none = "vtepdnosuch0";
        assert!(!exists(none) && !is_up(none) && !is_running(none) && !is_promiscuous(none));
    }
}

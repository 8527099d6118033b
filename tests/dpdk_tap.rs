//! net_tap in a network namespace of its own: the MTU and MAC address that were asked for, and frames of every size it
//! takes, both ways: jumbo ones where DPDK's driver can (24.11).

#![cfg(feature = "dpdk")]

mod support;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::libc;
use support::{burst_of, bytes, packet};
use vtepd::dpdk::{Burst, Device, PacketPool, PortOptions, Unsent};
use vtepd::forwarding::PacketBuffer;
use vtepd::wire::MacAddr;

/// An experimental EtherType (IEEE 802), so that the kernel's own frames are told apart.
const EXPERIMENTAL: [u8; 2] = [0x88, 0xb5];

#[test]
fn frames_up_to_the_mtu_pass_a_tap_in_both_directions() {
    // SAFETY: this test's thread leaves for a new, empty network namespace, which ends with it.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        let error = io::Error::last_os_error();
        let is_left_out = std::env::var_os("VTEPD_WITHOUT_ROOT").is_some();
        assert!(is_left_out, "a network namespace needs root ({error}); VTEPD_WITHOUT_ROOT=1 leaves this test out");
        return;
    }
    let eal = support::start("tap");
    let pool = PacketPool::create(&eal, 4095).expect("pool");
    let device = Device::probe(&eal, "tap0", "net_tap0,iface=vtepdtest0").expect("probe");
    assert!(device.capabilities().queues_in_pairs);
    let unequal = PortOptions { rx_queues: 1, tx_queues: 2, ..PortOptions::default() };
    let error = device.open(&unequal, &pool).err().expect("queues in pairs").to_string();
    assert!(error.contains("`tap0`") && error.contains("as many transmit as receive queues"), "{error}");

    let mac = MacAddr([2, 0, 0, 0xaa, 0, 7]);
    let device = Device::probe(&eal, "tap0", "net_tap0,iface=vtepdtest0").expect("probe again");
    let most = device.capabilities().max_mtu.min(9000);
    let options = PortOptions { mtu: Some(most), mac: Some(mac), promiscuous: true, ..PortOptions::default() };
    let mut open = device.open(&options, &pool).expect("open");
    assert_eq!((open.port.mac().expect("mac"), open.port.mtu().expect("mtu")), (mac, most));
    assert!(open.port.link().expect("link").up);
    let socket = socket_on("vtepdtest0");
    let error = Device::probe(&eal, "tap1", "net_tap1,iface=vtepdtest0").err().expect("it is open").to_string();
    assert!(error.contains("`tap1`") && error.contains("interface `vtepdtest0`"), "{error}");

    for length in [60, 1514, 2048, 2049, 9014, usize::from(most) + 14] {
        if length > usize::from(most) + 14 {
            continue;
        }
        let mut frame = support::pattern(length, length);
        frame[..6].fill(0xff);
        frame[12..14].copy_from_slice(&EXPERIMENTAL);
        // SAFETY: the frame and its length.
        let sent = unsafe { libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(usize::try_from(sent).expect("sent"), length, "{}", io::Error::last_os_error());
        assert_eq!(bytes(&receive_from_tap(&mut open)), frame);

        assert_eq!(open.transmit[0].transmit(&mut burst_of(packet(&pool, &frame))), Unsent::default());
        assert_eq!(receive_from_kernel(&socket), frame);
    }
    // A frame the driver refuses is counted, and does not hold up what is behind it.
    let mut burst = Burst::new();
    let good = [&[0xff; 12], &EXPERIMENTAL[..], &[1; 60]].concat();
    burst.push(packet(&pool, &support::pattern(0, 12000)));
    burst.push(packet(&pool, &good));
    assert_eq!(open.transmit[0].transmit(&mut burst), Unsent { packets: 1, bytes: 12000 });
    assert_eq!(receive_from_kernel(&socket), good);

    drop(open);
    assert!(!interfaces().contains("vtepdtest0"), "the TAP is left behind");
}

fn interfaces() -> String {
    std::fs::read_to_string("/proc/thread-self/net/dev").expect("interfaces")
}

fn receive_from_tap(open: &mut vtepd::dpdk::OpenPort) -> vtepd::dpdk::Mbuf {
    let until = Instant::now() + Duration::from_secs(5);
    let mut burst = Burst::new();
    while Instant::now() < until {
        open.receive[0].receive(&mut burst);
        if let Some(found) = burst.drain(..).find(|packet| packet.head().get(12..14) == Some(&EXPERIMENTAL)) {
            return found;
        }
    }
    panic!("the frame does not arrive at the TAP");
}

fn receive_from_kernel(socket: &OwnedFd) -> Vec<u8> {
    let mut frame = vec![0_u8; 65536];
    // SAFETY: a buffer and its length.
    let got = unsafe { libc::recv(socket.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
    frame.truncate(usize::try_from(got).unwrap_or_else(|_| panic!("no frame: {}", io::Error::last_os_error())));
    frame
}

/// A packet socket that sends and receives the experimental frames of an interface.
fn socket_on(interface: &str) -> OwnedFd {
    let protocol = u16::from_ne_bytes(EXPERIMENTAL);
    let name = std::ffi::CString::new(interface).expect("name");
    // SAFETY: plain system calls on values of the right types and sizes.
    unsafe {
        let raw = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(protocol));
        assert!(raw >= 0, "{}", io::Error::last_os_error());
        let socket = OwnedFd::from_raw_fd(raw);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        let size = size_of::<libc::sockaddr_ll>() as u32;
        assert_eq!(libc::bind(raw, (&raw const address).cast(), size), 0, "{}", io::Error::last_os_error());
        let patience = libc::timeval { tv_sec: 5, tv_usec: 0 };
        let size = size_of::<libc::timeval>() as u32;
        libc::setsockopt(raw, libc::SOL_SOCKET, libc::SO_RCVTIMEO, (&raw const patience).cast(), size);
        socket
    }
}

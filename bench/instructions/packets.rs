//! The packets of tasks, each made of an ordinary one: an access frame (a tag, IPv4, UDP), or what a remote VTEP sends of
//! such a frame over IPv4.

#![expect(clippy::ptr_arg, reason = "what packets are made by is of one type")]

use std::net::{Ipv4Addr, Ipv6Addr};

use vtepd::wire::MacAddr;
use vtepd::wire::checksum::{Checksum, pseudo_header_ipv4, pseudo_header_ipv6};
use vtepd::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_AT, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, VLAN_TAG};
use vtepd::wire::ip::{PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP};
use vtepd::wire::nd::{multicast_mac, solicited_node};

/// The VLAN of second tags.
pub const INNER_VLAN: u16 = 7;
/// A group policy ID.
pub const GROUP_POLICY: u16 = 100;
/// The second UDP port.
pub const UDP_PORT: u16 = 8472;
/// The second address of the gateway.
pub const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);
/// The group of the underlay that floods go to.
pub const UNDERLAY_GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
/// The group of those in the bridges that want multicast.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 2, 2, 2);

/// Where an access frame has its IP header.
const INNER_IP: usize = 18;
/// Where an ordinary packet of the uplink has its IP, UDP and VXLAN headers and the frame.
const OUTER_IP: usize = 14;
const OUTER_UDP: usize = 34;
const OUTER_VXLAN: usize = 42;
const OUTER_FRAME: usize = 50;
/// A segment size that no way takes, so that every one is lowered.
const SEGMENT_SIZE: u16 = 8960;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The address that a station has over IPv6.
pub fn ipv6_of(mac: MacAddr) -> Ipv6Addr {
    Ipv6Addr::from(0xfd01 << 112 | u128::from(mac.to_u64()))
}

fn write(packet: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = packet.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn read<const N: usize>(packet: &[u8], at: usize) -> [u8; N] {
    packet.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn mac_at(packet: &[u8], at: usize) -> MacAddr {
    MacAddr(read(packet, at))
}

/// Writes a new checksum of the IPv4 header at this place.
fn finish_ipv4(packet: &mut [u8], at: usize) {
    write(packet, at + 10, &[0, 0]);
    let mut sum = Checksum::new();
    sum.add_bytes(packet.get(at..at + 20).unwrap_or_default());
    write(packet, at + 10, &sum.finish().to_be_bytes());
}

/// With a tag behind the first.
pub fn with_second_tag(frame: &mut Vec<u8>) {
    let ([t0, t1], [v0, v1]) = (ETHERTYPE_VLAN.to_be_bytes(), INNER_VLAN.to_be_bytes());
    frame.splice(ETHERTYPE_AT + VLAN_TAG..ETHERTYPE_AT + VLAN_TAG, [t0, t1, v0, v1]);
}

/// Without its tag.
pub fn untagged(frame: &mut Vec<u8>) {
    frame.drain(ETHERTYPE_AT..ETHERTYPE_AT + VLAN_TAG);
}

/// With a priority tag in place of its own.
pub fn priority_tagged(frame: &mut Vec<u8>) {
    write(frame, ETHERTYPE_AT + 2, &(5_u16 << 13).to_be_bytes());
}

/// To everyone.
pub fn broadcast(frame: &mut Vec<u8>) {
    write(frame, 0, &MacAddr::BROADCAST.0);
    write(frame, INNER_IP + 16, &Ipv4Addr::BROADCAST.octets());
    finish_ipv4(frame, INNER_IP);
}

/// To [`GROUP`].
pub fn multicast(frame: &mut Vec<u8>) {
    let [_, b, c, d] = GROUP.octets();
    write(frame, 0, &[0x01, 0x00, 0x5e, b & 0x7f, c, d]);
    write(frame, INNER_IP + 16, &GROUP.octets());
    finish_ipv4(frame, INNER_IP);
}

/// LLDP, as far as anyone looks at it.
pub fn link_local(frame: &mut Vec<u8>) {
    write(frame, 0, &[0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e]);
    write(frame, ETHERTYPE_AT + VLAN_TAG, &0x88cc_u16.to_be_bytes());
}

/// The frame's sender asks for its destination.
pub fn arp_request(frame: &mut Vec<u8>) {
    let (source, sender) = (mac_at(frame, 6), read::<4>(frame, INNER_IP + 12));
    let target = read::<4>(frame, INNER_IP + 16);
    write(frame, 0, &MacAddr::BROADCAST.0);
    frame.truncate(ETHERTYPE_AT + VLAN_TAG);
    frame.extend(ETHERTYPE_ARP.to_be_bytes());
    frame.extend(1_u16.to_be_bytes());
    frame.extend(ETHERTYPE_IPV4.to_be_bytes());
    frame.extend([6, 4, 0, 1]);
    frame.extend(source.0.into_iter().chain(sender).chain([0; 6]).chain(target));
    frame.resize(64, 0);
}

/// The frame's sender asks for its destination, over IPv6.
pub fn solicitation(frame: &mut Vec<u8>) {
    let (source, target) = (mac_at(frame, 6), ipv6_of(mac_at(frame, 0)));
    let (sender, group) = (ipv6_of(source), solicited_node(target));
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(source.0);
    let mut sum = pseudo_header_ipv6(sender, group, PROTOCOL_ICMPV6, message.len() as u32);
    sum.add_bytes(&message);
    write(&mut message, 2, &sum.finish().to_be_bytes());
    write(frame, 0, &multicast_mac(group).0);
    frame.truncate(ETHERTYPE_AT + VLAN_TAG);
    frame.extend(ETHERTYPE_IPV6.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([PROTOCOL_ICMPV6, 255]);
    frame.extend(sender.octets().into_iter().chain(group.octets()).chain(message));
}

/// TCP in the place of the frame's UDP: its ports, these flags, perhaps a segment size.
fn tcp(frame: &mut Vec<u8>, ip: usize, flags: u8, segment_size: Option<u16>) {
    let length = frame.len() - ip - 20;
    write(frame, ip + 9, &[PROTOCOL_TCP]);
    finish_ipv4(frame, ip);
    frame.truncate(ip + 20 + 4);
    let words = if segment_size.is_some() { 6 } else { 5 };
    frame.extend([0, 0, 0, 1, 0, 0, 0, 1, words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    if let Some([s0, s1]) = segment_size.map(u16::to_be_bytes) {
        frame.extend([2, 4, s0, s1]);
    }
    frame.resize(ip + 20 + length, 0x5a);
    let [source, destination] = [12, 16].map(|at| Ipv4Addr::from(read::<4>(frame, ip + at)));
    let mut sum = pseudo_header_ipv4(source, destination, PROTOCOL_TCP, length as u16);
    sum.add_bytes(frame.get(ip + 20..).unwrap_or_default());
    write(frame, ip + 20 + 16, &sum.finish().to_be_bytes());
}

/// TCP within a connection, of an access frame.
pub fn tcp_at_access(frame: &mut Vec<u8>) {
    tcp(frame, INNER_IP, ACK, None);
}

/// TCP within a connection, of a packet of the uplink.
pub fn tcp_at_uplink(packet: &mut Vec<u8>) {
    tcp(packet, OUTER_FRAME + 14, ACK, None);
}

/// A TCP connection is opened with a segment size that no way takes.
pub fn syn(frame: &mut Vec<u8>) {
    tcp(frame, INNER_IP, SYN, Some(SEGMENT_SIZE));
}

/// With [`GROUP_POLICY`].
pub fn with_group_policy(packet: &mut Vec<u8>) {
    let [p0, p1] = GROUP_POLICY.to_be_bytes();
    write(packet, OUTER_VXLAN, &[0x88, 0, p0, p1]);
}

/// To [`UDP_PORT`].
pub fn to_other_udp_port(packet: &mut Vec<u8>) {
    write(packet, OUTER_UDP + 2, &UDP_PORT.to_be_bytes());
}

/// To [`OTHER_ADDRESS`].
pub fn to_other_address(packet: &mut Vec<u8>) {
    write(packet, OUTER_IP + 16, &OTHER_ADDRESS.octets());
    finish_ipv4(packet, OUTER_IP);
}

/// With a UDP checksum outside.
pub fn sum_over_ipv4(packet: &mut Vec<u8>) {
    let [source, destination] = [12, 16].map(|at| Ipv4Addr::from(read::<4>(packet, OUTER_IP + at)));
    let mut sum = pseudo_header_ipv4(source, destination, PROTOCOL_UDP, (packet.len() - OUTER_UDP) as u16);
    sum.add_bytes(packet.get(OUTER_UDP..).unwrap_or_default());
    write(packet, OUTER_UDP + 6, &sum.finish_udp().to_be_bytes());
}

//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use super::address::MacAddr;
use super::ethernet::{ETHERNET_HEADER, ETHERNET_MINIMUM, ETHERTYPE_ARP, ETHERTYPE_IPV4, EthernetHeader};
use super::field::field_mut;

/// The length of an ARP packet for IPv4 over Ethernet, in bytes.
pub const ARP_PACKET: usize = 28;
/// The operation "request".
pub const ARP_REQUEST: u16 = 1;
/// The operation "reply".
pub const ARP_REPLY: u16 = 2;

const HARDWARE_ETHERNET: u16 = 1;

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpPacket {
    /// [`ARP_REQUEST`], [`ARP_REPLY`] or another.
    pub operation: u16,
    /// The sender's hardware address.
    pub sender_mac: MacAddr,
    /// The sender's protocol address; unspecified in a probe (RFC 5227, 2.1.1).
    pub sender_ip: Ipv4Addr,
    /// The target's hardware address, which means nothing in a request.
    pub target_mac: MacAddr,
    /// The target's protocol address.
    pub target_ip: Ipv4Addr,
}

impl ArpPacket {
    /// Reads the packet behind an Ethernet header and its tags. `None` where it is too short or not about IPv4 over
    /// Ethernet.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let [h0, h1, p0, p1, hl, pl, o0, o1, addresses @ ..] = *packet.first_chunk::<ARP_PACKET>()?;
        let kind = (u16::from_be_bytes([h0, h1]), u16::from_be_bytes([p0, p1]), hl, pl);
        if kind != (HARDWARE_ETHERNET, ETHERTYPE_IPV4, 6, 4) {
            return None;
        }
        let [a, b, c, d, e, f, i, j, k, l, m, n, o, p, q, r, s, t, u, v] = addresses;
        Some(Self {
            operation: u16::from_be_bytes([o0, o1]),
            sender_mac: MacAddr([a, b, c, d, e, f]),
            sender_ip: Ipv4Addr::new(i, j, k, l),
            target_mac: MacAddr([m, n, o, p, q, r]),
            target_ip: Ipv4Addr::new(s, t, u, v),
        })
    }

    /// The packet's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ARP_PACKET] {
        let [o0, o1] = self.operation.to_be_bytes();
        let [a, b, c, d, e, f] = self.sender_mac.0;
        let [i, j, k, l] = self.sender_ip.octets();
        let [m, n, o, p, q, r] = self.target_mac.0;
        let [s, t, u, v] = self.target_ip.octets();
        [0, 1, 8, 0, 6, 4, o0, o1, a, b, c, d, e, f, i, j, k, l, m, n, o, p, q, r, s, t, u, v]
    }
}

/// Turns an untagged ARP request for `own_ip` into the reply, Ethernet header included. Returns the reply's length in
/// bytes: that of `frame`, or [`ETHERNET_MINIMUM`] where it is longer; what follows the ARP packet is zeroed.
///
/// `None`, and nothing changed, for anything else: another protocol or target, a sender that is no station or claims
/// `own_mac` or `own_ip` for itself. A probe (RFC 5227, 2.1.1) is answered: that is how its sender learns that the
/// address is taken.
#[must_use]
pub fn reply_in_place(frame: &mut [u8], own_mac: MacAddr, own_ip: Ipv4Addr) -> Option<usize> {
    let ethernet = EthernetHeader::parse(frame)?;
    if ethernet.ethertype != ETHERTYPE_ARP {
        return None;
    }
    let request = ArpPacket::parse(frame.get(ETHERNET_HEADER..)?)?;
    let sender_is_sound = request.sender_mac.is_station()
        && request.sender_mac != own_mac
        && request.sender_ip != own_ip
        && !request.sender_ip.is_multicast()
        && !request.sender_ip.is_broadcast();
    if request.operation != ARP_REQUEST || request.target_ip != own_ip || !sender_is_sound {
        return None;
    }
    let reply = ArpPacket {
        operation: ARP_REPLY,
        sender_mac: own_mac,
        sender_ip: own_ip,
        target_mac: request.sender_mac,
        target_ip: request.sender_ip,
    };
    *field_mut(frame, ETHERNET_HEADER)? = reply.to_bytes();
    let header = EthernetHeader { destination: request.sender_mac, source: own_mac, ethertype: ETHERTYPE_ARP };
    *field_mut(frame, 0)? = header.to_bytes();
    let length = frame.len().min(ETHERNET_MINIMUM);
    frame.get_mut(ETHERNET_HEADER + ARP_PACKET..length)?.fill(0);
    Some(length)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fixture::{GATEWAY, HOST, ethernet};
    use etherparse::ArpPacketSlice;
    use proptest::prelude::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const ASKER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn request() -> ArpPacket {
        ArpPacket {
            operation: ARP_REQUEST,
            sender_mac: HOST,
            sender_ip: ASKER,
            target_mac: MacAddr::ZERO,
            target_ip: OWN,
        }
    }

    fn frame_of(packet: ArpPacket, padding: usize) -> Vec<u8> {
        let payload = [&packet.to_bytes()[..], &vec![0xaa; padding]].concat();
        ethernet(MacAddr::BROADCAST, packet.sender_mac, ETHERTYPE_ARP, &payload)
    }

    #[test]
    fn a_request_for_our_address_becomes_the_reply_as_etherparse_reads_it() {
        for (padding, length) in [(0, 42), (10, 52), (18, 60), (40, 60)] {
            let mut frame = frame_of(request(), padding);
            assert_eq!(reply_in_place(&mut frame, GATEWAY, OWN), Some(length));
            let header = EthernetHeader { destination: HOST, source: GATEWAY, ethertype: ETHERTYPE_ARP };
            assert_eq!(EthernetHeader::parse(&frame), Some(header));
            let reply = ArpPacketSlice::from_slice(&frame[14..]).expect("ARP").to_packet();
            let reply = reply.try_eth_ipv4().expect("IPv4 over Ethernet");
            assert_eq!(reply.operation.0, ARP_REPLY);
            assert_eq!((reply.sender_mac, reply.sender_ipv4), (GATEWAY.0, OWN.octets()));
            assert_eq!((reply.target_mac, reply.target_ipv4), (HOST.0, ASKER.octets()));
            assert!(frame[42..length].iter().all(|byte| *byte == 0), "padding leaks nothing");
        }
    }

    #[test]
    fn a_probe_of_rfc_5227_is_answered() {
        let mut frame = frame_of(ArpPacket { sender_ip: Ipv4Addr::UNSPECIFIED, ..request() }, 0);
        assert_eq!(reply_in_place(&mut frame, GATEWAY, OWN), Some(42));
    }

    #[test]
    fn what_is_not_for_us_or_not_sound_is_left_as_it_is() {
        let other = Ipv4Addr::new(10, 0, 0, 9);
        let cases = [
            ("a reply", ArpPacket { operation: ARP_REPLY, ..request() }),
            ("another's address", ArpPacket { target_ip: other, ..request() }),
            ("a group sender", ArpPacket { sender_mac: MacAddr::BROADCAST, ..request() }),
            ("a zero sender", ArpPacket { sender_mac: MacAddr::ZERO, ..request() }),
            ("our MAC", ArpPacket { sender_mac: GATEWAY, ..request() }),
            ("our address announced by another", ArpPacket { sender_ip: OWN, ..request() }),
            ("a broadcast sender", ArpPacket { sender_ip: Ipv4Addr::BROADCAST, ..request() }),
            ("a multicast sender", ArpPacket { sender_ip: Ipv4Addr::new(224, 0, 0, 1), ..request() }),
        ];
        for (case, packet) in cases {
            let mut frame = frame_of(packet, 18);
            let before = frame.clone();
            assert_eq!(reply_in_place(&mut frame, GATEWAY, OWN), None, "{case}");
            assert_eq!(frame, before, "{case}");
        }
        for at in [12, 15, 17, 18, 19] {
            let mut frame = frame_of(request(), 18);
            frame[at] ^= 1;
            assert_eq!(reply_in_place(&mut frame, GATEWAY, OWN), None, "byte {at}");
        }
        for length in 0..42 {
            assert_eq!(reply_in_place(&mut frame_of(request(), 0)[..length], GATEWAY, OWN), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_read_and_write_back_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), sound: bool) {
            let mut bytes = bytes;
            if sound && let Some(start) = bytes.first_chunk_mut::<6>() {
                *start = [0, 1, 8, 0, 6, 4];
            }
            match ArpPacket::parse(&bytes) {
                Some(packet) => prop_assert_eq!(&packet.to_bytes()[..], &bytes[..ARP_PACKET]),
                None => prop_assert!(!sound || bytes.len() < ARP_PACKET),
            }
            let _length = reply_in_place(&mut bytes, GATEWAY, OWN);
        }
    }
}

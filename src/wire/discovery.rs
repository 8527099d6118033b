//! Address resolution by ARP (RFC 826) and neighbour discovery (RFC 4861), seen by a bridge that it passes: which station
//! says that an IP address is its own, and which address is asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::MacAddr;
use super::arp::{ARP_REPLY, ARP_REQUEST, ArpPacket};
use super::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV6};
use super::field::{read_u8, read_u16};
use super::ip::PROTOCOL_ICMPV6;
use super::nd::{self, Message, TargetFlags};

/// The length of an EtherType, in bytes.
const ETHERTYPE: usize = 2;
/// Where an IPv6 header names what follows it, in bytes.
pub const NEXT_HEADER_AT: usize = 6;

/// A station says that it has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address: one node's, and no IPv4-mapped one.
    pub address: IpAddr,
    /// What an advertisement says of it besides; nothing where the message is none.
    pub flags: Option<TargetFlags>,
}

/// A station asks everyone who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The address: one node's, and no IPv4-mapped one.
    pub address: IpAddr,
    /// The asker has no address yet and wants to know whether this one is free: an ARP probe (RFC 5227, 2.1.1), or the
    /// detection of duplicates (RFC 4862, 5.4.2).
    pub probe: bool,
}

/// What a frame says of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// What its sender says of itself.
    pub claim: Option<Claim>,
    /// What it asks everyone.
    pub question: Option<Question>,
}

/// Reads an untagged frame from `source` to `destination`, its bytes from the EtherType on; bytes behind the packet are
/// ignored.
///
/// A message claims an address for its sender, or asks, only where the hardware address in it is the frame's own source:
/// who speaks for another is neither believed nor answered. A gratuitous ARP request, which asks for the sender's own
/// address, is a claim and no question; nor is a message to one station alone a question.
#[must_use]
pub fn read(destination: MacAddr, source: MacAddr, behind_addresses: &[u8]) -> Discovery {
    let packet = behind_addresses.get(ETHERTYPE..).unwrap_or_default();
    let (claim, question) = match read_u16(behind_addresses, 0) {
        Some(ETHERTYPE_ARP) => ArpPacket::parse(packet).map(|packet| read_arp(source, &packet)),
        Some(ETHERTYPE_IPV6) => nd::read(packet).map(|message| read_nd(source, &message)),
        _ => None,
    }
    .unwrap_or_default();
    Discovery {
        claim: claim.filter(|claim| source.is_station() && is_one_node(claim.address)),
        question: question.filter(|question| destination.is_group() && is_one_node(question.address)),
    }
}

/// True for the frames that [`read`] may find something in, by a look at what stands behind the addresses.
#[must_use]
pub fn is_discovery(behind_addresses: &[u8]) -> bool {
    match read_u16(behind_addresses, 0) {
        Some(ETHERTYPE_ARP) => true,
        Some(ETHERTYPE_IPV6) => read_u8(behind_addresses, ETHERTYPE + NEXT_HEADER_AT) == Some(PROTOCOL_ICMPV6),
        _ => false,
    }
}

fn read_arp(source: MacAddr, packet: &ArpPacket) -> (Option<Claim>, Option<Question>) {
    let ArpPacket { operation, sender_mac, sender_ip, target_ip, .. } = *packet;
    if !matches!(operation, ARP_REQUEST | ARP_REPLY) || sender_mac != source {
        return (None, None);
    }
    let probe = sender_ip.is_unspecified();
    let asks = operation == ARP_REQUEST && sender_ip != target_ip && (probe || is_one_ipv4_node(sender_ip));
    let claim = Claim { address: sender_ip.into(), flags: None };
    (Some(claim), asks.then_some(Question { address: target_ip.into(), probe }))
}

fn read_nd(source: MacAddr, message: &Message) -> (Option<Claim>, Option<Question>) {
    match *message {
        Message::Solicitation { source: asker, destination, target, source_mac } => {
            let probe = asker.is_unspecified();
            let asks = source_mac.is_none_or(|mac| mac == source)
                && (probe || is_one_ipv6_node(asker))
                && asker != target
                && (destination == target || destination == nd::solicited_node(target));
            let claim = Claim { address: asker.into(), flags: None };
            let question = Question { address: target.into(), probe };
            (Some(claim).filter(|_| source_mac == Some(source)), asks.then_some(question))
        }
        Message::Advertisement { target, target_mac, flags } => {
            let claim = Claim { address: target.into(), flags: Some(flags) };
            (Some(claim).filter(|_| target_mac == Some(source)), None)
        }
    }
}

/// True for an address that one node in the bridge can have.
fn is_one_node(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_one_ipv4_node(address),
        IpAddr::V6(address) => is_one_ipv6_node(address),
    }
}

/// RFC 1122, 3.2.1.3. Which addresses are a subnet's broadcast cannot be told without its mask.
fn is_one_ipv4_node(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}

/// RFC 4291, 2.5.
fn is_one_ipv6_node(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast() && address.to_ipv4_mapped().is_none()
}

#[cfg(test)]
mod tests;

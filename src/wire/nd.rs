//! Neighbour discovery for IPv6 (RFC 4861): reading solicitations and advertisements, and answering solicitations for an
//! own address, or in another station's place.

use std::net::Ipv6Addr;

use super::address::MacAddr;
use super::checksum::pseudo_header_ipv6;
use super::ethernet::{ETHERNET_HEADER, ETHERTYPE_IPV6, EthernetHeader};
use super::field::{FieldWriter, field, field_mut};
use super::icmpv6::ipv6_header;
use super::ip::PROTOCOL_ICMPV6;
use super::ipv6::{IPV6_HEADER, Ipv6Header};

/// The length of the frame [`advertisement`] builds, in bytes: headers, target, and the target's link-layer address.
pub const ADVERTISEMENT_FRAME: usize = ETHERNET_HEADER + IPV6_HEADER + ADVERTISEMENT;

/// A neighbour solicitation or advertisement without options, in bytes (RFC 4861, 4.3 and 4.4).
const MESSAGE: usize = 24;
/// A neighbour advertisement with one link-layer address option, in bytes (RFC 4861, 4.4).
const ADVERTISEMENT: usize = 32;
const TYPE_SOLICITATION: u8 = 135;
const TYPE_ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE_LINK_LAYER: u8 = 1;
const OPTION_TARGET_LINK_LAYER: u8 = 2;
const FLAG_SOLICITED: u8 = 0x40;
/// What no router can have forwarded, and so proves that the sender is on the link (RFC 4861, 7.1.1).
const HOP_LIMIT: u8 = 255;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The solicited-node multicast address of a unicast address (RFC 4291, 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a as u16, (b as u16) << 8 | c as u16)
}

/// The group MAC address that an IPv6 multicast address is sent to (RFC 2464, 7).
#[must_use]
pub const fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// What an advertisement says of its target besides the addresses, as the flags stand in the message (RFC 4861, 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TargetFlags(u8);

impl TargetFlags {
    /// The Router flag: the target forwards packets.
    pub const ROUTER: Self = Self(0x80);
    /// The Override flag: what is advertised replaces what is known. Not set for anycast addresses.
    pub const OVERRIDE: Self = Self(0x20);

    /// Those among the bits of an octet.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & (Self::ROUTER.0 | Self::OVERRIDE.0))
    }

    /// The bits as they stand in the message.
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True where all of the others are set.
    #[must_use]
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// A valid neighbour solicitation or advertisement (RFC 4861, 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who has an address?
    Solicitation {
        /// The asker; unspecified where it detects duplicates (RFC 4862, 5.4.2).
        source: Ipv6Addr,
        /// To whom: a solicited-node group, or the target itself.
        destination: Ipv6Addr,
        /// The address asked for.
        target: Ipv6Addr,
        /// The asker's Source Link-Layer Address option.
        source_mac: Option<MacAddr>,
    },
    /// This station has an address.
    Advertisement {
        /// The address.
        target: Ipv6Addr,
        /// The Target Link-Layer Address option.
        target_mac: Option<MacAddr>,
        /// Router and Override.
        flags: TargetFlags,
    },
}

/// Reads the solicitation or advertisement in an IPv6 packet; bytes behind the packet are ignored.
///
/// `None` for anything else, and for a message that RFC 4861, 7.1.1 and 7.1.2 say to discard: a hop limit other than 255,
/// a wrong checksum, code or length, an option without length, a multicast target; of a solicitation an unspecified source
/// together with a source address option or with a destination other than the target's solicited-node address; of an
/// advertisement to a group the Solicited flag. Also for one with extension headers, and with a link-layer address that
/// is no station's.
#[must_use]
pub fn read(packet: &[u8]) -> Option<Message> {
    let ip = Ipv6Header::parse(packet, packet.len()).ok()?;
    if ip.next_header != PROTOCOL_ICMPV6 || ip.hop_limit != HOP_LIMIT || ip.source.is_multicast() {
        return None;
    }
    let message = packet.get(IPV6_HEADER..IPV6_HEADER + ip.payload_length)?;
    let [kind, code, _, _, flags, _, _, _, target @ ..] = field::<MESSAGE>(message, 0)?;
    let target = Ipv6Addr::from(*target);
    if *code != 0 || !matches!(*kind, TYPE_SOLICITATION | TYPE_ADVERTISEMENT) || target.is_multicast() {
        return None;
    }
    let mut checksum =
        pseudo_header_ipv6(ip.source, ip.destination, PROTOCOL_ICMPV6, u32::try_from(message.len()).ok()?);
    checksum.add_bytes(message);
    if checksum.finish() != 0 {
        return None;
    }
    let options = message.get(MESSAGE..)?;
    if *kind == TYPE_ADVERTISEMENT {
        if ip.destination.is_multicast() && flags & FLAG_SOLICITED != 0 {
            return None;
        }
        let target_mac = link_layer_address(options, OPTION_TARGET_LINK_LAYER)?;
        return Some(Message::Advertisement { target, target_mac, flags: TargetFlags::from_bits(*flags) });
    }
    let source_mac = link_layer_address(options, OPTION_SOURCE_LINK_LAYER)?;
    if ip.source.is_unspecified() && (source_mac.is_some() || ip.destination != solicited_node(target)) {
        return None;
    }
    Some(Message::Solicitation { source: ip.source, destination: ip.destination, target, source_mac })
}

/// Answers an untagged neighbour solicitation for `ip`, all of which must be in `frame`, with the advertisement that the
/// station `mac` which has that address sends: solicited and to the asker, or, to one that is detecting duplicates and has
/// no address yet, unsolicited and to all nodes (RFC 4861, 7.2.4; RFC 4862, 5.4.3). The flags are as given, and the
/// target's link-layer address is always in it. The answer is longer than some solicitations, so it is returned rather
/// than written over the question.
///
/// `None` for anything else, for what [`read`] does not take, and for a solicitation that `ip` seems to have sent.
#[must_use]
pub fn advertisement(
    frame: &[u8],
    mac: MacAddr,
    ip: Ipv6Addr,
    flags: TargetFlags,
) -> Option<[u8; ADVERTISEMENT_FRAME]> {
    let ethernet = EthernetHeader::parse(frame)?;
    if ethernet.ethertype != ETHERTYPE_IPV6 || !ethernet.source.is_station() {
        return None;
    }
    let Message::Solicitation { source, destination, target, source_mac } = read(frame.get(ETHERNET_HEADER..)?)? else {
        return None;
    };
    let is_for_it = target == ip && (destination == ip || destination == solicited_node(ip));
    if !is_for_it || source == ip || source.is_loopback() {
        return None;
    }
    let (destination, destination_mac, solicited) = if source.is_unspecified() {
        (ALL_NODES, multicast_mac(ALL_NODES), 0)
    } else {
        (source, source_mac.unwrap_or(ethernet.source), FLAG_SOLICITED)
    };

    let mut message = [0u8; ADVERTISEMENT];
    let mut fields = FieldWriter::new(&mut message);
    fields.put(&[TYPE_ADVERTISEMENT, 0, 0, 0, flags.to_bits() | solicited, 0, 0, 0])?;
    fields.put(&ip.octets())?;
    fields.put(&[OPTION_TARGET_LINK_LAYER, 1])?;
    fields.put(&mac.0)?;
    let mut checksum = pseudo_header_ipv6(ip, destination, PROTOCOL_ICMPV6, ADVERTISEMENT as u32);
    checksum.add_bytes(&message);
    *field_mut(&mut message, 2)? = checksum.finish().to_be_bytes();

    let mut answer = [0u8; ADVERTISEMENT_FRAME];
    let mut fields = FieldWriter::new(&mut answer);
    let header = EthernetHeader { destination: destination_mac, source: mac, ethertype: ETHERTYPE_IPV6 };
    fields.put(&header.to_bytes())?;
    fields.put(&ipv6_header(ADVERTISEMENT as u16, HOP_LIMIT, ip, destination)?)?;
    fields.put(&message)?;
    Some(answer)
}

/// Walks a message's options for a link-layer address of this kind (RFC 4861, 4.6); the outer `None` is an option that
/// has no length, does not lie within the message, or names what is no station.
fn link_layer_address(mut options: &[u8], wanted: u8) -> Option<Option<MacAddr>> {
    let mut found = None;
    while !options.is_empty() {
        let [kind, units] = *field(options, 0)?;
        let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
        if option.is_empty() {
            return None;
        }
        if kind == wanted {
            let mac = MacAddr(*field(option, 2)?);
            if !mac.is_station() {
                return None;
            }
            found = Some(mac);
        }
        options = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests;

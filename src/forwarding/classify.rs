//! What a packet is to the kernel: which class it is of, and whether it may cross to or from the kernel at all.

use crate::telemetry::PuntClass;
use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, is_vlan_ethertype, network_header};
use crate::wire::field::read_u8;
use crate::wire::ip::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::{Ipv6Header, is_extension_header, upper_layer};
use crate::wire::udp::UdpHeader;

/// TCP's port of BGP (RFC 4271, 8.2.1).
const BGP: u16 = 179;
/// UDP's ports of BFD: single hop and echo (RFC 5881, 4), multihop (RFC 5883, 5), and on link aggregates (RFC 7130, 2.2).
const BFD: [u16; 4] = [3784, 3785, 4784, 6784];
/// ICMPv6's types of router and neighbour discovery (RFC 4861, 4).
const DISCOVERY: std::ops::RangeInclusive<u8> = 133..=137;

/// What is above IP, or as much of it as a fragment shows.
struct Upper<'a> {
    protocol: u8,
    /// The bytes from its header on; none in a fragment that has not the header.
    bytes: Option<&'a [u8]>,
    fragment: bool,
}

/// The class of a frame of `length` bytes in all, of which `head` is the front. VLAN tags are looked behind.
///
/// None for what must not cross between an uplink and the kernel: UDP to a port of VXLAN, and what may hide it: any
/// fragment of UDP, for only the first has the ports; and IP headers that are malformed or cannot be walked.
#[must_use]
pub fn classify(head: &[u8], length: usize, vxlan_ports: &[u16]) -> Option<PuntClass> {
    let (ethertype, at) = network_header(head)?;
    let packet = head.get(at..)?;
    let length = length.saturating_sub(at);
    match ethertype {
        ETHERTYPE_ARP => Some(PuntClass::ArpNd),
        ETHERTYPE_IPV4 => class_of(&above_ipv4(packet, length)?, vxlan_ports),
        ETHERTYPE_IPV6 => class_of(&above_ipv6(packet, length)?, vxlan_ports),
        _ if is_vlan_ethertype(ethertype) => None,
        _ => Some(PuntClass::Other),
    }
}

fn above_ipv4(packet: &[u8], length: usize) -> Option<Upper<'_>> {
    let ip = Ipv4Header::parse(packet, length).ok()?;
    let has_header = ip.fragment_offset == 0;
    let bytes = if has_header { Some(packet.get(ip.header_length..)?) } else { None };
    Some(Upper { protocol: ip.protocol, bytes, fragment: ip.is_fragment() })
}

fn above_ipv6(packet: &[u8], length: usize) -> Option<Upper<'_>> {
    Ipv6Header::parse(packet, length).ok()?;
    let upper = upper_layer(packet).ok()?;
    let has_header = upper.fragment.is_none_or(|fragment| fragment.offset == 0);
    // What is behind a further extension header in another fragment cannot be known.
    if is_extension_header(upper.protocol) {
        return None;
    }
    let bytes = if has_header { Some(packet.get(upper.offset..)?) } else { None };
    Some(Upper { protocol: upper.protocol, bytes, fragment: upper.is_fragment() })
}

fn class_of(upper: &Upper<'_>, vxlan_ports: &[u16]) -> Option<PuntClass> {
    match (upper.protocol, upper.bytes) {
        (PROTOCOL_UDP, _) if upper.fragment => None,
        (PROTOCOL_UDP, bytes) => {
            let port = UdpHeader::parse(bytes?)?.destination_port;
            if vxlan_ports.contains(&port) {
                return None;
            }
            Some(if BFD.contains(&port) { PuntClass::Bfd } else { PuntClass::Other })
        }
        (PROTOCOL_TCP, Some(bytes)) => {
            let [s0, s1, d0, d1] = *bytes.first_chunk()?;
            let ports = [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])];
            Some(if ports.contains(&BGP) { PuntClass::Bgp } else { PuntClass::Other })
        }
        (PROTOCOL_ICMP, _) => Some(PuntClass::Icmp),
        (PROTOCOL_ICMPV6, bytes) => {
            let kind = bytes.and_then(|bytes| read_u8(bytes, 0));
            Some(if kind.is_some_and(|kind| DISCOVERY.contains(&kind)) { PuntClass::ArpNd } else { PuntClass::Icmp })
        }
        _ => Some(PuntClass::Other),
    }
}

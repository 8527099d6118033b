//! Outer headers in front of a frame (RFC 7348, 5).

use super::packet::PacketBuffer;
use crate::tables::snapshot::LocalVtep;
use crate::tables::tunnel::{EncapsulationTemplate, Header, OUTER_IPV4, OUTER_IPV6};
use crate::wire::checksum::Checksum;
use crate::wire::ecn::{Ecn, traffic_class_of};
use crate::wire::ethernet::ETHERNET_HEADER;
use crate::wire::flow_hash::{flow_hash, source_port};
use crate::wire::ipv4::IPV4_HEADER;
use crate::wire::ipv6::IPV6_HEADER;
use crate::wire::udp::UDP_HEADER;
use crate::wire::vxlan::{VXLAN_HEADER, header_of};
use crate::wire::{MacAddr, Vni};

/// What a frame brings to its outer headers; the same for every copy of a flood.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// The UDP source port, from a hash of the inner frame.
    source_port: u16,
    /// The IPv6 flow label: 20 bits of the same hash (RFC 6438).
    label: u32,
    /// DSCP and ECN (RFC 2983, RFC 6040).
    traffic_class: u8,
}

impl Flow {
    /// Reads a frame. Frames that are not IP get ECN 0.
    #[inline(always)]
    #[must_use]
    pub fn of(frame: &[u8], vtep: &LocalVtep) -> Self {
        let hash = flow_hash(frame);
        let inner = traffic_class_of(frame);
        let traffic_class = match vtep.fixed_dscp {
            None => inner,
            Some(dscp) => dscp << 2 | Ecn::from_dscp_ecn(inner).bits(),
        };
        Self { source_port: source_port(hash), label: hash & 0x000f_ffff, traffic_class }
    }
}

/// Writes the outer headers over the first bytes of `front`, which is at least as long as they are. `frame_length` is
/// that of the frame behind them, at most [`EncapsulationTemplate::max_frame`]: the length fields have 16 bits. The UDP
/// checksum is left zero.
#[inline(always)]
pub fn write_outer(front: &mut [u8], template: &EncapsulationTemplate, vni: Vni, flow: Flow, frame_length: usize) {
    match template.header() {
        Header::Ipv4(header) => {
            if let Some(front) = front.first_chunk_mut::<OUTER_IPV4>() {
                *front = *header;
                let udp_length = (OUTER_IPV4 - ETHERNET_HEADER - IPV4_HEADER + frame_length) as u16;
                write_ipv4(front, template, flow, udp_length + IPV4_HEADER as u16);
                write_udp_vxlan(front, ETHERNET_HEADER + IPV4_HEADER, vni, flow, udp_length);
            }
        }
        Header::Ipv6(header) => {
            if let Some(front) = front.first_chunk_mut::<OUTER_IPV6>() {
                *front = *header;
                let udp_length = (OUTER_IPV6 - ETHERNET_HEADER - IPV6_HEADER + frame_length) as u16;
                write_ipv6(front, flow, udp_length);
                write_udp_vxlan(front, ETHERNET_HEADER + IPV6_HEADER, vni, flow, udp_length);
            }
        }
    }
}

#[inline]
fn write_ipv4(front: &mut [u8; OUTER_IPV4], template: &EncapsulationTemplate, flow: Flow, total_length: u16) {
    const IP: usize = ETHERNET_HEADER;
    front[IP + 1] = flow.traffic_class;
    front[IP + 2..IP + 4].copy_from_slice(&total_length.to_be_bytes());
    let sum = template.partial_sum() + u32::from(flow.traffic_class) + u32::from(total_length);
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    front[IP + 10..IP + 12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
}

#[inline]
fn write_ipv6(front: &mut [u8; OUTER_IPV6], flow: Flow, payload_length: u16) {
    const IP: usize = ETHERNET_HEADER;
    let first = 6 << 28 | u32::from(flow.traffic_class) << 20 | flow.label;
    front[IP..IP + 4].copy_from_slice(&first.to_be_bytes());
    front[IP + 4..IP + 6].copy_from_slice(&payload_length.to_be_bytes());
}

#[inline]
fn write_udp_vxlan<const N: usize>(front: &mut [u8; N], udp: usize, vni: Vni, flow: Flow, length: u16) {
    front[udp..udp + 2].copy_from_slice(&flow.source_port.to_be_bytes());
    front[udp + 4..udp + 6].copy_from_slice(&length.to_be_bytes());
    let vxlan = udp + UDP_HEADER;
    front[vxlan..vxlan + VXLAN_HEADER].copy_from_slice(&header_of(vni));
}

/// Writes the UDP checksum of an encapsulated packet over IPv6 (RFC 8200, 8.1). `behind` is the sum of everything
/// behind the outer headers.
pub fn write_ipv6_udp_checksum(front: &mut [u8], template: &EncapsulationTemplate, behind: Checksum) {
    const UDP: usize = ETHERNET_HEADER + IPV6_HEADER;
    let Some(front) = front.first_chunk_mut::<OUTER_IPV6>() else { return };
    let mut sum = Checksum::new();
    // What is behind may end at an odd place, and what is added here begins at an even one: its folded sum is a word.
    sum.add_u16(!behind.finish());
    sum.add_u32(template.partial_sum());
    // The length is in the pseudo-header as well as in the header.
    sum.add_u16(u16::from_be_bytes([front[UDP + 4], front[UDP + 5]]));
    sum.add_bytes(&front[UDP..]);
    front[UDP + 6..UDP + 8].copy_from_slice(&sum.finish_udp().to_be_bytes());
}

/// Puts the outer headers in front of a frame. False, and nothing changed, where there is no headroom.
#[inline(always)]
#[must_use]
pub fn encapsulate<P: PacketBuffer>(
    packet: &mut P,
    template: &EncapsulationTemplate,
    vni: Vni,
    flow: Flow,
    vtep: &LocalVtep,
) -> bool {
    let frame_length = packet.len();
    let behind =
        (matches!(template.header(), Header::Ipv6(_)) && !vtep.zero_checksum_ipv6).then(|| sum_segments(packet));
    if !packet.grow_front(template.length()) {
        return false;
    }
    write_outer(packet.head_mut(), template, vni, flow, frame_length);
    if let Some(behind) = behind {
        write_ipv6_udp_checksum(packet.head_mut(), template, behind);
    }
    true
}

/// The sum of all bytes of a packet.
pub(super) fn sum_segments<P: PacketBuffer>(packet: &P) -> Checksum {
    packet.segments().fold(Checksum::new(), |mut sum, segment| {
        sum.add_bytes(segment);
        sum
    })
}

/// The two addresses at a frame's front, as they are on the wire.
pub(super) type AddressBytes = [u8; 2 * size_of::<MacAddr>()];

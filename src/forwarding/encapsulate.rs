//! Outer headers in front of a frame (RFC 7348, 5).

use super::bridging::Frame;
use super::framing::{ADDRESSES, Addresses};
use super::packet::PacketBuffer;
use crate::tables::snapshot::{Encapsulation, LocalVtep};
use crate::tables::tunnel::{Header, NextHop, OUTER_IPV4, OUTER_IPV6};
use crate::wire::MacAddr;
use crate::wire::checksum::Checksum;
use crate::wire::ethernet::ETHERNET_HEADER;
use crate::wire::field::{put_at, to_word, word_at};
use crate::wire::flow_hash::InnerFlow;
use crate::wire::ip::PROTOCOL_UDP;
use crate::wire::ipv4::IPV4_HEADER;
use crate::wire::ipv6::IPV6_HEADER;
use crate::wire::udp::UDP_HEADER;
use crate::wire::vxlan::VXLAN_HEADER;

/// What a frame brings to its outer headers; the same for every copy of a flood.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// The UDP source port, from a hash of the inner frame.
    source_port: u16,
    /// The hash. Its lower 20 bits are the IPv6 flow label (RFC 6438).
    hash: u32,
    /// DSCP and ECN (RFC 2983, RFC 6040).
    traffic_class: u8,
}

impl Flow {
    /// Reads a frame. Frames that are not IP get ECN 0.
    #[must_use]
    pub fn of(frame: &[u8], vtep: &LocalVtep) -> Self {
        Self::new(InnerFlow::of(frame), vtep)
    }

    /// Reads a frame where it is in its packet, whose head reaches behind the addresses.
    #[inline(always)]
    #[must_use]
    pub fn of_placed<P: PacketBuffer>(packet: &P, frame: &Frame, vtep: &LocalVtep) -> Self {
        let plain = frame.place.front_behind_addresses(packet).and_then(InnerFlow::of_plain_ipv4);
        Self::new(plain.unwrap_or_else(|| inner_of_any(packet, frame)), vtep)
    }

    /// The same flow with this DSCP outside, if there is one, in place of that by its inner one.
    #[must_use]
    pub fn with_dscp(self, dscp: Option<u8>) -> Self {
        let traffic_class = dscp.map_or(self.traffic_class, |dscp| dscp << 2 | self.traffic_class & 3);
        Self { traffic_class, ..self }
    }

    #[inline(always)]
    fn new(inner: InnerFlow, vtep: &LocalVtep) -> Self {
        let InnerFlow { hash, dscp_ecn } = inner;
        Self { source_port: vtep.source_ports.of(hash), hash, traffic_class: vtep.dscp.outer(dscp_ecn) }
    }

    /// The UDP source port.
    #[must_use]
    pub fn source_port(self) -> u16 {
        self.source_port
    }

    /// The hash of the inner flow. The source port has its upper bits, so that what goes by the lower ones does not
    /// tell how routers behind go on to spread.
    #[inline(always)]
    #[must_use]
    pub fn hash(self) -> u32 {
        self.hash
    }
}

/// Out of line, so that plain IPv4 has the registers.
#[cold]
#[inline(never)]
fn inner_of_any<P: PacketBuffer>(packet: &P, frame: &Frame) -> InnerFlow {
    let addresses = frame.addresses();
    let [destination, source] = [addresses.destination(), addresses.source()].map(MacAddr::from_word);
    InnerFlow::of_any(destination, source, frame.place.behind_addresses(packet).unwrap_or_default())
}

/// Outer headers, and behind them the frame's addresses.
pub const FRONT_IPV4: usize = OUTER_IPV4 + ADDRESSES;
/// Outer headers, and behind them the frame's addresses.
pub const FRONT_IPV6: usize = OUTER_IPV6 + ADDRESSES;

/// What is written in front of a frame, besides what its way has prebuilt.
#[derive(Clone, Copy, Debug)]
pub struct Front<'a> {
    /// What the frame's bridge has in it.
    pub outer: &'a Encapsulation,
    /// The frame's flow.
    pub flow: Flow,
    /// The frame's addresses.
    pub addresses: Addresses,
    /// The frame's length in bytes, at most [`NextHop::max_frame`]: the length fields have 16 bits.
    pub length: usize,
}

impl Front<'_> {
    /// Writes the IPv4 form: each word of it once, for it is the writing that this costs.
    #[inline(always)]
    pub fn write_ipv4(&self, front: &mut [u8; FRONT_IPV4], header: &[u8; OUTER_IPV4], way: &NextHop) {
        const IP: usize = ETHERNET_HEADER;
        let udp_length = (OUTER_IPV4 - IP - IPV4_HEADER + self.length) as u16;
        let total_length = udp_length + IPV4_HEADER as u16;
        let traffic_class = self.flow.traffic_class;
        let sum = u32::from(way.partial_sum()) + u32::from(traffic_class) + u32::from(total_length);
        let (folded, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
        let checksum = !(folded + u16::from(carry));
        put_at::<0, 8, _>(front, word_at::<0, _>(header).to_le_bytes());
        put_at::<8, 8, _>(front, word_at::<8, _>(header).to_le_bytes());
        let first = word_at::<IP, _>(header) | u64::from(traffic_class) << 8 | to_word(total_length) << 16;
        put_at::<IP, 8, _>(front, first.to_le_bytes());
        put_at::<{ IP + 8 }, 8, _>(front, (word_at::<{ IP + 8 }, _>(header) | to_word(checksum) << 16).to_le_bytes());
        // The destination; what is behind it is written over.
        put_at::<{ IP + 16 }, 8, _>(front, word_at::<{ IP + 16 }, _>(header).to_le_bytes());
        self.write_udp_vxlan::<{ IP + IPV4_HEADER }, { IP + IPV4_HEADER + UDP_HEADER }, _>(front, udp_length);
        self.write_addresses(front);
    }

    /// Writes the IPv6 form, with a UDP checksum where the sum of everything behind the outer headers is given (RFC 8200,
    /// 8.1).
    #[inline(always)]
    pub fn write_ipv6(
        &self,
        front: &mut [u8; FRONT_IPV6],
        header: &[u8; OUTER_IPV6],
        way: &NextHop,
        behind: Option<Checksum>,
    ) {
        const UDP: usize = ETHERNET_HEADER + IPV6_HEADER;
        let (outer, _) = front.split_at_mut(OUTER_IPV6);
        if let Some(outer) = outer.first_chunk_mut() {
            *outer = *header;
        }
        let udp_length = (OUTER_IPV6 - ETHERNET_HEADER - IPV6_HEADER + self.length) as u16;
        let Flow { traffic_class, hash, .. } = self.flow;
        let first = 6 << 28 | u32::from(traffic_class) << 20 | (hash & 0x000f_ffff);
        put_at::<ETHERNET_HEADER, 4, _>(front, first.to_be_bytes());
        put_at::<{ ETHERNET_HEADER + 4 }, 2, _>(front, udp_length.to_be_bytes());
        self.write_udp_vxlan::<UDP, { UDP + UDP_HEADER }, _>(front, udp_length);
        self.write_addresses(front);
        if let Some(behind) = behind {
            let checksum = self.udp_checksum(way.partial_sum(), behind, udp_length);
            put_at::<{ UDP + 6 }, 2, _>(front, checksum.to_be_bytes());
        }
    }

    /// Writes UDP, without a checksum, and VXLAN.
    #[inline(always)]
    fn write_udp_vxlan<const UDP: usize, const VXLAN: usize, const N: usize>(&self, front: &mut [u8; N], length: u16) {
        put_at::<UDP, 8, _>(front, self.outer.udp_header(self.flow.source_port, length).to_le_bytes());
        put_at::<VXLAN, VXLAN_HEADER, _>(front, self.outer.vxlan);
    }

    /// Writes the frame's addresses, which are the last bytes.
    #[inline(always)]
    fn write_addresses(&self, front: &mut [u8]) {
        if let Some(addresses) = front.last_chunk_mut() {
            self.addresses.write(addresses);
        }
    }

    /// The UDP checksum, `pseudo` being the sum of addresses and protocol. It is made of what is written, not of what was:
    /// the processor would wait for it.
    #[inline(always)]
    fn udp_checksum(&self, pseudo: u16, behind: Checksum, length: u16) -> u16 {
        let mut sum = Checksum::new();
        // What is behind may end at an odd place, and what is added here begins at an even one: its folded sum is a word.
        sum.add_u16(!behind.finish());
        sum.add_u16(pseudo);
        // The length is in the pseudo-header as well as in the header.
        sum.add_u16(length);
        sum.add_bytes(&self.outer.udp_header(self.flow.source_port, length).to_le_bytes());
        sum.add_bytes(&self.outer.vxlan);
        sum.finish_udp()
    }
}

/// Writes the UDP checksum of an encapsulated packet over IPv4 (RFC 768). `behind` is the sum of everything behind the
/// outer headers.
pub fn write_ipv4_udp_checksum(front: &mut [u8], behind: Checksum) {
    const UDP: usize = ETHERNET_HEADER + IPV4_HEADER;
    let Some(front) = front.first_chunk_mut::<OUTER_IPV4>() else { return };
    let mut sum = Checksum::new();
    // What is behind may end at an odd place: its folded sum is a word.
    sum.add_u16(!behind.finish());
    sum.add_bytes(&front[UDP - 8..UDP]);
    sum.add_u16(PROTOCOL_UDP.into());
    // The length is in the pseudo-header as well as in the header.
    sum.add_u16(u16::from_be_bytes([front[UDP + 4], front[UDP + 5]]));
    sum.add_bytes(&front[UDP..]);
    front[UDP + 6..UDP + 8].copy_from_slice(&sum.finish_udp().to_be_bytes());
}

/// Puts the outer headers in front of a frame, and gives its flow. None where there is no headroom.
#[must_use]
pub fn encapsulate<P: PacketBuffer>(
    packet: &mut P,
    frame: &Frame,
    way: &NextHop,
    outer: &Encapsulation,
    vtep: &LocalVtep,
) -> Option<Flow> {
    let place = frame.place;
    let flow = Flow::of_placed(packet, frame, vtep);
    let front = Front { outer, flow, addresses: frame.addresses(), length: place.length() };
    match way.header() {
        Header::Ipv4(header) => front.write_ipv4(place.exchange(packet)?, header, way),
        Header::Ipv6(header) => {
            let behind = (!vtep.zero_checksum_ipv6).then(|| sum_of_frame(packet, frame));
            front.write_ipv6(place.exchange(packet)?, header, way, behind);
        }
    }
    Some(flow)
}

/// The sum of a frame's bytes. Its addresses are not read from the packet, where they may have been written just now, nor
/// be in their place.
pub(super) fn sum_of_frame<P: PacketBuffer>(packet: &P, frame: &Frame) -> Checksum {
    let mut sum = sum_behind(packet, frame.place.start() + ADDRESSES);
    frame.addresses().add_to(&mut sum);
    sum
}

/// The sum of a packet's bytes behind the first `front`, which are in the first segment.
pub(super) fn sum_behind<P: PacketBuffer>(packet: &P, front: usize) -> Checksum {
    let mut skipped = front;
    packet.segments().fold(Checksum::new(), |mut sum, segment| {
        sum.add_bytes(segment.get(std::mem::take(&mut skipped)..).unwrap_or_default());
        sum
    })
}

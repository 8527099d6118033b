//! Remote VTEPs, the ways to them, and the headers stored in front of what goes there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::PortIndex;
use super::next_hop_group::GroupIndex;
use crate::wire::MacAddr;
use crate::wire::ethernet::{ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::ip::PROTOCOL_UDP;
use crate::wire::ipv4::IPV4_HEADER;
use crate::wire::ipv6::IPV6_HEADER;
use crate::wire::udp::UDP_HEADER;
use crate::wire::vxlan::VXLAN_HEADER;

/// Outer Ethernet, IPv4, UDP and VXLAN headers: 50 bytes.
pub const OUTER_IPV4: usize = ETHERNET_HEADER + IPV4_HEADER + UDP_HEADER + VXLAN_HEADER;
/// Outer Ethernet, IPv6, UDP and VXLAN headers: 70 bytes.
pub const OUTER_IPV6: usize = ETHERNET_HEADER + IPV6_HEADER + UDP_HEADER + VXLAN_HEADER;

/// A remote VTEP.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Its address.
    pub address: IpAddr,
}

/// What makes the outer headers of a tunnel, besides what each packet brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterHeader {
    /// The uplink's MAC address.
    pub source_mac: MacAddr,
    /// The next hop's MAC address.
    pub destination_mac: MacAddr,
    /// The local and the remote VTEP's address; one family.
    pub addresses: OuterAddresses,
    /// The TTL or hop limit.
    pub ttl: u8,
    /// An IPv4 packet gets a UDP checksum.
    pub checksum_ipv4: bool,
    /// The largest IP packet that the way takes, in bytes.
    pub mtu: u16,
}

/// Local and remote VTEP address, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterAddresses {
    /// An IPv4 underlay.
    Ipv4 {
        /// This gateway.
        local: Ipv4Addr,
        /// The remote VTEP.
        remote: Ipv4Addr,
    },
    /// An IPv6 underlay.
    Ipv6 {
        /// This gateway.
        local: Ipv6Addr,
        /// The remote VTEP.
        remote: Ipv6Addr,
    },
}

/// The way to a remote VTEP: the uplink, or the group of next hops, and the outer headers prebuilt. What differs from
/// packet to packet is zero in them: lengths, traffic class, flow label, checksums, UDP ports and the VXLAN header.
///
/// One cache line holds all that an IPv4 encapsulation reads.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct NextHop {
    /// The sum of the constant 16-bit words of the IPv4 header, or of the constant part of the IPv6 pseudo-header
    /// (addresses and protocol), folded to 16 bits.
    partial_sum: u16,
    /// What `max_frame` is if the headers are IPv4 and if they are IPv6; 0 where they are not, or where there is more to
    /// be done than to put them in front and to send the packet out of the port. So one comparison tells what is usual.
    max_direct_frame: [u16; 2],
    max_frame: u16,
    port: PortIndex,
    group: Option<GroupIndex>,
    header: [u8; OUTER_IPV6],
    length: u8,
    /// What `max_frame` is where nothing is known of the path behind the next hop.
    own_max_frame: u16,
    /// The port is the way of all frames, with the headers as they are.
    direct: bool,
}

const _: () = assert!(std::mem::offset_of!(NextHop, header) + OUTER_IPV4 <= 64);
const _: () = assert!(size_of::<NextHop>() == 128);

impl NextHop {
    /// No way is known. It takes no frame, not even the shortest.
    pub const UNKNOWN: Self = Self {
        partial_sum: 0,
        max_frame: 0,
        max_direct_frame: [0; 2],
        port: PortIndex(u16::MAX),
        group: None,
        length: 0,
        header: [0; OUTER_IPV6],
        own_max_frame: 0,
        direct: false,
    };

    /// True where no way is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.length == 0
    }

    /// The way out of this uplink with these outer headers (RFC 7348, 5; DF is set and the identification 0, RFC 6864,
    /// 4.1).
    #[must_use]
    pub fn new(port: PortIndex, outer: &OuterHeader) -> Self {
        let mut header = [0; OUTER_IPV6];
        header[0..6].copy_from_slice(&outer.destination_mac.0);
        header[6..12].copy_from_slice(&outer.source_mac.0);
        let ip = ETHERNET_HEADER;
        let (udp, ipv6) = match outer.addresses {
            OuterAddresses::Ipv4 { local, remote } => {
                header[12..14].copy_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
                header[ip] = 0x45;
                header[ip + 6] = 0x40;
                header[ip + 8] = outer.ttl;
                header[ip + 9] = PROTOCOL_UDP;
                header[ip + 12..ip + 16].copy_from_slice(&local.octets());
                header[ip + 16..ip + 20].copy_from_slice(&remote.octets());
                (ip + IPV4_HEADER, false)
            }
            OuterAddresses::Ipv6 { local, remote } => {
                header[12..14].copy_from_slice(&ETHERTYPE_IPV6.to_be_bytes());
                header[ip] = 0x60;
                header[ip + 6] = PROTOCOL_UDP;
                header[ip + 7] = outer.ttl;
                header[ip + 8..ip + 24].copy_from_slice(&local.octets());
                header[ip + 24..ip + 40].copy_from_slice(&remote.octets());
                (ip + IPV6_HEADER, true)
            }
        };
        let length = udp + UDP_HEADER + VXLAN_HEADER;
        let partial_sum = if ipv6 {
            sum_words(&header[ip + 8..ip + 40], PROTOCOL_UDP.into())
        } else {
            sum_words(&header[ip..ip + IPV4_HEADER], 0)
        };
        let overhead = (length - ETHERNET_HEADER) as u16;
        let max_frame = outer.mtu.saturating_sub(overhead);
        let direct = ipv6 || !outer.checksum_ipv4;
        let (length, own_max_frame, group) = (length as u8, max_frame, None);
        let max_direct_frame = [0; 2];
        Self { partial_sum, max_frame, max_direct_frame, port, group, length, header, own_max_frame, direct }
            .with_direct_frames()
    }

    /// The outer headers' share of an IP packet, in bytes.
    fn overhead(&self) -> u16 {
        u16::from(self.length).saturating_sub(ETHERNET_HEADER as u16)
    }

    /// The largest IP packet that is sent this way, in bytes; none where no way is known.
    #[must_use]
    pub fn mtu(&self) -> Option<u16> {
        (!self.is_unknown()).then(|| self.max_frame.saturating_add(self.overhead()))
    }

    /// Sends no larger IP packet this way than the path to its end takes, in bytes; where that is not known, as large ones
    /// as the uplink and the route take.
    pub fn limit(&mut self, path_mtu: Option<u16>) {
        let fits = path_mtu.map_or(u16::MAX, |mtu| mtu.saturating_sub(self.overhead()));
        self.max_frame = self.own_max_frame.min(fits);
        *self = self.clone().with_direct_frames();
    }

    /// With the longest frames that are sent directly, by all else.
    fn with_direct_frames(self) -> Self {
        let longest = |ipv6: bool| if self.direct && self.is_ipv6() == ipv6 { self.max_frame } else { 0 };
        Self { max_direct_frame: [longest(false), longest(true)], ..self }
    }

    /// The same headers, by the next hops of a group; `self` is the way by one of them.
    #[must_use]
    pub fn spread_over(self, group: GroupIndex) -> Self {
        Self { group: Some(group), direct: false, ..self }.with_direct_frames()
    }

    /// The next hops among which flows are spread, where there are several.
    #[inline]
    #[must_use]
    pub fn group(&self) -> Option<GroupIndex> {
        self.group
    }

    /// The headers of this family, `N` bytes, where a frame of this length goes out of [`NextHop::port`] with just these.
    /// None where it does not, or where they are of the other family.
    #[inline(always)]
    #[must_use]
    pub fn direct_header<const IPV6: bool, const N: usize>(&self, length: usize) -> Option<&[u8; N]> {
        const { assert!(N == if IPV6 { OUTER_IPV6 } else { OUTER_IPV4 }) };
        if length <= usize::from(self.max_direct_frame[usize::from(IPV6)]) { self.header.first_chunk() } else { None }
    }

    /// The uplink, where there is no group.
    #[inline]
    #[must_use]
    pub fn port(&self) -> PortIndex {
        self.port
    }

    /// The headers.
    #[must_use]
    pub fn header(&self) -> Header<'_> {
        match self.header.first_chunk() {
            Some(header) if !self.is_ipv6() => Header::Ipv4(header),
            _ => Header::Ipv6(&self.header),
        }
    }

    /// True where the outer IP header is IPv6.
    #[inline]
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.header[ETHERNET_HEADER] >> 4 == 6
    }

    /// The sum of what is constant and under a checksum: of the IPv4 header, or of the IPv6 pseudo-header.
    #[inline]
    #[must_use]
    pub fn partial_sum(&self) -> u16 {
        self.partial_sum
    }

    /// The longest Ethernet frame that fits the way after encapsulation, in bytes.
    #[inline]
    #[must_use]
    pub fn max_frame(&self) -> usize {
        usize::from(self.max_frame)
    }
}

/// Outer headers, told apart by family.
#[derive(Clone, Copy, Debug)]
pub enum Header<'a> {
    /// Ethernet, IPv4, UDP, VXLAN.
    Ipv4(&'a [u8; OUTER_IPV4]),
    /// Ethernet, IPv6, UDP, VXLAN.
    Ipv6(&'a [u8; OUTER_IPV6]),
}

/// The one's complement sum of the 16-bit words of `bytes` and of one more (RFC 1071).
fn sum_words(bytes: &[u8], more: u16) -> u16 {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).fold(more, |sum, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

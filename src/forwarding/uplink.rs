//! Stage 1 for packets from an uplink: validate the outer headers and take them off.

use super::access::short;
use super::bridging::{Addresses, Admission, check_front};
use super::packet::{ChecksumVerdict, PacketBuffer};
use crate::tables::snapshot::{Port, Snapshot, UNKNOWN_TUNNEL};
use crate::tables::{Location, TunnelIndex};
use crate::telemetry::{DropReason, Event, WorkerTelemetry};
use crate::wire::checksum::{Checksum, ipv4_header_is_valid};
use crate::wire::ecn::{Ecn, EcnOutcome, copy_congestion};
use crate::wire::ethernet::{
    ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, is_vlan_ethertype,
};
use crate::wire::field::field;
use crate::wire::ip::{IpError, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDP};
use crate::wire::ipv4::{IPV4_HEADER, Ipv4Header};
use crate::wire::ipv6::{IPV6_HEADER, Ipv6Header, upper_layer};
use crate::wire::udp::{UDP_HEADER, UdpHeader};
use crate::wire::{Vni, vxlan};

/// Why a packet from an uplink does not become a bridged frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is dropped.
    Drop(DropReason),
    /// It is neighbour discovery or a ping for the gateway's own address, to be answered.
    Local,
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// What the outer IP header says, of a packet to the gateway's own address.
struct OuterIp {
    /// The remote VTEP that sent it.
    source: TunnelIndex,
    ipv6: bool,
    protocol: u8,
    fragment: bool,
    ecn: Ecn,
    /// Where the payload starts and the packet ends, from the start of the frame.
    payload: std::ops::Range<usize>,
}

/// Admits a packet that `port` received: if it is VXLAN for this gateway, of a known VNI, what is left is the inner
/// frame.
///
/// # Errors
/// The reason why it is not bridged.
#[inline(always)]
pub fn admit<P: PacketBuffer>(
    packet: &mut P,
    port: &Port,
    snapshot: &Snapshot,
    telemetry: &WorkerTelemetry,
) -> Result<Admission, Refusal> {
    let Some(ethernet) = EthernetHeader::parse(packet.head()) else {
        return Err(short(packet, ETHERNET_HEADER).into());
    };
    if ethernet.source == port.mac {
        return Err(DropReason::OwnSource.into());
    }
    if ethernet.destination != port.mac {
        return Err(not_ours(&ethernet));
    }
    let ip = match ethernet.ethertype {
        ETHERTYPE_IPV4 => outer_ipv4(packet, snapshot)?,
        ETHERTYPE_IPV6 => outer_ipv6(packet, snapshot)?,
        ETHERTYPE_ARP => return Err(Refusal::Local),
        _ => return Err(DropReason::UplinkEtherType.into()),
    };
    if ip.protocol != PROTOCOL_UDP {
        return Err(unserved(&ip));
    }
    let inner = terminate_vxlan(packet, &ip, snapshot)?;
    open(packet, &ip, inner, snapshot, telemetry)
}

/// The VNI, and where the inner frame lies in the packet.
struct Inner {
    vni: Vni,
    frame: std::ops::Range<usize>,
}

/// Validates UDP and VXLAN (RFC 7348, 5).
#[inline(always)]
fn terminate_vxlan<P: PacketBuffer>(packet: &P, ip: &OuterIp, snapshot: &Snapshot) -> Result<Inner, DropReason> {
    if ip.fragment {
        return Err(DropReason::OuterFragment);
    }
    let head = packet.head();
    let Some(udp) = head.get(ip.payload.start..).and_then(UdpHeader::parse) else {
        return Err(if ip.payload.len() < UDP_HEADER {
            DropReason::OuterUdpLength
        } else {
            short(packet, ip.payload.start + UDP_HEADER)
        });
    };
    if udp.destination_port != snapshot.vtep.udp_port {
        return Err(DropReason::UplinkUnserved);
    }
    let udp_length = usize::from(udp.length);
    if udp_length > ip.payload.len() || udp_length < UDP_HEADER + vxlan::VXLAN_HEADER {
        return Err(DropReason::OuterUdpLength);
    }
    let end = ip.payload.start + udp_length;
    verify_udp_checksum(packet, ip, &udp, end, snapshot)?;
    let vxlan_at = ip.payload.start + UDP_HEADER;
    let frame = vxlan_at + vxlan::VXLAN_HEADER..end;
    let Some(header) = field(head, vxlan_at) else {
        return Err(short(packet, frame.start));
    };
    if !vxlan::has_valid_vni(header) {
        return Err(DropReason::VxlanFlags);
    }
    if snapshot.vtep.strict && !vxlan::reserved_is_zero(header) {
        return Err(DropReason::VxlanReserved);
    }
    if frame.len() < ETHERNET_HEADER {
        return Err(DropReason::InnerTruncated);
    }
    if head.len() < frame.start + ETHERNET_HEADER {
        return Err(short(packet, frame.start + ETHERNET_HEADER));
    }
    Ok(Inner { vni: vxlan::vni_of(header), frame })
}

/// Finds bridge and remote VTEP, takes the outer headers off and looks at the inner frame.
#[inline(always)]
fn open<P: PacketBuffer>(
    packet: &mut P,
    ip: &OuterIp,
    inner: Inner,
    snapshot: &Snapshot,
    telemetry: &WorkerTelemetry,
) -> Result<Admission, Refusal> {
    let index = snapshot.vnis.get(inner.vni).ok_or(DropReason::UnknownVni)?;
    let bridge = snapshot.bridges.get(usize::from(index.0)).ok_or(DropReason::UnknownVni)?;
    if ip.source == UNKNOWN_TUNNEL && bridge.policy.source_check {
        return Err(DropReason::UnknownRemote.into());
    }
    if !packet.truncate(inner.frame.end) || !packet.trim_front(inner.frame.start) {
        return Err(DropReason::Truncated.into());
    }
    if !bridge.policy.carry_tags && carries_tag(packet.head()) {
        return Err(DropReason::InnerTagged.into());
    }
    check_front(packet)?;
    let addresses = Addresses::of(packet.head()).ok_or(DropReason::InnerTruncated)?.check(bridge.policy)?;
    // An outer Not-ECT never changes the inner packet (RFC 6040, 4.2).
    if ip.ecn != Ecn::NotEct {
        match copy_congestion(packet.head_mut(), ip.ecn) {
            EcnOutcome::Deliver(_) => {}
            EcnOutcome::DeliverWithWarning(_) => telemetry.event(Event::EcnWarning),
            EcnOutcome::Drop => return Err(DropReason::EcnCongestion.into()),
        }
    }
    Ok(Admission { bridge: index, source: Location::tunnel(ip.source), addresses })
}

#[inline(always)]
fn carries_tag(frame: &[u8]) -> bool {
    frame.first_chunk::<ETHERNET_HEADER>().is_some_and(|f| is_vlan_ethertype(u16::from_be_bytes([f[12], f[13]])))
}

#[inline(always)]
fn outer_ipv4<P: PacketBuffer>(packet: &P, snapshot: &Snapshot) -> Result<OuterIp, DropReason> {
    let bytes = packet.head().get(ETHERNET_HEADER..).unwrap_or_default();
    let ip = Ipv4Header::parse(bytes, packet.len() - ETHERNET_HEADER).map_err(|error| malformed(packet, error))?;
    if packet.receive_checksums().ip != ChecksumVerdict::Good && !ipv4_header_is_valid(bytes) {
        return Err(DropReason::OuterIpChecksum);
    }
    if snapshot.vtep.address != ip.destination {
        return Err(DropReason::UplinkForeignAddress);
    }
    Ok(OuterIp {
        source: snapshot.remotes.get_ipv4(ip.source).unwrap_or(UNKNOWN_TUNNEL),
        ipv6: false,
        protocol: ip.protocol,
        fragment: ip.is_fragment(),
        ecn: Ecn::from_dscp_ecn(ip.dscp_ecn),
        payload: ETHERNET_HEADER + ip.header_length..ETHERNET_HEADER + ip.total_length,
    })
}

#[inline]
fn outer_ipv6<P: PacketBuffer>(packet: &P, snapshot: &Snapshot) -> Result<OuterIp, DropReason> {
    let bytes = packet.head().get(ETHERNET_HEADER..).unwrap_or_default();
    let ip = Ipv6Header::parse(bytes, packet.len() - ETHERNET_HEADER).map_err(|error| malformed(packet, error))?;
    let upper = upper_layer(bytes).map_err(|_| DropReason::OuterExtensionHeader)?;
    if upper.underway {
        return Err(DropReason::OuterExtensionHeader);
    }
    if snapshot.vtep.address != ip.destination {
        return Err(DropReason::UplinkForeignAddress);
    }
    Ok(OuterIp {
        source: snapshot.remotes.get_ipv6(ip.source).unwrap_or(UNKNOWN_TUNNEL),
        ipv6: true,
        protocol: upper.protocol,
        fragment: upper.is_fragment(),
        ecn: Ecn::from_dscp_ecn(ip.traffic_class),
        payload: ETHERNET_HEADER + upper.offset..ETHERNET_HEADER + IPV6_HEADER + ip.payload_length,
    })
}

#[cold]
fn malformed<P: PacketBuffer>(packet: &P, error: IpError) -> DropReason {
    match error {
        // What the head lacks, IPv4 options included, is in the next segment or nowhere.
        IpError::Truncated => short(packet, packet.head().len() + 1),
        _ => DropReason::OuterIpMalformed,
    }
}

/// Verifies a UDP checksum that is there (RFC 768; over IPv6, RFC 6935 on its absence). A NIC's bad verdict is looked
/// at again: drivers differ in what they mean by it.
#[inline]
fn verify_udp_checksum<P: PacketBuffer>(
    packet: &P,
    ip: &OuterIp,
    udp: &UdpHeader,
    end: usize,
    snapshot: &Snapshot,
) -> Result<(), DropReason> {
    if udp.checksum == 0 {
        let missing = ip.ipv6 && !snapshot.vtep.zero_checksum_ipv6;
        return if missing { Err(DropReason::OuterUdpChecksumMissing) } else { Ok(()) };
    }
    if packet.receive_checksums().l4 == ChecksumVerdict::Good {
        return Ok(());
    }
    if sum_range(packet, ip.payload.start..end, pseudo_header(packet, ip, udp.length)).finish() == 0 {
        Ok(())
    } else {
        Err(DropReason::OuterUdpChecksum)
    }
}

/// The pseudo-header of a UDP datagram (RFC 768; RFC 8200, 8.1), with the addresses as they are in the packet.
fn pseudo_header<P: PacketBuffer>(packet: &P, ip: &OuterIp, length: u16) -> Checksum {
    // Both addresses of either family are the last of the fixed header.
    let addresses = if ip.ipv6 {
        ETHERNET_HEADER + 8..ETHERNET_HEADER + IPV6_HEADER
    } else {
        ETHERNET_HEADER + 12..ETHERNET_HEADER + IPV4_HEADER
    };
    let mut sum = Checksum::new();
    sum.add_bytes(packet.head().get(addresses).unwrap_or_default());
    sum.add_u16(PROTOCOL_UDP.into());
    sum.add_u16(length);
    sum
}

/// Adds the packet's bytes in this range, whatever segments they lie in.
fn sum_range<P: PacketBuffer>(packet: &P, range: std::ops::Range<usize>, mut sum: Checksum) -> Checksum {
    let mut at = 0;
    for segment in packet.segments() {
        let start = range.start.saturating_sub(at).min(segment.len());
        let end = range.end.saturating_sub(at).min(segment.len());
        sum.add_bytes(segment.get(start..end).unwrap_or_default());
        at += segment.len();
    }
    sum
}

/// Frames to another MAC address: broadcasts and multicasts may be neighbour discovery for the gateway.
#[cold]
fn not_ours(ethernet: &EthernetHeader) -> Refusal {
    if !ethernet.destination.is_group() {
        return DropReason::UplinkForeignMac.into();
    }
    match ethernet.ethertype {
        ETHERTYPE_ARP | ETHERTYPE_IPV6 => Refusal::Local,
        ETHERTYPE_IPV4 => DropReason::UplinkForeignAddress.into(),
        _ => DropReason::UplinkEtherType.into(),
    }
}

/// What is for the gateway's address but not UDP: a ping is answered.
#[cold]
fn unserved(ip: &OuterIp) -> Refusal {
    match (ip.protocol, ip.ipv6) {
        (PROTOCOL_ICMP, false) | (PROTOCOL_ICMPV6, true) if !ip.fragment => Refusal::Local,
        _ => DropReason::UplinkUnserved.into(),
    }
}

//! Stage 1 for packets from an uplink: validate the outer headers and find the frame behind them.

use std::net::IpAddr;

use super::access::short;
use super::bridging::{Admission, check_front};
use super::framing::{ADDRESSES, Addresses, FramePlace};
use super::packet::{ChecksumVerdict, PacketBuffer};
use crate::tables::learning::LearnRing;
use crate::tables::outer_pattern::{OuterPattern, PATTERN};
use crate::tables::snapshot::{Port, Snapshot, UNKNOWN_TUNNEL};
use crate::tables::tunnel::{OUTER_IPV4, OUTER_IPV6};
use crate::tables::{BridgeIndex, Location, TunnelIndex, UnderlayGroup};
use crate::telemetry::{DropReason, Event, WorkerTelemetry};
use crate::wire::checksum::{Checksum, ipv4_header_is_valid, plain_ipv4_header_is_valid};
use crate::wire::ecn::{Ecn, EcnOutcome, copy_congestion};
use crate::wire::ethernet::{
    ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_AT, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, is_vlan_ethertype,
};
use crate::wire::field::field;
use crate::wire::ip::{IpError, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDP};
use crate::wire::ipv4::{IPV4_HEADER, Ipv4Header};
use crate::wire::ipv6::{IPV6_HEADER, Ipv6Header, upper_layer};
use crate::wire::udp::{UDP_HEADER, UdpHeader};
use crate::wire::vxlan::VXLAN_HEADER;
use crate::wire::{Vni, vxlan};

/// Why a packet from an uplink does not become a bridged frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is dropped.
    Drop(DropReason),
    /// It is ICMP to the gateway's own address, perhaps a ping or a solicitation to be answered.
    Local,
    /// It is ARP, or IPv6 to a group: perhaps a question for the gateway's own address.
    Discovery,
    /// It is to a reserved link-local group address, and the port's own word on these counts.
    LinkLocal,
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// What the outer headers of a valid VXLAN packet say, and the inner Ethernet header.
#[derive(Clone, Copy)]
struct Outer {
    /// The remote VTEP that sent it.
    source: TunnelIndex,
    ecn: Ecn,
    vni: Vni,
    /// Asked for of no usual packet.
    group_policy: Option<u16>,
    /// The same.
    forbids_learning: bool,
    /// Where the inner frame is in the packet, which ends with it.
    place: FramePlace,
    addresses: Addresses,
    ethertype: u16,
}

/// The inner Ethernet header's addresses and EtherType. They are taken apart where they are read: bytes that are copied
/// in other pieces than they are read again make the processor wait for the copy.
#[inline(always)]
fn inner_header(header: &[u8; ETHERNET_HEADER]) -> (Addresses, u16) {
    let ethertype = u16::from_be_bytes([header[ETHERTYPE_AT], header[ETHERTYPE_AT + 1]]);
    let addresses = header.first_chunk::<ADDRESSES>().map(Addresses::of);
    (addresses.unwrap_or(Addresses::NONE), ethertype)
}

/// Admits the usual packet from an underlay of this family: valid VXLAN for this gateway, in the form that nearly all
/// packets have, of a known VNI and from a known remote VTEP, with no tag inside; with the outer ECN field, which is for
/// `take_congestion_over` unless it is Not-ECT. None for any other packet, which is for [`admit_unusual`].
#[inline(always)]
pub fn admit_usual<const IPV6: bool, P: PacketBuffer>(
    packet: &P,
    pattern: &OuterPattern,
    snapshot: &Snapshot,
) -> Option<(Admission, Ecn)> {
    let Outer { source, ecn, vni, place, addresses, ethertype, .. } = usual::<IPV6, P>(packet, pattern, snapshot)?;
    let bridge = snapshot.vnis.get(vni)?;
    if is_vlan_ethertype(ethertype) {
        return None;
    }
    Some((Admission { bridge, source: Location::tunnel(source), addresses, place }, ecn))
}

/// Admits any packet that `port` received: if it is VXLAN for this gateway, of a known VNI, what is behind its outer
/// headers is the bridged frame. False beside it where the sender does not want its source address to be learned.
///
/// # Errors
/// The reason why it is not bridged.
#[inline(never)]
pub fn admit_unusual<P: PacketBuffer>(
    packet: &mut P,
    port: &Port,
    snapshot: &Snapshot,
    telemetry: &WorkerTelemetry,
    learn: &LearnRing,
) -> Result<(Admission, bool), Refusal> {
    let (outer, sender) = validate(packet, port, snapshot)?;
    check_front(packet, outer.place)?;
    // Where group policies mean nothing, the flag is one of the reserved bits, and ignored (RFC 7348, 5).
    let teaches = !(outer.forbids_learning && snapshot.group_policies.contains_key(&outer.vni));
    let admission = open(packet, outer, snapshot, telemetry)?;
    if outer.source == UNKNOWN_TUNNEL {
        discover(sender, admission.bridge, snapshot, learn);
    }
    Ok((admission, teaches))
}

/// Reports a VTEP that is not known and sends to a bridge that is to learn who does (RFC 7348, 4.2).
#[cold]
fn discover(sender: IpAddr, bridge: BridgeIndex, snapshot: &Snapshot, learn: &LearnRing) {
    let domain = snapshot.domains.get(usize::from(bridge.0));
    if domain.is_some_and(|domain| domain.discovers) {
        learn.send_remote(sender);
    }
}

/// Recognises the usual packet: one segment that fits the pattern, with no byte behind the datagram, right lengths and
/// right checksums, from a known remote VTEP. Of such a packet, [`validate`] would say the same.
#[inline(always)]
fn usual<const IPV6: bool, P: PacketBuffer>(packet: &P, pattern: &OuterPattern, snapshot: &Snapshot) -> Option<Outer> {
    let head = packet.head();
    let front = head.first_chunk::<PATTERN>().filter(|front| head.len() == packet.len() && pattern.fits(front))?;
    if IPV6 { usual_ipv6(packet, snapshot) } else { usual_ipv4(packet, front, snapshot) }
}

#[inline(always)]
fn usual_ipv4<P: PacketBuffer>(packet: &P, front: &[u8; PATTERN], snapshot: &Snapshot) -> Option<Outer> {
    const UDP: usize = ETHERNET_HEADER + IPV4_HEADER;
    const { assert!(OUTER_IPV4 + ETHERNET_HEADER <= PATTERN) };
    // Both lengths at once: that of the IP packet in the upper half, of the UDP datagram in the lower one. The packet is
    // one segment, which is shorter than 64 KiB, and no shorter than the pattern.
    let word = |at: usize| u32::from(u16::from_be_bytes([front[at], front[at + 1]]));
    let lengths = word(ETHERNET_HEADER + 2) << 16 | word(UDP + 4);
    const AROUND: u32 = (ETHERNET_HEADER as u32) << 16 | UDP as u32;
    if lengths != (packet.len() as u32).wrapping_mul(1 << 16 | 1).wrapping_sub(AROUND) {
        return None;
    }
    let header = field::<IPV4_HEADER>(front, ETHERNET_HEADER)?;
    if packet.receive_checksums().ip != ChecksumVerdict::Good && !plain_ipv4_header_is_valid(header) {
        return None;
    }
    let source = u32::from_be_bytes(*field(front, ETHERNET_HEADER + 12)?);
    let (addresses, ethertype) = inner_header(field(front, OUTER_IPV4)?);
    Some(Outer {
        source: snapshot.remotes.get_ipv4(source.into())?,
        ecn: Ecn::from_dscp_ecn(front[ETHERNET_HEADER + 1]),
        vni: vxlan::vni_of(field(front, UDP + UDP_HEADER)?),
        group_policy: None,
        forbids_learning: false,
        place: FramePlace::without(OUTER_IPV4 as u16, packet),
        addresses,
        ethertype,
    })
}

#[inline(always)]
fn usual_ipv6<P: PacketBuffer>(packet: &P, snapshot: &Snapshot) -> Option<Outer> {
    const UDP: usize = ETHERNET_HEADER + IPV6_HEADER;
    let front = packet.head().first_chunk::<{ OUTER_IPV6 + ETHERNET_HEADER }>()?;
    let udp = UdpHeader::parse(&front[UDP..])?;
    let payload_length = u16::from_be_bytes([front[ETHERNET_HEADER + 4], front[ETHERNET_HEADER + 5]]);
    if payload_length != udp.length || usize::from(udp.length) + UDP != packet.len() {
        return None;
    }
    verify_udp_checksum(packet, true, UDP, &udp, snapshot).ok()?;
    let header = field(front, UDP + UDP_HEADER)?;
    // Of an IPv6 packet the pattern has the VXLAN header's first two bytes only.
    if snapshot.vtep.strict && !vxlan::reserved_is_zero(header) {
        return None;
    }
    let source = u128::from_be_bytes(*field(front, ETHERNET_HEADER + 8)?);
    let (addresses, ethertype) = inner_header(field(front, OUTER_IPV6)?);
    Some(Outer {
        source: snapshot.remotes.get_ipv6(source.into())?,
        ecn: Ecn::from_dscp_ecn(front[ETHERNET_HEADER] << 4 | front[ETHERNET_HEADER + 1] >> 4),
        vni: vxlan::vni_of(header),
        group_policy: None,
        forbids_learning: false,
        place: FramePlace::without(OUTER_IPV6 as u16, packet),
        addresses,
        ethertype,
    })
}

/// What the outer IP header says, of a packet to the gateway's own address.
struct OuterIp {
    /// The remote VTEP that sent it.
    source: TunnelIndex,
    /// Its address.
    sender: IpAddr,
    ipv6: bool,
    protocol: u8,
    fragment: bool,
    ecn: Ecn,
    /// Where the payload starts and the packet ends, from the start of the frame.
    payload: std::ops::Range<usize>,
}

/// Validates the outer headers, one field after the other, and cuts off what is behind the datagram. Gives the sender's
/// address besides.
fn validate<P: PacketBuffer>(packet: &mut P, port: &Port, snapshot: &Snapshot) -> Result<(Outer, IpAddr), Refusal> {
    let Some(ethernet) = EthernetHeader::parse(packet.head()) else {
        return Err(short(packet, ETHERNET_HEADER).into());
    };
    if ethernet.source == port.mac {
        return Err(DropReason::OwnSource.into());
    }
    let (ip, (header, frame)) = if ethernet.destination == port.mac {
        let ip = match ethernet.ethertype {
            ETHERTYPE_IPV4 => outer_ipv4(packet, None, snapshot)?,
            ETHERTYPE_IPV6 => outer_ipv6(packet, None, snapshot)?,
            ETHERTYPE_ARP => return Err(Refusal::Discovery),
            _ => return Err(DropReason::UplinkEtherType.into()),
        };
        if ip.protocol != PROTOCOL_UDP {
            return Err(unserved(&ip));
        }
        let vxlan = terminate_vxlan(packet, &ip, snapshot)?;
        (ip, vxlan)
    } else {
        validate_to_group(packet, &ethernet, port, snapshot)?
    };
    let (vni, group_policy) = (vxlan::vni_of(&header), vxlan::group_policy_of(&header));
    let forbids_learning = vxlan::forbids_learning(&header);
    let inner = field(packet.head(), frame.start).map(inner_header);
    let (addresses, ethertype) = inner.ok_or_else(|| short(packet, frame.start + ETHERNET_HEADER))?;
    if !packet.truncate(frame.end) {
        return Err(DropReason::Truncated.into());
    }
    // IPv4 or IPv6 headers with all their options, UDP and VXLAN are far shorter than 64 KiB.
    let place = FramePlace::without(frame.start as u16, packet);
    let OuterIp { source, ecn, sender, .. } = ip;
    Ok((Outer { source, ecn, vni, group_policy, forbids_learning, place, addresses, ethertype }, sender))
}

/// Validates a packet to another MAC address than the port's: VXLAN to one of the port's groups is the gateway's, if it
/// is for a bridge whose floods the group carries.
#[cold]
fn validate_to_group<P: PacketBuffer>(
    packet: &P,
    ethernet: &EthernetHeader,
    port: &Port,
    snapshot: &Snapshot,
) -> Result<(OuterIp, Vxlan), Refusal> {
    let Some(group) = group_of(packet, ethernet, port) else { return Err(not_ours(ethernet)) };
    let ip = match group.address {
        IpAddr::V4(_) => outer_ipv4(packet, Some(group.address), snapshot)?,
        IpAddr::V6(_) => outer_ipv6(packet, Some(group.address), snapshot)?,
    };
    // The group's members may have other things to say to each other, which are as those of any other group.
    if ip.protocol != PROTOCOL_UDP {
        return Err(not_ours(ethernet));
    }
    let (header, frame) = terminate_vxlan(packet, &ip, snapshot).map_err(|reason| match reason {
        DropReason::UplinkUnserved => not_ours(ethernet),
        reason => reason.into(),
    })?;
    if snapshot.vtep.has(ip.sender) {
        return Err(DropReason::OwnSource.into());
    }
    let vni = vxlan::vni_of(&header);
    let policed = || snapshot.group_policies.get(&vni).map(|policies| policies.bridge);
    match snapshot.vnis.get_any(vni).or_else(policed) {
        Some(bridge) if !group.carries(bridge) => Err(DropReason::ForeignGroup.into()),
        _ => Ok((ip, (header, frame))),
    }
}

/// The group of the port's that a packet is for.
fn group_of<'a, P: PacketBuffer>(packet: &P, ethernet: &EthernetHeader, port: &'a Port) -> Option<&'a UnderlayGroup> {
    if port.groups.is_empty() || !ethernet.destination.is_group() {
        return None;
    }
    let destination: IpAddr = match ethernet.ethertype {
        ETHERTYPE_IPV4 => (*field::<4>(packet.head(), ETHERNET_HEADER + 16)?).into(),
        ETHERTYPE_IPV6 => (*field::<16>(packet.head(), ETHERNET_HEADER + 24)?).into(),
        _ => return None,
    };
    port.groups.get(destination)
}

/// A VXLAN header, and where the frame behind it lies in the packet.
type Vxlan = ([u8; VXLAN_HEADER], std::ops::Range<usize>);

/// Validates UDP and VXLAN (RFC 7348, 5); gives the VXLAN header, and where the inner frame lies in the packet.
fn terminate_vxlan<P: PacketBuffer>(packet: &P, ip: &OuterIp, snapshot: &Snapshot) -> Result<Vxlan, DropReason> {
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
    if !snapshot.vtep.udp_ports.contains(&udp.destination_port) {
        return Err(DropReason::UplinkUnserved);
    }
    let udp_length = usize::from(udp.length);
    if udp_length > ip.payload.len() || udp_length < UDP_HEADER + VXLAN_HEADER {
        return Err(DropReason::OuterUdpLength);
    }
    let end = ip.payload.start + udp_length;
    verify_udp_checksum(packet, ip.ipv6, ip.payload.start, &udp, snapshot)?;
    let vxlan_at = ip.payload.start + UDP_HEADER;
    let frame = vxlan_at + VXLAN_HEADER..end;
    let Some(header) = field(head, vxlan_at) else {
        return Err(short(packet, frame.start));
    };
    if !vxlan::has_valid_vni(header) {
        return Err(DropReason::VxlanFlags);
    }
    if snapshot.vtep.strict && !reserved_is_zero(header, snapshot) {
        return Err(DropReason::VxlanReserved);
    }
    if frame.len() < ETHERNET_HEADER {
        return Err(DropReason::InnerTruncated);
    }
    Ok((*header, frame))
}

/// True where what is reserved in a VXLAN header is zero. To a bridge with group policies their fields are not reserved.
fn reserved_is_zero(header: &[u8; VXLAN_HEADER], snapshot: &Snapshot) -> bool {
    let has_policies = || snapshot.group_policies.contains_key(&vxlan::vni_of(header));
    vxlan::reserved_is_zero(header) || vxlan::reserved_with_group_policy_is_zero(header) && has_policies()
}

/// The bridge of a packet whose VNI is none of the usual ones.
#[cold]
fn bridge_by_group_policy(vni: Vni, group_policy: Option<u16>, snapshot: &Snapshot) -> Result<BridgeIndex, DropReason> {
    let policies = snapshot.group_policies.get(&vni).ok_or(DropReason::UnknownVni)?;
    let accepted = group_policy.is_some_and(|id| policies.accepted.contains(&id));
    if accepted { Ok(policies.bridge) } else { Err(DropReason::GroupPolicy) }
}

/// Finds the bridge, and looks at the inner frame.
fn open<P: PacketBuffer>(
    packet: &mut P,
    outer: Outer,
    snapshot: &Snapshot,
    telemetry: &WorkerTelemetry,
) -> Result<Admission, DropReason> {
    let Outer { source, ecn, vni, group_policy, place, addresses, ethertype, .. } = outer;
    let bridge = snapshot.vnis.get_any(vni).map_or_else(|| bridge_by_group_policy(vni, group_policy, snapshot), Ok)?;
    if source == UNKNOWN_TUNNEL && snapshot.policy(bridge).source_check {
        return Err(DropReason::UnknownRemote);
    }
    if is_vlan_ethertype(ethertype) && !snapshot.policy(bridge).carry_tags {
        return Err(DropReason::InnerTagged);
    }
    // An outer Not-ECT never changes the inner packet (RFC 6040, 4.2).
    if ecn != Ecn::NotEct {
        take_congestion_over(packet, place, ecn, telemetry)?;
    }
    Ok(Admission { bridge, source: Location::tunnel(source), addresses, place })
}

/// Copies a congestion mark of the outer header to the inner one (RFC 6040, 4.2).
///
/// # Errors
/// [`DropReason::EcnCongestion`] where the inner packet cannot carry it.
pub(super) fn take_congestion_over<P: PacketBuffer>(
    packet: &mut P,
    place: FramePlace,
    ecn: Ecn,
    telemetry: &WorkerTelemetry,
) -> Result<(), DropReason> {
    let frame = packet.head_mut().get_mut(place.start()..).unwrap_or_default();
    match copy_congestion(frame, ecn) {
        EcnOutcome::Deliver(_) => {}
        EcnOutcome::DeliverWithWarning(_) => telemetry.event(Event::EcnWarning),
        EcnOutcome::Drop => return Err(DropReason::EcnCongestion),
    }
    Ok(())
}

/// The outer header of a packet that is to be for this group, or else for the gateway itself.
fn outer_ipv4<P: PacketBuffer>(packet: &P, group: Option<IpAddr>, snapshot: &Snapshot) -> Result<OuterIp, DropReason> {
    let bytes = packet.head().get(ETHERNET_HEADER..).unwrap_or_default();
    let ip = Ipv4Header::parse(bytes, packet.len() - ETHERNET_HEADER).map_err(|error| malformed(packet, error))?;
    if packet.receive_checksums().ip != ChecksumVerdict::Good && !ipv4_header_is_valid(bytes) {
        return Err(DropReason::OuterIpChecksum);
    }
    if !is_for(ip.destination.into(), group, snapshot) {
        return Err(DropReason::UplinkForeignAddress);
    }
    Ok(OuterIp {
        source: snapshot.remotes.get_ipv4(ip.source).unwrap_or(UNKNOWN_TUNNEL),
        sender: ip.source.into(),
        ipv6: false,
        protocol: ip.protocol,
        fragment: ip.is_fragment(),
        ecn: Ecn::from_dscp_ecn(ip.dscp_ecn),
        payload: ETHERNET_HEADER + ip.header_length..ETHERNET_HEADER + ip.total_length,
    })
}

/// The outer header of a packet that is to be for this group, or else for the gateway itself.
fn outer_ipv6<P: PacketBuffer>(packet: &P, group: Option<IpAddr>, snapshot: &Snapshot) -> Result<OuterIp, DropReason> {
    let bytes = packet.head().get(ETHERNET_HEADER..).unwrap_or_default();
    let ip = Ipv6Header::parse(bytes, packet.len() - ETHERNET_HEADER).map_err(|error| malformed(packet, error))?;
    let upper = upper_layer(bytes).map_err(|_| DropReason::OuterExtensionHeader)?;
    if upper.underway {
        return Err(DropReason::OuterExtensionHeader);
    }
    if !is_for(ip.destination.into(), group, snapshot) {
        return Err(DropReason::UplinkForeignAddress);
    }
    Ok(OuterIp {
        source: snapshot.remotes.get_ipv6(ip.source).unwrap_or(UNKNOWN_TUNNEL),
        sender: ip.source.into(),
        ipv6: true,
        protocol: upper.protocol,
        fragment: upper.is_fragment(),
        ecn: Ecn::from_dscp_ecn(ip.traffic_class),
        payload: ETHERNET_HEADER + upper.offset..ETHERNET_HEADER + IPV6_HEADER + ip.payload_length,
    })
}

/// True where a destination is this group; or where there is none, an address of the gateway's.
fn is_for(destination: IpAddr, group: Option<IpAddr>, snapshot: &Snapshot) -> bool {
    group.map_or_else(|| snapshot.vtep.has(destination), |group| group == destination)
}

#[cold]
fn malformed<P: PacketBuffer>(packet: &P, error: IpError) -> DropReason {
    match error {
        // What the head lacks, IPv4 options included, is in the next segment or nowhere.
        IpError::Truncated => short(packet, packet.head().len() + 1),
        _ => DropReason::OuterIpMalformed,
    }
}

/// Verifies the UDP checksum of a datagram at `at` that lies within the packet, if there is one (RFC 768; over IPv6,
/// RFC 6935 on its absence). A NIC's bad verdict is looked at again: drivers differ in what they mean by it.
#[inline]
fn verify_udp_checksum<P: PacketBuffer>(
    packet: &P,
    ipv6: bool,
    at: usize,
    udp: &UdpHeader,
    snapshot: &Snapshot,
) -> Result<(), DropReason> {
    if udp.checksum == 0 {
        let missing = ipv6 && !snapshot.vtep.zero_checksum_ipv6;
        return if missing { Err(DropReason::OuterUdpChecksumMissing) } else { Ok(()) };
    }
    if packet.receive_checksums().l4 == ChecksumVerdict::Good {
        return Ok(());
    }
    let (start, end) = (addresses_start(ipv6), at + usize::from(udp.length));
    let mut sum = Checksum::new();
    sum.add_u16(PROTOCOL_UDP.into());
    sum.add_u16(udp.length);
    // The addresses, which the pseudo-header has (RFC 768; RFC 8200, 8.1), are the last of the fixed IP header, and mostly
    // the datagram is right behind them.
    let fixed_end = ETHERNET_HEADER + if ipv6 { IPV6_HEADER } else { IPV4_HEADER };
    if at == fixed_end {
        add_range(packet, start..end, &mut sum);
    } else {
        add_range(packet, start..fixed_end, &mut sum);
        add_range(packet, at..end, &mut sum);
    }
    if sum.finish() == 0 { Ok(()) } else { Err(DropReason::OuterUdpChecksum) }
}

/// Where the IP addresses of a packet from an uplink begin.
const fn addresses_start(ipv6: bool) -> usize {
    ETHERNET_HEADER + if ipv6 { 8 } else { 12 }
}

/// Adds the packet's bytes in this range, whatever segments they lie in.
#[inline]
fn add_range<P: PacketBuffer>(packet: &P, range: std::ops::Range<usize>, sum: &mut Checksum) {
    match packet.head().get(range.clone()) {
        Some(bytes) => sum.add_bytes(bytes),
        None => add_scattered(packet, range, sum),
    }
}

#[inline(never)]
fn add_scattered<P: PacketBuffer>(packet: &P, range: std::ops::Range<usize>, sum: &mut Checksum) {
    let mut at = 0;
    for segment in packet.segments() {
        let start = range.start.saturating_sub(at).min(segment.len());
        let end = range.end.saturating_sub(at).min(segment.len());
        sum.add_bytes(segment.get(start..end).unwrap_or_default());
        at += segment.len();
    }
}

/// Frames to another MAC address: broadcasts and multicasts may be neighbour discovery for the gateway.
#[cold]
fn not_ours(ethernet: &EthernetHeader) -> Refusal {
    if !ethernet.destination.is_group() {
        return DropReason::UplinkForeignMac.into();
    }
    if ethernet.destination.is_link_local_group() {
        return Refusal::LinkLocal;
    }
    match ethernet.ethertype {
        ETHERTYPE_ARP | ETHERTYPE_IPV6 => Refusal::Discovery,
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

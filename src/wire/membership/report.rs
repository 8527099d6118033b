//! Reports of one's own memberships.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{PROTOCOL_IGMP, igmp, mld, record};
use crate::wire::MacAddr;
use crate::wire::checksum::{Checksum, pseudo_header_ipv6};
use crate::wire::ethernet::{ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::field::FieldWriter;
use crate::wire::ip::PROTOCOL_ICMPV6;
use crate::wire::ipv6::{EXTENSION_HOP_BY_HOP, IPV6_HEADER};
use crate::wire::nd::multicast_mac;

/// The most groups of one report.
pub const MOST_RECORDS: usize = 50;
/// The longest report, in bytes: over IPv6, and shorter than any MTU.
pub const LONGEST_REPORT: usize = ETHERNET_HEADER + IPV6_HEADER + 8 + 8 + 20 * MOST_RECORDS;

/// An IPv4 header with the Router Alert option (RFC 2113).
const IPV4_WITH_ALERT: usize = 24;
/// Type of service and traffic class "internetwork control" (RFC 3376, 4).
const CONTROL: u8 = 0xc0;

/// What a report says of each of its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// They are wanted from now on.
    Join,
    /// They still are: an answer to a query.
    Stay,
    /// They no longer are.
    Leave,
}

/// The version that routers on the link understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// IGMPv3 or MLDv2.
    Current,
    /// IGMPv2 or MLDv1.
    Older,
}

/// The group MAC address that an IP multicast address is sent to (RFC 1112, 6.4; RFC 2464, 7).
#[must_use]
pub const fn group_mac(group: IpAddr) -> MacAddr {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(group) => multicast_mac(group),
    }
}

/// The link-local address that follows from a MAC address (RFC 4291, appendix A).
#[must_use]
pub fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let word = |high: u8, low: u8| (high as u16) << 8 | low as u16;
    Ipv6Addr::new(0xfe80, 0, 0, 0, word(a ^ 2, b), word(c, 0xff), word(0xfe, d), word(e, f))
}

/// Writes a report of these groups, all of one family and at most [`MOST_RECORDS`] of them, and only the first for the
/// older version, as an Ethernet frame into `out`; gives its length. `source` is the sender's address in IPv4; over IPv6
/// the sender is its link-local address (RFC 3810, 5.2.13). None where there is no group, or no room.
#[must_use]
pub fn report(
    mac: MacAddr,
    source: IpAddr,
    groups: &[IpAddr],
    change: Change,
    version: Version,
    out: &mut [u8; LONGEST_REPORT],
) -> Option<usize> {
    match (source, groups.first()?) {
        (IpAddr::V4(source), IpAddr::V4(first)) => match version {
            Version::Current => igmp_v3(mac, source, groups, change, out),
            Version::Older => igmp_v2(mac, source, *first, change, out),
        },
        (IpAddr::V6(_), IpAddr::V6(first)) => match version {
            Version::Current => mld_v2(mac, groups, change, out),
            Version::Older => mld_v1(mac, *first, change, out),
        },
        _ => None,
    }
}

const fn record_type(change: Change) -> u8 {
    match change {
        Change::Join => record::CHANGE_TO_EXCLUDE,
        Change::Stay => record::MODE_IS_EXCLUDE,
        Change::Leave => record::CHANGE_TO_INCLUDE,
    }
}

fn igmp_v3(mac: MacAddr, source: Ipv4Addr, groups: &[IpAddr], change: Change, out: &mut [u8]) -> Option<usize> {
    let groups = groups.get(..groups.len().min(MOST_RECORDS))?;
    let length = 8 + 8 * groups.len();
    let message = out.get_mut(ETHERNET_HEADER + IPV4_WITH_ALERT..)?.get_mut(..length)?;
    let mut fields = FieldWriter::new(message);
    fields.put(&[igmp::REPORT_V3, 0, 0, 0, 0, 0])?;
    fields.put(&(groups.len() as u16).to_be_bytes())?;
    for group in groups {
        let IpAddr::V4(group) = group else { return None };
        fields.put(&[record_type(change), 0, 0, 0])?;
        fields.put(&group.octets())?;
    }
    igmp_frame(mac, source, Ipv4Addr::new(224, 0, 0, 22), length, out)
}

fn igmp_v2(mac: MacAddr, source: Ipv4Addr, group: Ipv4Addr, change: Change, out: &mut [u8]) -> Option<usize> {
    let message = out.get_mut(ETHERNET_HEADER + IPV4_WITH_ALERT..)?.get_mut(..8)?;
    let mut fields = FieldWriter::new(message);
    let (kind, destination) = match change {
        Change::Join | Change::Stay => (igmp::REPORT_V2, group),
        Change::Leave => (igmp::LEAVE, Ipv4Addr::new(224, 0, 0, 2)),
    };
    fields.put(&[kind, 0, 0, 0])?;
    fields.put(&group.octets())?;
    igmp_frame(mac, source, destination, 8, out)
}

/// Completes a frame whose message, of so many bytes, is in its place.
fn igmp_frame(mac: MacAddr, source: Ipv4Addr, destination: Ipv4Addr, length: usize, out: &mut [u8]) -> Option<usize> {
    let (front, message) = out.split_at_mut_checked(ETHERNET_HEADER + IPV4_WITH_ALERT)?;
    let message = message.get_mut(..length)?;
    let mut checksum = Checksum::new();
    checksum.add_bytes(message);
    message.get_mut(2..4)?.copy_from_slice(&checksum.finish().to_be_bytes());
    let mut header = [0; IPV4_WITH_ALERT];
    let mut fields = FieldWriter::new(&mut header);
    fields.put(&[0x46, CONTROL])?;
    fields.put(&((IPV4_WITH_ALERT + length) as u16).to_be_bytes())?;
    // Not to be fragmented, of one hop (RFC 3376, 4).
    fields.put(&[0, 0, 0x40, 0, 1, PROTOCOL_IGMP, 0, 0])?;
    fields.put(&source.octets())?;
    fields.put(&destination.octets())?;
    fields.put(&[0x94, 4, 0, 0])?;
    let mut checksum = Checksum::new();
    checksum.add_bytes(&header);
    header.get_mut(10..12)?.copy_from_slice(&checksum.finish().to_be_bytes());
    let mut fields = FieldWriter::new(front);
    fields.put(&group_mac(destination.into()).0)?;
    fields.put(&mac.0)?;
    fields.put(&ETHERTYPE_IPV4.to_be_bytes())?;
    fields.put(&header)?;
    Some(ETHERNET_HEADER + IPV4_WITH_ALERT + length)
}

/// Where an MLD message begins: behind the Hop-by-Hop Options.
const MLD_AT: usize = ETHERNET_HEADER + IPV6_HEADER + 8;

fn mld_v2(mac: MacAddr, groups: &[IpAddr], change: Change, out: &mut [u8]) -> Option<usize> {
    let groups = groups.get(..groups.len().min(MOST_RECORDS))?;
    let length = 8 + 20 * groups.len();
    let mut fields = FieldWriter::new(out.get_mut(MLD_AT..)?.get_mut(..length)?);
    fields.put(&[mld::REPORT_V2, 0, 0, 0, 0, 0])?;
    fields.put(&(groups.len() as u16).to_be_bytes())?;
    for group in groups {
        let IpAddr::V6(group) = group else { return None };
        fields.put(&[record_type(change), 0, 0, 0])?;
        fields.put(&group.octets())?;
    }
    mld_frame(mac, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16), length, out)
}

fn mld_v1(mac: MacAddr, group: Ipv6Addr, change: Change, out: &mut [u8]) -> Option<usize> {
    let mut fields = FieldWriter::new(out.get_mut(MLD_AT..)?.get_mut(..24)?);
    let (kind, destination) = match change {
        Change::Join | Change::Stay => (mld::REPORT_V1, group),
        Change::Leave => (mld::DONE, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2)),
    };
    fields.put(&[kind, 0, 0, 0, 0, 0, 0, 0])?;
    fields.put(&group.octets())?;
    mld_frame(mac, destination, 24, out)
}

/// Completes a frame whose message, of so many bytes, is in its place.
fn mld_frame(mac: MacAddr, destination: Ipv6Addr, length: usize, out: &mut [u8]) -> Option<usize> {
    let source = link_local(mac);
    let (front, message) = out.split_at_mut_checked(MLD_AT)?;
    let message = message.get_mut(..length)?;
    let mut checksum = pseudo_header_ipv6(source, destination, PROTOCOL_ICMPV6, length as u32);
    checksum.add_bytes(message);
    message.get_mut(2..4)?.copy_from_slice(&checksum.finish().to_be_bytes());
    let mut fields = FieldWriter::new(front);
    fields.put(&multicast_mac(destination).0)?;
    fields.put(&mac.0)?;
    fields.put(&ETHERTYPE_IPV6.to_be_bytes())?;
    fields.put(&(6 << 28 | u32::from(CONTROL) << 20).to_be_bytes())?;
    fields.put(&((8 + length) as u16).to_be_bytes())?;
    fields.put(&[EXTENSION_HOP_BY_HOP, 1])?;
    fields.put(&source.octets())?;
    fields.put(&destination.octets())?;
    // Router Alert of value 0 (RFC 2711), and two bytes of padding.
    fields.put(&[PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0])?;
    Some(MLD_AT + length)
}

//! What hosts and routers say of multicast groups: IGMP (RFC 1112, 2236, 3376) for IPv4, MLD (RFC 2710, 3810) for IPv6;
//! and the Hellos by which PIM routers show themselves (RFC 7761, 4.9.2).

mod report;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use report::{Change, LONGEST_REPORT, MOST_RECORDS, Version, group_mac, link_local, report};

use super::checksum::{Checksum, pseudo_header_ipv6};
use super::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, network_header};
use super::field::{field, read_u8, read_u16};
use super::ip::PROTOCOL_ICMPV6;
use super::ipv4::Ipv4Header;
use super::ipv6::{IPV6_HEADER, Ipv6Header, upper_layer};

/// IGMP (RFC 3376, 4).
pub const PROTOCOL_IGMP: u8 = 2;
/// PIM (RFC 7761, 4.9).
pub const PROTOCOL_PIM: u8 = 103;

/// The first octet of IGMP's messages (RFC 3376, 4).
mod igmp {
    pub const QUERY: u8 = 0x11;
    pub const REPORT_V1: u8 = 0x12;
    pub const REPORT_V2: u8 = 0x16;
    pub const LEAVE: u8 = 0x17;
    pub const REPORT_V3: u8 = 0x22;
}

/// The types of MLD's messages (RFC 3810, 5).
mod mld {
    pub const QUERY: u8 = 130;
    pub const REPORT_V1: u8 = 131;
    pub const DONE: u8 = 132;
    pub const REPORT_V2: u8 = 143;
}

/// The types of group records (RFC 3376, 4.2.12; RFC 3810, 5.2.12).
mod record {
    pub const MODE_IS_INCLUDE: u8 = 1;
    pub const MODE_IS_EXCLUDE: u8 = 2;
    pub const CHANGE_TO_INCLUDE: u8 = 3;
    pub const CHANGE_TO_EXCLUDE: u8 = 4;
    pub const ALLOW_NEW_SOURCES: u8 = 5;
}

/// What an IPv4 or IPv6 multicast frame is to a switch.
#[derive(Clone, Copy, Debug)]
pub enum Multicast<'a> {
    /// A router asks who wants a group, or any.
    Query(Query),
    /// Hosts say what they want.
    Report {
        /// By MLD.
        ipv6: bool,
        /// What they say.
        records: Records<'a>,
    },
    /// A router shows itself.
    RouterHello {
        /// Over IPv6.
        ipv6: bool,
    },
    /// Anything else, for this group.
    Data(IpAddr),
}

/// Where queries about all groups go (RFC 3376, 4.1.12; RFC 3810, 5.1.15).
const ALL_HOSTS: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1));
const ALL_NODES: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));

/// A membership query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The router; unspecified where it is a switch without an address.
    pub source: IpAddr,
    /// The group asked about; none for all.
    pub group: Option<IpAddr>,
    /// Within which time hosts answer, in milliseconds.
    pub response_ms: u32,
    /// How often the router asks, in seconds, and how many answers may be lost; absent from older versions.
    pub timing: Option<(u32, u8)>,
    /// It asks who wants the group from certain sources: who wants it from others does not answer.
    pub of_sources: bool,
    /// It is of a version before IGMPv3 or MLDv2: an answer has to be, too (RFC 3376, 7.2.1; RFC 3810, 8.2.1).
    pub is_older: bool,
}

impl Query {
    /// Where every host that it asks hears it: at the group, or at all hosts of the link (RFC 3376, 4.1.12; RFC 3810,
    /// 5.1.15).
    fn destination(&self) -> IpAddr {
        self.group.unwrap_or(if self.source.is_ipv4() { ALL_HOSTS } else { ALL_NODES })
    }
}

/// What a host says of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The group.
    pub group: IpAddr,
    /// It is wanted, from whatever sources; otherwise it is no longer.
    pub wanted: bool,
}

/// The records of a report.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// A single one, of the older versions.
    single: Option<Record>,
    /// Those that are left.
    rest: &'a [u8],
    count: u16,
    /// The length of an address.
    address: usize,
}

impl<'a> Records<'a> {
    fn one(group: IpAddr, wanted: bool) -> Self {
        Self { single: Some(Record { group, wanted }), rest: &[], count: 0, address: 4 }
    }

    fn list(rest: &'a [u8], count: u16, address: usize) -> Self {
        Self { single: None, rest, count, address }
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if let Some(single) = self.single.take() {
            return Some(single);
        }
        while self.count > 0 {
            self.count -= 1;
            let (kind, auxiliary) = (read_u8(self.rest, 0)?, usize::from(read_u8(self.rest, 1)?));
            let sources = usize::from(read_u16(self.rest, 2)?);
            let group = address_at(self.rest, 4, self.address)?;
            let length = 4 + self.address * (1 + sources) + 4 * auxiliary;
            self.rest = self.rest.get(length..)?;
            let wanted = match kind {
                record::MODE_IS_EXCLUDE | record::CHANGE_TO_EXCLUDE => true,
                // From some sources is wanted all the same; from none is not.
                record::MODE_IS_INCLUDE | record::CHANGE_TO_INCLUDE => sources > 0,
                record::ALLOW_NEW_SOURCES if sources > 0 => true,
                // Fewer sources than before, or what nobody knows.
                _ => continue,
            };
            if group.is_multicast() {
                return Some(Record { group, wanted });
            }
        }
        None
    }
}

fn address_at(bytes: &[u8], at: usize, length: usize) -> Option<IpAddr> {
    match length {
        4 => field::<4>(bytes, at).map(|octets| Ipv4Addr::from(*octets).into()),
        _ => field::<16>(bytes, at).map(|octets| Ipv6Addr::from(*octets).into()),
    }
}

/// Recognises an IP multicast frame, of which `head` is the front and `length` all bytes. None for what is not IP to a
/// multicast address, and for membership messages that are malformed, have a wrong checksum, or do not lie in `head`:
/// hosts and routers take no notice of those (RFC 3376, 9.1; RFC 3810, 6.2). None also for a query that is sent where
/// those it asks do not hear it, by its IP or its MAC destination: that nobody answers it says nothing.
#[must_use]
pub fn recognise(head: &[u8], length: usize) -> Option<Multicast<'_>> {
    let (ethertype, at) = network_header(head)?;
    let (packet, length) = (head.get(at..)?, length.checked_sub(at)?);
    let multicast = match ethertype {
        ETHERTYPE_IPV4 => recognise_ipv4(packet, length)?,
        ETHERTYPE_IPV6 => recognise_ipv6(packet, length)?,
        _ => return None,
    };
    match multicast {
        Multicast::Query(query) if !head.starts_with(&group_mac(query.destination()).0) => None,
        multicast => Some(multicast),
    }
}

const fn report_of(records: Records<'_>, ipv6: bool) -> Multicast<'_> {
    Multicast::Report { ipv6, records }
}

fn recognise_ipv4(packet: &[u8], length: usize) -> Option<Multicast<'_>> {
    let ip = Ipv4Header::parse(packet, length).ok()?;
    match ip.protocol {
        PROTOCOL_IGMP if !ip.is_fragment() => {
            igmp_message(packet.get(ip.header_length..ip.total_length)?, ip.source, ip.destination)
        }
        PROTOCOL_PIM if is_pim_hello(packet.get(ip.header_length..)?) => Some(Multicast::RouterHello { ipv6: false }),
        _ => ip.destination.is_multicast().then_some(Multicast::Data(ip.destination.into())),
    }
}

fn igmp_message(message: &[u8], source: Ipv4Addr, destination: Ipv4Addr) -> Option<Multicast<'_>> {
    let mut checksum = Checksum::new();
    checksum.add_bytes(message);
    let [kind, code, _, _, g0, g1, g2, g3] = *message.first_chunk()?;
    if checksum.finish() != 0 {
        return None;
    }
    let group = Ipv4Addr::new(g0, g1, g2, g3);
    let about = |wanted| group.is_multicast().then(|| report_of(Records::one(group.into(), wanted), false));
    match kind {
        igmp::QUERY => {
            let (response, timing) = match (message.len(), code) {
                // IGMPv1 has no such field (RFC 2236, 4), and ten seconds are meant.
                (8, 0) => (100, None),
                (8, code) => (u32::from(code), None),
                _ => (floating_point(code), Some(timing(message.get(8..10)?)?)),
            };
            let group = (!group.is_unspecified()).then_some(IpAddr::V4(group));
            let query = Query {
                source: source.into(),
                group,
                response_ms: response * 100,
                timing,
                of_sources: read_u16(message, 10).is_some_and(|sources| sources > 0),
                is_older: timing.is_none(),
            };
            let is_heard = destination.is_multicast() && query.destination() == IpAddr::V4(destination);
            is_heard.then_some(Multicast::Query(query))
        }
        igmp::REPORT_V1 | igmp::REPORT_V2 => about(true),
        igmp::LEAVE => about(false),
        igmp::REPORT_V3 => Some(report_of(Records::list(message.get(8..)?, read_u16(message, 6)?, 4), false)),
        // DVMRP, traces and the like: flooded as what they are for.
        _ => Some(Multicast::Data(destination.into())),
    }
}

fn recognise_ipv6(packet: &[u8], length: usize) -> Option<Multicast<'_>> {
    let ip = Ipv6Header::parse(packet, length).ok()?;
    let upper = upper_layer(packet).ok()?;
    let end = IPV6_HEADER + ip.payload_length;
    let kind = read_u8(packet, upper.offset).unwrap_or(0);
    let is_mld = matches!(kind, mld::QUERY | mld::REPORT_V1 | mld::DONE | mld::REPORT_V2);
    match upper.protocol {
        // RFC 3810, 5: from a link-local address, or none yet, and of no more than one hop.
        PROTOCOL_ICMPV6 if is_mld && !upper.is_fragment() => {
            let is_local = ip.source.is_unicast_link_local() || ip.source.is_unspecified() && kind != mld::QUERY;
            if ip.hop_limit != 1 || !is_local {
                return None;
            }
            mld_message(packet.get(upper.offset..end)?, ip.source, ip.destination)
        }
        PROTOCOL_PIM if is_pim_hello(packet.get(upper.offset..)?) => Some(Multicast::RouterHello { ipv6: true }),
        _ => ip.destination.is_multicast().then_some(Multicast::Data(ip.destination.into())),
    }
}

fn mld_message(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Option<Multicast<'_>> {
    let mut checksum = pseudo_header_ipv6(source, destination, PROTOCOL_ICMPV6, message.len() as u32);
    checksum.add_bytes(message);
    if checksum.finish() != 0 {
        return None;
    }
    let kind = read_u8(message, 0)?;
    if kind == mld::REPORT_V2 {
        return Some(report_of(Records::list(message.get(8..)?, read_u16(message, 6)?, 16), true));
    }
    let group = Ipv6Addr::from(*field::<16>(message, 8)?);
    let about = |wanted| group.is_multicast().then(|| report_of(Records::one(group.into(), wanted), true));
    match kind {
        mld::QUERY => {
            let code = read_u16(message, 4)?;
            let (response_ms, timing) = match message.len() {
                24 => (u32::from(code), None),
                // RFC 3810, 5.1.3.
                _ if code < 0x8000 => (code.into(), Some(timing(message.get(24..26)?)?)),
                _ => {
                    let (exponent, mantissa) = (u32::from(code >> 12 & 7), u32::from(code & 0xfff));
                    ((mantissa | 0x1000) << (exponent + 3), Some(timing(message.get(24..26)?)?))
                }
            };
            let group = (!group.is_unspecified()).then_some(IpAddr::V6(group));
            let query = Query {
                source: source.into(),
                group,
                response_ms,
                timing,
                of_sources: read_u16(message, 26).is_some_and(|sources| sources > 0),
                is_older: timing.is_none(),
            };
            let is_heard = destination.is_multicast() && query.destination() == IpAddr::V6(destination);
            is_heard.then_some(Multicast::Query(query))
        }
        mld::REPORT_V1 => about(true),
        _ => about(false),
    }
}

/// The querier's interval in seconds and its robustness, from the two octets that have them (RFC 3376, 4.1.6 and 4.1.7;
/// RFC 3810, 5.1.8 and 5.1.9). A robustness of 0 stands for one that is too large to be written, and the default is
/// taken for an interval of 0.
fn timing(octets: &[u8]) -> Option<(u32, u8)> {
    let [robustness, interval] = *octets.first_chunk()?;
    let interval = match floating_point(interval) {
        0 => 125,
        interval => interval,
    };
    Some((
        interval,
        match robustness & 7 {
            0 => 7,
            robustness => robustness,
        },
    ))
}

/// An octet that is a number up to 127, and beyond one with an exponent (RFC 3376, 4.1.1).
fn floating_point(octet: u8) -> u32 {
    if octet < 128 {
        return octet.into();
    }
    let (exponent, mantissa) = (octet >> 4 & 7, u32::from(octet & 0x0f));
    (mantissa | 0x10) << (exponent + 3)
}

/// Version 2, type 0.
fn is_pim_hello(message: &[u8]) -> bool {
    read_u8(message, 0) == Some(0x20)
}

#[cfg(test)]
mod tests;

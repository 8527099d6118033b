//! Explicit congestion notification through a tunnel (RFC 6040).
//!
//! Encapsulation is the normal mode (RFC 6040, 4.1): the outer header takes the inner one's ECN field.

use super::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, network_header, network_header_behind_addresses};
use super::field::{field, read_u8};
use super::ipv4::{self, IPV4_HEADER};
use super::ipv6::{self, IPV6_HEADER};

/// The ECN field of an IP header (RFC 3168, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// Not ECN-capable transport.
    NotEct = 0,
    /// ECN-capable transport, code point 1 (L4S: RFC 9331).
    Ect1 = 1,
    /// ECN-capable transport, code point 0.
    Ect0 = 2,
    /// Congestion experienced.
    Ce = 3,
}

impl Ecn {
    /// The ECN field of an octet of DSCP and ECN; the upper six bits are ignored.
    #[inline]
    #[must_use]
    pub const fn from_dscp_ecn(dscp_ecn: u8) -> Self {
        match dscp_ecn & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The two bits.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// What becomes of a packet at the end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcnOutcome {
    /// It is delivered with this ECN field.
    Deliver(Ecn),
    /// It is delivered with this ECN field, although no conforming tunnel makes the combination: count it.
    DeliverWithWarning(Ecn),
    /// It is dropped: the network marked congestion, and the inner packet has no means of telling its receiver.
    Drop,
}

/// The ECN field that is delivered, from the inner one and the outer one (RFC 6040, 4.2, figure 4).
#[inline]
#[must_use]
pub const fn decapsulate(inner: Ecn, outer: Ecn) -> EcnOutcome {
    match (inner, outer) {
        (_, Ecn::NotEct) => EcnOutcome::Deliver(inner),
        (Ecn::NotEct, Ecn::Ce) => EcnOutcome::Drop,
        (Ecn::NotEct, Ecn::Ect0 | Ecn::Ect1) => EcnOutcome::DeliverWithWarning(Ecn::NotEct),
        (Ecn::Ce, Ecn::Ect1) => EcnOutcome::DeliverWithWarning(Ecn::Ce),
        (Ecn::Ect1, Ecn::Ect0) => EcnOutcome::DeliverWithWarning(Ecn::Ect1),
        (Ecn::Ce, _) | (_, Ecn::Ce) => EcnOutcome::Deliver(Ecn::Ce),
        (Ecn::Ect0, Ecn::Ect0) => EcnOutcome::Deliver(Ecn::Ect0),
        (Ecn::Ect0 | Ecn::Ect1, _) => EcnOutcome::Deliver(Ecn::Ect1),
    }
}

/// The IP header in a frame, for those who read or write its octet of DSCP and ECN.
#[derive(Clone, Copy)]
enum InnerIp {
    V4(usize),
    V6(usize),
}

/// Where a frame's IP header is, behind its tags. `None` for a frame that has none, or not all of it in `frame`.
#[inline]
fn inner_ip(frame: &[u8]) -> Option<InnerIp> {
    ip_of(frame, network_header(frame)?)
}

/// The IP header behind this EtherType, at this offset.
#[inline]
fn ip_of(frame: &[u8], (ethertype, at): (u16, usize)) -> Option<InnerIp> {
    match (ethertype, read_u8(frame, at)? >> 4) {
        (ETHERTYPE_IPV4, 4) => field::<IPV4_HEADER>(frame, at).map(|_| InnerIp::V4(at)),
        (ETHERTYPE_IPV6, 6) => field::<IPV6_HEADER>(frame, at).map(|_| InnerIp::V6(at)),
        _ => None,
    }
}

#[inline]
fn dscp_ecn_at(frame: &[u8], ip: InnerIp) -> u8 {
    match ip {
        InnerIp::V4(at) => read_u8(frame, at + 1).unwrap_or(0),
        InnerIp::V6(at) => field::<2>(frame, at).map_or(0, |[a, b]| a << 4 | b >> 4),
    }
}

/// The octet of DSCP and ECN of the IPv4 or IPv6 packet in an Ethernet frame, behind its tags; 0 where the frame
/// carries something else or ends within the IP header.
#[inline]
#[must_use]
pub fn traffic_class_of(frame: &[u8]) -> u8 {
    inner_ip(frame).map_or(0, |ip| dscp_ecn_at(frame, ip))
}

/// As [`traffic_class_of`], of a frame from its EtherType on.
#[must_use]
pub fn traffic_class_behind_addresses(behind: &[u8]) -> u8 {
    let ip = network_header_behind_addresses(behind).and_then(|header| ip_of(behind, header));
    ip.map_or(0, |ip| dscp_ecn_at(behind, ip))
}

/// Sets the DSCP of the IPv4 or IPv6 packet in an Ethernet frame, behind its tags, and corrects the IPv4 header checksum. A
/// frame that carries something else stays as it is.
#[inline]
pub fn set_dscp(frame: &mut [u8], dscp: u8) {
    let Some(ip) = inner_ip(frame) else { return };
    let octet = dscp << 2 | dscp_ecn_at(frame, ip) & 3;
    set_dscp_ecn(frame, ip, octet);
}

/// Sets the octet of DSCP and ECN of a header that was found in this frame.
#[inline]
fn set_dscp_ecn(frame: &mut [u8], ip: InnerIp, octet: u8) {
    let is_set = match ip {
        InnerIp::V4(at) => frame.get_mut(at..).is_some_and(|packet| ipv4::set_dscp_ecn(packet, octet)),
        InnerIp::V6(at) => frame.get_mut(at..).is_some_and(|packet| ipv6::set_traffic_class(packet, octet)),
    };
    debug_assert!(is_set, "the whole header was found to lie within the frame");
}

/// Applies [`decapsulate`] to the IPv4 or IPv6 packet in a decapsulated Ethernet frame, behind its tags, and corrects
/// the IPv4 header checksum. A frame that carries something else is delivered untouched, as not ECN capable.
///
/// An outer Not-ECT never changes anything nor warns: a caller in a hurry need not call for it.
#[inline]
#[must_use]
pub fn copy_congestion(inner_frame: &mut [u8], outer: Ecn) -> EcnOutcome {
    let Some(ip) = inner_ip(inner_frame) else {
        return EcnOutcome::Deliver(Ecn::NotEct);
    };
    let old = dscp_ecn_at(inner_frame, ip);
    let inner = Ecn::from_dscp_ecn(old);
    let outcome = decapsulate(inner, outer);
    if let EcnOutcome::Deliver(delivered) = outcome
        && delivered != inner
    {
        set_dscp_ecn(inner_frame, ip, old & !3 | delivered.bits());
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum::ipv4_header_is_valid;
    use crate::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_QINQ, ETHERTYPE_VLAN};
    use crate::wire::fixture::{GATEWAY, HOST, ethernet, ipv4, ipv6, tagged};
    use EcnOutcome::{Deliver, DeliverWithWarning, Drop};
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    /// Rows inner, columns outer, in the order Not-ECT, ECT(0), ECT(1), CE (RFC 6040, 4.2, figure 4).
    const ORDER: [Ecn; 4] = [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce];
    const TABLE: [[EcnOutcome; 4]; 4] = [
        [Deliver(Ecn::NotEct), DeliverWithWarning(Ecn::NotEct), DeliverWithWarning(Ecn::NotEct), Drop],
        [Deliver(Ecn::Ect0), Deliver(Ecn::Ect0), Deliver(Ecn::Ect1), Deliver(Ecn::Ce)],
        [Deliver(Ecn::Ect1), DeliverWithWarning(Ecn::Ect1), Deliver(Ecn::Ect1), Deliver(Ecn::Ce)],
        [Deliver(Ecn::Ce), Deliver(Ecn::Ce), DeliverWithWarning(Ecn::Ce), Deliver(Ecn::Ce)],
    ];
    const DSCP: u8 = 46 << 2;

    fn frame_v4(ecn: Ecn) -> Vec<u8> {
        let mut packet = ipv4([10, 0, 0, 1], [10, 0, 0, 2], 17, &[0; 8]);
        assert!(ipv4::set_dscp_ecn(&mut packet, DSCP | ecn.bits()));
        ethernet(HOST, GATEWAY, ETHERTYPE_IPV4, &packet)
    }

    fn frame_v6(ecn: Ecn) -> Vec<u8> {
        let mut packet = ipv6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 17, 64, &[0; 8]);
        packet[0] |= (DSCP | ecn.bits()) >> 4;
        packet[1] |= (DSCP | ecn.bits()) << 4 | 0x0a;
        ethernet(HOST, GATEWAY, ETHERTYPE_IPV6, &packet)
    }

    #[test]
    fn rfc_6040_all_sixteen_combinations_for_ipv4_and_ipv6_and_behind_tags() {
        for (inner, row) in ORDER.into_iter().zip(TABLE) {
            for (outer, expected) in ORDER.into_iter().zip(row) {
                assert_eq!(decapsulate(inner, outer), expected, "{inner:?} in {outer:?}");
                for tpids in [&[][..], &[ETHERTYPE_VLAN], &[ETHERTYPE_QINQ, ETHERTYPE_VLAN]] {
                    for build in [frame_v4, frame_v6] {
                        let mut frame = tagged(&build(inner), tpids);
                        assert_eq!(copy_congestion(&mut frame, outer), expected, "{inner:?} in {outer:?}");
                        let delivered = match expected {
                            Deliver(ecn) | DeliverWithWarning(ecn) => ecn,
                            Drop => inner,
                        };
                        assert_eq!(frame, tagged(&build(delivered), tpids), "{inner:?} in {outer:?}");
                        assert_eq!(traffic_class_of(&frame), DSCP | delivered.bits());
                    }
                }
            }
        }
    }

    #[test]
    fn the_ipv4_checksum_is_corrected_with_the_mark() {
        let mut frame = frame_v4(Ecn::Ect0);
        assert_eq!(copy_congestion(&mut frame, Ecn::Ce), Deliver(Ecn::Ce));
        assert!(ipv4_header_is_valid(&frame[14..]));
    }

    #[test]
    fn a_frame_that_is_no_ip_or_is_cut_is_delivered_untouched() {
        let arp = ethernet(HOST, GATEWAY, ETHERTYPE_ARP, &[0x45; 46]);
        let wrong_version = ethernet(HOST, GATEWAY, ETHERTYPE_IPV6, &[0x45; 46]);
        let cut_v4 = frame_v4(Ecn::Ect0)[..33].to_vec();
        let cut_v6 = frame_v6(Ecn::Ect0)[..53].to_vec();
        for frame in [arp, wrong_version, cut_v4, cut_v6, vec![0; 5]] {
            let mut after = frame.clone();
            assert_eq!(copy_congestion(&mut after, Ecn::Ce), Deliver(Ecn::NotEct));
            assert_eq!(after, frame);
            assert_eq!(traffic_class_of(&frame), 0);
        }
    }

    proptest! {
        #[test]
        fn any_frame_keeps_its_length_and_all_but_ecn_and_checksum(mut frame: Vec<u8>, outer in 0u8..4, v6: bool) {
            if let Some(ethertype) = frame.get_mut(12..14) {
                ethertype.copy_from_slice(&if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 }.to_be_bytes());
            }
            if let Some(version) = frame.get_mut(14) {
                *version = *version & 0x0f | if v6 { 0x60 } else { 0x40 };
            }
            let before = frame.clone();
            let _outcome = copy_congestion(&mut frame, Ecn::from_dscp_ecn(outer));
            let changed = frame.iter().zip(&before).enumerate().filter(|(_, (a, b))| a != b).map(|(at, _)| at);
            for at in changed {
                prop_assert!(if v6 { at == 15 } else { matches!(at, 15 | 24 | 25) }, "byte {}", at);
            }
            prop_assert_eq!(frame.len(), before.len());
        }
    }
}

//! Explicit congestion notification through a tunnel (RFC 6040).
//!
//! Encapsulation is the normal mode (RFC 6040, 4.1): the outer header takes the inner one's ECN field.

use super::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, network_header};
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
    let (ethertype, at) = network_header(frame)?;
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
        let new = old & !3 | delivered.bits();
        // The whole header was found to lie within the frame, so that it is set.
        let _set = match ip {
            InnerIp::V4(at) => inner_frame.get_mut(at..).is_some_and(|packet| ipv4::set_dscp_ecn(packet, new)),
            InnerIp::V6(at) => inner_frame.get_mut(at..).is_some_and(|packet| ipv6::set_traffic_class(packet, new)),
        };
    }
    outcome
}

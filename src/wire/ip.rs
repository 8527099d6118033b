//! What IPv4 and IPv6 have in common: protocol numbers, and the ways in which a header can be malformed.

use thiserror::Error;

/// The Internet Control Message Protocol (RFC 792).
pub const PROTOCOL_ICMP: u8 = 1;
/// TCP (RFC 9293).
pub const PROTOCOL_TCP: u8 = 6;
/// UDP (RFC 768).
pub const PROTOCOL_UDP: u8 = 17;
/// ICMPv6 (RFC 4443).
pub const PROTOCOL_ICMPV6: u8 = 58;
/// SCTP (RFC 9260).
pub const PROTOCOL_SCTP: u8 = 132;

/// Why bytes are not an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IpError {
    /// The bytes at hand end within the header.
    #[error("the bytes end within the IP header")]
    Truncated,
    /// The version is not the one the EtherType says.
    #[error("the IP version is wrong")]
    Version,
    /// An IPv4 header length under 20 bytes.
    #[error("the IPv4 header length is under 20 bytes")]
    HeaderLength,
    /// The packet is said to be shorter than its header or longer than the bytes that arrived.
    #[error("the IP length disagrees with what arrived")]
    TotalLength,
}

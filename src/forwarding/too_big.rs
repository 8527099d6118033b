//! Telling a sender that its frame does not fit the underlay (conformance rows V6 and M1).

use super::egress::Egress;
use super::emit;
use super::forwarder::Surroundings;
use super::framing::{Addresses, FramePlace};
use super::packet::PacketBuffer;
use super::remark::Marks;
use super::token_bucket::TokenBucket;
use crate::tables::MemberIndex;
use crate::telemetry::Event;
use crate::wire::ethernet::{ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, network_header};
use crate::wire::icmp::fragmentation_needed;
use crate::wire::icmpv6::{PACKET_TOO_BIG_FRAME, packet_too_big};

/// Answers a worker gives in one second (RFC 1812, 4.3.2.8; RFC 4443, 2.4 f).
const PER_SECOND: u64 = 100;

/// Keeps the answers to one second's at once.
#[derive(Debug)]
pub struct TooBigLimiter(TokenBucket);

impl TooBigLimiter {
    /// A limiter for a clock of this many cycles a second.
    #[must_use]
    pub fn new(cycles_per_second: u64) -> Self {
        Self(TokenBucket::new(cycles_per_second, PER_SECOND, PER_SECOND))
    }

    /// Sends the frame's sender an ICMP message with the usable MTU, where its packet asks for one: IPv4 with DF set
    /// (RFC 1191), any IPv6 (RFC 4443, 3.2). `max_frame` is the longest frame that would have fit, in bytes.
    #[cold]
    pub fn tell<P: PacketBuffer>(
        &mut self,
        packet: &P,
        max_frame: usize,
        sender: MemberIndex,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) {
        let Some((ethertype, header)) = network_header(packet.head()) else { return };
        // Frames that carry tags of their own are not answered: the tags are a customer's, and so is their meaning.
        if header != ETHERNET_HEADER {
            return;
        }
        let mtu = max_frame.saturating_sub(ETHERNET_HEADER) as u16;
        let mut answer = [0; PACKET_TOO_BIG_FRAME];
        let length = match ethertype {
            ETHERTYPE_IPV4 => fragmentation_needed(packet.head(), mtu, &mut answer),
            ETHERTYPE_IPV6 => packet_too_big(packet.head(), mtu, &mut answer),
            _ => None,
        };
        let Some(answer) = length.and_then(|length| answer.get(..length)) else { return };
        if !self.0.take(around.now.cycles) {
            around.telemetry.event(Event::TooBigSuppressed);
            return;
        }
        // An answer that finds no buffer is as good as suppressed: the next frame that is too big asks again.
        let sent = egress.allocate().is_some_and(|mut packet| {
            packet.grow_back_zeroed(answer.len()) && {
                packet.head_mut().copy_from_slice(answer);
                let place = FramePlace::whole(&packet);
                let addresses = packet.head().first_chunk().map(Addresses::of);
                addresses.is_some_and(|addresses| {
                    emit::to_member(packet, place, addresses, Marks::NONE, sender, around, egress).is_ok()
                })
            }
        });
        around.telemetry.event(if sent { Event::TooBigSent } else { Event::TooBigSuppressed });
    }
}

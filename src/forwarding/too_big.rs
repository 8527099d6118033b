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
use crate::wire::ethernet::{ETHERNET_HEADER, ETHERTYPE_AT, ETHERTYPE_IPV4, ETHERTYPE_IPV6, network_header};
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
        // Tags that the bridge carries are the sender's own: the answer has them, too.
        let tags = packet.head().get(ETHERTYPE_AT..ETHERTYPE_AT + header - ETHERNET_HEADER).unwrap_or_default();
        let mut room = [0; PACKET_TOO_BIG_FRAME];
        let original = if tags.is_empty() { packet.head() } else { without_tags(packet.head(), tags.len(), &mut room) };
        let mtu = max_frame.saturating_sub(header) as u16;
        let mut answer = [0; PACKET_TOO_BIG_FRAME];
        let length = match ethertype {
            ETHERTYPE_IPV4 => fragmentation_needed(original, mtu, &mut answer),
            ETHERTYPE_IPV6 => packet_too_big(original, mtu, &mut answer),
            _ => None,
        };
        let Some(answer) = length.and_then(|length| answer.get(..length)) else { return };
        if !self.0.take(around.now.cycles) {
            around.telemetry.event(Event::TooBigSuppressed);
            return;
        }
        // An answer that finds no buffer is as good as suppressed: the next frame that is too big asks again.
        let (addresses, rest) = answer.split_at(ETHERTYPE_AT.min(answer.len()));
        let sent = egress.allocate().and_then(|mut packet| {
            if !packet.grow_back_zeroed(answer.len() + tags.len()) {
                return None;
            }
            let bytes = addresses.iter().chain(tags).chain(rest);
            packet.head_mut().iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            let place = FramePlace::whole(&packet);
            let addresses = packet.head().first_chunk().map(Addresses::of)?;
            let port = emit::for_member(&mut packet, place, addresses, Marks::NONE, sender, around).ok()?;
            egress.transmit(port, packet);
            Some(())
        });
        around.telemetry.event(if sent.is_some() { Event::TooBigSent } else { Event::TooBigSuppressed });
    }
}

/// As much of a frame as an answer may quote, without the tags behind its addresses, which have so many bytes.
fn without_tags<'a>(frame: &[u8], tags: usize, room: &'a mut [u8; PACKET_TOO_BIG_FRAME]) -> &'a [u8] {
    let kept = frame.iter().take(ETHERTYPE_AT).chain(frame.iter().skip(ETHERTYPE_AT + tags));
    let length = room.iter_mut().zip(kept).map(|(to, from)| *to = *from).count();
    room.get(..length).unwrap_or_default()
}

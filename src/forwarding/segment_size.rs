//! TCP connections through the tunnel are opened with a segment size that fits it, where the bridge says so: the maximum
//! segment size that a SYN announces (RFC 9293, 3.7.1) is lowered to what the way to the remote VTEP takes.
//!
//! Both directions matter: a SYN that leaves says what may come back, and one that arrives what local stations may send.
//! Such a bridge is set aside in the maps of stage 1, so that all of its frames go the unusual way and no other bridge
//! pays for it.

use super::bridging::{Frame, Verdict, decide_unusual};
use super::forwarder::Surroundings;
use super::framing::FramePlace;
use super::learn_filter::LearnFilter;
use super::packet::PacketBuffer;
use crate::tables::{LocationKind, TunnelIndex};
use crate::telemetry::Event;
use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, network_header};
use crate::wire::ip::PROTOCOL_TCP;
use crate::wire::ipv4::{IPV4_HEADER, Ipv4Header};
use crate::wire::ipv6::{IPV6_HEADER, Ipv6Header, upper_layer};
use crate::wire::tcp::{TCP_HEADER, clamp_segment_size, opens_connection};

/// The smallest segment size that a SYN is lowered to, in bytes: below, hosts take it for an attack and refuse.
const SMALLEST: usize = 216;

/// Where a frame's TCP segment lies in its packet, and what is in front of it in a full-sized packet, in bytes: Ethernet
/// header, tags, IP header without options.
struct Segment {
    range: std::ops::Range<usize>,
    in_front: usize,
}

/// Clamps the frame if it opens a TCP connection and its bridge asks for that. Where it is to go is then decided, for by
/// that it is known what fits.
#[inline]
pub fn clamp<P: PacketBuffer>(
    packet: &mut P,
    frame: &mut Frame,
    learn_filter: Option<&mut LearnFilter>,
    around: &Surroundings<'_>,
) {
    let domain = around.snapshot.domains.get(usize::from(frame.bridge().0));
    if domain.is_some_and(|domain| domain.clamps_segments)
        && let Some(segment) = opening_segment(packet, frame.place)
    {
        decide_unusual(frame, packet.head(), learn_filter, around);
        if let Some(max_frame) = largest_frame(frame, around) {
            let limit = max_frame.saturating_sub(segment.in_front + TCP_HEADER).max(SMALLEST);
            let bytes = packet.head_mut().get_mut(segment.range).unwrap_or_default();
            if clamp_segment_size(bytes, u16::try_from(limit).unwrap_or(u16::MAX)) {
                around.telemetry.event(Event::SegmentSizeClamped);
            }
        }
    }
}

/// The longest frame of the connection that fits, where it goes through the tunnel and the way is known.
fn largest_frame(frame: &Frame, around: &Surroundings<'_>) -> Option<usize> {
    let of = |tunnel: TunnelIndex| {
        let way = around.snapshot.next_hops.get(usize::from(tunnel.0)).filter(|way| !way.is_unknown());
        way.map(|way| way.max_frame())
    };
    match (frame.source.kind(), frame.verdict) {
        (_, Verdict::Drop(_) | Verdict::Refuse(_) | Verdict::Answer | Verdict::TooBig(_)) => None,
        (LocationKind::Tunnel(tunnel), _) => of(tunnel),
        (LocationKind::Access(_), Verdict::Forward(to)) => match to.kind() {
            LocationKind::Tunnel(tunnel) => of(tunnel),
            LocationKind::Access(_) => None,
        },
        (LocationKind::Access(_), Verdict::Flood | Verdict::Undecided) => {
            let domain = around.snapshot.domains.get(usize::from(frame.bridge().0))?;
            domain.flood_list.iter().filter_map(|tunnel| of(*tunnel)).min()
        }
    }
}

/// The frame's TCP segment, if it opens a connection.
fn opening_segment<P: PacketBuffer>(packet: &P, place: FramePlace) -> Option<Segment> {
    let frame = packet.head().get(place.start()..)?;
    let (ethertype, network) = network_header(frame)?;
    let ip = frame.get(network..)?;
    let (start, end, header) = match ethertype {
        ETHERTYPE_IPV4 => {
            let header = Ipv4Header::parse(ip, ip.len()).ok()?;
            let is_tcp = header.protocol == PROTOCOL_TCP && !header.is_fragment();
            is_tcp.then_some((header.header_length, header.total_length, IPV4_HEADER))
        }
        ETHERTYPE_IPV6 => {
            let header = Ipv6Header::parse(ip, ip.len()).ok()?;
            let upper = upper_layer(ip).ok()?;
            let is_tcp = upper.protocol == PROTOCOL_TCP && !upper.is_fragment();
            is_tcp.then_some((upper.offset, IPV6_HEADER + header.payload_length, IPV6_HEADER))
        }
        _ => None,
    }?;
    opens_connection(ip.get(start..end)?).then(|| {
        let at = place.start() + network;
        Segment { range: at + start..at + end, in_front: network + header }
    })
}

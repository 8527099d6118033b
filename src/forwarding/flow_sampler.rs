//! Now and then a sample of a flow between the gateway and a remote VTEP, from which follows how well the underlay can
//! spread them (`telemetry::entropy`).

use super::bridging::{Frame, Verdict};
use super::encapsulate::Flow;
use super::forwarder::Surroundings;
use super::framing::{ADDRESSES, Addresses};
use super::packet::PacketBuffer;
use crate::tables::LocationKind;
use crate::telemetry::flow_samples::{Direction, FlowSample};
use crate::wire::field::field;
use crate::wire::udp::UDP_HEADER;
use crate::wire::vxlan::VXLAN_HEADER;

/// The samples that a worker takes in one second, if there is that much traffic.
const PER_SECOND: u64 = 1000;
/// What is read of a frame: its headers up to the ports.
const FRONT: usize = 128;

/// Says when it is time for one.
#[derive(Debug)]
pub struct FlowSampler {
    interval: u64,
    due: u64,
}

impl FlowSampler {
    /// A sampler whose clock runs at this many cycles a second.
    #[must_use]
    pub fn new(cycles_per_second: u64) -> Self {
        Self { interval: (cycles_per_second / PER_SECOND).max(1), due: 0 }
    }

    /// True when it is time. One comparison for each burst.
    #[inline(always)]
    #[must_use]
    pub fn is_due(&self, around: &Surroundings<'_>) -> bool {
        around.now.cycles >= self.due
    }

    /// Takes a sample of the burst, of which stage 2 has decided: one of its packets, if that goes from or to a remote
    /// VTEP.
    #[cold]
    pub fn sample<P: PacketBuffer>(&mut self, burst: &[P], frames: &[Frame], around: &Surroundings<'_>) {
        let now = around.now.cycles;
        self.due = now.saturating_add(self.interval);
        // Any packet of the burst is as likely as another: the first ones of bursts are not like the rest.
        let at = (now.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % burst.len().max(1);
        if let (Some(packet), Some(frame)) = (burst.get(at), frames.get(at))
            && let Some(sample) = sample_of(packet, frame, around)
        {
            around.telemetry.flow_samples.add(sample);
        }
    }
}

fn sample_of<P: PacketBuffer>(packet: &P, frame: &Frame, around: &Surroundings<'_>) -> Option<FlowSample> {
    let Verdict::Forward(destination) = frame.verdict else { return None };
    let mut front = [0; FRONT];
    let (addresses, rest) = front.split_at_mut(ADDRESSES);
    Addresses::write(frame.addresses(), addresses.first_chunk_mut()?);
    let behind = frame.place.behind_addresses(packet)?;
    let length = rest.len().min(behind.len());
    rest.get_mut(..length)?.copy_from_slice(behind.get(..length)?);
    let flow = Flow::of(front.get(..ADDRESSES + length)?, &around.snapshot.vtep);
    let (remote, direction, source_port) = match (frame.source.kind(), destination.kind()) {
        (LocationKind::Tunnel(remote), _) => {
            let udp = frame.place.start().checked_sub(UDP_HEADER + VXLAN_HEADER)?;
            (remote, Direction::Received, u16::from_be_bytes(*field(packet.head(), udp)?))
        }
        (_, LocationKind::Tunnel(remote)) => (remote, Direction::Sent, flow.source_port()),
        _ => return None,
    };
    Some(FlowSample { remote, direction, source_port, flow: flow.hash() })
}

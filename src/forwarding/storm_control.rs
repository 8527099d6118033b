//! Which frames are flooded: those within the limits of their port and bridge, and to unknown stations only where the
//! bridge has it so (conformance row B7).
//!
//! Each worker has a share of each limit ([`StormRates`](crate::tables::StormRates)) and keeps account of it by itself:
//! it writes nothing that another reads.

use super::bridging::Frame;
use super::forwarder::Surroundings;
use crate::tables::snapshot::Port;
use crate::tables::{FloodKind, FloodRules, PortIndex, StormRate};
use crate::telemetry::{DropReason, MAX_PORTS};
use crate::wire::MacAddr;

/// A tenth of a second's frames may come at once.
const DEPTH: u64 = 10;

/// Up to which point in time, in cycles, the share of each kind is spent; a line holds whole ones.
type Spent = [u64; 4];

/// One worker's accounts, by bridge and by port. Those that are never written take no memory.
#[derive(Debug)]
pub struct StormControl {
    cycles_per_second: u64,
    bridges: Box<[Spent]>,
    ports: Box<[Spent]>,
}

impl StormControl {
    /// With nothing spent, for a clock of this many cycles a second.
    #[must_use]
    pub fn new(cycles_per_second: u64) -> Self {
        let unspent = |count| vec![[0; 4]; count].into_boxed_slice();
        Self { cycles_per_second, bridges: unspent(1 << 16), ports: unspent(MAX_PORTS) }
    }

    /// Takes account of a frame that is to be flooded and that the port `ingress` received.
    ///
    /// # Errors
    /// The reason why it is not flooded.
    #[inline(never)]
    pub fn admit(
        &mut self,
        frame: &Frame,
        rules: &FloodRules,
        ingress: PortIndex,
        port: &Port,
        around: &Surroundings<'_>,
    ) -> Result<(), DropReason> {
        let kind = kind_of(frame);
        if kind == FloodKind::UnknownUnicast && !rules.unknown_unicast {
            return Err(DropReason::UnknownUnicast);
        }
        let (of_port, of_bridge) = (port.storm.of(kind), rules.storm.of(kind));
        if of_port.is_none() && of_bridge.is_none() {
            return Ok(());
        }
        let now = around.now.cycles;
        let bits = frame.place.length() as u64 * 8;
        let (clock, full) = (self.cycles_per_second, now.saturating_sub(self.cycles_per_second / DEPTH));
        let of_port = account(&mut self.ports, ingress.0, kind, of_port, clock, bits);
        let of_bridge = account(&mut self.bridges, frame.bridge().0, kind, of_bridge, clock, bits);
        let is_used_up = |account: &Option<(&mut u64, u64)>| account.as_ref().is_some_and(|(spent, _)| **spent > now);
        // A frame that one of the two does not let pass is not charged to the other.
        let counters = if is_used_up(&of_port) {
            around.telemetry.port_storms(ingress)
        } else if is_used_up(&of_bridge) {
            around.telemetry.bridge_storms(frame.bridge())
        } else {
            for (spent, cost) in [of_port, of_bridge].into_iter().flatten() {
                *spent = (*spent).max(full).saturating_add(cost);
            }
            return Ok(());
        };
        counters.of(kind).increment();
        Err(match kind {
            FloodKind::Broadcast => DropReason::StormBroadcast,
            FloodKind::Multicast => DropReason::StormMulticast,
            FloodKind::UnknownUnicast => DropReason::StormUnknownUnicast,
        })
    }
}

/// The account that a frame of so many bits is charged to, and what it costs in cycles; none where there is no limit.
/// As long as anything is left a frame passes whole, and the next one waits for what it took too much.
fn account(
    accounts: &mut [Spent],
    index: u16,
    kind: FloodKind,
    rate: Option<StormRate>,
    cycles_per_second: u64,
    bits: u64,
) -> Option<(&mut u64, u64)> {
    let spent = accounts.get_mut(usize::from(index))?.get_mut(kind as usize)?;
    let cost = match rate? {
        StormRate::Frames(frames) => cycles_per_second / frames.max(1),
        // A frame is shorter than 2^20 bits, and a clock slower than 2^40 cycles a second.
        StormRate::Bits(rate) => bits.saturating_mul(cycles_per_second) / rate.max(1),
    };
    Some((spent, cost.max(1)))
}

fn kind_of(frame: &Frame) -> FloodKind {
    if !frame.is_to_group() {
        FloodKind::UnknownUnicast
    } else if MacAddr::from_word(frame.addresses().destination()) == MacAddr::BROADCAST {
        FloodKind::Broadcast
    } else {
        FloodKind::Multicast
    }
}

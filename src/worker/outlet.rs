//! Where a worker's packets leave it: through a transmit queue of its own, or through another worker's.

use std::sync::Arc;

use arrayvec::CapacityError;
use crossbeam::queue::ArrayQueue;

use super::exception;
use crate::dpdk::{Burst, Mbuf, PacketPool, TransmitQueue};
use crate::exception::WorkerEnd;
use crate::forwarding::{Egress, PacketBuffer};
use crate::tables::PortIndex;
use crate::telemetry::{DropReason, Event, PuntClass, WorkerTelemetry};

/// Packets that wait for the worker that owns the transmit queue they are for.
pub type HandoverRing = Arc<ArrayQueue<Mbuf>>;

/// Packets a hand-over ring holds: sixteen bursts.
pub const HANDOVER_CAPACITY: usize = 1024;

/// A port's way out for one worker.
pub enum Outlet {
    /// The worker's own transmit queue.
    Queue(Box<Gathering>),
    /// Another worker's, by way of a ring.
    Handover(HandoverRing),
}

/// A transmit queue and the burst that gathers for it. On lines of its own: its worker writes it for every packet, and
/// the allocator puts another worker's beside it.
#[repr(align(128))]
pub struct Gathering {
    queue: TransmitQueue,
    burst: Burst,
    /// The bytes of the packets in the burst.
    bytes: usize,
}

impl Gathering {
    /// Sends what has gathered, which leaves by this port.
    #[inline]
    fn send(&mut self, port: PortIndex, telemetry: &WorkerTelemetry) {
        let bytes = std::mem::take(&mut self.bytes);
        if !self.burst.is_empty() {
            send(&mut self.queue, &mut self.burst, bytes, port, telemetry);
        }
    }

    /// Sends a burst, behind what has gathered.
    #[inline]
    fn send_burst(&mut self, burst: &mut Burst, port: PortIndex, telemetry: &WorkerTelemetry) {
        self.send(port, telemetry);
        let bytes = burst.iter().map(PacketBuffer::len).sum();
        send(&mut self.queue, burst, bytes, port, telemetry);
    }

    /// Gathers a packet. Gives it back where the burst is full.
    #[inline(always)]
    fn push(&mut self, packet: Mbuf) -> Result<(), Mbuf> {
        let bytes = packet.len();
        self.burst.try_push(packet).map_err(CapacityError::element)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Sends the burst, which is full, and begins the next one.
    #[cold]
    fn send_and_push(&mut self, packet: Mbuf, port: PortIndex, telemetry: &WorkerTelemetry) {
        self.send(port, telemetry);
        self.bytes = packet.len();
        self.burst.push(packet);
    }
}

/// Sends a burst of packets, of so many bytes together.
#[inline(always)]
fn send(queue: &mut TransmitQueue, burst: &mut Burst, bytes: usize, port: PortIndex, telemetry: &WorkerTelemetry) {
    let packets = burst.len();
    let unsent = queue.transmit(burst);
    telemetry.port(port).sent().count_many((packets - unsent.packets) as u64, (bytes - unsent.bytes) as u64);
    if unsent.packets > 0 {
        telemetry.count_drops(DropReason::TransmitFull, unsent.packets as u64);
    }
}

impl Outlet {
    /// A way out through a queue of one's own.
    #[must_use]
    pub fn queue(queue: TransmitQueue) -> Self {
        Self::Queue(Box::new(Gathering { queue, burst: Burst::new(), bytes: 0 }))
    }
}

/// All of a worker's ways out, and its pool.
pub struct Outlets {
    /// By port index.
    pub ports: Vec<Outlet>,
    /// Where copies and answers come from.
    pub pool: PacketPool,
    /// The worker's counters.
    pub telemetry: Arc<WorkerTelemetry>,
    /// The way to the kernel and from it, where there is one.
    pub exception: Option<WorkerEnd>,
}

impl Outlets {
    /// Takes frames of the kernel, as many as one round may send. Gives how many there were.
    pub fn take_from_kernel(&mut self) -> usize {
        let Some(mut end) = self.exception.take_if(|end| end.has_frames()) else { return 0 };
        let taken = exception::take_from_kernel(&mut end, |port, first, second| {
            match exception::packet_of(&self.pool, first, second) {
                Some(packet) => self.transmit(port, packet),
                None => self.telemetry.count_drop(DropReason::NoBuffer),
            }
        });
        self.exception = Some(end);
        taken
    }

    /// Sends what has gathered.
    #[inline]
    pub fn flush(&mut self) {
        for (index, outlet) in self.ports.iter_mut().enumerate() {
            if let Outlet::Queue(gathering) = outlet {
                gathering.send(PortIndex(index as u16), &self.telemetry);
            }
        }
    }
}

impl Egress<Mbuf> for Outlets {
    #[inline(always)]
    fn transmit(&mut self, port: PortIndex, packet: Mbuf) {
        match self.ports.get_mut(usize::from(port.0)) {
            Some(Outlet::Queue(gathering)) => {
                if let Err(packet) = gathering.push(packet) {
                    gathering.send_and_push(packet, port, &self.telemetry);
                }
            }
            Some(Outlet::Handover(ring)) => match ring.push(packet) {
                Ok(()) => self.telemetry.event(Event::HandedOver),
                Err(_) => self.telemetry.count_drop(DropReason::HandoverFull),
            },
            None => self.telemetry.count_drop(DropReason::NoNextHop),
        }
    }

    #[inline]
    fn transmit_burst(&mut self, port: PortIndex, burst: &mut Burst) {
        match self.ports.get_mut(usize::from(port.0)) {
            Some(Outlet::Queue(gathering)) => gathering.send_burst(burst, port, &self.telemetry),
            _ => burst.drain(..).for_each(|packet| self.transmit(port, packet)),
        }
    }

    #[inline]
    fn allocate(&mut self) -> Option<Mbuf> {
        self.pool.allocate()
    }

    fn punt(&mut self, ingress: PortIndex, class: PuntClass, packet: &Mbuf) -> bool {
        self.exception.as_mut().is_some_and(|end| exception::punt(end, ingress, class, packet))
    }
}

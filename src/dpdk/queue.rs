//! A port's queues: where bursts of packets come from and go to. Each has one owner, which may hand it to another
//! thread but not use it from two.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use super::port::Attached;
use super::{Burst, Mbuf, dpdk_sys as sys};
use crate::forwarding::PacketBuffer;

/// How often a full transmit queue is tried again without any progress before the rest of the burst is given up: about
/// as long as a NIC needs for a few frames, and never the whole worker's time.
const RETRIES: u32 = 8;

/// `Cell` may be sent but not shared: so may what holds this.
type OneThreadAtATime = PhantomData<Cell<()>>;

/// A receive queue of an open port.
pub struct ReceiveQueue {
    port: Arc<Attached>,
    queue: u16,
    exclusive: OneThreadAtATime,
}

impl ReceiveQueue {
    pub(super) fn new(port: Arc<Attached>, queue: u16) -> Self {
        Self { port, queue, exclusive: PhantomData }
    }

    /// Appends what has arrived to `burst`, as far as it has room; returns how many packets that is. Give it an empty
    /// burst: vector drivers slow down, or return nothing, when asked for a few.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        let held = burst.len();
        let room = burst.remaining_capacity() as u16;
        // SAFETY: `Mbuf` is a transparent, non-null pointer, so the burst's free part is an array for `room` of them;
        // the driver writes as many as it returns, each a packet that is now ours.
        unsafe {
            let free = burst.as_mut_ptr().add(held).cast::<*mut sys::rte_mbuf>();
            let received = usize::from(sys::vtepd_receive(self.port.id, self.queue, free, room));
            burst.set_len(held + received);
            received
        }
    }

    /// The queue's number on its port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.queue
    }
}

/// What a transmit queue did not send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// How many packets.
    pub packets: usize,
    /// Their bytes, without the frame check sequence.
    pub bytes: usize,
}

impl Unsent {
    fn add(&mut self, packet: &Mbuf) {
        self.packets += 1;
        self.bytes += packet.len();
    }
}

/// A transmit queue of an open port.
pub struct TransmitQueue {
    port: Arc<Attached>,
    queue: u16,
    /// The driver takes packets of several segments.
    chains: bool,
    /// In bytes, without the frame check sequence.
    largest_frame: u32,
    exclusive: OneThreadAtATime,
}

impl TransmitQueue {
    pub(super) fn new(port: Arc<Attached>, queue: u16, chains: bool, largest_frame: u32) -> Self {
        Self { port, queue, chains, largest_frame, exclusive: PhantomData }
    }

    /// Sends the burst, which is empty afterwards. A full queue is tried again while it makes progress and a few times
    /// more; what it still does not take is freed. Returns what was not sent.
    #[inline]
    pub fn transmit(&mut self, burst: &mut Burst) -> Unsent {
        let mut unsent = Unsent::default();
        if burst.is_empty() {
            return unsent;
        }
        if !self.chains {
            linearise(burst, &mut unsent);
        }
        let count = burst.len();
        let packets = burst.as_mut_ptr().cast::<*mut sys::rte_mbuf>();
        // SAFETY: the burst gives up its packets, and from here on each is either the driver's or freed below.
        unsafe { burst.set_len(0) };
        let mut sent = self.offer(packets, 0, count);
        if sent < count {
            sent = self.retry(packets, sent, count);
        }
        if sent < count {
            self.give_up(packets, sent, count, &mut unsent);
        }
        unsent
    }

    /// Offers the packets from `from` on to the driver; returns up to where it took them.
    #[inline]
    fn offer(&mut self, packets: *mut *mut sys::rte_mbuf, from: usize, count: usize) -> usize {
        // SAFETY: `from <= count`, and the array has `count` packets, of which the driver has none from `from` on.
        from + usize::from(unsafe {
            sys::vtepd_transmit(self.port.id, self.queue, packets.add(from), (count - from) as u16)
        })
    }

    #[cold]
    fn retry(&mut self, packets: *mut *mut sys::rte_mbuf, mut sent: usize, count: usize) -> usize {
        let mut left = RETRIES;
        while sent < count && left > 0 {
            let reached = self.offer(packets, sent, count);
            left = if reached > sent { RETRIES } else { left - 1 };
            sent = reached;
            std::hint::spin_loop();
        }
        sent
    }

    /// Frees what the driver did not take. Some drivers stop at a frame that is too large for them: what is behind such
    /// a frame gets a last chance.
    #[cold]
    fn give_up(&mut self, packets: *mut *mut sys::rte_mbuf, from: usize, count: usize, unsent: &mut Unsent) {
        let mut fitting = Burst::new();
        let mut blocked = false;
        for place in from..count {
            // SAFETY: the driver did not take this packet, so it is still the one the burst gave up.
            let packet = unsafe {
                let Some(raw) = NonNull::new(packets.add(place).read()) else { continue };
                Mbuf::from_raw(raw)
            };
            if packet.len() > self.largest_frame as usize {
                blocked = true;
                unsent.add(&packet);
            } else if let Err(full) = fitting.try_push(packet) {
                unsent.add(&full.element());
            }
        }
        if !blocked {
            fitting.drain(..).for_each(|packet| unsent.add(&packet));
            return;
        }
        let rest = fitting.len();
        let packets = fitting.as_mut_ptr().cast::<*mut sys::rte_mbuf>();
        let sent = self.offer(packets, 0, rest);
        // SAFETY: the driver has the first `sent` packets; they are no longer the burst's to drop.
        unsafe {
            packets.copy_from(packets.add(sent), rest - sent);
            fitting.set_len(rest - sent);
        }
        fitting.drain(..).for_each(|packet| unsent.add(&packet));
    }

    /// The queue's number on its port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.queue
    }
}

/// Copies chains into their heads for a driver that takes single segments only; those that do not fit are dropped.
#[cold]
fn linearise(burst: &mut Burst, unsent: &mut Unsent) {
    burst.retain(|packet| {
        let fits = packet.segment_count() == 1 || packet.linearise();
        if !fits {
            unsent.add(packet);
        }
        fits
    });
}

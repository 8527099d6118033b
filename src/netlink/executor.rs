//! The thread that has the kernel carry out orders. The kernel may take its time for one, as when another process
//! removes a thousand links: nobody else waits for that.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender, TrySendError};
use nix::errno::Errno;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::order::Order;
use super::socket::{ANSWER, Content, Socket, SocketError};

/// Batches of orders that wait. Whoever has more waits with them.
const BATCHES: usize = 8;

/// The most orders that the kernel gets at once: their answers must have room in the socket's buffer.
const AT_ONCE: usize = 128;

/// How long the thread waits for orders before it says that it is alive.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Room for the answers, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The order.
    pub order: Order,
    /// Carried out, or why not.
    pub result: Result<(), Errno>,
}

/// The way to the thread.
#[derive(Debug)]
pub struct Executor {
    orders: Option<Sender<Vec<Order>>>,
    outcomes: Receiver<Vec<Outcome>>,
    heartbeat: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Executor {
    /// The name of the thread that makes devices and tells the kernel of stations.
    pub const THREAD: &str = "vtepd-kernel";
    /// The name of the thread that has next hops resolved.
    pub const NEXT_HOPS_THREAD: &str = "vtepd-nexthops";

    /// Starts the thread under a name of at most 15 bytes, for the network namespace of the calling one.
    ///
    /// # Errors
    /// [`SocketError`] where the kernel gives no socket, or the system no thread.
    pub fn start(name: &'static str) -> Result<Self, SocketError> {
        let socket = Socket::open(0)?;
        socket.set_receive_buffer(RECEIVE_BUFFER)?;
        socket.set_patience(ANSWER)?;
        let (orders, waiting) = channel::bounded(BATCHES);
        // Every batch on its way has a place, also the one that is being carried out.
        let (done, outcomes) = channel::bounded(BATCHES + 1);
        let heartbeat = Arc::<AtomicU64>::default();
        let crew = Crew { socket, taps: HashMap::new(), heartbeat: Arc::clone(&heartbeat) };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || crew.run(&waiting, &done))?;
        Ok(Self { orders: Some(orders), outcomes, heartbeat, thread: Some(thread) })
    }

    /// A number that grows twice a second or oftener as long as the thread lives and the kernel does not keep it.
    #[must_use]
    pub fn heartbeat(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heartbeat)
    }

    /// Gives the thread orders to carry out one after the other.
    ///
    /// # Errors
    /// The orders, where as many wait already as may: they are to be given again later.
    pub fn give(&self, orders: Vec<Order>) -> Result<(), Vec<Order>> {
        let Some(sender) = &self.orders else { return Err(orders) };
        sender.try_send(orders).map_err(|refused| match refused {
            TrySendError::Full(orders) | TrySendError::Disconnected(orders) => orders,
        })
    }

    /// True where [`Executor::give`] has room.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.orders.as_ref().is_some_and(|sender| !sender.is_full())
    }

    /// What became of the next batch that is done.
    #[must_use]
    pub fn next(&self) -> Option<Vec<Outcome>> {
        self.outcomes.try_recv().ok()
    }

    /// Has the thread carry out orders, and waits until all given before and these are done, at the most for so long:
    /// what became of them all.
    #[must_use]
    pub fn finish(&self, orders: Vec<Order>, patience: Duration) -> Vec<Outcome> {
        let Some(sender) = self.orders.as_ref().filter(|_| !orders.is_empty()) else { return Vec::new() };
        let end = std::time::Instant::now() + patience;
        let mut done = Vec::new();
        let last = orders.last().cloned();
        let mut waiting = Some(orders);
        while std::time::Instant::now() < end {
            if let Some(orders) = waiting.take()
                && let Err(TrySendError::Full(again)) = sender.try_send(orders)
            {
                waiting = Some(again);
            }
            match self.outcomes.recv_timeout(Duration::from_millis(100)) {
                Ok(outcomes) => {
                    done.extend(outcomes);
                    if waiting.is_none() && done.last().map(|outcome| &outcome.order) == last.as_ref() {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        done
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.orders = None;
        // A thread that has still something to carry out finds its outcomes unwanted.
        while self.outcomes.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            // What it had to say, it has said.
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Crew {
    socket: Socket,
    /// TAPs that are there as long as they are held here.
    taps: HashMap<String, SyncDevice>,
    heartbeat: Arc<AtomicU64>,
}

impl Crew {
    fn run(mut self, orders: &Receiver<Vec<Order>>, done: &Sender<Vec<Outcome>>) {
        loop {
            self.heartbeat.fetch_add(1, Ordering::Relaxed);
            match orders.recv_timeout(HEARTBEAT) {
                Ok(batch) => {
                    if done.send(self.carry_out(batch)).is_err() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn carry_out(&mut self, orders: Vec<Order>) -> Vec<Outcome> {
        let mut results = Vec::with_capacity(orders.len());
        let mut rest = orders.as_slice();
        while let Some(first) = rest.first() {
            let taken = match first {
                Order::HoldTap { name } => {
                    results.push(self.hold(name));
                    1
                }
                Order::ReleaseTap { name } => {
                    self.taps.remove(name);
                    results.push(Ok(()));
                    1
                }
                _ => {
                    let is_message =
                        |order: &&Order| !matches!(order, Order::HoldTap { .. } | Order::ReleaseTap { .. });
                    let count = rest.iter().take_while(is_message).take(AT_ONCE).count();
                    results.extend(self.exchange(rest.get(..count).unwrap_or_default()));
                    count
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
            self.heartbeat.fetch_add(1, Ordering::Relaxed);
        }
        orders.into_iter().zip(results).map(|(order, result)| Outcome { order, result }).collect()
    }

    /// Sends orders in one datagram. The kernel has carried out all of them when that returns, and answered each.
    fn exchange(&mut self, orders: &[Order]) -> Vec<Result<(), Errno>> {
        let first = self.socket.next_sequence();
        let mut datagram = Vec::new();
        for (number, order) in orders.iter().enumerate() {
            let sequence = if number == 0 { first } else { self.socket.next_sequence() };
            datagram.extend(order.message(sequence).unwrap_or_default());
        }
        let mut results = vec![Err(Errno::EIO); orders.len()];
        if let Err(error) = self.socket.send(&datagram) {
            results.fill(Err(error));
            return results;
        }
        let mut missing = orders.len();
        while missing > 0 {
            // An answer that does not come has no room any more: its order counts as failed.
            let Ok(messages) = self.socket.receive() else { break };
            for message in messages {
                let number = message.sequence.wrapping_sub(first) as usize;
                let Content::End(result) = message.content else { continue };
                // Answers to orders that were given up may still be on their way.
                if let Some(place) = results.get_mut(number) {
                    *place = result;
                    missing -= 1;
                }
            }
        }
        results
    }

    fn hold(&mut self, name: &str) -> Result<(), Errno> {
        // One that is held already has been removed: its descriptor is good for nothing.
        self.taps.remove(name);
        let tap =
            DeviceBuilder::new().name(name).layer(Layer::L2).inherit_enable_state().build_sync().map_err(errno)?;
        self.taps.insert(name.to_owned(), tap);
        Ok(())
    }
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

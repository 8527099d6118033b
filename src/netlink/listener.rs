//! What the kernel tells of changes, as it happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, SendTimeoutError, Sender};
use nix::errno::Errno;

use super::event::{self, Event};
use super::socket::{Content, Socket, SocketError};

/// `RTNLGRP_LINK`, `_NEIGH`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV4_RULE`, `_IPV6_IFADDR`, `_IPV6_ROUTE`, `_IPV6_RULE`
/// and `_NEXTHOP`.
const GROUPS: [u32; 9] = [1, 3, 5, 7, 8, 9, 11, 19, 32];

/// How much the kernel may keep for a reader that is late, in bytes: some 40,000 changes of FDB entries.
pub const RECEIVE_BUFFER: usize = 32 << 20;

/// Events that wait for whoever takes them in. When they are as many, the reader waits as well, and the kernel's
/// buffer fills; when that is full too, the kernel says that it has dropped some.
const QUEUE: usize = 16_384;

/// How long what the kernel has kept is thrown away after it dropped something: forty thousand messages take a fraction
/// of that, and only new ones that come faster than they are read can take longer.
const BACKLOG: Duration = Duration::from_secs(1);

/// How long the reader's thread goes on after it was told to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// What.
    pub told: Told,
}

/// What the kernel told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A change.
    Event(Event),
    /// Something was lost here: the kernel had no room for it, or it could not be read.
    Lost,
}

/// A subscription to the kernel's changes, and the thread that reads it.
#[derive(Debug)]
pub struct Listener {
    queue: Receiver<Received>,
    stop: Arc<AtomicBool>,
    heartbeat: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// The thread's name.
    pub const THREAD: &str = "vtepd-netlink";

    /// Subscribes to changes in the network namespace of the calling thread. From here on none is missed.
    ///
    /// # Errors
    /// [`SocketError`] where the kernel gives no socket, or the system no thread.
    pub fn start() -> Result<Self, SocketError> {
        Self::with_receive_buffer(RECEIVE_BUFFER)
    }

    /// [`Listener::start`] with another limit, in bytes, on what the kernel keeps for a reader that is late.
    ///
    /// # Errors
    /// As there.
    pub fn with_receive_buffer(size: usize) -> Result<Self, SocketError> {
        let groups = GROUPS.into_iter().fold(0, |groups, group| groups | 1 << (group - 1));
        let socket = Socket::open(groups)?;
        socket.set_receive_buffer(size)?;
        socket.set_patience(PATIENCE)?;
        let (sender, queue) = channel::bounded(QUEUE);
        let stop = Arc::<AtomicBool>::default();
        let heartbeat = Arc::<AtomicU64>::default();
        let reader = Reader { socket, queue: sender, stop: Arc::clone(&stop), heartbeat: Arc::clone(&heartbeat) };
        let thread = thread::Builder::new().name(Self::THREAD.to_owned()).spawn(|| reader.run())?;
        Ok(Self { queue, stop, heartbeat, thread: Some(thread) })
    }

    /// A number that grows ten times a second or oftener as long as the thread lives.
    #[must_use]
    pub fn heartbeat(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heartbeat)
    }

    /// The next thing that was read, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<Received> {
        self.queue.try_recv().ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it had to say, it has said: a reader that panicked has nothing to clean up.
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Reader {
    socket: Socket,
    queue: Sender<Received>,
    stop: Arc<AtomicBool>,
    heartbeat: Arc<AtomicU64>,
}

impl Reader {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.heartbeat.fetch_add(1, Ordering::Relaxed);
            let read = self.socket.receive();
            let at = Instant::now();
            let told: Vec<Told> = match read {
                Ok(messages) => messages.filter_map(|message| told(message.content)).collect(),
                Err(Errno::EAGAIN) => continue,
                // The kernel says so at once, before what it kept until then, and drops all that is new until that is
                // read, without another word. What it kept is older than the resync that follows, so that nothing is
                // missed without it; read, it would say of entries what was so long ago.
                Err(Errno::ENOBUFS) => {
                    self.socket.discard(BACKLOG);
                    vec![Told::Lost]
                }
                // A datagram that is longer than the buffer.
                Err(_) => vec![Told::Lost],
            };
            for told in told {
                if !self.queue(Received { at, told }) {
                    return;
                }
            }
        }
    }

    /// Waits for room. False when it is time to stop.
    fn queue(&self, received: Received) -> bool {
        let mut waiting = received;
        loop {
            self.heartbeat.fetch_add(1, Ordering::Relaxed);
            match self.queue.send_timeout(waiting, PATIENCE) {
                Ok(()) => return true,
                Err(SendTimeoutError::Disconnected(_)) => return false,
                Err(SendTimeoutError::Timeout(_)) if self.stop.load(Ordering::Relaxed) => return false,
                Err(SendTimeoutError::Timeout(again)) => waiting = again,
            }
        }
    }
}

fn told(content: Content<'_>) -> Option<Told> {
    match content {
        Content::Data(kind, payload) => match event::read(kind, payload) {
            Ok(event) => event.map(Told::Event),
            Err(_) => Some(Told::Lost),
        },
        Content::Broken | Content::End(Err(_)) => Some(Told::Lost),
        Content::End(Ok(())) => None,
    }
}

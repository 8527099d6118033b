//! The thread between the kernel's interfaces and the workers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::frame_ring::{FrameReceiver, FrameSender, frame_ring};
use super::port_interface::{PortInterface, Traffic};
use super::tap::has_gone;
use super::watch::Watch;
use crate::forwarding::classify::classify;
use crate::tables::{PortIndex, Tables};
use crate::telemetry::{ExceptionTelemetry, PuntClass};
use crate::wire::ethernet::EthernetHeader;

/// The bytes of a worker's ring of one class: 13 frames of the largest MTU, some hundred usual ones. A BGP session
/// brings whole windows at once.
const fn ring_bytes(class: PuntClass) -> usize {
    match class {
        PuntClass::Bgp => 1024 * 1024,
        _ => 128 * 1024,
    }
}

/// The bytes of the ring from the kernel to the worker.
const KERNEL_RING: usize = 256 * 1024;
/// The most frames taken from one ring, or one interface, before the others have their turn.
const TURN: usize = 64;
/// The longest frame that is read: any that a TAP can have.
const BUFFER: usize = 65_536 + 64;
/// How long the thread sleeps where something moved a moment ago. Linux adds its timer slack.
const SHORT: Duration = Duration::from_micros(50);
/// How long it sleeps otherwise.
const LONG: Duration = Duration::from_millis(1);
/// How long it sleeps where no uplink has an interface: there is nothing but now and then a query to be answered.
const ALONE: Duration = Duration::from_millis(20);
/// How long after the last packet it goes on with short sleeps.
const ACTIVE: Duration = Duration::from_millis(20);

/// A worker's end.
#[derive(Debug)]
pub struct WorkerEnd {
    /// Frames for the kernel, by class.
    pub to_kernel: [FrameSender; PuntClass::COUNT],
    /// Frames of the kernel; for one worker only.
    pub from_kernel: Option<FrameReceiver>,
}

impl WorkerEnd {
    /// True where the kernel has sent something.
    #[inline]
    #[must_use]
    pub fn has_frames(&self) -> bool {
        self.from_kernel.as_ref().is_some_and(|ring| !ring.is_empty())
    }
}

/// The thread's end.
#[derive(Debug)]
pub struct ThreadEnd {
    /// Frames for the kernel, by worker, then by class.
    pub to_kernel: Vec<[FrameReceiver; PuntClass::COUNT]>,
    /// Frames of the kernel, for the first worker.
    pub from_kernel: FrameSender,
}

/// The rings between the thread and so many workers. The first one gets what the kernel sends.
#[must_use]
pub fn connect(workers: usize) -> (Vec<WorkerEnd>, ThreadEnd) {
    let (from_kernel, receiver) = frame_ring(KERNEL_RING);
    let mut receiver = Some(receiver);
    let mut ends = Vec::new();
    let mut to_kernel = Vec::new();
    for _ in 0..workers {
        let bytes = |class: usize| PuntClass::ALL.get(class).map_or(0, |class| ring_bytes(*class));
        let rings: [_; PuntClass::COUNT] = std::array::from_fn(|class| frame_ring(bytes(class)));
        let mut receivers = Vec::new();
        let senders = rings.map(|(sender, receiver)| {
            receivers.push(receiver);
            sender
        });
        ends.push(WorkerEnd { to_kernel: senders, from_kernel: receiver.take() });
        to_kernel.extend(<[FrameReceiver; PuntClass::COUNT]>::try_from(receivers));
    }
    (ends, ThreadEnd { to_kernel, from_kernel })
}

/// The running thread. It has ports, and so it ends when this is dropped, also where a start fails behind it.
#[derive(Debug)]
pub struct ExceptionThread {
    stop: Arc<AtomicBool>,
    heartbeat: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl ExceptionThread {
    /// The thread's name.
    pub const THREAD: &str = "vtepd-exception";

    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub fn spawn(
        interfaces: Vec<PortInterface>,
        watch: Watch,
        ends: ThreadEnd,
        telemetry: Arc<ExceptionTelemetry>,
        tables: Arc<Tables>,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let buffer = vec![0; BUFFER];
        let patience = if interfaces.iter().any(PortInterface::has_interface) { LONG } else { ALONE };
        let mut ferry = Ferry { interfaces, watch, ends, telemetry, tables, buffer, patience };
        let heartbeat = Arc::<AtomicU64>::default();
        let turns = Arc::clone(&heartbeat);
        let body = move || ferry.run(&seen, &turns);
        let thread = std::thread::Builder::new().name(Self::THREAD.to_owned()).spawn(body)?;
        Ok(Self { stop, heartbeat, thread: Some(thread) })
    }

    /// A number that grows fifty times a second or oftener as long as the thread lives.
    #[must_use]
    pub fn heartbeat(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heartbeat)
    }
}

impl Drop for ExceptionThread {
    /// Lets the thread finish its round, and waits for it: some milliseconds. The interfaces stay, without carrier.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the exception path had panicked");
        }
    }
}

/// What the thread has.
struct Ferry {
    interfaces: Vec<PortInterface>,
    watch: Watch,
    ends: ThreadEnd,
    telemetry: Arc<ExceptionTelemetry>,
    tables: Arc<Tables>,
    buffer: Vec<u8>,
    /// How long it sleeps while nothing moves.
    patience: Duration,
}

impl Ferry {
    fn run(&mut self, stop: &AtomicBool, heartbeat: &AtomicU64) {
        let mut active_until = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            heartbeat.fetch_add(1, Ordering::Relaxed);
            let snapshot = self.tables.snapshot.load_full();
            let moved = self.serve_workers() + self.read_interfaces(&snapshot.vtep.udp_ports);
            let now = Instant::now();
            self.watch.look(now, &snapshot, &mut self.interfaces);
            // Asleep it must not keep the memory of a snapshot that was replaced.
            drop(snapshot);
            self.speak(now);
            if moved > 0 {
                active_until = now + ACTIVE;
            } else {
                self.wait(if now < active_until { SHORT } else { self.patience });
            }
        }
        self.serve_workers();
    }

    /// Sends what is due to be said of groups on uplinks without an interface. What finds no room is said by the next
    /// report.
    fn speak(&mut self, now: Instant) {
        for interface in &mut self.interfaces {
            let (port, ring) = (interface.port(), &mut self.ends.from_kernel);
            interface.speak(now, |frame| {
                let _ = ring.push(port, || std::iter::once(frame));
            });
        }
    }

    /// Empties the workers' rings, class by class, a turn from each. Gives how many frames that was.
    fn serve_workers(&mut self) -> usize {
        let mut moved = 0;
        for class in PuntClass::ALL {
            for worker in 0..self.ends.to_kernel.len() {
                for _ in 0..TURN {
                    let ring = self.ends.to_kernel.get_mut(worker).and_then(|rings| rings.get_mut(*class as usize));
                    let interfaces = &mut self.interfaces;
                    let telemetry = &self.telemetry;
                    let deliver =
                        |port, first: &[u8], second: &[u8]| deliver(interfaces, telemetry, port, first, second);
                    if ring.and_then(|ring| ring.take(deliver)).is_none() {
                        break;
                    }
                    moved += 1;
                }
            }
        }
        moved
    }

    /// Reads from each interface for a turn, as long as there is room for what it may have. Gives how many frames that
    /// was.
    fn read_interfaces(&mut self, vxlan_ports: &[u16]) -> usize {
        let mut moved = 0;
        for interface in &mut self.interfaces {
            let counters = self.telemetry.port(interface.port);
            let longest = interface.longest_frame();
            for _ in 0..TURN {
                let Some(tap) = interface.tap.as_ref().filter(|_| self.ends.from_kernel.has_room(longest)) else {
                    break;
                };
                let frame = match tap.read(&mut self.buffer) {
                    Ok(Some(length)) => self.buffer.get(..length).unwrap_or_default(),
                    Ok(None) => break,
                    Err(error) => {
                        if has_gone(&error) {
                            interface.lose();
                        }
                        break;
                    }
                };
                moved += 1;
                if frame.len() > longest {
                    counters.too_long.increment();
                } else if interface.traffic() == Traffic::LinkLocal && !is_link_local(frame) {
                    counters.not_link_local.increment();
                } else if classify(frame, frame.len(), vxlan_ports).is_none() {
                    counters.vxlan_refused.increment();
                } else if self.ends.from_kernel.push(interface.port, || std::iter::once(frame)) {
                    counters.from_kernel.increment();
                }
            }
        }
        moved
    }

    /// Sleeps until a frame of the kernel is there, at the most for so long.
    fn wait(&self, longest: Duration) {
        let readable = |interface: &PortInterface| self.ends.from_kernel.has_room(interface.longest_frame());
        let taps = self
            .interfaces
            .iter()
            .filter(|interface| readable(interface))
            .filter_map(|interface| interface.tap.as_ref());
        let mut descriptors: Vec<PollFd<'_>> =
            taps.map(|tap| PollFd::new(tap.descriptor(), PollFlags::POLLIN)).collect();
        // An interface that was removed is ready at once, and is given up when it is read. Whatever else ends the wait
        // is found out by the next round.
        let _ = ppoll(&mut descriptors, Some(TimeSpec::from_duration(longest)), None);
    }
}

/// To a reserved link-local group address.
fn is_link_local(frame: &[u8]) -> bool {
    EthernetHeader::parse(frame).is_some_and(|header| header.destination.is_link_local_group())
}

/// Writes a frame to the interface of its port.
fn deliver(
    interfaces: &mut [PortInterface],
    telemetry: &ExceptionTelemetry,
    port: PortIndex,
    first: &[u8],
    second: &[u8],
) {
    let counters = telemetry.port(port);
    let Some(interface) = interfaces.iter_mut().find(|interface| interface.port == port) else {
        return counters.not_taken.increment();
    };
    if !interface.has_interface() {
        return interface.hear(&[first, second].concat(), Instant::now());
    }
    match interface.tap.as_ref().map(|tap| tap.write(first, second)) {
        Some(Ok(_)) => counters.to_kernel.increment(),
        Some(Err(error)) if has_gone(&error) => {
            counters.not_taken.increment();
            interface.lose();
        }
        Some(Err(_)) | None => counters.not_taken.increment(),
    }
}

//! What the kernel is told: to make devices, and what is behind access ports.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use tracing::{info, warn};

use super::Kernel;
use crate::config::Config;
use crate::control::devices::Devices;
use crate::control::publishing::{Publisher, Shadow};
use crate::netlink::{Change, Executor, Mirror, Order, Outcome};

/// Orders about stations that are given at once. The kernel carries out some 200,000 in a second.
const ORDERS: usize = 512;

/// How often refused orders are logged.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// How long the kernel may take to remove what was made. A thousand bridges were measured to take 17 s.
const REMOVAL: Duration = Duration::from_secs(60);

/// How long routing daemons have to tell others that the devices are down, before there is no way for that any more.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// The devices that are made, and what they are told.
#[derive(Debug)]
pub(super) struct Telling {
    /// Who carries orders out; without, none are given.
    executor: Option<Executor>,
    /// Batches of orders of which it is not known yet what has become.
    given: usize,
    pub(super) devices: Devices,
    pub(super) publisher: Publisher,
    /// Links have changed since shadows were made out.
    links_changed: bool,
    complained: Option<Instant>,
    refused: u64,
}

impl Telling {
    pub(super) fn new() -> Self {
        Self {
            executor: None,
            given: 0,
            devices: Devices::new(),
            publisher: Publisher::default(),
            links_changed: true,
            complained: None,
            refused: 0,
        }
    }

    pub(super) fn set_bridges(&mut self, config: &Config) {
        self.devices.set_bridges(config);
        self.links_changed = true;
    }

    /// Takes note of a change of the mirror.
    pub(super) fn note(&mut self, change: Change, mirror: &Mirror) {
        if let Change::Link(_) = change {
            self.devices.note_link();
            self.links_changed = true;
        }
        self.publisher.note(change, mirror);
    }

    /// Gives orders, for which there is room. True where there were any.
    fn give(&mut self, executor: &Executor, orders: Vec<Order>) -> bool {
        let given = !orders.is_empty() && executor.give(orders).is_ok();
        self.given += usize::from(given);
        given
    }

    /// Takes note of what has become of a batch of orders.
    fn take_note(&mut self, outcomes: &[Outcome], now: Instant) {
        self.given = self.given.saturating_sub(1);
        outcomes.iter().for_each(|outcome| self.done(outcome, now));
    }

    fn done(&mut self, outcome: &Outcome, now: Instant) {
        if !self.publisher.done(outcome, now) {
            self.devices.done(outcome);
            self.links_changed = true;
        }
        if let Err(error) = outcome.result
            && is_wrong(&outcome.order, error)
        {
            self.refused += 1;
            if self.complained.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAINTS) {
                self.complained = Some(now);
                let order = &outcome.order;
                warn!(%error, ?order, refused = self.refused, "the kernel does not do as told{}", remedy(order, error));
            }
        }
    }
}

/// True for an error that leaves something undone.
fn is_wrong(order: &Order, error: Errno) -> bool {
    let gone = matches!(error, Errno::ENOENT | Errno::ENODEV | Errno::ENXIO | Errno::EADDRNOTAVAIL);
    match order {
        Order::TakeStation { .. } | Order::TakeRemote { .. } | Order::TakeNeighbour { .. } => !gone,
        Order::RemoveLink { .. } | Order::SetUp { up: false, .. } => !gone,
        // Its link has gone meanwhile; what is to be done then follows from that.
        Order::PutStation { .. } | Order::PutNeighbour { .. } | Order::MakePort { .. } => error != Errno::ENODEV,
        Order::KeepSilent { .. } => error != Errno::EAFNOSUPPORT,
        Order::DropWhatIsSent { .. } => error != Errno::ENOENT,
        _ => true,
    }
}

/// What an operator can do.
fn remedy(order: &Order, error: Errno) -> &'static str {
    match (order, error) {
        (_, Errno::EPERM | Errno::EACCES) => "; run as root or with CAP_NET_ADMIN",
        (Order::HoldTap { .. }, Errno::ENOENT) => "; there is no /dev/net/tun: modprobe tun",
        (Order::MakePort { .. }, Errno::EOPNOTSUPP) => "; the kernel has no macvlan devices: modprobe macvlan",
        (Order::MakeVxlan { .. }, Errno::EEXIST) => {
            "; another vxlan device has this VNI and UDP port, perhaps in another network namespace"
        }
        _ => "",
    }
}

impl Kernel {
    /// From now on, makes the devices that bridges lack, and tells the kernel what is behind access ports.
    pub fn give_orders_to(&mut self, executor: Executor) {
        self.telling.executor = Some(executor);
    }

    /// Gives the kernel orders, and takes note of what has become of earlier ones. True where there were any.
    pub(super) fn tell(&mut self, now: Instant) -> bool {
        let Self { telling, mirror, adoption, .. } = self;
        let Some(executor) = telling.executor.take() else { return false };
        let mut busy = false;
        while let Some(outcomes) = executor.next() {
            busy = true;
            telling.take_note(&outcomes, now);
        }
        if std::mem::take(&mut telling.links_changed) {
            let mut shadows = telling.devices.shadows(mirror, adoption.devices());
            let alone = adoption.devices().iter().filter(|(_, adopted)| adopted.bridge.is_none());
            shadows.extend(alone.map(|(vni, adopted)| (*vni, Shadow::alone(adopted.device))));
            telling.publisher.set_shadows(shadows, mirror);
        }
        if executor.has_room() {
            let orders = telling.devices.orders(mirror, adoption.devices(), now);
            busy |= telling.give(&executor, orders);
        }
        if executor.has_room() {
            let orders = telling.publisher.orders(ORDERS, mirror, now);
            busy |= telling.give(&executor, orders);
        }
        telling.executor = Some(executor);
        self.count_told();
        busy
    }

    fn count_told(&mut self) {
        let publisher = &mut self.telling.publisher;
        let told = publisher.take_told();
        let telemetry = &self.telemetry.kernel;
        telemetry.published.add(told.published);
        telemetry.withdrawn.add(told.withdrawn);
        telemetry.refused.add(told.failed);
        telemetry.published_stations.set(publisher.station_count() as u64);
        telemetry.published_bindings.set(publisher.binding_count() as u64);
    }

    /// Removes the devices that were made, the vxlan devices down first. What FRR then has to say to others still finds
    /// the uplinks at work.
    pub fn remove_devices(&mut self) {
        self.take_in(Instant::now());
        let Some(executor) = self.telling.executor.take() else { return };
        if self.telling.given > 0 {
            self.await_outcomes(&executor);
        }
        let [down, remove] = self.telling.devices.removal(&self.mirror);
        if down.is_empty() && remove.is_empty() {
            return;
        }
        let began = Instant::now();
        let mut outcomes = executor.finish(down, REMOVAL);
        std::thread::sleep(LAST_WORDS);
        outcomes.extend(executor.finish(remove, REMOVAL));
        outcomes.iter().for_each(|outcome| self.telling.done(outcome, began));
        info!(duration = ?began.elapsed(), "the devices that were made in the kernel are removed");
    }
    /// Waits for what is still on its way to be carried out, and reads what has become of it: there may be devices of
    /// which the mirror does not know yet, as where the end comes just after the start.
    fn await_outcomes(&mut self, executor: &Executor) {
        let began = Instant::now();
        while self.telling.given > 0 && began.elapsed() < REMOVAL {
            match executor.next() {
                Some(outcomes) => self.telling.take_note(&outcomes, began),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        self.compare();
    }
}

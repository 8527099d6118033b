//! A gateway that runs: DPDK, ports, the control side, and workers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vtepd::config::Config;
use vtepd::control::{Gateway, PortFacts};
use vtepd::daemon::ports::WorkerQueues;
use vtepd::daemon::{cores, ports};
use vtepd::tables::PortIndex;
use vtepd::tables::learning::LearnRing;
use vtepd::telemetry::{ControlTelemetry, DropReason, Event, WorkerTelemetry};

use crate::forwarders::Forwarding;
use crate::measurement::Means;
use crate::testbed::{self, Fallible, Testbed};

/// The pause of the control loop, as in the daemon.
const PAUSE: Duration = Duration::from_millis(1);
/// How long learning may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway whose workers forward; the caller lends it a control loop.
pub struct Rig {
    /// The workers, each on its core. The first field, so that they end first.
    pub workers: Vec<Forwarding>,
    /// The control side.
    pub gateway: Gateway,
    /// What the control side counts.
    pub control: Arc<ControlTelemetry>,
    /// DPDK.
    pub bed: Testbed,
}

impl Rig {
    /// Starts a gateway with this config. Its workers receive only from ports that `receives` says; `before` has the
    /// control side to itself until they start.
    ///
    /// # Errors
    /// Whatever does not start.
    pub fn start(
        config: Config,
        means: &Means,
        receives: impl Fn(PortIndex) -> bool,
        before: impl FnOnce(&mut Gateway, &LearnRing) -> Fallible<()>,
    ) -> Fallible<Self> {
        Self::start_with(config, means, receives, |_, _, _| Ok(Vec::new()), before)
    }

    /// As [`Rig::start`], with ports that `more` opens and adds to the config and to the workers' queues.
    ///
    /// # Errors
    /// Whatever does not start.
    pub fn start_with(
        mut config: Config,
        means: &Means,
        receives: impl Fn(PortIndex) -> bool,
        more: impl FnOnce(&Testbed, &mut Config, &mut [WorkerQueues]) -> Fallible<Vec<PortFacts>>,
        before: impl FnOnce(&mut Gateway, &LearnRing) -> Fallible<()>,
    ) -> Fallible<Self> {
        let (worker_cores, idle) = (config.workers.cores.clone(), config.workers.idle);
        let bed = start_dpdk(&config, means)?;
        let (ports, mut queues) = ports::open(&bed.eal, &config, &bed.pool)?;
        let mut facts: Vec<PortFacts> = ports.iter().map(|port| port.facts).collect();
        facts.extend(more(&bed, &mut config, &mut queues)?);
        testbed::check_uplink(facts.first().map(|facts| facts.mac))?;
        let rings: Vec<Arc<LearnRing>> = worker_cores.iter().map(|_| Arc::default()).collect();
        let control = Arc::new(ControlTelemetry::new());
        let mut gateway = Gateway::start(config, facts, rings.clone(), Arc::clone(&control))?;
        if let Some(ring) = rings.first() {
            before(&mut gateway, ring)?;
        }
        let mut workers = Vec::new();
        for ((mut queues, ring), core) in queues.into_iter().zip(rings).zip(worker_cores) {
            queues.ports.retain(|port| receives(port.index));
            workers.push(Forwarding::gateway(&bed.eal, core, queues, &bed.pool, ring, gateway.tables(), idle)?);
        }
        Ok(Self { workers, gateway, control, bed })
    }

    /// Runs the control loop until the FDB has so many entries.
    ///
    /// # Errors
    /// Where it has not within a minute.
    pub fn await_stations(&mut self, stations: usize) -> Fallible<()> {
        let began = Instant::now();
        while self.gateway.tables().fdb.len() < stations {
            self.control_for(Duration::ZERO);
            if began.elapsed() > PATIENCE {
                return Err(
                    format!("{} of {stations} MAC addresses were learned", self.gateway.tables().fdb.len()).into()
                );
            }
        }
        Ok(())
    }

    /// Runs the control loop for a while, as the daemon does; at least one round.
    pub fn control_for(&mut self, time: Duration) {
        let began = Instant::now();
        loop {
            if self.gateway.round() == 0 {
                std::thread::sleep(PAUSE);
            }
            if began.elapsed() >= time {
                return;
            }
        }
    }
}

/// DPDK for this config, and the calling thread kept off its workers' cores.
///
/// # Errors
/// Whatever DPDK does not do.
pub fn start_dpdk(config: &Config, means: &Means) -> Fallible<Testbed> {
    cores::check(&config.workers.cores)?;
    let control_cores = cores::for_control(&config.workers.cores);
    cores::keep_to(&control_cores);
    Testbed::start(config, means, control_cores)
}

/// What a worker has not forwarded as a known station's.
pub struct Losses {
    drops: Vec<(DropReason, u64)>,
    floods: u64,
}

impl Losses {
    /// So far.
    pub fn of(telemetry: &WorkerTelemetry) -> Self {
        Self {
            drops: DropReason::ALL.iter().map(|reason| (*reason, telemetry.dropped(*reason))).collect(),
            floods: telemetry.events(Event::FloodedFrame),
        }
    }

    /// Fails where packets were dropped since.
    ///
    /// # Errors
    /// Naming the reason they were dropped for.
    pub fn refuse_drops(&self, telemetry: &WorkerTelemetry) -> Fallible<()> {
        self.refuse_drops_but(telemetry, None)
    }

    /// Fails where packets were dropped since for any reason but this one.
    fn refuse_drops_but(&self, telemetry: &WorkerTelemetry, allowed: Option<DropReason>) -> Fallible<()> {
        for ((reason, before), (_, after)) in self.drops.iter().zip(&Self::of(telemetry).drops) {
            if after > before && Some(*reason) != allowed {
                return Err(format!("{} packets were dropped while measured: {}", after - before, reason.name()).into());
            }
        }
        Ok(())
    }

    /// Fails where packets were dropped or flooded since.
    ///
    /// # Errors
    /// Saying how many.
    pub fn refuse_any(&self, telemetry: &WorkerTelemetry) -> Fallible<()> {
        self.refuse_drops(telemetry)?;
        self.refuse_floods(telemetry)
    }

    /// As [`Losses::refuse_any`], for a worker whose transmit queues may fill: gives how many packets they refused.
    ///
    /// # Errors
    /// Saying how many were dropped for another reason, or flooded.
    pub fn but_unsent(&self, telemetry: &WorkerTelemetry) -> Fallible<u64> {
        let full = DropReason::TransmitFull;
        self.refuse_drops_but(telemetry, Some(full))?;
        self.refuse_floods(telemetry)?;
        let before = self.drops.iter().find(|(reason, _)| *reason == full).map_or(0, |(_, count)| *count);
        Ok(telemetry.dropped(full) - before)
    }

    fn refuse_floods(&self, telemetry: &WorkerTelemetry) -> Fallible<()> {
        match Self::of(telemetry).floods - self.floods {
            0 => Ok(()),
            floods => Err(format!("{floods} frames were flooded while measured").into()),
        }
    }
}

//! Start, the control loop, and stop.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam::channel::{Receiver, bounded};
use crossbeam::utils::CachePadded;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use thiserror::Error;
use tracing::{error, info, warn};

use super::cores::{self, CoreMissing};
use super::exception::{self, Exceptions};
use super::fdb_requests;
use super::ports::{self, WorkerQueues};
use super::summary::summary;
use super::view::{ReloadRequest, View, describe};
use crate::api::{Endpoints, ServeError, StatsThread};
use crate::config::model::{Idle, Underlay};
use crate::config::{Config, ConfigError, Loaded};
use crate::control::gateway::StartError;
use crate::control::underlay::Uplink;
use crate::control::{FdbRequest, Gateway, Kernel};
use crate::dpdk::{Eal, EalError, EalOptions, PacketPool, PoolError, PortError, WorkerThread};
use crate::exception::{PortInterface, TapError, Traffic, WorkerEnd, connect};
use crate::netlink::{Dumper, Executor, Listener, SocketError};
use crate::tables::Tables;
use crate::tables::learning::LearnRing;
use crate::telemetry::{ControlTelemetry, Entropy, ExceptionTelemetry, ThreadHandle, WorkerHandle, WorkerTelemetry};
use crate::worker::Worker;
use crate::worker::outlet::Outlets;

/// The control thread's pause after a round without an event, so that what workers report is learned within a
/// millisecond.
const PAUSE: Duration = Duration::from_millis(1);

/// How long the kernel may take for orders and answers: it carries out one process's orders at a time, and the removal of a
/// namespace with a thousand links is one.
pub(super) const KERNEL_WAIT: Duration = Duration::from_secs(15);

/// Why the daemon did not start, or could not go on. Each says what to do.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// A worker's core is not there.
    #[error(transparent)]
    Core(#[from] CoreMissing),
    /// DPDK did not start.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// The packet pool could not be made.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A port could not be opened.
    #[error(transparent)]
    Port(#[from] PortError),
    /// An uplink gets no interface in the kernel.
    #[error("{0}; or let the kernel have nothing to do with the uplinks: `underlay = \"static\"` in [vtep]")]
    Tap(#[from] TapError),
    /// An access port gets no interface in the kernel.
    #[error("{0}; or leave the frames of its link to its bridge: no `link_local` in its [[port]]")]
    AccessTap(#[source] TapError),
    /// The tables could not be made.
    #[error(transparent)]
    Gateway(#[from] StartError),
    /// The kernel's tables cannot be read.
    #[error(transparent)]
    Kernel(#[from] SocketError),
    /// The metrics or the control socket could not be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The system gives no thread or no signal handler.
    #[error("the system refuses {what}: {source}; see the limits of this process (ulimit -a)")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}

/// The signals the daemon obeys.
struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    fn install() -> Result<Self, DaemonError> {
        let signals = Self { stop: Arc::default(), reload: Arc::default() };
        let flags = [(SIGTERM, &signals.stop), (SIGINT, &signals.stop), (SIGHUP, &signals.reload)];
        for (signal, flag) in flags {
            signal_hook::flag::register(signal, Arc::clone(flag))
                .map_err(|source| DaemonError::System { what: "a signal handler", source })?;
        }
        Ok(signals)
    }
}

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
/// [`DaemonError`]; what had been started is stopped again.
pub fn run(file: &Path, loaded: Loaded, verbose: bool) -> Result<(), DaemonError> {
    let Loaded { config, .. } = loaded;
    let began = Instant::now();
    let signals = Signals::install()?;
    cores::check(&config.workers.cores)?;
    cores::keep_to(&cores::for_control(&config.workers.cores));
    let eal = start_eal(&config, verbose)?;
    let pool = PacketPool::create(&eal, config.dpdk.packet_buffers)?;
    let (ports, queues) = ports::open(&eal, &config, &pool)?;
    let cores = config.workers.cores.clone();
    let (idle, underlay) = (config.workers.idle, config.vtep.underlay);
    let endpoints = Endpoints::new(config.stats.listen, &config.api.socket);
    let rings: Vec<Arc<LearnRing>> = cores.iter().map(|_| Arc::default()).collect();
    let control = Arc::new(ControlTelemetry::new());
    let facts = ports.iter().map(|port| port.facts).collect();
    let interfaces = exception::open(&config, &ports)?;
    info!("running {} of {}", describe(&config), file.display());
    let mut gateway = Gateway::start(config, facts, rings.clone(), Arc::clone(&control))?;
    let mut kernel_threads = follow_kernel(&mut gateway, underlay, &interfaces, &control)?;
    let workers: Vec<WorkerHandle> =
        cores.iter().map(|core| WorkerHandle { core: *core, telemetry: Arc::new(WorkerTelemetry::new()) }).collect();
    let exception = Arc::new(ExceptionTelemetry::new());
    let (worker_ends, thread_end) = connect(workers.len());
    // The interfaces of the kernel come to life before the workers, which take what they are to know from the snapshot.
    let exceptions = Exceptions::start(interfaces, thread_end, &exception, gateway.tables())?;
    if let Some(exceptions) = &exceptions {
        gateway.set_exception_path(exceptions.path());
        kernel_threads.extend(exceptions.handles());
    }
    // One request waits while another is served; whoever asks beyond that is told so.
    let (reload, reloads) = bounded(1);
    let (fdb_requests, to_serve) = bounded(fdb_requests::MOST_WAITING);
    let view = Arc::new(View {
        dpdk_version: eal.version(),
        started: SystemTime::now(),
        workers: workers.clone(),
        threads: kernel_threads,
        control,
        exception,
        ports: ports.clone(),
        tables: Arc::clone(gateway.tables()),
        running: Arc::clone(gateway.running()),
        reach: Arc::clone(gateway.reach()),
        overview: Arc::clone(gateway.overview()),
        entropy: Entropy::default(),
        paths: Arc::clone(gateway.paths()),
        reload,
        fdb_requests,
        ready: AtomicBool::new(false),
    });
    let stats = StatsThread::spawn(&endpoints, Arc::clone(&view) as _)?;
    let queues = queues.into_iter().zip(worker_ends).collect();
    let threads = Crew::start(&eal, &pool, queues, &workers, rings, gateway.tables(), idle)?;
    view.ready.store(true, Ordering::Relaxed);
    info!(
        "forwarding; metrics at http://{}/metrics, control socket {}",
        stats.metrics_address(),
        endpoints.socket.display()
    );
    control_loop(&mut gateway, file, &signals, (reloads, to_serve), exceptions.as_ref());
    info!("stopping");
    view.ready.store(false, Ordering::Relaxed);
    stop(&mut gateway, exceptions, threads, stats);
    info!("{}", summary(&workers, began.elapsed()));
    Ok(())
}

/// Stops all there is, what others still need last.
fn stop(gateway: &mut Gateway, exceptions: Option<Exceptions>, workers: Crew, stats: StatsThread) {
    // First of all, so that what routing daemons have to say of that goes out.
    gateway.leave_kernel();
    // Then, so that the workers send what the kernel has given.
    if let Some(exceptions) = exceptions {
        exceptions.stop();
    }
    workers.stop();
    stats.stop();
}

/// Has the kernel say the ways to remote VTEPs and what is behind them, unless the config has it kept out of that. Gives
/// the threads that do it.
fn follow_kernel(
    gateway: &mut Gateway,
    underlay: Underlay,
    interfaces: &[PortInterface],
    telemetry: &Arc<ControlTelemetry>,
) -> Result<Vec<ThreadHandle>, SocketError> {
    if underlay == Underlay::Static {
        return Ok(Vec::new());
    }
    let uplinks =
        interfaces.iter().filter(|interface| interface.traffic() == Traffic::AllButVxlan && interface.has_interface());
    let uplink = |uplink: &PortInterface| Uplink { port: uplink.port(), interface: uplink.interface().to_owned() };
    let uplinks: Vec<Uplink> = uplinks.map(uplink).collect();
    let follow = || {
        let (listener, executor) = (Listener::start()?, Executor::start(Executor::THREAD)?);
        let mut threads = vec![
            ThreadHandle { name: Listener::THREAD, heartbeat: listener.heartbeat(), longest_wait: Duration::ZERO },
            ThreadHandle { name: Executor::THREAD, heartbeat: executor.heartbeat(), longest_wait: KERNEL_WAIT },
        ];
        let mut kernel = Kernel::follow(listener, uplinks, Arc::clone(telemetry))?;
        kernel.give_orders_to(executor);
        let dumps = kernel.dumps_heartbeat();
        threads.push(ThreadHandle { name: Dumper::THREAD, heartbeat: dumps, longest_wait: KERNEL_WAIT });
        let next_hops = kernel.next_hops_heartbeat();
        threads.push(ThreadHandle {
            name: Executor::NEXT_HOPS_THREAD,
            heartbeat: next_hops,
            longest_wait: KERNEL_WAIT,
        });
        Ok((kernel, threads))
    };
    match follow() {
        Ok((kernel, threads)) => {
            gateway.follow(kernel);
            Ok(threads)
        }
        Err(error) if underlay == Underlay::KernelIfPossible => {
            warn!("{error}");
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn start_eal(config: &Config, verbose: bool) -> Result<Eal, EalError> {
    Eal::start(&EalOptions {
        file_prefix: config.dpdk.file_prefix.clone(),
        hugepages: config.dpdk.hugepages,
        memory_mib: config.dpdk.memory_mib,
        control_cores: cores::for_control(&config.workers.cores),
        devices: config.ports.iter().map(|port| port.device.clone()).collect(),
        extra_arguments: config.dpdk.eal_arguments.clone(),
        verbose,
    })
}

/// The worker threads.
struct Crew {
    /// Every worker reads it each round, so it lies with nothing that anyone writes.
    stop: Arc<CachePadded<AtomicBool>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    fn start(
        eal: &Eal,
        pool: &PacketPool,
        queues: Vec<(WorkerQueues, WorkerEnd)>,
        workers: &[WorkerHandle],
        rings: Vec<Arc<LearnRing>>,
        tables: &Arc<Tables>,
        idle: Idle,
    ) -> Result<Self, DaemonError> {
        let mut crew = Self { stop: Arc::default(), threads: Vec::new() };
        for (number, (((queues, end), handle), learn)) in queues.into_iter().zip(workers).zip(rings).enumerate() {
            let outlets = Outlets {
                ports: queues.outlets,
                pool: pool.clone(),
                telemetry: Arc::clone(&handle.telemetry),
                exception: Some(end),
            };
            let worker = Worker::new(queues.ports, queues.inlets, outlets, learn, Arc::clone(tables), idle);
            let (stop, eal, core) = (Arc::clone(&crew.stop), eal.clone(), handle.core);
            let body = move || work(worker, &eal, number, core, &stop);
            match std::thread::Builder::new().name(format!("vtepd-worker{number}")).spawn(body) {
                Ok(thread) => crew.threads.push(thread),
                Err(source) => {
                    crew.stop();
                    return Err(DaemonError::System { what: "a worker thread", source });
                }
            }
        }
        Ok(crew)
    }

    /// Lets the workers finish their round, and waits for them.
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if thread.join().is_err() {
                error!("a worker had panicked");
            }
        }
    }
}

/// A worker thread's life.
fn work(worker: Worker, eal: &Eal, number: usize, core: usize, stop: &AtomicBool) {
    if !cores::pin(core) {
        warn!(worker = number, core, "the worker could not be pinned to its core");
    }
    // Without a registration the worker forwards all the same, only without a cache in the packet pool.
    let _registered = WorkerThread::register(eal)
        .inspect_err(|error| warn!(worker = number, %error, "the worker runs without a packet cache"));
    worker.run(stop);
}

/// Runs until a signal says stop. Takes the requests, so that nobody waits for an answer any more when it ends.
fn control_loop(
    gateway: &mut Gateway,
    file: &Path,
    signals: &Signals,
    (reloads, to_serve): (Receiver<ReloadRequest>, Receiver<FdbRequest>),
    exceptions: Option<&Exceptions>,
) {
    let mut reading: Option<Reading> = None;
    while !signals.stop.load(Ordering::Relaxed) {
        if reading.is_none() {
            let signalled = signals.reload.swap(false, Ordering::Relaxed);
            let request = reloads.try_recv().ok();
            if signalled || request.is_some() {
                reading = Some(Reading::begin(file, request));
            }
        }
        if let Some(read) = reading.take_if(|reading| reading.is_over()) {
            read.apply(gateway, file);
        }
        if let Some(exceptions) = exceptions {
            gateway.set_exception_path(exceptions.path());
        }
        if let Ok(request) = to_serve.try_recv() {
            gateway.serve(request);
        }
        if gateway.round() == 0 {
            std::thread::sleep(PAUSE);
        }
    }
}

/// A config file that is being read again, by a thread of its own: with a million static entries that takes a while, in
/// which control goes on learning.
struct Reading {
    thread: std::io::Result<JoinHandle<Result<Loaded, ConfigError>>>,
    /// Who wants to hear of it; after a signal nobody does, and the outcome is in the log.
    request: Option<ReloadRequest>,
}

impl Reading {
    fn begin(file: &Path, request: Option<ReloadRequest>) -> Self {
        let file = file.to_owned();
        // It keeps to the control thread's cores, as whatever that one starts.
        let thread = std::thread::Builder::new().name("vtepd-config".to_owned()).spawn(move || Config::load(&file));
        Self { thread, request }
    }

    fn is_over(&self) -> bool {
        self.thread.as_ref().map_or(true, JoinHandle::is_finished)
    }

    /// Applies what was read, or says why not and leaves everything as it was.
    fn apply(self, gateway: &mut Gateway, file: &Path) {
        let loaded = match self.thread.map(JoinHandle::join) {
            Ok(Ok(loaded)) => loaded.map_err(|error| error.render(false)),
            Ok(Err(_)) => Err("reading the config file failed".to_owned()),
            Err(error) => Err(format!("the system refuses a thread to read the config file: {error}")),
        };
        let applied = loaded.and_then(|Loaded { config, warnings }| {
            let description = describe(&config);
            gateway.apply(config).map_err(|error| format!("{}: {error}", file.display()))?;
            let warnings = if warnings.is_empty() { String::new() } else { format!("\n{}", warnings.render(false)) };
            Ok(format!("{} applied: {description}{warnings}", file.display()))
        });
        gateway.count_reload(applied.is_ok());
        match &applied {
            Ok(summary) => info!("{summary}"),
            Err(wrong) => error!("the config was not reloaded; the running one is unchanged\n{wrong}"),
        }
        if let Some(answer) = self.request {
            // Whoever asked may have gone.
            let _ = answer.send(applied);
        }
    }
}

//! The stats thread: one thread, one single-threaded runtime, two listeners.
//!
//! Nothing on it is on a packet's way. What it serves is bounded: connections, the size of a request's head, the time
//! a client may take to send one and to take in an answer, the time an answer may take. Work that asks the gateway runs
//! on a few helper threads, so that `/healthz` answers also while that hangs.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio_io_timeout::TimeoutStream;

use super::routes::{self, Shared};
use super::socket::ControlSocket;
use super::view::GatewayView;

/// The most connections served at the same time by each listener; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 32;

/// How long a client may take to send a request's head, and may keep a connection idle.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection lives before it is asked to end.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);

/// How long what is under way on a connection that is asked to end may still take; longer than any answer.
const CONNECTION_GRACE: Duration = Duration::from_secs(160);

/// The largest head of a request, in bytes.
const MAX_REQUEST_HEAD: usize = 16 * 1024;

/// Threads that ask the gateway.
const MAX_HELPERS: usize = 4;

/// How often the heartbeats are looked at.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Where the stats thread listens and how patient it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Where metrics are served, by TCP. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The control socket.
    pub socket: PathBuf,
    /// How long a thread's heartbeat may stand still before `/healthz` says so.
    pub stuck_after: Duration,
    /// How long a client may take in next to nothing of its answer: one that does not read would keep others from its
    /// connection, and from `/healthz`. What is next to nothing the kernel says: a third of what it keeps for who reads slowly
    /// (TCP), three quarters (a Unix socket); with its usual buffers 20 kB a second are enough for the control socket.
    pub reader_patience: Duration,
}

impl Endpoints {
    /// Endpoints that call a thread stuck after 5 s, and cut off who does not read for 30 s.
    #[must_use]
    pub fn new(listen: SocketAddr, socket: impl Into<PathBuf>) -> Self {
        let (stuck_after, reader_patience) = (Duration::from_secs(5), Duration::from_secs(30));
        Self { listen, socket: socket.into(), stuck_after, reader_patience }
    }
}

/// Why the stats thread could not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Somebody else listens there.
    #[error(
        "cannot serve metrics on {0}: the address is in use; `ss -ltnp sport = :{port}` names the process, or set \
         another `listen` in [stats]", port = .0.port()
    )]
    ListenInUse(SocketAddr),
    /// No interface of this host has the address.
    #[error("cannot serve metrics on {0}: this host does not have the address; set `listen` in [stats] to one it has")]
    ListenNotHere(SocketAddr),
    /// Any other reason not to listen.
    #[error("cannot serve metrics on {address}: {source}; set another `listen` in [stats]")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another daemon serves the control socket.
    #[error(
        "another vtepd is running and serves {}; stop it, or set another `file_prefix` in [dpdk] or `socket` in [api]",
        path.display()
    )]
    SocketLive {
        /// The socket.
        path: PathBuf,
    },
    /// There is a file in the socket's place.
    #[error("{} is there and is no socket; remove it, or set another `socket` in [api]", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// Any other reason not to serve the control socket.
    #[error(
        "cannot make the control socket {}: {source}; its directory must be writable, see `socket` in [api]",
        path.display()
    )]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The thread or its runtime could not be made.
    #[error("cannot start the stats thread: {0}")]
    Thread(io::Error),
}

/// The running stats thread. Stopping or dropping it ends the thread and removes the control socket.
#[derive(Debug)]
pub struct StatsThread {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StatsThread {
    /// Binds both endpoints and starts the thread. The thread inherits the caller's CPU affinity.
    ///
    /// # Errors
    /// [`ServeError`] where an endpoint cannot be bound; then nothing is left behind.
    pub fn spawn(endpoints: &Endpoints, view: Arc<dyn GatewayView>) -> Result<Self, ServeError> {
        let tcp = listen(endpoints.listen)?;
        let (socket, unix) = ControlSocket::bind(&endpoints.socket)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_HELPERS)
            .thread_name("vtepd-stats-io")
            .build()
            .map_err(ServeError::Thread)?;
        let address = tcp.local_addr().map_err(ServeError::Thread)?;
        let (tcp, unix) = {
            let _context = runtime.enter();
            let tcp = tokio::net::TcpListener::from_std(tcp).map_err(ServeError::Thread)?;
            (tcp, tokio::net::UnixListener::from_std(unix).map_err(ServeError::Thread)?)
        };
        let shared = Arc::new(Shared::new(view, endpoints.stuck_after));
        let patience = endpoints.reader_patience;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("vtepd-stats".to_owned())
            .spawn(move || {
                run(runtime, (tcp, unix), patience, &shared, stopped);
                drop(socket);
            })
            .map_err(ServeError::Thread)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where metrics are served.
    #[must_use]
    pub const fn metrics_address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the thread and removes the control socket. Answers under way are cut off.
    pub fn stop(self) {}
}

impl Drop for StatsThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the stats thread had panicked");
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listener = TcpListener::bind(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServeError::ListenInUse(address),
        io::ErrorKind::AddrNotAvailable => ServeError::ListenNotHere(address),
        _ => ServeError::Listen { address, source },
    })?;
    listener.set_nonblocking(true).map_err(|source| ServeError::Listen { address, source })?;
    Ok(listener)
}

fn run(
    runtime: Runtime,
    (tcp, unix): (tokio::net::TcpListener, tokio::net::UnixListener),
    patience: Duration,
    shared: &Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) {
    runtime.spawn(accept_all(tcp, patience, routes::scrape(Arc::clone(shared))));
    runtime.spawn(accept_all(unix, patience, routes::control(Arc::clone(shared))));
    let watched = Arc::clone(shared);
    runtime.spawn(async move {
        let mut ticks = tokio::time::interval(HEARTBEAT_INTERVAL);
        loop {
            ticks.tick().await;
            watched.stuck_threads();
            watched.look_at_entropy();
        }
    });
    // Nothing is ever sent: the sender's end is the signal.
    let _ = runtime.block_on(stopped);
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// Serves every connection of `listener`, a bounded number at the same time, for ever; but for those that do not read for
/// longer than the patience.
async fn accept_all(mut listener: impl Listener, patience: Duration, router: Router) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).max_buf_size(MAX_REQUEST_HEAD);
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let (stream, _) = listener.accept().await;
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(patience));
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            if tokio::time::timeout(CONNECTION_LIFETIME, connection.as_mut()).await.is_err() {
                connection.as_mut().graceful_shutdown();
                // A client that reads its answer a little at a time is cut off here.
                let _ = tokio::time::timeout(CONNECTION_GRACE, connection).await;
            }
            drop(permit);
        });
    }
}

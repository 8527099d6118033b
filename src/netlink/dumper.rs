//! The thread that asks for everything there is. The kernel writes a dump under the lock that every change of links
//! takes: while a thousand of another process's were removed, 19 s of waiting were measured.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};

use super::dump::{Dumped, Dumps, Table};
use super::event::Event;
use super::socket::SocketError;

/// Pieces that wait for whoever takes them in. The kernel writes the next one when there is room.
const PIECES: usize = 8;

/// How long the thread waits at the most for a table to be asked for, before it shows that it is alive.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// A piece of a dump.
#[derive(Debug)]
pub struct Piece {
    /// What is there: some hundred entries.
    pub events: Vec<Event>,
    /// Whether there is more of the table. After an error there is not.
    pub dumped: io::Result<Dumped>,
}

/// The way to the thread.
#[derive(Debug)]
pub struct Dumper {
    asked: Option<Sender<Table>>,
    pieces: Receiver<Piece>,
    heartbeat: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Dumper {
    /// The thread's name.
    pub const THREAD: &str = "vtepd-dumps";

    /// Starts the thread, for the network namespace of the calling one.
    ///
    /// # Errors
    /// [`SocketError`] where the kernel gives no socket, or the system no thread.
    pub fn start() -> Result<Self, SocketError> {
        let dumps = Dumps::open()?;
        let (asked, tables) = channel::bounded(1);
        let (sender, pieces) = channel::bounded(PIECES);
        let heartbeat = Arc::<AtomicU64>::default();
        let turns = Arc::clone(&heartbeat);
        let body = move || run(dumps, &tables, &sender, &turns);
        let thread = thread::Builder::new().name(Self::THREAD.to_owned()).spawn(body)?;
        Ok(Self { asked: Some(asked), pieces, heartbeat, thread: Some(thread) })
    }

    /// A number that grows twice a second at least as long as the thread lives and neither the kernel nor whoever takes the
    /// pieces keeps it.
    #[must_use]
    pub fn heartbeat(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heartbeat)
    }

    /// Asks for a table. All pieces of the one before have to be taken.
    ///
    /// # Errors
    /// That the thread has ended.
    pub fn ask(&self, table: Table) -> io::Result<()> {
        let sent = self.asked.as_ref().map(|asked| asked.try_send(table));
        sent.and_then(Result::ok).ok_or_else(|| io::Error::other("the thread for the kernel's tables takes no more"))
    }

    /// The next piece, if there is one within this time.
    #[must_use]
    pub fn next(&self, patience: Duration) -> Option<Piece> {
        if patience.is_zero() { self.pieces.try_recv().ok() } else { self.pieces.recv_timeout(patience).ok() }
    }
}

impl Drop for Dumper {
    fn drop(&mut self) {
        self.asked = None;
        // What it still has to say is wanted no more.
        while self.pieces.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            // What it had to say, it has said.
            let _ = thread.join();
        }
    }
}

/// The thread's side.
fn run(mut dumps: Dumps, tables: &Receiver<Table>, pieces: &Sender<Piece>, heartbeat: &AtomicU64) {
    loop {
        heartbeat.fetch_add(1, Ordering::Relaxed);
        let table = match tables.recv_timeout(HEARTBEAT) {
            Ok(table) => table,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut asked = dumps.ask(table);
        loop {
            heartbeat.fetch_add(1, Ordering::Relaxed);
            let mut events = Vec::new();
            let dumped = asked.and_then(|()| dumps.take(|event| events.push(event)));
            let (failed, more) = (dumped.is_err(), matches!(dumped, Ok(Dumped::More)));
            // What is left of a dump would mix with the next one.
            if failed && let Ok(anew) = Dumps::open() {
                dumps = anew;
            }
            if pieces.send(Piece { events, dumped }).is_err() {
                return;
            }
            if !more {
                break;
            }
            asked = Ok(());
        }
    }
}

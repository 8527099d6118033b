//! The thread that asks for everything there is. The kernel writes a dump under the lock that every change of links
//! takes: while a thousand of another process's were removed, 19 s of waiting were measured.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{self, Receiver, Sender};

use super::dump::{Dumped, Dumps, Table};
use super::event::Event;
use super::socket::SocketError;

/// Pieces that wait for whoever takes them in. The kernel writes the next one when there is room.
const PIECES: usize = 8;

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
    thread: Option<JoinHandle<()>>,
}

impl Dumper {
    /// Starts the thread, for the network namespace of the calling one.
    ///
    /// # Errors
    /// [`SocketError`] where the kernel gives no socket, or the system no thread.
    pub fn start() -> Result<Self, SocketError> {
        let dumps = Dumps::open()?;
        let (asked, tables) = channel::bounded(1);
        let (sender, pieces) = channel::bounded(PIECES);
        let body = move || run(dumps, &tables, &sender);
        let thread = thread::Builder::new().name("vtepd-dumps".to_owned()).spawn(body)?;
        Ok(Self { asked: Some(asked), pieces, thread: Some(thread) })
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
fn run(mut dumps: Dumps, tables: &Receiver<Table>, pieces: &Sender<Piece>) {
    for table in tables {
        let mut asked = dumps.ask(table);
        loop {
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

//! Everything there is, asked for table by table and taken in pieces.

use std::io;

use nix::errno::Errno;

use super::abi::{self, Request};
use super::event::{self, Event};
use super::socket::{ANSWER, Content, Socket, SocketError};

/// `NLM_F_REQUEST | NLM_F_DUMP`.
pub(super) const DUMP: u16 = 0x301;

/// A table of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Links.
    Links,
    /// Addresses of links.
    Addresses,
    /// Next-hop objects.
    NextHops,
    /// IPv4 neighbours.
    Neighbours4,
    /// IPv6 neighbours.
    Neighbours6,
    /// The FDBs of vxlan devices and bridges.
    Fdb,
}

impl Table {
    /// All, in an order in which what is referred to comes first.
    pub const ALL: [Self; 6] =
        [Self::Links, Self::Addresses, Self::NextHops, Self::Neighbours4, Self::Neighbours6, Self::Fdb];
}

/// What a piece of a dump came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dumped {
    /// There is more.
    More,
    /// That was all.
    All,
    /// The dump is at its end, but something changed meanwhile so that some of it may be missing.
    Interrupted,
}

/// A socket for dumps, one after the other.
#[derive(Debug)]
pub struct Dumps {
    socket: Socket,
    asked: u32,
    interrupted: bool,
}

impl Dumps {
    /// A socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn open() -> Result<Self, SocketError> {
        let socket = Socket::open(0)?;
        socket.set_patience(ANSWER)?;
        Ok(Self { socket, asked: 0, interrupted: false })
    }

    /// Asks for a table. An unfinished dump must not be left: see [`Dumps::open`] for a new socket.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ask(&mut self, table: Table) -> io::Result<()> {
        let sequence = self.socket.next_sequence();
        (self.asked, self.interrupted) = (sequence, false);
        let neighbours = |family| {
            let header = abi::NeighbourHeader { family, ..Default::default() };
            Request::new(abi::GET_NEIGHBOUR, DUMP, sequence, &header)
        };
        let request = match table {
            Table::Links => Request::new(abi::GET_LINK, DUMP, sequence, &abi::LinkHeader::default()),
            Table::Addresses => Request::new(abi::GET_ADDRESS, DUMP, sequence, &abi::AddressHeader::default()),
            Table::NextHops => Request::new(abi::GET_NEXT_HOP, DUMP, sequence, &abi::NextHopHeader::default()),
            Table::Neighbours4 => neighbours(abi::INET),
            Table::Neighbours6 => neighbours(abi::INET6),
            Table::Fdb => neighbours(abi::BRIDGE),
        };
        Ok(self.socket.send(&request.finish())?)
    }

    /// Takes the next piece: some hundred entries. The kernel writes it only now, so nothing lies about or is lost; before,
    /// it may have to wait until no other process changes links.
    ///
    /// # Errors
    /// What the kernel says. The dump is then over.
    pub fn take(&mut self, mut each: impl FnMut(Event)) -> io::Result<Dumped> {
        let asked = self.asked;
        let mut over = false;
        for message in self.socket.receive()?.filter(|message| message.sequence == asked) {
            self.interrupted |= message.interrupted;
            match message.content {
                Content::Data(kind, payload) => match event::read(kind, payload) {
                    Ok(Some(event)) => each(event),
                    Ok(None) => {}
                    Err(_) => self.interrupted = true,
                },
                // A kernel without such a table has nothing in it.
                Content::End(Ok(()) | Err(Errno::EOPNOTSUPP)) => over = true,
                Content::End(Err(error)) => return Err(error.into()),
                Content::Broken => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(match (over, self.interrupted) {
            (false, _) => Dumped::More,
            (true, false) => Dumped::All,
            (true, true) => Dumped::Interrupted,
        })
    }
}

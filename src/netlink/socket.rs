//! Sockets to the kernel's routing netlink (RFC 3549, netlink(7)).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkBuffer;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use thiserror::Error;

/// The kernel refuses a socket to its routing tables.
#[derive(Debug, Error)]
#[error("the kernel gives no netlink socket ({0}); run as root or with CAP_NET_ADMIN, or set `underlay = \"static\"`")]
pub struct SocketError(#[from] io::Error);

/// The largest datagram that is read. The kernel's dumps come in 32 KiB, one message of a change is far shorter.
const DATAGRAM: usize = 128 * 1024;

/// How long an answer may take. The kernel has it before the request is sent, so this only keeps a fault from stopping
/// the caller for ever.
pub(super) const ANSWER: Duration = Duration::from_millis(500);

/// `NLMSG_ERROR`, `NLMSG_DONE` and `NLM_F_DUMP_INTR`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const DUMP_INTERRUPTED: u16 = 0x10;

/// A socket, and a buffer for what it brings.
#[derive(Debug)]
pub(super) struct Socket {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

/// A message, and what its header says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// The number of the request that it answers.
    pub sequence: u32,
    /// Something was changed while it was dumped, so that some of it may be missing.
    pub interrupted: bool,
    /// What it says.
    pub content: Content<'a>,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// Something of this type, in what follows the header.
    Data(u16, &'a [u8]),
    /// A request was carried out, or refused; or a dump has ended, or failed.
    End(Result<(), Errno>),
    /// This is no message; nothing behind it can be read.
    Broken,
}

impl Socket {
    /// A socket subscribed to groups, the lowest bit being the first.
    pub(super) fn open(groups: u32) -> Result<Self, SocketError> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)
            .map_err(io::Error::from)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(io::Error::from)?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM], sequence: 0 })
    }

    /// Asks for a receive buffer of this size, in bytes. Without CAP_NET_ADMIN it is no larger than
    /// `net.core.rmem_max`.
    pub(super) fn set_receive_buffer(&self, size: usize) -> Result<(), SocketError> {
        let forced = setsockopt(&self.socket, sockopt::RcvBufForce, &size);
        forced.or_else(|_| setsockopt(&self.socket, sockopt::RcvBuf, &size)).map_err(io::Error::from)?;
        Ok(())
    }

    /// Waits no longer for a datagram than this.
    pub(super) fn set_patience(&self, patience: Duration) -> Result<(), SocketError> {
        let limit = TimeVal::new(0, patience.as_micros().min(999_999) as i64);
        setsockopt(&self.socket, sockopt::ReceiveTimeout, &limit).map_err(io::Error::from)?;
        Ok(())
    }

    /// The number of the next request.
    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    pub(super) fn send(&self, request: &[u8]) -> Result<(), Errno> {
        send(self.socket.as_raw_fd(), request, MsgFlags::empty()).map(|_| ())
    }

    /// Throws away what there is to read, until nothing is left or this time is over.
    pub(super) fn discard(&mut self, longest: Duration) {
        let end = Instant::now() + longest;
        while Instant::now() < end {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(_) => return,
            }
        }
    }

    /// The messages of the next datagram.
    pub(super) fn receive(&mut self) -> Result<Messages<'_>, Errno> {
        // With MSG_TRUNC the kernel gives the datagram's own length, also where it is too long for the buffer.
        let length = loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_TRUNC) {
                Err(Errno::EINTR) => {}
                read => break read?,
            }
        };
        self.buffer.get(..length).map(Messages).ok_or(Errno::EMSGSIZE)
    }
}

/// The messages of a datagram.
#[derive(Debug)]
pub(super) struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let Ok(message) = NetlinkBuffer::new_checked(rest) else {
            return Some(Message { sequence: 0, interrupted: false, content: Content::Broken });
        };
        let length = message.length() as usize;
        self.0 = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let flags: u16 = message.flags();
        let payload = message.payload();
        let content = match message.message_type() {
            ERROR | DONE => Content::End(outcome(payload)),
            kind => Content::Data(kind, payload),
        };
        Some(Message { sequence: message.sequence_number(), interrupted: flags & DUMP_INTERRUPTED != 0, content })
    }
}

/// What a request came to: zero, or the negative of an error number.
fn outcome(payload: &[u8]) -> Result<(), Errno> {
    match payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes)) {
        0 => Ok(()),
        number => Err(Errno::from_raw(number.wrapping_neg())),
    }
}

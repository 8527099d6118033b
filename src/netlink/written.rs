//! When a control plane has last written the stations that bridges have.

use std::io;
use std::time::Duration;

use nix::errno::Errno;

use super::abi::{
    self, Malformed, NDA_LLADDR, NTF_EXT_LEARNED, NTF_SELF, NeighbourHeader, Request, attributes, mac, split,
};
use super::dump::DUMP;
use super::socket::{ANSWER, Content, Socket};
use crate::wire::MacAddr;

const NDA_CACHEINFO: u16 = 3;
/// Where `struct nda_cacheinfo` has the time since the last write.
const UPDATED: usize = 8;
/// The kernel's unit of time towards programs, `USER_HZ`.
const TICK: Duration = Duration::from_millis(10);

/// A station that a control plane has put into a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The port that it is behind, by its link.
    pub port: u32,
    /// The station.
    pub mac: MacAddr,
    /// How long ago the control plane has written it, the last time. That it wrote the same as before is no event, but it
    /// counts here.
    pub ago: Duration,
}

/// All of them, in the network namespace of the calling thread.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn written() -> io::Result<Vec<Written>> {
    let mut socket = Socket::open(0).map_err(io::Error::other)?;
    socket.set_patience(ANSWER).map_err(io::Error::other)?;
    let sequence = socket.next_sequence();
    let header = NeighbourHeader { family: abi::BRIDGE, ..Default::default() };
    socket.send(&Request::new(abi::GET_NEIGHBOUR, DUMP, sequence, &header).finish())?;
    let mut found = Vec::new();
    loop {
        for message in socket.receive()?.filter(|message| message.sequence == sequence) {
            match message.content {
                Content::Data(_, payload) => found.extend(read(payload).map_err(io::Error::other)?),
                Content::End(Ok(()) | Err(Errno::EOPNOTSUPP)) => return Ok(found),
                Content::End(Err(error)) => return Err(error.into()),
                Content::Broken => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }
}

fn read(payload: &[u8]) -> Result<Option<Written>, Malformed> {
    let (header, rest): (NeighbourHeader, _) = split(payload)?;
    let (mut station, mut ticks) = (None, None);
    attributes(rest, |kind, value| match kind {
        NDA_LLADDR => station = mac(value),
        NDA_CACHEINFO => ticks = value.get(UPDATED..).and_then(|value| value.first_chunk().copied()),
        _ => {}
    })?;
    let by_control = header.flags & (NTF_EXT_LEARNED | NTF_SELF) == NTF_EXT_LEARNED;
    let written = |(mac, ticks)| Written { port: header.index, mac, ago: TICK * u32::from_ne_bytes(ticks) };
    Ok(station.zip(ticks).filter(|_| by_control).map(written))
}

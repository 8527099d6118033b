//! Questions to the kernel's routing, which it answers without waiting for who changes links.

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

use super::abi::{self, Malformed, REQUEST, RTA_DST, Request, RouteHeader, address, attributes, number, split};
use super::socket::{ANSWER, Content, Socket, SocketError};

const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_VIA: u16 = 18;
const RTA_NH_ID: u16 = 30;
const RTAX_MTU: u16 = 2;
const RTN_UNICAST: u8 = 1;
const RTNH_F_DEAD: u8 = 1;
const RTNH_F_LINKDOWN: u8 = 16;

/// The route that packets to an address take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The ways it has, those left out that the kernel calls dead.
    pub gateways: Vec<Gateway>,
    /// The next-hop object it refers to.
    pub next_hop: Option<u32>,
    /// The MTU that the route itself sets, in bytes.
    pub mtu: Option<u32>,
}

/// One way of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gateway {
    /// The link to send out of.
    pub link: u32,
    /// The router, of either family (RFC 8950); absent where the destination is on the link itself.
    pub address: Option<IpAddr>,
    /// Its share of the packets, by all shares together.
    pub weight: u16,
}

/// A socket for one question at a time.
#[derive(Debug)]
pub struct Routing(Socket);

impl Routing {
    /// A socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn open() -> Result<Self, SocketError> {
        let socket = Socket::open(0)?;
        socket.set_patience(ANSWER)?;
        Ok(Self(socket))
    }

    /// The route that matches an address, whole (`ip route get fibmatch`): all ways of a multipath route. `None` where
    /// no route leads to it, or none that leaves the machine.
    ///
    /// # Errors
    /// What the kernel says, apart from there being no route.
    pub fn route(&mut self, destination: IpAddr) -> io::Result<Option<Route>> {
        let sequence = self.0.next_sequence();
        let length = if destination.is_ipv4() { 32 } else { 128 };
        let header = RouteHeader {
            family: abi::family(destination),
            destination_length: length,
            flags: RTM_F_FIB_MATCH,
            ..RouteHeader::default()
        };
        let request = Request::new(abi::GET_ROUTE, REQUEST, sequence, &header).with_address(RTA_DST, destination);
        self.0.send(&request.finish())?;
        match self.answer(sequence, |kind, payload| (kind == abi::NEW_ROUTE).then(|| read_route(payload))) {
            Ok(answer) => answer.transpose().map(Option::flatten).map_err(io::Error::other),
            Err(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ESRCH | Errno::EACCES | Errno::EINVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What `read` makes of the answer to a request, or nothing where the answer is only that it was carried out.
    fn answer<T>(&mut self, asked: u32, read: impl Fn(u16, &[u8]) -> Option<T>) -> Result<Option<T>, Errno> {
        loop {
            // Answers to requests that were given up may still be on their way.
            let Some(message) = self.0.receive()?.find(|message| message.sequence == asked) else { continue };
            return match message.content {
                Content::Data(kind, payload) => Ok(read(kind, payload)),
                Content::End(outcome) => outcome.map(|()| None),
                Content::Broken => Err(Errno::EBADMSG),
            };
        }
    }
}

fn read_route(payload: &[u8]) -> Result<Option<Route>, Malformed> {
    let (header, rest): (RouteHeader, _) = split(payload)?;
    if header.kind != RTN_UNICAST {
        return Ok(None);
    }
    let mut route = Route::default();
    let (mut link, mut gateway, mut multipath, mut metrics) = (None, None, None, None);
    attributes(rest, |kind, value| match kind {
        RTA_OIF => link = number(value),
        RTA_GATEWAY => gateway = address(value),
        RTA_VIA => gateway = via(value),
        RTA_MULTIPATH => multipath = Some(value),
        RTA_METRICS => metrics = Some(value),
        RTA_NH_ID => route.next_hop = number(value),
        _ => {}
    })?;
    attributes(metrics.unwrap_or_default(), |kind, value| {
        if kind == RTAX_MTU {
            route.mtu = number(value);
        }
    })?;
    match (multipath, link) {
        (Some(list), _) => route.gateways = read_multipath(list)?,
        (None, Some(link)) if alive(header.flags as u8) => {
            route.gateways.push(Gateway { link, address: gateway, weight: 1 });
        }
        _ => {}
    }
    Ok(Some(route))
}

fn read_multipath(mut list: &[u8]) -> Result<Vec<Gateway>, Malformed> {
    let mut gateways = Vec::new();
    while !list.is_empty() {
        let (hop, rest): (abi::RouteNextHop, _) = split(list)?;
        let length = usize::from(hop.length);
        let own = length.checked_sub(size_of::<abi::RouteNextHop>()).and_then(|own| rest.get(..own));
        let mut gateway = None;
        attributes(own.ok_or(Malformed)?, |kind, value| match kind {
            RTA_GATEWAY => gateway = address(value),
            RTA_VIA => gateway = via(value),
            _ => {}
        })?;
        if alive(hop.flags) {
            let weight = u16::from(hop.hops) + 1;
            gateways.push(Gateway { link: hop.index, address: gateway, weight });
        }
        list = list.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(gateways)
}

/// The kernel would send packets that way.
const fn alive(flags: u8) -> bool {
    flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN) == 0
}

/// `struct rtvia`: a family, then an address of it.
fn via(value: &[u8]) -> Option<IpAddr> {
    address(value.get(2..)?)
}

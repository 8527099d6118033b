//! Interfaces of the kernel, over rtnetlink: find one by its name, and change it.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;

use crate::wire::MacAddr;

/// The most bytes of one answer.
const ANSWER: usize = 64 * 1024;

/// An interface of the network namespace this thread is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) index: u32,
    /// It is a TUN or TAP.
    pub(super) is_tun: bool,
    pub(super) alias: Option<String>,
    pub(super) mac: Option<MacAddr>,
    pub(super) mtu: u32,
}

/// Finds an interface.
pub(super) fn find(name: &str) -> io::Result<Option<Interface>> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    match exchange(RouteNetlinkMessage::GetLink(message), 0) {
        Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some(read(&link))),
        Ok(_) => Err(io::Error::from(io::ErrorKind::InvalidData)),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets attributes of an interface, in the kernel's order; `up` brings it up as well.
pub(super) fn set(index: u32, attributes: Vec<LinkAttribute>, up: bool) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    if up {
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
    }
    exchange(RouteNetlinkMessage::SetLink(message), NLM_F_ACK).map(drop)
}

fn read(link: &LinkMessage) -> Interface {
    let mut interface = Interface { index: link.header.index, is_tun: false, alias: None, mac: None, mtu: 0 };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfAlias(alias) => interface.alias = Some(alias.clone()),
            LinkAttribute::Address(bytes) => interface.mac = bytes.as_slice().try_into().ok().map(MacAddr),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::LinkInfo(info) => interface.is_tun |= info.contains(&LinkInfo::Kind(InfoKind::Tun)),
            _ => {}
        }
    }
    interface
}

/// Sends a request and gives the kernel's answer, if it is more than an acknowledgement. The kernel answers before it
/// returns from the sending, so nothing is waited for.
fn exchange(request: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answer = Vec::with_capacity(ANSWER);
    socket.recv(&mut answer, libc::MSG_DONTWAIT)?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    match answer.payload {
        NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_what_is_not_there_is_not() {
        let loopback = find("lo").expect("the kernel answers").expect("every namespace has it");
        assert!(loopback.index > 0 && !loopback.is_tun && loopback.mtu > 0);
        assert_eq!(find("vtepdnosuch0").expect("the kernel answers"), None);
    }
}

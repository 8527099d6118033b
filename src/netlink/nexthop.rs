//! Next-hop objects (`ip nexthop`): what routes and FDB entries may refer to by number.

use std::net::IpAddr;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::abi::{Malformed, NextHopHeader, address, attributes, number, split};
use super::event::Event;

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;

/// A next-hop object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextHop {
    /// The link to send out of.
    pub link: Option<u32>,
    /// The router, or of FDB next hops the remote VTEP.
    pub gateway: Option<IpAddr>,
    /// Packets to it are thrown away.
    pub blackhole: bool,
    /// The members of a group: their identifiers and weights. A group has nothing else.
    pub group: Vec<(u32, u16)>,
}

/// `struct nexthop_grp`; the weight is one less than what was configured.
#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct GroupMember {
    id: u32,
    weight: u8,
    weight_high: u8,
    reserved: u16,
}

/// Reads `RTM_NEWNEXTHOP` (`present`) or `RTM_DELNEXTHOP`.
pub(super) fn read(present: bool, payload: &[u8]) -> Result<Option<Event>, Malformed> {
    let (_, rest): (NextHopHeader, _) = split(payload)?;
    let mut id = None;
    let mut next_hop = NextHop::default();
    attributes(rest, |kind, value| match kind {
        NHA_ID => id = number(value),
        NHA_GROUP => next_hop.group = read_group(value),
        NHA_BLACKHOLE => next_hop.blackhole = true,
        NHA_OIF => next_hop.link = number(value),
        NHA_GATEWAY => next_hop.gateway = address(value),
        _ => {}
    })?;
    Ok(id.map(|id| Event::NextHop { id, next_hop: present.then_some(next_hop) }))
}

fn read_group(value: &[u8]) -> Vec<(u32, u16)> {
    value
        .chunks_exact(size_of::<GroupMember>())
        .filter_map(|member| GroupMember::read_from_bytes(member).ok())
        .map(|member| (member.id, u16::from_le_bytes([member.weight, member.weight_high]).saturating_add(1)))
        .collect()
}

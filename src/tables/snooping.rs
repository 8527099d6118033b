//! Who wants which multicast group in a bridge, as workers see it (RFC 4541).
//!
//! Control makes a new [`GroupTable`] of a bridge when something has changed, and swaps it in; a worker loads it for each
//! multicast frame of the bridge, which writes to nothing that another worker reads, and never frees one: control keeps
//! those it replaced until nobody else has them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ahash::RandomState;
use arc_swap::{ArcSwap, Guard};

use super::{BridgeIndex, Location};
use crate::wire::membership::Query;

/// The groups of one bridge. Snapshots that follow each other share it.
#[derive(Debug, Default)]
pub struct SnoopedGroups(ArcSwap<GroupTable>);

impl SnoopedGroups {
    /// The table in force.
    #[inline]
    #[must_use]
    pub fn load(&self) -> Guard<Arc<GroupTable>> {
        self.0.load()
    }

    /// Puts a table in force; gives the one it replaces, which the caller keeps until nobody else has it.
    #[must_use]
    pub fn publish(&self, table: GroupTable) -> Arc<GroupTable> {
        self.0.swap(Arc::new(table))
    }
}

/// Who wants which group in a bridge.
#[derive(Clone, Debug, Default)]
pub struct GroupTable {
    /// Of IPv4, and of IPv6.
    families: [FamilyTable; 2],
}

impl GroupTable {
    /// A table of these two.
    #[must_use]
    pub const fn new(ipv4: FamilyTable, ipv6: FamilyTable) -> Self {
        Self { families: [ipv4, ipv6] }
    }

    /// Its half for the family of this address.
    #[inline]
    #[must_use]
    pub fn of(&self, group: IpAddr) -> &FamilyTable {
        let [ipv4, ipv6] = &self.families;
        if group.is_ipv4() { ipv4 } else { ipv6 }
    }

    /// Both halves, that of IPv4 first.
    #[must_use]
    pub const fn families(&self) -> &[FamilyTable; 2] {
        &self.families
    }
}

/// Who wants which group of one family.
#[derive(Clone, Debug, Default)]
pub struct FamilyTable {
    /// Somebody asks who wants what. Where nobody does, hosts do not say it, and all multicast is flooded.
    pub queried: bool,
    /// There are more groups than are kept: those that are not here are flooded.
    pub overflown: bool,
    /// Where frames go for groups that nobody wants: to routers.
    pub routers: Box<[Location]>,
    /// Where what hosts say of groups goes: to routers, and to all remote VTEPs, for none of these relays to another.
    pub report_to: Box<[Location]>,
    /// Where frames for each group go, routers among it. Groups are the choice of whoever joins them, so they are hashed
    /// with a secret.
    pub groups: HashMap<IpAddr, Box<[Location]>, RandomState>,
    /// Where who wants a group is, and until when that is believed; for people.
    pub members: Vec<(IpAddr, Location, Instant)>,
    /// Where routers are, whether one is the querier, and until when that is believed; for people.
    pub routers_seen: Vec<(Location, bool, Instant)>,
}

/// What a worker heard that bears on this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// In which bridge.
    pub bridge: BridgeIndex,
    /// From where.
    pub place: Location,
    /// What.
    pub what: Saying,
}

/// What can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    /// A router asks who wants a group, or any.
    Query(Query),
    /// A router shows itself; over IPv6 or IPv4.
    Router {
        /// Over IPv6.
        ipv6: bool,
    },
    /// Somebody wants the group.
    Wanted(IpAddr),
    /// Somebody wants it no longer.
    Unwanted(IpAddr),
}

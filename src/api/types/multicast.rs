//! Multicast groups, and who wants them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::page::Page;
use super::stations::Place;

/// `GET /v1/groups`: who wants which multicast group, in bridges that snoop IGMP and MLD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Groups {
    /// Where multicast routers are.
    pub routers: Vec<MulticastRouter>,
    /// Where members of groups are.
    pub members: Page<GroupMember>,
}

/// A place with a multicast router, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MulticastRouter {
    /// The bridge's VNI.
    pub vni: u32,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// It is the one that asks who wants what.
    pub querier: bool,
    /// In how many seconds it is forgotten, if nothing is heard of it.
    pub expires_seconds: u64,
}

/// A place where somebody wants a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// The bridge's VNI.
    pub vni: u32,
    /// The group.
    pub group: IpAddr,
    /// Where it is wanted.
    #[serde(flatten)]
    pub place: Place,
    /// In how many seconds that is forgotten, if it is not said again.
    pub expires_seconds: u64,
}

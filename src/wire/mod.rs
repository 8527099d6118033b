//! Headers: checked parsing and building of what travels on the wire. No state, no allocation, no I/O.
//!
//! Every function takes any bytes: what is too short or malformed is an error, a `None` or a `false`, never a panic.

pub mod address;
pub mod arp;
pub mod checksum;
pub mod discovery;
pub mod ecn;
pub mod ethernet;
pub mod field;
pub mod flow_hash;
pub mod icmp;
pub mod icmpv6;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod membership;
pub mod nd;
pub mod path_mtu;
pub mod tcp;
pub mod udp;
pub mod vlan_tag;
pub mod vxlan;

pub use address::{AddressError, MacAddr, VlanId, Vni};
pub use vlan_tag::VlanTag;

#[cfg(test)]
mod fixture;

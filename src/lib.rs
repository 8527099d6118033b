//! `vtepd`, a VXLAN tunnel endpoint gateway: VLANs on access ports on one side, VXLAN over an IP fabric on the other.
//!
//! The rooms of the house depend only downwards; CONTRIBUTING.md has the plan. Everything but [`dpdk`], [`worker`]
//! and the daemon builds without DPDK.

#![deny(missing_docs, unsafe_code, unsafe_op_in_unsafe_fn)]

pub mod api;
pub mod cli;
pub mod config;
pub mod control;
#[cfg(feature = "dpdk")]
pub mod daemon;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod exception;
pub mod forwarding;
pub mod netlink;
pub mod tables;
pub mod telemetry;
pub mod wire;
#[cfg(feature = "dpdk")]
pub mod worker;

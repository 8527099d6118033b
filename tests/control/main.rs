//! The control thread's work without its thread: learning, limits, ageing, static entries and reloads, on a gateway
//! whose clock the test turns.

#![cfg(not(vtepd_loom))]

mod ageing;
mod bindings;
mod desk;
mod difference;
mod flushing;
mod learning;
mod limits;
mod model;
mod moves;
mod reload;

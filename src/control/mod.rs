//! The owner of all state: config in, published tables out; learning, ageing, reload.
//!
//! One thread, the control thread, runs everything here. It is the FDB's only writer and the only publisher of
//! snapshots; workers and the stats thread only read.

pub mod adoption;
pub mod bindings;
pub mod check;
pub mod compile;
pub mod devices;
pub mod discovery;
pub mod flight_recorder;
pub mod gateway;
pub mod kernel;
pub mod learning;
pub mod path_mtu;
pub mod publishing;
pub mod registry;
pub mod requests;
pub mod slots;
pub mod snooping;
mod static_entries;
mod storm;
pub mod underlay;

pub use compile::{PortFacts, compile};
pub use gateway::{Gateway, Running};
pub use kernel::Kernel;
pub use registry::Registry;
pub use requests::FdbRequest;

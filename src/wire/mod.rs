//! Headers: checked parsing and building of what travels on the wire. No state, no allocation, no I/O.

pub mod address;

pub use address::{AddressError, MacAddr, VlanId, Vni};

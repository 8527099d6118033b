//! What workers look things up in: the FDB, and the immutable snapshot of bridges, ports and tunnels.

pub mod fdb;
pub mod index;
pub mod quiescence;
mod sync;

pub use fdb::{AgeTick, Fdb, FdbKey, FdbValue, FdbWriter, Probe};
pub use index::{BridgeIndex, Location, MemberIndex, PortIndex, TunnelIndex};
pub use quiescence::{Quiescence, Reader};

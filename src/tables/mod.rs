//! What workers look things up in: the FDB, and the immutable snapshot of bridges, ports and tunnels.

pub mod index;

pub use index::{BridgeIndex, Location, MemberIndex, PortIndex, TunnelIndex};

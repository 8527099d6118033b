//! What workers look things up in: the FDB, the MAC+IP bindings, and the immutable snapshot of bridges, ports and tunnels.

pub mod access_map;
pub mod bindings;
pub mod exception_path;
pub mod fdb;
pub mod flood_rules;
pub mod index;
pub mod learning;
pub mod next_hop_group;
pub mod outer_pattern;
pub mod published;
pub mod quiescence;
pub mod remote_map;
pub mod snapshot;
pub mod snooping;
mod sync;
pub mod tunnel;
pub mod underlay_group;
pub mod vni_map;

pub use bindings::{Binding, BindingKey, BindingSource, BindingTable, BindingWriter};
pub use exception_path::ExceptionPath;
pub use fdb::{AgeTick, Fdb, FdbKey, FdbValue, FdbWriter, Probe};
pub use flood_rules::{FloodKind, FloodRules, StormRate, StormRates};
pub use index::{BridgeIndex, Location, LocationKind, MemberIndex, PortIndex, TunnelIndex};
pub use published::Tables;
pub use quiescence::{Quiescence, Reader};
pub use snapshot::Snapshot;
pub use underlay_group::{UnderlayGroup, UnderlayGroups};

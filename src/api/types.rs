//! What travels over the control socket, as JSON. `vtepctl --json` prints it as it comes.
//!
//! A field is never renamed nor given another meaning within `/v1`; new ones may appear.

mod multicast;
mod page;
mod ports;
mod process;
mod stations;
mod text;
mod vteps;

pub use multicast::{GroupMember, Groups, MulticastRouter};
pub use page::{DEFAULT_PAGE, MAX_PAGE, Page, PageRange};
pub use ports::{Bridge, BridgeMember, Port, Role};
pub use process::{BurstDurations, Check, Count, Drops, Failure, Finding, Reloaded, Version, Worker};
pub use stations::{Binding, BindingFilter, BindingKind, EntryKind, FdbEntry, FdbFilter, Place};
pub use vteps::{EntropyReading, LocalVtep, NextHop, RemoteVtep, Vteps, Way};

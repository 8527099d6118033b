//! The sections and keys.

mod bridge;
mod fdb;
mod port;
mod process;
mod qos;
mod vtep;

pub use bridge::{BRIDGE, BRIDGE_PORT};
pub use fdb::{BINDING, FDB, STATIC};
pub use port::PORT;
pub use process::{API, DPDK, STATS, WORKERS};
pub use qos::QOS;
pub use vtep::{NEIGHBOUR, VTEP};

use super::{Absent, Default, Key, Kind};

const fn key(name: &'static str, kind: Kind, absent: Absent, example: &'static str, doc: &'static str) -> Key {
    Key { name, kind, absent, doc, example }
}

const fn boolean(value: bool) -> Absent {
    Absent::Default(Default::Boolean(value))
}

const fn integer(value: u64) -> Absent {
    Absent::Default(Default::Integer(value))
}

const fn text(value: &'static str) -> Absent {
    Absent::Default(Default::Text(value))
}

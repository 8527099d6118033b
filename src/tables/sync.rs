//! The atomics and locks of the tables: the standard library's, or loom's where `--cfg vtepd_loom` asks for a model
//! check (`tests/loom_fdb.rs`, `tests/loom_bindings.rs`).
//!
//! The cfg is our own, and not the customary `loom`, because the crates we build on read that one too: under it tokio
//! has no sockets, and axum does not build.

#[cfg(not(vtepd_loom))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

#[cfg(vtepd_loom)]
pub(crate) use loom::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

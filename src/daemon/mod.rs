//! The daemon: opens the ports, starts the threads, runs the control loop, and takes everything down again.

pub mod cores;
pub mod exception;
mod fdb_requests;
pub mod ports;
pub mod run;
pub mod summary;
pub mod view;

pub use run::{DaemonError, run};

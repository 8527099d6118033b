//! The config file: schema, validation, and diagnostics that name file, line, place and remedy.
//!
//! A file goes through three steps, and each goes on after a mistake, so that one run tells of all of them. The text
//! is parsed in blocks, one per header, with the place of every value (static entries, of which there can be a million,
//! have a fast lane that takes only what is right and reports nothing). Each section is read by the one schema into a
//! draft, in which wrong values are holes. The drafts are related to each other: names are resolved, repetitions and
//! overlaps found. Where a hole or broken syntax could be the cause of something missing, nothing is said of it.

mod addresses;
mod bindings;
mod bridge_ports;
mod bridges;
mod clashes;
pub mod diagnostic;
mod document;
mod draft;
mod kernel_devices;
mod load;
pub mod model;
mod neighbours;
mod plain;
mod ports;
mod priorities;
mod reader;
pub mod reference;
pub mod schema;
mod singles;
mod static_entries;
mod text;
mod value;
mod wording;

pub use diagnostic::{Diagnostic, Diagnostics, Severity, Span};
pub use load::{ConfigError, Loaded, MAX_FILE_SIZE};
pub use model::Config;

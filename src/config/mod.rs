//! The config file: schema, validation, and diagnostics that name file, line, place and remedy.

pub mod model;

pub use model::Config;

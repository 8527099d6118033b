//! The control socket and the scrape endpoint: their types, their server, and the seam to whoever owns the state.

pub mod fdb;
pub mod health;
pub mod kernel;
mod routes;
pub mod server;
mod socket;
pub mod types;
pub mod view;

pub use server::{Endpoints, ServeError, StatsThread};
pub use view::{GatewayView, Refused};

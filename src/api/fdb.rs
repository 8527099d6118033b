//! What is asked of the FDB over the control socket besides its entries: what became of stations, and to forget or free
//! them.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::routes::{Refusal, Shares, ask, parse, range};
use super::types::Place;
use crate::wire::{MacAddr, Vni};

/// One of `GET /v1/fdb/history`, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbChange {
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The bridge's VNI.
    pub vni: u32,
    /// The station; absent where it is all stations of a place or a bridge.
    pub mac: Option<String>,
    /// How many entries it concerned.
    pub entries: u32,
    /// What became of it, in a word.
    pub change: String,
    /// And why.
    pub why: String,
    /// Where it was.
    pub from: Option<Place>,
    /// Where it is since.
    pub to: Option<Place>,
}

/// Which stations are meant: those that match everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StationQuery {
    /// Of the bridge with this VNI.
    pub vni: Option<Vni>,
    /// This one.
    pub mac: Option<MacAddr>,
    /// Behind the access port of this name.
    pub port: Option<String>,
    /// Behind the remote VTEP of this address.
    pub vtep: Option<IpAddr>,
}

/// `POST /v1/fdb/flush` and `POST /v1/fdb/unfreeze`, where they succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// How many entries it concerned.
    pub entries: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryQuery {
    vni: Option<u32>,
    mac: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnfreezeQuery {
    vni: Option<u32>,
    mac: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlushQuery {
    vni: Option<u32>,
    mac: Option<String>,
    port: Option<String>,
    vtep: Option<IpAddr>,
    #[serde(default)]
    all: bool,
}

fn station(vni: Option<u32>, mac: Option<String>) -> Result<StationQuery, Refusal> {
    let wrong = |error: &dyn std::fmt::Display| Refusal(StatusCode::BAD_REQUEST, error.to_string());
    let vni = vni.map(Vni::new).transpose().map_err(|error| wrong(&error))?;
    let mac =
        mac.map(|text| text.parse()).transpose().map_err(|error: crate::wire::address::AddressError| wrong(&error))?;
    Ok(StationQuery { vni, mac, ..StationQuery::default() })
}

pub(super) async fn history(State(shared): Shares, uri: Uri) -> Result<Response, Refusal> {
    let HistoryQuery { vni, mac, limit, offset } = parse(&uri)?;
    let (query, range) = (station(vni, mac)?, range(limit, offset));
    ask(shared, move |view| Ok(view.fdb_history(&query, range)?)).await
}

pub(super) async fn unfreeze(State(shared): Shares, uri: Uri) -> Result<Response, Refusal> {
    let UnfreezeQuery { vni, mac } = parse(&uri)?;
    let query = station(vni, mac)?;
    ask(shared, move |view| Ok(Done { entries: view.unfreeze(&query)? })).await
}

pub(super) async fn flush(State(shared): Shares, uri: Uri) -> Result<Response, Refusal> {
    let FlushQuery { vni, mac, port, vtep, all } = parse(&uri)?;
    let query = StationQuery { port, vtep, ..station(vni, mac)? };
    if (query == StationQuery::default()) != all {
        let what = "say what to flush by `vni`, `mac`, `port` and `vtep`, or `all`";
        return Err(Refusal(StatusCode::BAD_REQUEST, what.to_owned()));
    }
    ask(shared, move |view| Ok(Done { entries: view.flush(&query)? })).await
}

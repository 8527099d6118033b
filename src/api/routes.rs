//! What is answered to which request.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::health::Heartbeats;
use super::types::{
    BindingFilter, Bridge, BridgeMember, BurstDurations, Count, DEFAULT_PAGE, Drops, EntropyReading, EntryKind,
    Failure, FdbFilter, Finding, Groups, MAX_PAGE, Page, PageRange, Port, Reloaded, RemoteVtep, Version, Vteps, Way,
    Worker,
};
use super::view::{GatewayView, Refused};
use crate::telemetry::metrics::CONTENT_TYPE;
use crate::telemetry::{Direction, DropReason, Event, Exposition, PortReading, WorkerHandle, totals};
use crate::wire::MacAddr;

/// How long the gateway may take for an answer, other than for a reload.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the answer to a reload may be under way: longer than the gateway takes to say that the reload goes on.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(150);

/// The longest config, as TOML, that is also given as JSON, in bytes: a table of it takes several times the memory.
const MAX_CONFIG_AS_JSON: usize = 16 << 20;

/// What the handlers share.
pub(super) struct Shared {
    view: Arc<dyn GatewayView>,
    exposition: Exposition<dyn GatewayView>,
    heartbeats: Mutex<Heartbeats>,
    /// Held while a reload runs, so that there is one at a time.
    reloading: Mutex<()>,
}

impl Shared {
    pub(super) fn new(view: Arc<dyn GatewayView>, stuck_after: Duration) -> Self {
        Self {
            exposition: Exposition::new(Arc::clone(&view)),
            view,
            heartbeats: Mutex::new(Heartbeats::new(stuck_after)),
            reloading: Mutex::new(()),
        }
    }

    /// Names the threads that are stuck, and for how long.
    pub(super) fn stuck_threads(&self) -> Vec<(String, Duration)> {
        let mut heartbeats = self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
        heartbeats.observe(&*self.view, Instant::now())
    }

    /// Takes in what workers have sampled of flows, and logs where traffic is polarised.
    pub(super) fn look_at_entropy(&self) {
        let found = self.view.entropy().look(self.view.workers(), Instant::now());
        if found.is_empty() {
            return;
        }
        let remotes = self.view.remotes();
        for (index, direction) in found {
            let Some(remote) = remotes.iter().find(|remote| remote.index == index) else { continue };
            let Some(spread) = self.view.entropy().spread(index, direction) else { continue };
            let (flows, source_ports) = (spread.flows.round(), spread.source_ports.round());
            let remote = remote.address;
            match direction {
                Direction::Received => warn!(
                    %remote, flows, source_ports,
                    "the remote VTEP gives many flows few UDP source ports: the underlay sends them one way, and they \
                     come to one queue"
                ),
                Direction::Sent => warn!(
                    %remote, flows, source_ports,
                    "many flows to the remote VTEP get few UDP source ports: the underlay sends them one way"
                ),
            }
        }
    }
}

/// The routes of the scrape endpoint.
pub(super) fn scrape(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .fallback(async || (StatusCode::NOT_FOUND, "vtepd serves /metrics, /healthz and /readyz here.\n"))
        .with_state(shared)
}

/// The routes of the control socket.
pub(super) fn control(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/ports", get(async |State(shared): Shares| ask(shared, |view| Ok(ports(view))).await))
        .route("/v1/bridges", get(bridges))
        .route("/v1/fdb", get(fdb))
        .route("/v1/fdb/history", get(super::fdb::history))
        .route("/v1/fdb/unfreeze", post(super::fdb::unfreeze))
        .route("/v1/fdb/flush", post(super::fdb::flush))
        .route("/v1/bindings", get(bindings))
        .route("/v1/vteps", get(vteps))
        .route("/v1/kernel", get(kernel))
        .route("/v1/groups", get(groups))
        .route("/v1/entropy", get(entropy))
        .route("/v1/drops", get(async |State(shared): Shares| ask(shared, |view| Ok(drops(view))).await))
        .route("/v1/workers", get(async |State(shared): Shares| ask(shared, |view| Ok(workers(view))).await))
        .route("/v1/config", get(config))
        .route("/v1/version", get(async |State(shared): Shares| ask(shared, |view| Ok(version(view))).await))
        .route("/v1/check", get(check))
        .route("/v1/reload", post(reload))
        .fallback(async |uri: Uri| Refusal(StatusCode::NOT_FOUND, format!("there is no {}", uri.path())))
        .method_not_allowed_fallback(async |uri: Uri| {
            Refusal(StatusCode::METHOD_NOT_ALLOWED, format!("{} is not used that way", uri.path()))
        })
        .with_state(shared)
}

pub(super) type Shares = State<Arc<Shared>>;

async fn metrics(State(shared): Shares) -> Result<Response, Refusal> {
    let text = run(move || shared.exposition.encode()).await?;
    let text = text.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// Answers on the stats thread itself: from counters alone, so that it does not hang where the gateway does.
async fn health(State(shared): Shares) -> Response {
    let stuck = shared.stuck_threads();
    if stuck.is_empty() {
        return "ok\n".into_response();
    }
    let lines: String = stuck.iter().map(|thread| stands_still(thread) + "\n").collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

fn stands_still((who, still): &(String, Duration)) -> String {
    format!("{who} has not moved for {} s", still.as_secs())
}

async fn readiness(State(shared): Shares) -> Result<Response, Refusal> {
    Ok(match run(move || shared.view.readiness()).await? {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n").into_response(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BridgeQuery {
    vni: Option<u32>,
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FdbQuery {
    vni: Option<u32>,
    mac: Option<String>,
    port: Option<String>,
    remote: Option<IpAddr>,
    kind: Option<EntryKind>,
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BindingQuery {
    vni: Option<u32>,
    mac: Option<String>,
    address: Option<IpAddr>,
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigQuery {
    format: Option<ConfigFormat>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ConfigFormat {
    Json,
    Toml,
}

async fn bridges(State(shared): Shares, uri: Uri) -> Result<Response, Refusal> {
    let query: BridgeQuery = parse(&uri)?;
    ask(shared, move |view| {
        let matching = view.bridges().into_iter().filter(|bridge| query.vni.is_none_or(|vni| vni == bridge.vni));
        let page = Page::cut(matching, range(query.limit, query.offset));
        Ok(page.map(|bridge| Bridge {
            fdb_entries: view.control().fdb.bridge_entries(bridge.index).get(),
            learned_macs: view.control().fdb.bridge_learned(bridge.index).get(),
            traffic: totals::bridge(view.workers(), bridge.index),
            vni: bridge.vni,
            vlan: common_tag(&bridge.members),
            ports: bridge.members.iter().map(|member| member.port.clone()).collect(),
            members: bridge.members,
            remotes: bridge.remotes,
            learning: bridge.learning,
            max_macs: bridge.max_macs,
            ageing_seconds: bridge.ageing.map(|ageing| ageing.as_secs()),
        }))
    })
    .await
}

/// The VLAN of the one tag that all have.
fn common_tag(members: &[BridgeMember]) -> Option<u16> {
    let first = members.first()?.only_tag();
    first.filter(|_| members.iter().all(|member| member.only_tag() == first))
}

async fn fdb(State(shared): Shares, uri: Uri) -> Result<Response, Refusal> {
    let query: FdbQuery = parse(&uri)?;
    let filter =
        FdbFilter { vni: query.vni, mac: mac_of(query.mac)?, port: query.port, remote: query.remote, kind: query.kind };
    ask(shared, move |view| Ok(view.fdb(&filter, range(query.limit, query.offset)))).await
}

async fn bindings(State(shared): Shares, uri: Uri) -> Result<Response, Refusal> {
    let query: BindingQuery = parse(&uri)?;
    let filter = BindingFilter { vni: query.vni, mac: mac_of(query.mac)?, address: query.address };
    ask(shared, move |view| Ok(view.bindings(&filter, range(query.limit, query.offset)))).await
}

fn mac_of(text: Option<String>) -> Result<Option<MacAddr>, Refusal> {
    let mac = text.map(|text| text.parse::<MacAddr>()).transpose();
    mac.map_err(|error| Refusal(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn vteps(State(shared): Shares, uri: Uri) -> Result<Response, Refusal> {
    let query: PageQuery = parse(&uri)?;
    ask(shared, move |view| {
        let page = Page::cut(view.remotes(), range(query.limit, query.offset));
        let remotes = page.map(|remote| RemoteVtep {
            traffic: totals::remote(view.workers(), remote.index),
            address: remote.address,
            next_hops: remote.next_hops,
            missing: remote.missing.map(str::to_owned),
            bridges: remote.bridges,
            mtu: remote.mtu,
            path_mtu_seconds: remote.path_mtu_seconds,
        });
        Ok(Vteps { local: view.local_vtep(), remotes })
    })
    .await
}

async fn kernel(State(shared): Shares, uri: Uri) -> Result<Response, Refusal> {
    let query: BridgeQuery = parse(&uri)?;
    ask(shared, move |view| {
        let matching = view.kernel_bridges().into_iter().filter(|bridge| query.vni.is_none_or(|vni| vni == bridge.vni));
        Ok(Page::cut(matching, range(query.limit, query.offset)))
    })
    .await
}

async fn groups(State(shared): Shares, uri: Uri) -> Result<Response, Refusal> {
    let query: BridgeQuery = parse(&uri)?;
    ask(shared, move |view| {
        let (routers, members) = view.multicast(query.vni);
        Ok(Groups { routers, members: Page::cut(members, range(query.limit, query.offset)) })
    })
    .await
}

async fn entropy(State(shared): Shares, uri: Uri) -> Result<Response, Refusal> {
    let query: PageQuery = parse(&uri)?;
    ask(shared, move |view| {
        let readings = view.remotes().into_iter().flat_map(|remote| {
            Direction::ALL.into_iter().filter_map(move |direction| {
                let spread = view.entropy().spread(remote.index, direction)?;
                let direction = match direction {
                    Direction::Received => Way::Receive,
                    Direction::Sent => Way::Transmit,
                };
                Some(EntropyReading {
                    remote: remote.address,
                    direction,
                    samples: spread.samples,
                    flows: spread.flows,
                    source_ports: spread.source_ports,
                    verdict: spread.verdict,
                })
            })
        });
        Ok(Page::cut(readings, range(query.limit, query.offset)))
    })
    .await
}

async fn check(State(shared): Shares) -> Result<Response, Refusal> {
    let unreadable = |error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error);
    let stuck = shared.stuck_threads();
    ask(shared, move |view| {
        let mut check = view.check().map_err(unreadable)?;
        // First of all, for what they have not done may be the rest.
        check.findings.splice(..0, stuck.iter().map(stuck_thread));
        Ok(check)
    })
    .await
}

fn stuck_thread(thread: &(String, Duration)) -> Finding {
    Finding {
        name: "thread_stuck".to_owned(),
        what: format!("A thread of the gateway stands still: {}.", stands_still(thread)),
        remedy:
            "`top -H -p $(pidof vtepd)` shows what runs in its place; where the thread itself does not run, it waits \
                 for the kernel or has ended: the log and `dmesg` say why, and a restart of the gateway helps"
                .to_owned(),
        commands: Vec::new(),
    }
}

async fn config(State(shared): Shares, uri: Uri) -> Result<Response, Refusal> {
    let ConfigQuery { format } = parse(&uri)?;
    if format == Some(ConfigFormat::Toml) {
        let text = run(move || shared.view.config_toml()).await?;
        return Ok(([(header::CONTENT_TYPE, "application/toml")], text).into_response());
    }
    ask(shared, |view| {
        let text = view.config_toml();
        if text.len() > MAX_CONFIG_AS_JSON {
            let (is, most) = (text.len().div_ceil(1 << 20), MAX_CONFIG_AS_JSON >> 20);
            let what = format!(
                "the config has {is} MiB, and as JSON is given up to {most} MiB; as TOML it is given whole, by \
                 `vtepctl show config` without `--json`, or with `?format=toml`"
            );
            return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, what));
        }
        let table = text.parse::<toml::Table>();
        table.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    })
    .await
}

async fn reload(State(shared): Shares) -> Result<Response, Refusal> {
    let reload = move || {
        let Ok(_one_at_a_time) = shared.reloading.try_lock() else {
            return Err(Refused::Busy("another reload is running; try again".to_owned()));
        };
        shared.view.reload()
    };
    let summary = run_within(RELOAD_TIMEOUT, reload).await??;
    Ok(Json(Reloaded { summary }).into_response())
}

fn ports(view: &dyn GatewayView) -> Vec<Port> {
    let port = |reading: PortReading| {
        let learned_macs = view.control().fdb.port_learned(reading.index).get();
        Port { learned_macs, ..Port::from(reading) }
    };
    view.port_readings().into_iter().map(port).collect()
}

fn version(view: &dyn GatewayView) -> Version {
    let build = view.build();
    let uptime_seconds = view.started().elapsed().unwrap_or_default().as_secs();
    Version { version: build.version, dpdk: build.dpdk, uptime_seconds }
}

fn drops(view: &dyn GatewayView) -> Drops {
    let count = |name: &str, count, help: &str| Count { name: name.to_owned(), count, help: help.to_owned() };
    let reasons: Vec<_> = DropReason::ALL
        .iter()
        .map(|reason| count(reason.name(), totals::dropped(view.workers(), *reason), reason.help()))
        .collect();
    let events = Event::ALL
        .iter()
        .map(|event| count(event.name(), totals::events(view.workers(), *event), event.help()))
        .collect();
    Drops { total: reasons.iter().map(|reason| reason.count).sum(), reasons, events }
}

fn workers(view: &dyn GatewayView) -> Vec<Worker> {
    let hertz = view.cycles_per_second().max(1) as f64;
    view.workers().iter().enumerate().map(|(number, worker)| worker_state(number, worker, hertz)).collect()
}

fn worker_state(number: usize, worker: &WorkerHandle, hertz: f64) -> Worker {
    let WorkerHandle { core, telemetry } = worker;
    let durations = telemetry.burst_time.to_histogram();
    let quantile = |quantile| durations.value_at_quantile(quantile) as f64 / hertz;
    Worker {
        number,
        core: *core,
        packets: telemetry.run.packets.get(),
        bursts: telemetry.run.bursts.get(),
        polls: telemetry.run.polls.get(),
        sleeps: telemetry.run.sleeps.get(),
        dropped: DropReason::ALL.iter().map(|reason| telemetry.dropped(*reason)).sum(),
        busy_seconds: telemetry.run.busy_cycles.get() as f64 / hertz,
        idle_seconds: telemetry.run.idle_cycles.get() as f64 / hertz,
        burst: (!durations.is_empty()).then(|| BurstDurations {
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: quantile(1.0),
        }),
    }
}

/// A request that failed: the status and what to say.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::Wrong(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::Unknown(_) => StatusCode::NOT_FOUND,
            Refused::Busy(_) => StatusCode::CONFLICT,
            Refused::GoesOn(_) => StatusCode::GATEWAY_TIMEOUT,
            Refused::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, refused.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        (status, Json(Failure { error })).into_response()
    }
}

/// Runs `work` on a helper thread, and gives up waiting where it takes longer than an answer may.
async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    run_within(ANSWER_TIMEOUT, work).await
}

/// Runs `work` on a helper thread, and gives up waiting where it takes longer than this.
async fn run_within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::time::timeout(patience, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(panicked)) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, panicked.to_string())),
        Err(_) => {
            let seconds = patience.as_secs();
            Err(Refusal(StatusCode::GATEWAY_TIMEOUT, format!("the gateway has not answered within {seconds} s")))
        }
    }
}

/// Asks the gateway and answers with JSON.
pub(super) async fn ask<T: serde::Serialize + Send + 'static>(
    shared: Arc<Shared>,
    question: impl FnOnce(&dyn GatewayView) -> Result<T, Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    Ok(Json(run(move || question(&*shared.view)).await??).into_response())
}

pub(super) fn parse<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refusal> {
    match Query::try_from_uri(uri) {
        Ok(Query(query)) => Ok(query),
        Err(refusal) => Err(Refusal(StatusCode::BAD_REQUEST, refusal.body_text())),
    }
}

pub(super) fn range(limit: Option<usize>, offset: Option<usize>) -> PageRange {
    PageRange { limit: limit.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE), offset: offset.unwrap_or(0) }
}

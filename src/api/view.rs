//! The seam between the server and whoever owns the gateway's state.

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use super::fdb::{FdbChange, StationQuery};
use super::kernel::KernelBridge;
use super::types::{
    Binding, BindingFilter, BridgeMember, Check, FdbEntry, FdbFilter, GroupMember, LocalVtep, MulticastRouter, NextHop,
    Page, PageRange,
};
use crate::tables::{BridgeIndex, TunnelIndex};
use crate::telemetry::MetricsSource;

/// Why the gateway did not do what it was asked, as a sentence for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// What was asked for cannot be done as it is: the config file is wrong, for example. It is as if nothing was asked.
    #[error("{0}")]
    Wrong(String),
    /// The gateway has nothing of that name.
    #[error("{0}")]
    Unknown(String),
    /// Others ask for the same at the same time: nothing was begun, and it may be asked for again.
    #[error("{0}")]
    Busy(String),
    /// It takes longer than anybody is let wait, and goes on without whoever asked.
    #[error("{0}")]
    GoesOn(String),
    /// The gateway stops.
    #[error("the gateway is stopping")]
    Stopping,
}

/// What the control socket shows and does. Called on helpers of the stats thread, several calls at the same time; a
/// call may block for milliseconds.
pub trait GatewayView: MetricsSource {
    /// Every bridge of the running config, by VNI.
    fn bridges(&self) -> Vec<BridgeState>;

    /// This gateway as a VTEP.
    fn local_vtep(&self) -> LocalVtep;

    /// Every remote VTEP that is known, by address, and behind them every group of the underlay with each of its uplinks.
    fn remotes(&self) -> Vec<RemoteState>;

    /// Every bridge that the kernel controls, by VNI.
    fn kernel_bridges(&self) -> Vec<KernelBridge>;

    /// FDB entries that match `filter`. The range's limit is at most [`super::types::MAX_PAGE`].
    fn fdb(&self, filter: &FdbFilter, range: PageRange) -> Page<FdbEntry>;

    /// What became of stations, the newest first. The range's limit is at most [`super::types::MAX_PAGE`].
    ///
    /// # Errors
    /// Why there is no answer.
    fn fdb_history(&self, query: &StationQuery, range: PageRange) -> Result<Page<FdbChange>, Refused>;

    /// Ends the freeze of stations that moved too often, and gives how many there were.
    ///
    /// # Errors
    /// Why not.
    fn unfreeze(&self, query: &StationQuery) -> Result<u64, Refused>;

    /// Forgets learned stations, and gives how many there were. From then on no packet is forwarded by what was known of
    /// them.
    ///
    /// # Errors
    /// Why not: also [`Refused::Unknown`] where there is no such bridge, port or remote VTEP.
    fn flush(&self, query: &StationQuery) -> Result<u64, Refused>;

    /// MAC+IP bindings that match `filter`, by VNI and address. The range's limit is at most [`super::types::MAX_PAGE`].
    fn bindings(&self, filter: &BindingFilter, range: PageRange) -> Page<Binding>;

    /// Where multicast routers and members of multicast groups are, by VNI, family, group and place; of one bridge, or of
    /// all.
    fn multicast(&self, vni: Option<u32>) -> (Vec<MulticastRouter>, Vec<GroupMember>);

    /// The running config as TOML, with every default filled in.
    fn config_toml(&self) -> String;

    /// What is wrong between the gateway, the kernel and the control plane. The kernel is read anew for it.
    ///
    /// # Errors
    /// Why the kernel could not be read.
    fn check(&self) -> Result<Check, String>;

    /// Reads the config file again and applies it, or refuses it as a whole. Calls are made one at a time.
    ///
    /// # Errors
    /// [`Refused::Wrong`] with the diagnostics as a person reads them, or why else not; the running config is then
    /// unchanged, unless it is [`Refused::GoesOn`].
    fn reload(&self) -> Result<String, Refused>;

    /// Whether the gateway forwards: ports started, workers running.
    ///
    /// # Errors
    /// What it waits for, as a sentence.
    fn readiness(&self) -> Result<(), String>;
}

/// A bridge of the running config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeState {
    /// Its place in the counters.
    pub index: BridgeIndex,
    /// The VNI.
    pub vni: u32,
    /// Its places on access ports.
    pub members: Vec<BridgeMember>,
    /// The remote VTEPs floods are sent to.
    pub remotes: Vec<IpAddr>,
    /// Whether it learns source addresses.
    pub learning: bool,
    /// The most addresses it learns, where there is a limit.
    pub max_macs: Option<u32>,
    /// How long it keeps an address that is not heard of; `None` is for ever.
    pub ageing: Option<Duration>,
}

/// A remote VTEP of the running config.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteState {
    /// Its place in the counters.
    pub index: TunnelIndex,
    /// Its address.
    pub address: IpAddr,
    /// How it is reached; empty where that is not known.
    pub next_hops: Vec<NextHop>,
    /// What the kernel lacks to say how it is reached.
    pub missing: Option<&'static str>,
    /// In how many bridges it is.
    pub bridges: usize,
    /// The largest IP packet that goes there, in bytes, where there is a way.
    pub mtu: Option<u16>,
    /// For how many seconds more that is believed, where it is what a router said of the path.
    pub path_mtu_seconds: Option<u64>,
}

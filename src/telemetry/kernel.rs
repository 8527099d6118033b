//! What the control thread counts of the kernel's tables and of its own mirror of them.

use super::counter::Counter;
use super::label::labelled_enum;

labelled_enum! {
    /// A table of the kernel's that is mirrored.
    KernelTable {
        /// Network interfaces.
        Links = "links",
        /// Addresses of this machine.
        Addresses = "addresses",
        /// Neighbours, IPv4 and IPv6, of all interfaces.
        Neighbours = "neighbours",
        /// Next-hop objects and groups.
        NextHops = "next_hops",
        /// Stations in the FDBs of vxlan devices.
        VxlanFdb = "vxlan_fdb",
        /// Destinations in the flood lists of vxlan devices.
        FloodLists = "flood_lists",
        /// Entries in the FDBs of bridges.
        BridgeFdb = "bridge_fdb",
    }
}

labelled_enum! {
    /// Whether a remote VTEP whose way the kernel says can be reached, and if not, what is missing; the later, the
    /// nearer.
    RemoteState {
        /// The kernel has no route to it. See `ip route get fibmatch ADDRESS`.
        NoRoute = "no_route",
        /// Its route leads to an interface that is no uplink of the gateway's.
        NoUplink = "no_uplink",
        /// Its route leads to an uplink that is down or has no carrier.
        LinkDown = "link_down",
        /// Its next hop does not answer ARP or neighbour solicitations. See `ip neigh`.
        Unresolved = "unresolved",
        /// It has at least one way.
        Reachable = "reachable",
    }
}

/// What the mirror takes in and has.
#[derive(Debug)]
pub struct KernelTelemetry {
    /// Messages about changes that were taken in.
    pub events: Counter,
    /// Times that the kernel had dropped messages because they were read too late, or one could not be read.
    pub overruns: Counter,
    /// Resyncs that were completed.
    pub resyncs: Counter,
    /// Resyncs that were given up; the next one follows within seconds.
    pub resync_failures: Counter,
    /// The longest time from the reading of a message to its taking in since the last resync began, in nanoseconds.
    pub lag: Counter,
    /// Routes that the kernel was asked for.
    pub route_queries: Counter,
    /// Changes of the ways to a remote VTEP.
    pub way_changes: Counter,
    /// Groups of next hops among which flows are spread. The writer sets it.
    pub next_hop_groups: Counter,
    /// Remote VTEPs with several ways for whose group there is no room. The writer sets it.
    pub unspread: Counter,
    /// Stations behind remote VTEPs in bridges whose remote side the kernel says. The writer sets it.
    pub stations: Counter,
    /// Stations and IP addresses behind access ports that the kernel was told.
    pub published: Counter,
    /// Those that it was told to forget.
    pub withdrawn: Counter,
    /// Those that it has refused, to know or to forget.
    pub refused: Counter,
    /// Stations that the kernel has as it was told. The writer sets it.
    pub published_stations: Counter,
    /// IP addresses of stations that it has so. The writer sets it.
    pub published_bindings: Counter,
    entries: [Counter; KernelTable::COUNT],
    remotes: [Counter; RemoteState::COUNT],
}

impl KernelTelemetry {
    /// All counters at zero.
    pub(super) const fn new() -> Self {
        Self {
            events: Counter::new(),
            overruns: Counter::new(),
            resyncs: Counter::new(),
            resync_failures: Counter::new(),
            lag: Counter::new(),
            route_queries: Counter::new(),
            way_changes: Counter::new(),
            next_hop_groups: Counter::new(),
            unspread: Counter::new(),
            stations: Counter::new(),
            published: Counter::new(),
            withdrawn: Counter::new(),
            refused: Counter::new(),
            published_stations: Counter::new(),
            published_bindings: Counter::new(),
            entries: [const { Counter::new() }; KernelTable::COUNT],
            remotes: [const { Counter::new() }; RemoteState::COUNT],
        }
    }

    /// How many entries of a table are mirrored. The writer sets it.
    #[must_use]
    pub fn entries(&self, table: KernelTable) -> &Counter {
        &self.entries[table as usize]
    }

    /// How many remote VTEPs are in a state. The writer sets it.
    #[must_use]
    pub fn remotes(&self, state: RemoteState) -> &Counter {
        &self.remotes[state as usize]
    }
}

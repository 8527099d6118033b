//! What the control thread counts: everything here is written by that thread and by nobody else.

use super::counter::{Counter, CounterTable};
use super::kernel::KernelTelemetry;
use super::worker::MAX_PORTS;
use super::{BindingEvent, FdbEvent};
use crate::tables::{BindingSource, BridgeIndex, PortIndex};

/// What happened to the forwarding database, and how full it is.
#[derive(Debug)]
pub struct FdbTelemetry {
    /// Entries there are, learned and static.
    pub entries: Counter,
    /// Entries there may be: `[fdb] max_entries`.
    pub capacity: Counter,
    /// Entries that are frozen now.
    pub frozen: Counter,
    events: [Counter; FdbEvent::COUNT],
    bridge_entries: CounterTable<Counter>,
    bridge_learned: CounterTable<Counter>,
    port_learned: [Counter; MAX_PORTS],
}

impl FdbTelemetry {
    /// Counts an event.
    pub fn event(&self, event: FdbEvent) {
        self.event_many(event, 1);
    }

    /// Counts `count` events of one kind.
    pub fn event_many(&self, event: FdbEvent, count: u64) {
        self.events[event as usize].add(count);
    }

    /// How many events of a kind there were.
    #[must_use]
    pub fn events(&self, event: FdbEvent) -> u64 {
        self.events[event as usize].get()
    }

    /// How many entries one bridge has, learned and static. The writer sets it.
    #[must_use]
    pub fn bridge_entries(&self, bridge: BridgeIndex) -> &Counter {
        self.bridge_entries.row(bridge.0)
    }

    /// How many addresses are learned in one bridge: those that its limit is for. The writer sets it.
    #[must_use]
    pub fn bridge_learned(&self, bridge: BridgeIndex) -> &Counter {
        self.bridge_learned.row(bridge.0)
    }

    /// How many addresses are learned behind one port. The writer sets it. There are at most [`MAX_PORTS`] ports; an
    /// index beyond that wraps.
    #[must_use]
    pub fn port_learned(&self, port: PortIndex) -> &Counter {
        &self.port_learned[usize::from(port.0) % MAX_PORTS]
    }
}

/// What happened to the MAC+IP bindings, and how many there are.
#[derive(Debug)]
pub struct BindingTelemetry {
    /// Bindings there may be: `[fdb] max_bindings`.
    pub capacity: Counter,
    counts: [Counter; BindingSource::ALL.len()],
    events: [Counter; BindingEvent::COUNT],
}

impl BindingTelemetry {
    /// How many bindings of a source there are. The writer sets it.
    #[must_use]
    pub fn count(&self, source: BindingSource) -> &Counter {
        &self.counts[source as usize]
    }

    /// Counts an event.
    pub fn event(&self, event: BindingEvent) {
        self.events[event as usize].increment();
    }

    /// How many events of a kind there were.
    #[must_use]
    pub fn events(&self, event: BindingEvent) -> u64 {
        self.events[event as usize].get()
    }
}

/// Everything the control thread counts. That thread writes it; the stats thread reads it through an `Arc`.
#[derive(Debug)]
#[repr(align(128))]
pub struct ControlTelemetry {
    /// Rounds of the control loop: its heartbeat, which grows at least once a second as long as it is alive.
    pub rounds: Counter,
    /// Reloads of the config that were applied.
    pub reloads: Counter,
    /// Reloads of the config that were refused.
    pub reload_failures: Counter,
    /// When the running config was applied, in seconds since the Unix epoch.
    pub config_applied: Counter,
    /// Remote VTEPs that nobody named and that sent to a bridge with a group.
    pub discovered: Counter,
    /// Memberships of multicast groups in bridges that snoop: pairs of a group and a place.
    pub memberships: Counter,
    /// Memberships that were refused because there were as many as there may be.
    pub memberships_refused: Counter,
    /// The forwarding database.
    pub fdb: FdbTelemetry,
    /// The MAC+IP bindings.
    pub bindings: BindingTelemetry,
    /// The mirror of the kernel's tables.
    pub kernel: KernelTelemetry,
}

impl ControlTelemetry {
    /// All counters at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rounds: Counter::new(),
            reloads: Counter::new(),
            reload_failures: Counter::new(),
            config_applied: Counter::new(),
            discovered: Counter::new(),
            memberships: Counter::new(),
            memberships_refused: Counter::new(),
            fdb: FdbTelemetry {
                entries: Counter::new(),
                capacity: Counter::new(),
                frozen: Counter::new(),
                events: [const { Counter::new() }; FdbEvent::COUNT],
                bridge_entries: CounterTable::new(),
                bridge_learned: CounterTable::new(),
                port_learned: [const { Counter::new() }; MAX_PORTS],
            },
            bindings: BindingTelemetry {
                capacity: Counter::new(),
                counts: [const { Counter::new() }; BindingSource::ALL.len()],
                events: [const { Counter::new() }; BindingEvent::COUNT],
            },
            kernel: KernelTelemetry::new(),
        }
    }
}

impl Default for ControlTelemetry {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_and_bridge_counts_by_itself() {
        let control = ControlTelemetry::new();
        for (index, event) in FdbEvent::ALL.iter().enumerate() {
            control.fdb.event_many(*event, index as u64);
            control.fdb.event(*event);
        }
        for (index, event) in FdbEvent::ALL.iter().enumerate() {
            assert_eq!(control.fdb.events(*event), index as u64 + 1);
        }
        control.fdb.bridge_entries(BridgeIndex(0)).set(3);
        control.fdb.bridge_entries(BridgeIndex(u16::MAX)).set(5);
        let read = |index| control.fdb.bridge_entries(BridgeIndex(index)).get();
        assert_eq!((read(0), read(1), read(u16::MAX)), (3, 0, 5));
    }
}

//! From the limits of the config to what each worker lets pass.
//!
//! Workers share nothing that they write, so a limit is divided: each of the workers that receive from a port has an
//! equal share of it, of at least one packet or bit a second. All of them together never let more pass than the limit,
//! unless it is below their number; what one worker does not use is not another's.

use std::sync::Arc;

use super::compile::PortFacts;
use crate::config::Config;
use crate::config::model::{Bridge, PortRole, Rate, StormLimits};
use crate::tables::{FloodRules, PortIndex, StormRate, StormRates};

/// A worker's share of a port's limits, where so many workers receive from the port.
pub(super) fn port_rates(limits: &StormLimits, receivers: u16) -> StormRates {
    let share = |rate: u64| (rate / u64::from(receivers.max(1))).max(1);
    let rate = |limit: Option<Rate>| {
        limit.map(|limit| match limit {
            Rate::Packets(packets) => StormRate::Frames(share(packets)),
            Rate::Bits(bits) => StormRate::Bits(share(bits)),
        })
    };
    StormRates::new([rate(limits.broadcast), rate(limits.multicast), rate(limits.unknown_unicast)])
}

/// What restricts the floods of a bridge, if anything does: also the limits of a port by which frames come to it, which
/// are looked at with the bridge's own.
pub(super) fn rules(bridge: &Bridge, config: &Config, facts: &[PortFacts]) -> Option<FloodRules> {
    let entrances = || {
        let all = config.ports.iter().zip(facts).enumerate();
        all.filter(|(index, (port, _))| {
            port.role == PortRole::Uplink || bridge.ports.iter().any(|place| place.port == PortIndex(*index as u16))
        })
    };
    let receivers = entrances().map(|(_, (_, facts))| facts.receivers).max().unwrap_or(1);
    let rules = FloodRules {
        unknown_unicast: bridge.flooding.unknown_unicast,
        storm: port_rates(&bridge.flooding.storm, receivers),
        snooping: bridge.flooding.snooping.then(Arc::default),
    };
    let of_ports = entrances().any(|(_, (port, _))| port.storm != StormLimits::default());
    let has_own = !rules.unknown_unicast || !rules.storm.is_empty() || rules.snooping.is_some();
    (of_ports || has_own).then_some(rules)
}

//! What each feature costs a packet, in instructions: the packet with the feature off and with it on.

use std::collections::HashMap;
use std::fmt::Write;

use crate::instructions::Task;
use crate::traffic::name_of;

/// A feature, and the same packets with it off and on.
struct Feature {
    what: &'static str,
    off: Task,
    on: Task,
    /// Whether it may cost these packets anything.
    cost: Cost,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// As much as the budget of its task says.
    Some,
    /// Nothing: the packets have nothing to do with it.
    None,
}

const fn costly(what: &'static str, off: Task, on: Task) -> Feature {
    Feature { what, off, on, cost: Cost::Some }
}

const fn free(what: &'static str, off: Task, on: Task) -> Feature {
    Feature { what, off, on, cost: Cost::None }
}

/// The features, in the order of the table.
const FEATURES: &[Feature] = &[
    costly("two tags to a VNI (QinQ), out", Task::EncapIpv4, Task::EncapQinq),
    costly("two tags to a VNI (QinQ), in", Task::DecapIpv4, Task::DecapQinq),
    costly("a tag carried behind the access tag, out", Task::EncapIpv4, Task::EncapCarried),
    free("VLAN translation between access ports", Task::Local, Task::LocalTranslated),
    free("native VLAN, untagged, out", Task::EncapIpv4, Task::EncapNative),
    free("native VLAN, untagged, in", Task::DecapIpv4, Task::DecapNative),
    free("priority tag, out", Task::EncapIpv4, Task::EncapPriorityTagged),
    free("priority tag, in", Task::DecapIpv4, Task::DecapPriorityTagged),
    costly("outer DSCP by the tag's priority, out", Task::EncapIpv4, Task::EncapRemarked),
    costly("priority and inner DSCP by the outer one, in", Task::DecapIpv4, Task::DecapRemarked),
    free("group policy ID sent", Task::EncapIpv4, Task::EncapGroupPolicy),
    costly("group policy IDs checked", Task::DecapIpv4, Task::DecapGroupPolicy),
    costly("UDP checksum over IPv4, 64 bytes, out", Task::EncapIpv4, Task::EncapIpv4Summed),
    costly("UDP checksum over IPv4, 64 bytes, in", Task::DecapIpv4, Task::DecapIpv4Summed),
    free("a UDP port of the bridge's own, out", Task::EncapIpv4, Task::EncapUdpPort),
    free("two UDP ports: a packet to the usual one", Task::DecapIpv4, Task::DecapUsualUdpPort),
    costly("two UDP ports: a packet to the other one", Task::DecapIpv4, Task::DecapOtherUdpPort),
    free("two addresses (anycast): a packet to the usual one", Task::DecapIpv4, Task::DecapUsualAddress),
    costly("two addresses (anycast): a packet to the other one", Task::DecapIpv4, Task::DecapOtherAddress),
    costly("two next hops", Task::EncapIpv4, Task::EncapIpv4Spread),
    costly("a flow sampled in each burst of 64", Task::EncapIpv4, Task::EncapSampled),
    free("a flood to a group of the underlay", Task::Flood, Task::FloodToGroup),
    costly("storm control: a broadcast", Task::Broadcast, Task::BroadcastLimited),
    free("storm control: known unicast", Task::EncapIpv4, Task::EncapLimited),
    costly("snooping: a multicast to where it is wanted", Task::Multicast, Task::MulticastWanted),
    free("snooping: known unicast", Task::EncapIpv4, Task::EncapSnooping),
    costly("ARP suppression: a request answered", Task::ArpRequest, Task::ArpAnswered),
    costly("ND suppression: a solicitation answered", Task::Solicitation, Task::SolicitationAnswered),
    free("ARP and ND suppression: known unicast", Task::EncapIpv4, Task::EncapSuppressing),
    costly("MSS clamping: a SYN, out", Task::EncapSyn, Task::EncapSynClamped),
    costly("MSS clamping: TCP data, out", Task::EncapTcp, Task::EncapTcpClamping),
    costly("MSS clamping: TCP data, in", Task::DecapTcp, Task::DecapTcpClamping),
    costly("link-local groups tunnelled, not dropped", Task::LinkLocalDropped, Task::LinkLocalTunnelled),
];

/// Instructions per packet by task.
pub type Totals = HashMap<Task, f64>;

fn both(feature: &Feature, totals: &Totals) -> Option<(f64, f64)> {
    Some((*totals.get(&feature.off)?, *totals.get(&feature.on)?))
}

/// The table, in Markdown.
pub fn table(totals: &Totals) -> String {
    let mut text = "| feature | off | on | difference | off: case | on: case |\n".to_owned();
    text += "|---|---:|---:|---:|---|---|\n";
    for feature in FEATURES {
        let Some((off, on)) = both(feature, totals) else { continue };
        let (off_case, on_case) = (name_of(&feature.off), name_of(&feature.on));
        let line = format!("| {} | {off:.1} | {on:.1} | {:+.1} | `{off_case}` | `{on_case}` |", feature.what, on - off);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

/// The features that are to cost these packets nothing and do cost them something: more than so many percent.
pub fn costly_free(totals: &Totals, tolerance_percent: f64) -> Vec<String> {
    let exceeds = |feature: &&Feature| {
        let allowed = 1.0 + tolerance_percent / 100.0;
        feature.cost == Cost::None && both(feature, totals).is_some_and(|(off, on)| on > off * allowed)
    };
    let all = FEATURES.iter().filter(exceeds);
    all.map(|feature| {
        let (off, on) = (name_of(&feature.off), name_of(&feature.on));
        format!("{on} is to cost what {off} costs ({}), and costs more", feature.what)
    })
    .collect()
}

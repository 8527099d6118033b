//! The gateway's answers as tables and sentences.

use std::fmt::Write;

use super::format::{
    Column::{self, Left, Right},
    bytes, count, long_duration, or_dash, percent, short_duration, speed, table, utc_time,
};
use crate::api::fdb::{Done, FdbChange};
use crate::api::kernel::KernelBridge;
use crate::api::types::{
    Binding, Bridge, BridgeMember, Check, Count, Drops, EntropyReading, FdbEntry, Finding, GroupMember, Groups,
    MulticastRouter, NextHop, Page, Place, Port, RemoteVtep, Role, Version, Vteps, Way, Worker,
};
use crate::telemetry::totals::TrafficTotal;
use crate::telemetry::{StationChange, Verdict};

pub(super) fn version(gateway: &Version) -> String {
    format!(
        "vtepctl {}\nvtepd   {} on {}, up {}\n",
        env!("CARGO_PKG_VERSION"),
        gateway.version,
        gateway.dpdk,
        long_duration(gateway.uptime_seconds),
    )
}

pub(super) fn ports(ports: &[Port]) -> String {
    if ports.is_empty() {
        return "The gateway has no ports.\n".to_owned();
    }
    let state = table(
        &[
            Left("PORT"),
            Left("ROLE"),
            Left("LINK"),
            Left("SPEED"),
            Left("MAC"),
            Right("MTU"),
            Right("QUEUES"),
            Right("MACS"),
            Left("DEVICE"),
        ],
        ports.iter().map(|port| {
            vec![
                port.name.clone(),
                port.role.name().to_owned(),
                if port.link_up { "up" } else { "down" }.to_owned(),
                or_dash(port.link_mbps.map(speed)),
                port.mac.to_string(),
                port.mtu.to_string(),
                format!("{}/{}", port.receive_queues, port.transmit_queues),
                or_dash((port.role == Role::Access).then(|| some_of_most(port.learned_macs, port.max_macs))),
                port.device.clone(),
            ]
        }),
    );
    let counters = table(
        &[
            Left("PORT"),
            Right("RECEIVED"),
            Right("BYTES"),
            Right("ERRORS"),
            Right("MISSED"),
            Right("NO BUFFER"),
            Right("SENT"),
            Right("BYTES"),
            Right("ERRORS"),
        ],
        ports.iter().map(|port| {
            vec![
                port.name.clone(),
                count(port.received_packets),
                bytes(port.received_bytes),
                count(port.receive_errors),
                count(port.missed),
                count(port.no_buffer),
                count(port.sent_packets),
                bytes(port.sent_bytes),
                count(port.transmit_errors),
            ]
        }),
    );
    format!("{state}\n{counters}")
}

pub(super) fn bridges(page: &Page<Bridge>, vni: Option<u32>) -> String {
    match (page.total, vni) {
        (0, Some(vni)) => return format!("No bridge has VNI {vni}.\n"),
        (0, None) => return "The gateway has no bridges.\n".to_owned(),
        _ => {}
    }
    let columns = [
        Right("VNI"),
        Right("VLAN"),
        Left("PORTS"),
        Left("REMOTES"),
        Right("MACS"),
        Right("FROM ACCESS"),
        Right("TO ACCESS"),
        Right("FROM TUNNEL"),
        Right("TO TUNNEL"),
    ];
    let row = |bridge: &Bridge| {
        let (vlan, ports) = members(&bridge.members);
        vec![
            bridge.vni.to_string(),
            vlan,
            some_of(&ports),
            some_of(&bridge.remotes),
            macs(bridge),
            count(bridge.traffic.access_received.packets),
            count(bridge.traffic.access_sent.packets),
            count(bridge.traffic.tunnel_received.packets),
            count(bridge.traffic.tunnel_sent.packets),
        ]
    };
    page_table(&columns, page, "bridges", row)
}

/// The VLAN that all the ports have and the names of the ports; or each port with its own.
fn members(members: &[BridgeMember]) -> (String, Vec<String>) {
    let first = members.first().map_or_else(|| "-".to_owned(), BridgeMember::vlan_text);
    if members.iter().all(|member| member.vlan_text() == first) {
        return (first, members.iter().map(|member| member.port.clone()).collect());
    }
    let each = |member: &BridgeMember| format!("{}:{}", member.port, member.vlan_text());
    ("by port".to_owned(), members.iter().map(each).collect())
}

/// How many addresses there are; where the bridge has a limit, also how many it has learned of how many it may.
fn macs(bridge: &Bridge) -> String {
    let all = count(bridge.fdb_entries);
    match bridge.max_macs {
        Some(_) => format!("{all} ({} learned)", some_of_most(bridge.learned_macs, bridge.max_macs)),
        None => all,
    }
}

/// How many there are, and of how many at most.
fn some_of_most(some: u64, most: Option<u32>) -> String {
    match most {
        Some(most) => format!("{} of {}", count(some), count(u64::from(most))),
        None => count(some),
    }
}

pub(super) fn fdb(page: &Page<FdbEntry>, filtered: bool) -> String {
    match (page.total, filtered) {
        (0, true) => return "No entry of the forwarding database matches.\n".to_owned(),
        (0, false) => {
            return "The forwarding database is empty: no station was heard of within the ageing time.\n".to_owned();
        }
        _ => {}
    }
    let row = |entry: &FdbEntry| {
        let age = or_dash(entry.age_seconds.map(long_duration));
        let mark = if entry.pinned {
            ", pinned"
        } else if entry.frozen {
            ", frozen"
        } else {
            ""
        };
        let kind = format!("{}{mark}", entry.kind.name());
        vec![entry.vni.to_string(), entry.mac.to_string(), place(&entry.place), kind, age]
    };
    page_table(&[Right("VNI"), Left("MAC"), Left("PLACE"), Left("KIND"), Right("AGE")], page, "entries", row)
}

/// What became of stations. The times are those of the gateway's clock, in UTC.
pub(super) fn history(page: &Page<FdbChange>) -> String {
    if page.total == 0 {
        return "Nothing became of such a station lately.\n".to_owned();
    }
    let row = |change: &FdbChange| {
        let station = change.mac.clone().unwrap_or_else(|| format!("{} entries", count(u64::from(change.entries))));
        let from = match &change.from {
            // A flush of a port is of all its VLANs.
            Some(Place::Port { port, vlan: None, .. }) if change.change == StationChange::Flushed.name() => {
                port.clone()
            }
            from => or_dash(from.as_ref().map(place)),
        };
        let to = or_dash(change.to.as_ref().map(place));
        let change_and_why = format!("{}: {}", change.change, change.why);
        vec![utc_time(change.at_unix_ms), change.vni.to_string(), station, from, to, change_and_why]
    };
    let columns = [Left("TIME (UTC)"), Right("VNI"), Left("MAC"), Left("FROM"), Left("TO"), Left("WHAT AND WHY")];
    page_table(&columns, page, "records", row)
}

/// How many entries something was done to.
pub(super) fn done(done: Done, what: &str) -> String {
    match done.entries {
        1 => format!("1 entry {what}\n"),
        entries => format!("{} entries {what}\n", count(entries)),
    }
}

fn place(place: &Place) -> String {
    match place {
        Place::Port { port, vlan: Some(vlan), inner_vlan: Some(inner) } => format!("{port} vlan {vlan}.{inner}"),
        Place::Port { port, vlan: Some(vlan), inner_vlan: None } => format!("{port} vlan {vlan}"),
        Place::Port { port, vlan: None, .. } => format!("{port} untagged"),
        Place::Remote { remote } => format!("remote {remote}"),
    }
}

pub(super) fn bindings(page: &Page<Binding>, filtered: bool) -> String {
    match (page.total, filtered) {
        (0, true) => return "No MAC+IP binding matches.\n".to_owned(),
        (0, false) => {
            return "There is no MAC+IP binding: they are learned in bridges with `neighbour_suppression` or with \
                    `control = \"kernel\"`.\n"
                .to_owned();
        }
        _ => {}
    }
    let columns =
        [Right("VNI"), Left("ADDRESS"), Left("MAC"), Left("PLACE"), Left("KIND"), Left("ROUTER"), Right("AGE")];
    let row = |binding: &Binding| {
        vec![
            binding.vni.to_string(),
            binding.address.to_string(),
            binding.mac.to_string(),
            or_dash(binding.place.as_ref().map(place)),
            binding.kind.name().to_owned(),
            if binding.router { "yes" } else { "no" }.to_owned(),
            or_dash(binding.age_seconds.map(long_duration)),
        ]
    };
    page_table(&columns, page, "bindings", row)
}

pub(super) fn groups(groups: &Groups) -> String {
    let mut out = String::new();
    if groups.routers.is_empty() {
        out.push_str("No multicast router is heard in a bridge that snoops.\n");
    } else {
        let columns = [Right("VNI"), Left("FAMILY"), Left("ROUTER"), Left("QUERIER"), Right("EXPIRES")];
        let row = |router: &MulticastRouter| {
            let querier = if router.querier { "yes" } else { "no" };
            let expires = long_duration(router.expires_seconds);
            vec![router.vni.to_string(), router.family.clone(), place(&router.place), querier.to_owned(), expires]
        };
        out.push_str(&table(&columns, groups.routers.iter().map(row)));
    }
    out.push('\n');
    if groups.members.total == 0 {
        return out + "No multicast group has a member in a bridge that snoops.\n";
    }
    let row = |member: &GroupMember| {
        let expires = long_duration(member.expires_seconds);
        vec![member.vni.to_string(), member.group.to_string(), place(&member.place), expires]
    };
    let columns = [Right("VNI"), Left("GROUP"), Left("MEMBER"), Right("EXPIRES")];
    out + &page_table(&columns, &groups.members, "members", row)
}

pub(super) fn vteps(vteps: &Vteps) -> String {
    let local = &vteps.local;
    let addresses = and_others(local.address, &local.other_addresses);
    let ports = and_others(local.udp_port, &local.other_udp_ports);
    let own = format!("This gateway: {addresses} UDP port {ports} on {}\n\n", some_of(&local.uplinks));
    if vteps.remotes.total == 0 {
        return own + "No bridge has a remote VTEP.\n";
    }
    let columns = [
        Left("REMOTE"),
        Left("NEXT HOP"),
        Left("PORT"),
        Right("SHARE"),
        Right("MTU"),
        Right("BRIDGES"),
        Right("RECEIVED"),
        Right("BYTES"),
        Right("SENT"),
        Right("BYTES"),
    ];
    let rows = |remote: &RemoteVtep| {
        let RemoteVtep { address, next_hops, missing, bridges, traffic, .. } = remote;
        let way = |NextHop { mac, port, share_percent }: &NextHop| {
            [mac.to_string(), port.clone(), percent(*share_percent, 100.0)]
        };
        let unknown = || [missing.clone().unwrap_or_else(|| "none".to_owned()), "-".to_owned(), "-".to_owned()];
        let [mac, port, share] = next_hops.first().map_or_else(unknown, way);
        let [received, received_bytes] = packets_and_bytes(traffic.received);
        let [sent, sent_bytes] = packets_and_bytes(traffic.sent);
        let (address, bridges) = (address.to_string(), count(*bridges as u64));
        let first = vec![address, mac, port, share, mtu(remote), bridges, received, received_bytes, sent, sent_bytes];
        let others = next_hops.iter().skip(1).map(|other| {
            let mut row = vec![String::new(); columns.len()];
            row[1..4].clone_from_slice(&way(other));
            row
        });
        [first].into_iter().chain(others).collect()
    };
    own + &page_of_rows(&columns, &vteps.remotes, "remote VTEPs", rows)
}

pub(super) fn kernel(page: &Page<KernelBridge>, vni: Option<u32>) -> String {
    match (page.total, vni) {
        (0, Some(vni)) => return format!("The kernel controls no bridge with VNI {vni}.\n"),
        (0, None) => return "The kernel controls no bridge: none has `control = \"kernel\"`.\n".to_owned(),
        _ => {}
    }
    let columns = [
        Right("VNI"),
        Left("DEVICE"),
        Left("MADE BY"),
        Left("BRIDGE"),
        Left("PORT"),
        Right("PUBLISHED"),
        Right("ADDRESSES"),
        Right("REMOTE"),
        Right("FLOOD LIST"),
    ];
    let row = |bridge: &KernelBridge| {
        let maker = match (&bridge.device, bridge.made) {
            (None, _) => "-",
            (Some(_), true) => "vtepd",
            (Some(_), false) => "other",
        };
        vec![
            bridge.vni.to_string(),
            or_dash(bridge.device.clone()),
            maker.to_owned(),
            or_dash(bridge.bridge.clone()),
            or_dash(bridge.port.clone()),
            format!("{} of {}", count(bridge.published_stations as u64), count(bridge.local_stations as u64)),
            count(bridge.published_addresses as u64),
            count(bridge.remote_stations as u64),
            count(bridge.flood_list as u64),
        ]
    };
    page_table(&columns, page, "bridges", row)
}

pub(super) fn entropy(page: &Page<EntropyReading>) -> String {
    if page.total == 0 {
        return "There was no traffic from or to remote VTEPs of late.\n".to_owned();
    }
    let columns =
        [Left("REMOTE"), Left("DIRECTION"), Right("SAMPLES"), Right("FLOWS"), Right("SOURCE PORTS"), Left("SPREAD")];
    let row = |reading: &EntropyReading| {
        let direction = match reading.direction {
            Way::Receive => "receive",
            Way::Transmit => "transmit",
        };
        let (known, verdict) = match reading.verdict {
            Verdict::TooFewSamples => (false, "too few samples"),
            Verdict::FewFlows => (true, "few flows"),
            Verdict::Polarised => (true, "POLARISED"),
            Verdict::Spread => (true, "spread"),
        };
        let equal_ones = |number: f64| or_dash(known.then(|| format!("{number:.1}")));
        vec![
            reading.remote.to_string(),
            direction.to_owned(),
            reading.samples.to_string(),
            equal_ones(reading.flows),
            equal_ones(reading.source_ports),
            verdict.to_owned(),
        ]
    };
    page_table(&columns, page, "remote VTEPs and directions", row)
}

/// The largest packet for a remote VTEP, and whether a router said so.
fn mtu(remote: &RemoteVtep) -> String {
    match (remote.mtu, remote.path_mtu_seconds) {
        (Some(mtu), Some(_)) => format!("{mtu} learned"),
        (mtu, _) => or_dash(mtu),
    }
}

fn packets_and_bytes(traffic: TrafficTotal) -> [String; 2] {
    [count(traffic.packets), bytes(traffic.bytes)]
}

pub(super) fn drops(drops: &Drops, all: bool) -> String {
    let mut out = String::new();
    if drops.total == 0 && !all {
        out.push_str("No packet was dropped.\n");
    } else {
        out.push_str(&counts("DROPPED", "REASON", &drops.reasons, all));
    }
    if all || drops.events.iter().any(|event| event.count > 0) {
        out.push('\n');
        out.push_str(&counts("COUNT", "EVENT", &drops.events, all));
    }
    out
}

fn counts(number: &'static str, name: &'static str, list: &[Count], all: bool) -> String {
    let shown = list.iter().filter(|item| all || item.count > 0);
    table(
        &[Right(number), Left(name), Left("MEANING")],
        shown.map(|item| vec![count(item.count), item.name.clone(), item.help.clone()]),
    )
}

pub(super) fn check(check: &Check) -> String {
    let mut out = String::new();
    for Finding { name, what, remedy, .. } in &check.findings {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{name}\n  {what}\n  Remedy: {remedy}.\n");
    }
    let wrong = match check.findings.len() {
        0 => "Nothing is wrong".to_owned(),
        1 => "1 thing is wrong".to_owned(),
        wrong => format!("{wrong} things are wrong"),
    };
    let followers = if check.followers.is_empty() { "nobody".to_owned() } else { check.followers.join(", ") };
    let _ = writeln!(
        out,
        "{wrong}. Looked at, of what the kernel says: bridges {}, stations {}, remote VTEPs {}; its FDB is followed by \
         {followers}.",
        count(check.bridges as u64),
        count(check.stations as u64),
        count(check.remotes as u64),
    );
    out
}

pub(super) fn workers(workers: &[Worker]) -> String {
    if workers.is_empty() {
        return "The gateway has no workers.\n".to_owned();
    }
    const COLUMNS: [Column; 11] = [
        Right("WORKER"),
        Right("CORE"),
        Right("BUSY"),
        Right("PACKETS"),
        Right("DROPPED"),
        Right("BURSTS"),
        Right("PER BURST"),
        Right("BURST P50"),
        Right("P99"),
        Right("P99.9"),
        Right("MAX"),
    ];
    let rows = workers.iter().map(|worker| {
        let per_burst = match worker.bursts {
            0 => "-".to_owned(),
            bursts => format!("{:.1}", worker.packets as f64 / bursts as f64),
        };
        let durations = worker.burst.map(|burst| [burst.p50, burst.p99, burst.p999, burst.max]);
        let mut row = vec![
            worker.number.to_string(),
            worker.core.to_string(),
            percent(worker.busy_seconds, worker.busy_seconds + worker.idle_seconds),
            count(worker.packets),
            count(worker.dropped),
            count(worker.bursts),
            per_burst,
        ];
        row.extend((0..4).map(|place| or_dash(durations.map(|all| short_duration(all[place])))));
        row
    });
    table(&COLUMNS, rows)
}

/// The first, and behind `and` the others, if there are any.
fn and_others<T: ToString>(first: T, others: &[T]) -> String {
    let others: String = others.iter().map(|other| format!(" and {}", other.to_string())).collect();
    first.to_string() + &others
}

/// The first few of a list, and how many there are beyond.
fn some_of<T: ToString>(list: &[T]) -> String {
    const MOST: usize = 3;
    if list.is_empty() {
        return "-".to_owned();
    }
    let mut out = list.iter().take(MOST).map(T::to_string).collect::<Vec<_>>().join(" ");
    if list.len() > MOST {
        // Writing to a String does not fail.
        let _ = write!(out, " +{}", list.len() - MOST);
    }
    out
}

/// A page as a table of a row each.
fn page_table<T>(columns: &[Column], page: &Page<T>, what: &str, row: impl Fn(&T) -> Vec<String>) -> String {
    page_of_rows(columns, page, what, |item| vec![row(item)])
}

/// A page as a table, with a line that says what is not shown; only that line where the page lies beyond the end.
fn page_of_rows<T>(columns: &[Column], page: &Page<T>, what: &str, rows: impl Fn(&T) -> Vec<Vec<String>>) -> String {
    let (shown, total) = (page.items.len(), count(page.total as u64));
    if shown == 0 {
        return format!("There are only {total} {what}.\n");
    }
    let mut out = table(columns, page.items.iter().flat_map(rows));
    if shown < page.total {
        let (first, last) = (count(page.offset as u64 + 1), count((page.offset + shown) as u64));
        // Writing to a String does not fail.
        let _ = writeln!(out, "\n{first} to {last} of {total} {what}; --offset and --limit show others.");
    }
    out
}

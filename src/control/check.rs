//! What is wrong between the gateway, the kernel and the control plane, with what to do about it (`vtepctl check`).
//!
//! The kernel is read anew for each check, so that it is judged by what it has now. That takes a tenth of a second for
//! 100,000 stations, and is done by whoever asks: the control thread knows nothing of it.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::adoption::Adoption;
use super::underlay::Reach;
use crate::config::Config;
use crate::config::model::Control;
use crate::netlink::{Dumped, Dumps, Follower, Link, Mirror, Place, Source, Table, Vxlan, Written, followers, written};
use crate::telemetry::RemoteState;
use crate::wire::{MacAddr, Vni};

/// How often a table is read again that changed meanwhile.
const TRIES: u32 = 5;
/// How many commands a finding has at most. When they have been given, the next check has the others.
const COMMANDS: usize = 10_000;
/// How long a zebra must have run before what it has not written is judged: sessions come up, and bring everything.
const CONVERGED: Duration = Duration::from_secs(60);
/// How many examples a finding names.
const NAMED: usize = 3;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing, in a word for programs.
    pub name: &'static str,
    /// What is wrong and what comes of it, in sentences.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// The commands that do it, where it is to be done entry by entry; at most 10,000.
    pub commands: Vec<String>,
}

/// What was looked at, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is wrong; empty where nothing is.
    pub findings: Vec<Finding>,
    /// Bridges whose remote side the kernel says.
    pub bridges: usize,
    /// Stations that the kernel has behind remote VTEPs.
    pub stations: usize,
    /// Remote VTEPs whose way the kernel says.
    pub remotes: usize,
    /// Who follows the kernel's FDB and may be its control plane.
    pub followers: Vec<Follower>,
}

/// Reads the kernel and judges it.
///
/// # Errors
/// Where the kernel cannot be read.
pub fn check(config: &Config, reach: &Reach, forwards: impl Fn(Vni, MacAddr) -> bool) -> io::Result<Checked> {
    let mut followers = followers()?;
    followers.retain(Follower::may_control);
    let kernel = Kernel { mirror: read_kernel()?, written: written()?, followers };
    Ok(judge(config, kernel, reach, forwards))
}

/// What was read.
struct Kernel {
    mirror: Mirror,
    written: Vec<Written>,
    followers: Vec<Follower>,
}

/// Everything that the kernel's tables have now.
fn read_kernel() -> io::Result<Mirror> {
    let mut dumps = Dumps::open().map_err(io::Error::other)?;
    let mut mirror = Mirror::default();
    for table in Table::ALL {
        let mut tries = 0;
        dumps.ask(table)?;
        loop {
            let take = |event| {
                mirror.apply(event, Source::Dump);
            };
            match dumps.take(take)? {
                Dumped::More => {}
                Dumped::All => break,
                Dumped::Interrupted if tries < TRIES => {
                    tries += 1;
                    dumps.ask(table)?;
                }
                Dumped::Interrupted => {
                    return Err(io::Error::other("a table changed each time it was read; try again"));
                }
            }
        }
    }
    Ok(mirror)
}

/// Judges what was read. `forwards` says whether the gateway's own FDB has a station.
fn judge(config: &Config, kernel: Kernel, reach: &Reach, forwards: impl Fn(Vni, MacAddr) -> bool) -> Checked {
    let Kernel { mirror, written, followers } = kernel;
    let mirror = &mirror;
    let mut adoption = Adoption::new();
    adoption.set_bridges(config, mirror, Instant::now());
    let wanted: Vec<Vni> =
        config.bridges.iter().filter(|bridge| bridge.control == Control::Kernel).map(|bridge| bridge.vni).collect();
    let devices: Vec<Device<'_>> =
        adoption.devices().iter().filter_map(|(vni, adopted)| Device::find(*vni, adopted.device, mirror)).collect();
    let findings = [
        control_plane(mirror, &devices, &followers),
        lost_messages(&followers),
        absent_devices(config, &wanted, &adoption),
        devices_down(&devices),
        foreign_devices(config, &devices),
        left_out(mirror, &adoption, &devices),
        halves(mirror, &devices),
        remains(mirror, &adoption, &devices),
        earlier(&devices, &followers, &written),
        not_forwarded(&adoption, forwards),
    ];
    Checked {
        findings: findings.into_iter().flatten().chain(no_ways(reach)).collect(),
        bridges: wanted.len(),
        stations: adoption.station_count(),
        remotes: reach.len(),
        followers,
    }
}

/// A vxlan device that the gateway has adopted.
struct Device<'a> {
    vni: Vni,
    link: &'a Link,
}

impl<'a> Device<'a> {
    fn find(vni: Vni, index: u32, mirror: &'a Mirror) -> Option<Self> {
        Some(Self { vni, link: mirror.link(index)? })
    }
}

/// A control plane has filled the kernel, and is there no more.
fn control_plane(mirror: &Mirror, devices: &[Device<'_>], followers: &[Follower]) -> Option<Finding> {
    let stations: usize = devices.iter().map(|device| mirror.external_stations(device.link.index)).sum();
    (stations > 0 && followers.is_empty()).then(|| Finding {
        name: "control_plane_gone",
        what: format!(
            "A control plane has put {} into the kernel, and no process follows the kernel's FDB any more. They are \
             forwarded to as if nothing had happened, but what is withdrawn from now on stays, and nothing of this \
             gateway is advertised.",
            count(stations, "station", "stations"),
        ),
        remedy: "restart all of it, `systemctl restart frr`, and check again when it has run for a minute: what was \
                 withdrawn meanwhile is then told by name"
            .to_owned(),
        commands: Vec::new(),
    })
}

/// The kernel has dropped messages to a control plane.
fn lost_messages(followers: &[Follower]) -> Option<Finding> {
    let lossy: Vec<&Follower> = followers.iter().filter(|follower| follower.lost > 0).collect();
    let first = lossy.first()?;
    let lost: u64 = lossy.iter().map(|follower| follower.lost).sum();
    let who = match &first.process {
        Some((process, name)) => format!("{name} (process {process})"),
        None => "A process of another container".to_owned(),
    };
    Some(Finding {
        name: "control_plane_lost_messages",
        what: format!(
            "{who} was too slow for {} of the kernel's, which are lost: it may advertise stations that have left, and \
             not those that have come. FRR does not notice.",
            count(lost as usize, "message", "messages"),
        ),
        remedy: "`zebra_options=\"-s 90000000\"` in /etc/frr/daemons, then `systemctl restart frr`".to_owned(),
        commands: Vec::new(),
    })
}

/// Bridges that want a device of the kernel's and have none.
fn absent_devices(config: &Config, wanted: &[Vni], adoption: &Adoption) -> Option<Finding> {
    let have = adoption.devices();
    let absent: Vec<u32> = wanted.iter().filter(|vni| !have.contains_key(vni)).map(|vni| vni.get()).collect();
    let first = absent.first()?;
    let bridge = config.bridges.iter().find(|bridge| bridge.vni.get() == *first);
    let (own, port) = (config.vtep.address, bridge.map_or(config.vtep.udp_port, |bridge| config.udp_port_of(bridge)));
    let name = bridge.and_then(|bridge| bridge.kernel_device.as_deref());
    Some(Finding {
        name: "no_vxlan_device",
        what: format!(
            "{} with `control = \"kernel\"` {} no vxlan device in the kernel: {}. What is not in the file is neither \
             known nor advertised there.",
            count(absent.len(), "bridge", "bridges"),
            if absent.len() == 1 { "has" } else { "have" },
            named("VNI", &absent),
        ),
        remedy: match name {
            Some(name) => format!(
                "`ip link add {name} type vxlan id {first} local {own} dstport {port} nolearning`, then `ip link set \
                 {name} up`; for FRR also a bridge, as examples/leaf-frr/interfaces does it"
            ),
            None => "the gateway makes one by itself; where `vtepctl show kernel` shows none after a second, the log says why".to_owned(),
        },
        commands: Vec::new(),
    })
}

/// Devices that a control plane does not advertise because they are down.
fn devices_down(devices: &[Device<'_>]) -> Option<Finding> {
    let down: Vec<&str> =
        devices.iter().filter(|device| !device.link.up).map(|device| device.link.name.as_str()).collect();
    let first = down.first()?;
    Some(Finding {
        name: "vxlan_device_down",
        what: format!(
            "{} {} down: {}. A control plane takes the VNI back, so that other VTEPs send nothing here.",
            count(down.len(), "vxlan device", "vxlan devices"),
            if down.len() == 1 { "is" } else { "are" },
            named("", &down),
        ),
        remedy: format!("`ip link set {first} up`"),
        commands: Vec::new(),
    })
}

/// Devices by which others are told another address or UDP port than the gateway's.
fn foreign_devices(config: &Config, devices: &[Device<'_>]) -> Option<Finding> {
    let (own, port) = (config.vtep.address, config.vtep.udp_port);
    let ports = config.udp_ports();
    let is_own = |address: &IpAddr| *address == own || config.vtep.other_addresses.contains(address);
    let is_foreign = |device: &&Device<'_>| {
        let heard = |vxlan: &Vxlan| vxlan.local.as_ref().is_none_or(is_own) && ports.contains(&vxlan.port);
        device.link.vxlan.as_ref().is_some_and(|vxlan| !heard(vxlan))
    };
    let foreign: Vec<&Device<'_>> = devices.iter().filter(is_foreign).collect();
    let first = foreign.first()?;
    let names: Vec<&str> = foreign.iter().map(|device| device.link.name.as_str()).collect();
    let (name, vni) = (&first.link.name, first.vni.get());
    Some(Finding {
        name: "vxlan_device_of_another_vtep",
        what: format!(
            "{} another local address or UDP port than the gateway, {own} and {port}: {}. Other VTEPs are told to send \
             where the gateway does not listen.",
            have(names.len(), "vxlan device"),
            named("", &names),
        ),
        remedy: format!(
            "make it anew with `local {own} dstport {port}` (`ip -d link show {name}` shows what it has), or change \
             `address` and `udp_port` in [vtep]; VNI {vni}'s stations stay unreachable until then"
        ),
        commands: Vec::new(),
    })
}

/// Entries with another UDP port or VNI than what the gateway sends with.
fn left_out(mirror: &Mirror, adoption: &Adoption, devices: &[Device<'_>]) -> Option<Finding> {
    let mut macs = Vec::new();
    let mut first = None;
    for device in devices {
        let of_device = mirror.stations(device.link.index).filter(|mac| {
            matches!(mirror.place(device.link.index, *mac),
                     Place::Remote(destination) if !adoption.is_plain(destination, device.vni))
        });
        let before = macs.len();
        macs.extend(of_device);
        if macs.len() > before {
            first = first.or(Some(device));
        }
    }
    let name = &first?.link.name;
    Some(Finding {
        name: "entry_of_another_port",
        what: format!(
            "{} not forwarded by, for {} another UDP port or VNI than the gateway sends with: {}.",
            if macs.len() == 1 { "1 entry is".to_owned() } else { format!("{} entries are", macs.len()) },
            if macs.len() == 1 { "it has" } else { "they have" },
            named("", &macs),
        ),
        remedy: format!("`bridge fdb show dev {name}` shows `port` and `vni`; one gateway sends with one UDP port"),
        commands: Vec::new(),
    })
}

/// Stations of which the bridge knows that they are behind the tunnel, and the vxlan device not behind whom.
fn halves(mirror: &Mirror, devices: &[Device<'_>]) -> Option<Finding> {
    let mut found: Vec<(&str, MacAddr)> = Vec::new();
    for device in devices {
        let Some(bridge) = device.link.master else { continue };
        let half = mirror.bridge_stations(bridge).filter(|mac| mirror.place(device.link.index, *mac) == Place::Flooded);
        found.extend(half.map(|mac| (device.link.name.as_str(), mac)));
    }
    let macs: Vec<MacAddr> = found.iter().map(|(_, mac)| *mac).collect();
    (!found.is_empty()).then(|| Finding {
        name: "half_an_entry",
        what: format!(
            "The kernel's bridge has {} behind a tunnel, and its vxlan device does not say behind which VTEP: {}. \
             Frames to them are flooded.",
            count(macs.len(), "station", "stations"),
            named("", &macs),
        ),
        remedy: format!(
            "`systemctl restart frr` writes both halves anew; those that nobody wants any more go by {}",
            instruction(&found, &HALVES[..1])
        ),
        commands: deletions(&found, &HALVES[..1]),
    })
}

/// Stations behind VTEPs that are in no flood list of theirs.
fn remains(mirror: &Mirror, adoption: &Adoption, devices: &[Device<'_>]) -> Option<Finding> {
    let mut gone: BTreeSet<IpAddr> = BTreeSet::new();
    let mut found: Vec<(&str, MacAddr)> = Vec::new();
    for device in devices {
        // Where floods go nowhere, as in flannel's networks, a list says nothing of who is there.
        let Some(said) = adoption.said().get(&device.vni).filter(|said| !said.flood_list.is_empty()) else { continue };
        for mac in mirror.stations(device.link.index) {
            if let Some(station) = adoption.station(device.vni, mac)
                && !said.flood_list.contains(&station.remote)
            {
                gone.insert(station.remote);
                found.push((&device.link.name, mac));
            }
        }
    }
    let remotes: Vec<IpAddr> = gone.into_iter().collect();
    (!found.is_empty()).then(|| Finding {
        name: "station_of_an_absent_vtep",
        what: format!(
            "{} behind VTEPs that are in no flood list of their bridge: {}. They have most likely left, and the entries \
             are remains.",
            are(found.len(), "station"),
            named("", &remotes),
        ),
        remedy: format!("delete them, by {}", instruction(&found, &HALVES)),
        commands: deletions(&found, &HALVES),
    })
}

/// Stations that zebra has not written since it started: an earlier one has, which died, and nobody has taken them back.
fn earlier(devices: &[Device<'_>], followers: &[Follower], written: &[Written]) -> Option<Finding> {
    let is_zebra = |follower: &&Follower| follower.process.as_ref().is_some_and(|(_, name)| name == "zebra");
    let running = followers.iter().filter(is_zebra).filter_map(|follower| follower.running).min()?;
    let names: BTreeMap<u32, &str> =
        devices.iter().map(|device| (device.link.index, device.link.name.as_str())).collect();
    let old = |entry: &&Written| running >= CONVERGED && entry.ago > running;
    let remains: Vec<(&str, MacAddr)> =
        written.iter().filter(old).filter_map(|entry| Some((*names.get(&entry.port)?, entry.mac))).collect();
    let (name, _) = remains.first()?;
    let macs: Vec<MacAddr> = remains.iter().map(|(_, mac)| *mac).collect();
    Some(Finding {
        name: "entry_of_an_earlier_zebra",
        what: format!(
            "{} in the kernel since before zebra started, and it has not written them since: {}. An earlier one did, and \
             died; they were withdrawn meanwhile, and frames to them go where they were.",
            are(macs.len(), "station"),
            named("", &macs),
        ),
        remedy: format!(
            "delete them, by {}; or all of a device's at once: `ip link del {name}`, and make it anew",
            instruction(&remains, &HALVES)
        ),
        commands: deletions(&remains, &HALVES),
    })
}

/// The halves of an entry, in iproute2's words.
const HALVES: [&str; 2] = ["master", "self"];

/// The commands that delete these halves of entries.
fn deletions(entries: &[(&str, MacAddr)], halves: &[&str]) -> Vec<String> {
    let of_entry = |(name, mac): &(&str, MacAddr)| {
        let (name, mac) = (name.to_string(), *mac);
        halves.iter().map(move |half| format!("bridge fdb del {mac} dev {} {half}", quoted(&name)))
    };
    entries.iter().flat_map(of_entry).take(COMMANDS).collect()
}

/// A name as a shell takes it. The kernel lets one have any character but spaces and slashes, and these commands are to be
/// run by root.
fn quoted(name: &str) -> Cow<'_, str> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-:@".contains(&byte));
    if is_plain { name.into() } else { format!("'{}'", name.replace('\'', r"'\''")).into() }
}

/// The commands for the first entry, and where the others' are.
fn instruction(entries: &[(&str, MacAddr)], halves: &[&str]) -> String {
    let first: Vec<String> = deletions(entries.get(..1).unwrap_or_default(), halves)
        .into_iter()
        .map(|command| format!("`{command}`"))
        .collect();
    let others = "`vtepctl check --json | jq -r '.findings[].commands[]' | sudo sh`";
    format!("{}{}", first.join(" and "), if entries.len() > 1 { format!("; {others} for all") } else { String::new() })
}

/// Stations of the kernel's that the gateway's FDB does not have.
fn not_forwarded(adoption: &Adoption, forwards: impl Fn(Vni, MacAddr) -> bool) -> Option<Finding> {
    let missing: Vec<MacAddr> =
        adoption.stations().filter(|(vni, mac)| !forwards(*vni, *mac)).map(|(_, mac)| mac).collect();
    (!missing.is_empty()).then(|| Finding {
        name: "station_not_in_fdb",
        what: format!(
            "{} in the kernel and not in the gateway's FDB: {}. Frames to them are flooded.",
            are(missing.len(), "station"),
            named("", &missing),
        ),
        remedy: "if the log says that stations have no place in the FDB, raise `max_entries` in [fdb] and start anew; \
                 else ask again, for they may just have come"
            .to_owned(),
        commands: Vec::new(),
    })
}

/// Remote VTEPs that nothing is sent to, by what is missing.
fn no_ways(reach: &Reach) -> impl Iterator<Item = Finding> {
    let mut by_state: BTreeMap<RemoteState, Vec<&IpAddr>> = BTreeMap::new();
    for (address, (state, _)) in reach.iter().filter(|(_, (state, _))| *state != RemoteState::Reachable) {
        by_state.entry(*state).or_default().push(address);
    }
    by_state.into_iter().map(|(state, remotes)| Finding {
        name: "no_way_to_vtep",
        what: format!(
            "{} cannot be reached, `{}`: {}. Packets to them are dropped.",
            count(remotes.len(), "remote VTEP", "remote VTEPs"),
            state.name(),
            named("", &remotes),
        ),
        remedy: match state {
            RemoteState::LinkDown => "`ip link`: the uplink's interface is down or has no carrier".to_owned(),
            RemoteState::Unresolved => "`ip neigh`: the next hop does not answer; is it there?".to_owned(),
            _ => format!(
                "`ip route get fibmatch {}`; if BGP has the route and the kernel has not, FRR may have lost it with a \
                 next-hop object after a link came back: `no zebra nexthop kernel enable` in frr.conf and `systemctl \
                 restart frr`",
                remotes.first().map_or_else(String::new, ToString::to_string)
            ),
        },
        commands: Vec::new(),
    })
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn are(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one} is") } else { format!("{number} {one}s are") }
}

fn have(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one} has") } else { format!("{number} {one}s have") }
}

/// The first few, and how many there are beyond.
fn named<T: Display>(kind: &str, all: &[T]) -> String {
    let first: Vec<String> = all.iter().take(NAMED).map(ToString::to_string).collect();
    let kind = if kind.is_empty() { String::new() } else { format!("{kind} ") };
    let beyond = if all.len() > NAMED { format!(" and {} others", all.len() - NAMED) } else { String::new() };
    format!("{kind}{}{beyond}", first.join(", "))
}

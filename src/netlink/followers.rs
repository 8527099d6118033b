//! Who else in this network namespace follows what the kernel says of neighbours and of the FDB: the control planes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// `RTNLGRP_NEIGH` as `/proc/net/netlink` shows it: a bit of the groups.
const NEIGHBOURS: u32 = 1 << 2;
/// `NETLINK_ROUTE`.
const ROUTE: &str = "0";

/// Programs that follow the kernel's neighbours and are no control plane, as the kernel names their processes.
const BYSTANDERS: [&str; 7] = ["vtepd", "ip", "bridge", "systemd-network", "NetworkManager", "dhcpcd", "avahi-daemon"];

/// A process that follows the kernel's neighbours and FDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Its identifier and name; absent where it is not to be seen from here, as in another container.
    pub process: Option<(u32, String)>,
    /// How long it has run; absent where that is not to be seen.
    pub running: Option<Duration>,
    /// Messages that the kernel had no room to keep for it.
    pub lost: u64,
}

impl Follower {
    /// True where it may be a control plane.
    #[must_use]
    pub fn may_control(&self) -> bool {
        self.process.as_ref().is_none_or(|(_, name)| !BYSTANDERS.contains(&name.as_str()))
    }
}

/// Everyone but this process.
///
/// # Errors
/// Where `/proc` cannot be read.
pub fn followers() -> io::Result<Vec<Follower>> {
    let own: BTreeSet<u64> = sockets(Path::new("/proc/self/fd")).collect();
    let mut others = subscribers(&fs::read_to_string("/proc/thread-self/net/netlink")?);
    others.retain(|socket, _| !own.contains(socket));
    let mut found = Vec::new();
    if !others.is_empty() {
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            for socket in sockets(&entry.path().join("fd")) {
                if let Some(lost) = others.remove(&socket) {
                    let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                    let running = running(&entry.path());
                    found.push(Follower { process: Some((process, name.trim_end().to_owned())), running, lost });
                }
            }
        }
    }
    found.extend(others.into_values().map(|lost| Follower { process: None, running: None, lost }));
    Ok(found)
}

/// From `/proc/net/netlink`, the inodes of the sockets that are subscribed to neighbours, with what each has lost.
fn subscribers(table: &str) -> BTreeMap<u64, u64> {
    let subscriber = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, ROUTE, _, groups, .., lost, inode] = fields[..] else { return None };
        let groups = u32::from_str_radix(groups, 16).ok()?;
        (groups & NEIGHBOURS != 0).then_some((inode.parse().ok()?, lost.parse().ok()?))
    };
    table.lines().skip(1).filter_map(subscriber).collect()
}

/// How long the process of a folder of `/proc` has run.
fn running(process: &Path) -> Option<Duration> {
    let status = fs::read_to_string(process.join("stat")).ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let up = Duration::try_from_secs_f64(uptime.split_whitespace().next()?.parse().ok()?).ok()?;
    Some(up.saturating_sub(started(&status)?))
}

/// From `/proc/PROCESS/stat`, how long after the boot the process has started. Its name, in parentheses, may have
/// anything in it.
fn started(status: &str) -> Option<Duration> {
    // The 22nd field, in hundredths of a second; the name is the second.
    let ticks: u64 = status.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    Some(Duration::from_millis(ticks.checked_mul(10)?))
}

/// The inodes of the sockets in a process's folder of open files; none where it may not be read.
fn sockets(folder: &Path) -> impl Iterator<Item = u64> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
000000004cc86f2a 0   0          00000000 0        0        0     2        0        4
00000000aaaaaaaa 0   812        000507f5 0        0        0     2        17       4711
00000000bbbbbbbb 0   -1294      00000001 0        0        0     2        3        4712
00000000cccccccc 15  813        00000004 0        0        0     2        0        4713
00000000dddddddd 0   814        00000004 0        0        0     2        0        4714
short line
";

    #[test]
    fn those_that_are_subscribed_to_neighbours_are_found_with_what_they_lost() {
        assert_eq!(subscribers(TABLE), BTreeMap::from([(4711, 17), (4714, 0)]));
        assert_eq!(subscribers(""), BTreeMap::new());
    }

    #[test]
    fn who_follows_for_others_is_told_from_who_only_looks() {
        let named = |name: &str| Follower { process: Some((1, name.to_owned())), running: None, lost: 0 };
        assert!(named("zebra").may_control() && Follower { process: None, ..named("") }.may_control());
        assert!(!named("ip").may_control() && !named("systemd-network").may_control());
    }

    #[test]
    fn the_start_of_a_process_is_read_whatever_its_name() {
        let status = "812 (a ) b S 1 812 812 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 4 0 123456 9 9";
        assert_eq!(started(status.replace("b S", "S").as_str()), Some(Duration::from_millis(1_234_560)));
        assert_eq!(started("812 (zebra) S 1"), None);
        assert!(running(Path::new("/proc/self")).is_some_and(|running| running < Duration::from_secs(86_400)));
    }
}

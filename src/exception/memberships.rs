//! Multicast groups of the underlay that the kernel joins on an uplink's interface. The kernel then does what a host
//! has to: it sends IGMP and MLD reports, answers queries in the version of the querier, and says that it leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use nix::libc;
use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};

/// How many groups a socket joins: as many as the kernel lets it where nobody changed that
/// (`net.ipv4.igmp_max_memberships`).
const PER_SOCKET: usize = 20;

/// What is joined on one interface. Dropping it leaves all groups.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    /// Nothing is received by them: they are only what the memberships belong to.
    sockets: Vec<Holder>,
    /// The groups, each with its socket's place.
    joined: BTreeMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Holder {
    socket: Socket,
    groups: usize,
}

impl Memberships {
    /// Leaves what is not wanted on the interface of this number, and joins what is.
    ///
    /// # Errors
    /// The system's, for the first group that cannot be joined; it is tried again by the next call.
    pub(super) fn follow(&mut self, interface: u32, wanted: &BTreeSet<IpAddr>) -> io::Result<()> {
        let unwanted: Vec<IpAddr> = self.joined.keys().filter(|group| !wanted.contains(group)).copied().collect();
        unwanted.into_iter().for_each(|group| self.leave(interface, group));
        for group in wanted {
            if !self.joined.contains_key(group) {
                self.join(interface, *group)?;
            }
        }
        Ok(())
    }

    /// Has all groups reported anew, to a switch or router that has just come up.
    pub(super) fn renew(&mut self, interface: u32) {
        let groups: Vec<IpAddr> = self.joined.keys().copied().collect();
        for group in groups {
            self.leave(interface, group);
            // Where that fails, `follow` finds the group missing.
            let _ = self.join(interface, group);
        }
    }

    fn join(&mut self, interface: u32, group: IpAddr) -> io::Result<()> {
        for (place, holder) in self.sockets.iter_mut().enumerate().filter(|(_, holder)| holder.groups < PER_SOCKET) {
            match join(&holder.socket, interface, group) {
                Ok(()) => {
                    holder.groups += 1;
                    self.joined.insert(group, place);
                    return Ok(());
                }
                // This socket is full earlier than was thought.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => holder.groups = PER_SOCKET,
                Err(error) => return Err(error),
            }
        }
        let socket = Socket::new(Domain::for_address((group, 0).into()), Type::DGRAM, None)?;
        join(&socket, interface, group)?;
        self.joined.insert(group, self.sockets.len());
        self.sockets.push(Holder { socket, groups: 1 });
        Ok(())
    }

    fn leave(&mut self, interface: u32, group: IpAddr) {
        let Some(place) = self.joined.remove(&group) else { return };
        if let Some(holder) = self.sockets.get_mut(place) {
            holder.groups = holder.groups.saturating_sub(1);
            // The interface may be gone, and with it the membership.
            let _ = match group {
                IpAddr::V4(group) => {
                    holder.socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
                }
                IpAddr::V6(group) => holder.socket.leave_multicast_v6(&group, interface),
            };
        }
    }
}

fn join(socket: &Socket, interface: u32, group: IpAddr) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface)),
        IpAddr::V6(group) => socket.join_multicast_v6(&group, interface),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The groups among these that the kernel has joined on loopback.
    fn joined() -> BTreeSet<IpAddr> {
        let igmp = std::fs::read_to_string("/proc/thread-self/net/igmp").expect("the kernel tells");
        let of_device = igmp.split("\n1\t").nth(1).unwrap_or(&igmp).split("\n2\t").next().unwrap_or_default();
        let group = |line: &str| {
            let word = line.split_ascii_whitespace().next()?;
            let bits = (word.len() == 8).then(|| u32::from_str_radix(word, 16).ok())??;
            let group = std::net::Ipv4Addr::from(bits.to_ne_bytes());
            (group.octets()[..2] == [239, 77]).then_some(IpAddr::V4(group))
        };
        of_device.lines().filter_map(group).collect()
    }

    #[test]
    fn more_groups_than_one_socket_takes_are_joined_and_left_as_wanted() {
        let group = |n: u8| IpAddr::from([239, 77, 0, n]);
        let mut memberships = Memberships::default();
        let many: BTreeSet<IpAddr> = (0..50).map(group).collect();
        memberships.follow(1, &many).expect("loopback takes groups");
        assert_eq!(joined(), many);
        memberships.renew(1);
        assert_eq!(joined(), many);
        let few: BTreeSet<IpAddr> = (30..60).map(group).collect();
        memberships.follow(1, &few).expect("loopback takes groups");
        assert_eq!(joined(), few);
        assert!(memberships.sockets.len() <= 5, "sockets serve again");
        drop(memberships);
        assert_eq!(joined(), BTreeSet::new());
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error_and_no_membership() {
        let mut memberships = Memberships::default();
        let group = BTreeSet::from([IpAddr::from([239, 78, 0, 1])]);
        assert!(memberships.follow(u32::MAX >> 1, &group).is_err());
        assert!(memberships.joined.is_empty());
    }
}

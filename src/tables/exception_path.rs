//! Which uplinks have an interface in the kernel, and which of the gateway's questions the kernel answers.

use super::PortIndex;

/// The exception path as workers see it; by default there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExceptionPath {
    /// A bit for each of the VTEP's addresses, in their order, that the kernel has, on whatever interface.
    owned: u8,
    /// A bit for each port whose packets the kernel gets.
    ports: u64,
    /// A bit for each of them whose own kernel interface has the VTEP's addresses.
    with_address: u64,
    /// A bit for each port without a kernel interface on which the gateway itself is a host of multicast groups.
    queried: u64,
}

impl ExceptionPath {
    /// A path without ports. `owned` says of each of the VTEP's addresses, in their order, whether the kernel has it on
    /// any interface; there are at most 8.
    #[must_use]
    pub fn new(owned: &[bool]) -> Self {
        let owned = owned.iter().take(8).enumerate().fold(0, |bits, (at, owned)| bits | u8::from(*owned) << at);
        Self { owned, ports: 0, with_address: 0, queried: 0 }
    }

    /// True where the kernel has the VTEP's address at this place among its addresses.
    #[inline]
    #[must_use]
    pub const fn owns(&self, place: usize) -> bool {
        place < 8 && self.owned >> place & 1 == 1
    }

    /// Gives the kernel a port's packets; `has_address` says that the port's kernel interface has all of the VTEP's
    /// addresses.
    pub fn add(&mut self, port: PortIndex, has_address: bool) {
        self.ports |= bit(port);
        if has_address {
            self.with_address |= bit(port);
        }
    }

    /// True where the kernel gets what this port receives and the gateway does not take.
    #[inline]
    #[must_use]
    pub fn has(&self, port: PortIndex) -> bool {
        self.ports & bit(port) != 0
    }

    /// Gives the gateway's own host of multicast groups the queries that a port receives.
    pub fn hear_queries(&mut self, port: PortIndex) {
        self.queried |= bit(port);
    }

    /// True where queries of this port are for the gateway's own host of multicast groups.
    #[inline]
    #[must_use]
    pub fn hears_queries(&self, port: PortIndex) -> bool {
        self.queried & bit(port) != 0
    }

    /// True where the kernel answers IPv6 neighbour solicitations for the VTEP's addresses on this port. It does that
    /// for addresses of the interface itself only; ARP it answers for any of its addresses.
    #[inline]
    #[must_use]
    pub fn answers_nd(&self, port: PortIndex) -> bool {
        self.with_address & bit(port) != 0
    }
}

/// A port's bit; none for a port beyond those that a config can have.
#[inline]
fn bit(port: PortIndex) -> u64 {
    1_u64.checked_shl(port.0.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_counts_by_itself_and_there_is_none_beyond_the_last() {
        let mut path = ExceptionPath::default();
        path.add(PortIndex(0), false);
        path.add(PortIndex(63), true);
        path.add(PortIndex(64), true);
        assert!(path.has(PortIndex(0)) && path.has(PortIndex(63)));
        assert!(!path.has(PortIndex(1)) && !path.has(PortIndex(64)));
        assert!(path.answers_nd(PortIndex(63)) && !path.answers_nd(PortIndex(0)));
    }
}

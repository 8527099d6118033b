//! Whether all of a burst goes out of one port, so that it need not be taken apart.

use crate::tables::PortIndex;

/// The port that all packets of a burst go out of, if they do.
pub struct CommonPort {
    /// That of the packets before.
    last: u32,
    /// There is a packet that goes elsewhere, nowhere, or to several places.
    is_mixed: bool,
}

impl CommonPort {
    /// More than any port.
    const NONE: u32 = 1 << 16;
    /// Before the first packet.
    pub const OF_NO_PACKET: Self = Self { last: Self::NONE, is_mixed: false };

    /// A packet goes out of this port.
    #[inline(always)]
    pub fn see(&mut self, port: PortIndex) {
        if u32::from(port.0) != self.last {
            self.see_another(port);
        }
    }

    /// That of the first packet is another one than before. Out of line, as is what follows, so that all of this takes
    /// no register where packets go the usual way.
    #[cold]
    #[inline(never)]
    fn see_another(&mut self, port: PortIndex) {
        self.is_mixed |= self.last != Self::NONE;
        self.last = port.0.into();
    }

    /// A packet goes out of no port, or of several.
    #[cold]
    #[inline(never)]
    pub fn see_none(&mut self) {
        self.is_mixed = true;
    }

    /// The port, if it is one, and there was a packet.
    #[must_use]
    pub fn only(self) -> Option<PortIndex> {
        u16::try_from(self.last).ok().filter(|_| !self.is_mixed).map(PortIndex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_has_a_port_if_all_of_its_packets_go_out_of_it() {
        let only = |packets: &[Option<u16>]| {
            let mut ports = CommonPort::OF_NO_PACKET;
            for port in packets {
                match *port {
                    Some(port) => ports.see(PortIndex(port)),
                    None => ports.see_none(),
                }
            }
            ports.only().map(|port| port.0)
        };
        // The place of a member that is no more has the last of all ports.
        for port in [0, 3, u16::MAX] {
            assert_eq!(only(&[Some(port)]), Some(port));
            assert_eq!(only(&[Some(port); 3]), Some(port));
            for other in [0, 3, u16::MAX].into_iter().filter(|other| *other != port) {
                assert_eq!(only(&[Some(port), Some(other)]), None);
                assert_eq!(only(&[Some(port), Some(other), Some(port)]), None);
            }
            assert_eq!(only(&[Some(port), None]), None);
            assert_eq!(only(&[None, Some(port)]), None);
        }
        assert_eq!((only(&[]), only(&[None])), (None, None));
    }
}

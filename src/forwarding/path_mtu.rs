//! Routers that say that VXLAN packets of the gateway do not fit (conformance row M2): told from whatever else claims to
//! say so, and handed to the control thread.

use super::packet::PacketBuffer;
use crate::tables::learning::PathMtu;
use crate::tables::snapshot::Snapshot;
use crate::wire::ipv6::IPV6_MINIMUM_MTU;
use crate::wire::path_mtu::{TooBig, too_big};

/// The lowest MTU that is believed of a path, in bytes. IPv6 has no lower one (RFC 8201, 4); over IPv4 it keeps a forged
/// message from making the tunnel useless.
pub const LOWEST: u16 = IPV6_MINIMUM_MTU;

/// What a packet to the gateway's own address says of the path to a remote VTEP.
///
/// None for what is no such message, and for one that quotes a packet which the gateway cannot have sent: of other
/// addresses or other ports, to no known remote VTEP, or longer than the way there takes. Then also where it says
/// nothing new.
#[must_use]
pub fn told_by<P: PacketBuffer>(packet: &P, snapshot: &Snapshot) -> Option<PathMtu> {
    let TooBig { mtu, source, destination, source_port, port, length } = too_big(packet.head())?;
    let vtep = &snapshot.vtep;
    if source != vtep.address || !vtep.source_ports.contains(source_port) || !vtep.udp_ports.contains(&port) {
        return None;
    }
    let tunnel = snapshot.remotes.get(destination)?;
    let way = snapshot.next_hops.get(usize::from(tunnel.0))?;
    let current = way.mtu()?;
    let mtu = u16::try_from(mtu).ok()?.max(LOWEST);
    (length <= usize::from(current) && mtu < current).then_some(PathMtu { tunnel, mtu })
}

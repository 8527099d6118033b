//! Where a multicast frame goes in a bridge that snoops IGMP and MLD (RFC 4541, 2 and 3).

use std::net::IpAddr;

use super::bridging::Frame;
use super::forwarder::Surroundings;
use crate::tables::Location;
use crate::tables::snooping::{GroupTable, Heard, Saying};
use crate::telemetry::{DropReason, Event};
use crate::wire::ethernet::{ETHERTYPE_AT, is_vlan_ethertype};
use crate::wire::field::read_u16;
use crate::wire::membership::{Multicast, recognise};

/// The most groups of one report that are taken down: a report of more is one that no host sends.
const RECORDS: usize = 256;

/// Reads a multicast frame, `head` being its front and `length` all its bytes: takes down what it says of memberships, and
/// gives the places where it is wanted, among which may be the one it came from; none inside for all of the bridge.
///
/// A frame with a tag of its own, as a bridge may carry it, is of a VLAN inside the bridge. Memberships are kept for the
/// bridge and not for each of these, so such a frame says nothing and goes everywhere.
///
/// # Errors
/// [`DropReason::NoListener`] where it is wanted nowhere.
pub fn places<'a>(
    head: &[u8],
    length: usize,
    frame: &Frame,
    table: &'a GroupTable,
    around: &Surroundings<'_>,
) -> Result<Option<&'a [Location]>, DropReason> {
    if read_u16(head, ETHERTYPE_AT).is_some_and(is_vlan_ethertype) {
        return Ok(None);
    }
    let Some(multicast) = recognise(head, length) else { return Ok(None) };
    let chosen = match multicast {
        Multicast::Query(query) => {
            hear(Saying::Query(query), frame, around);
            return Ok(None);
        }
        Multicast::RouterHello { ipv6 } => {
            hear(Saying::Router { ipv6 }, frame, around);
            return Ok(None);
        }
        Multicast::Report { ipv6, records } => {
            for record in records.take(RECORDS) {
                let said = if record.wanted { Saying::Wanted(record.group) } else { Saying::Unwanted(record.group) };
                hear(said, frame, around);
            }
            let [of_ipv4, of_ipv6] = table.families();
            let family = if ipv6 { of_ipv6 } else { of_ipv4 };
            if !family.queried {
                return Ok(None);
            }
            &family.report_to
        }
        Multicast::Data(group) => {
            let family = table.of(group);
            if !family.queried || is_of_the_link(group) {
                return Ok(None);
            }
            match family.groups.get(&group) {
                Some(places) => places,
                None if family.overflown => return Ok(None),
                None => &family.routers,
            }
        }
    };
    let is_wanted = chosen.iter().any(|place| frame.source.may_send_to(*place));
    if is_wanted { Ok(Some(chosen)) } else { Err(DropReason::NoListener) }
}

/// Groups that hosts need not say they want: 224.0.0.0/24 (RFC 4541, 2.1.2), and those of the link and the interface in
/// IPv6 (RFC 4541, 3; RFC 4291, 2.7).
fn is_of_the_link(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(group) => group.octets().get(1).is_some_and(|scope| scope & 0x0f <= 2),
    }
}

fn hear(what: Saying, frame: &Frame, around: &Surroundings<'_>) {
    let sent = around.learn.send_heard(Heard { bridge: frame.bridge(), place: frame.source, what });
    around.telemetry.event(if sent { Event::MembershipSent } else { Event::MembershipLost });
}

//! What happened to packets that is worth a count and is no drop, and what happened to the FDB and the config.

use super::label::labelled_enum;

labelled_enum! {
    /// Something a worker did or met that is worth a count and is no drop.
    Event {
        /// Frames that were flooded: broadcast, unknown unicast or multicast.
        FloodedFrame = "flooded_frame",
        /// Copies that floods sent, one for each member and remote VTEP.
        FloodCopy = "flood_copy",
        /// New or moved sources handed to the control thread to learn.
        LearnSent = "learn_sent",
        /// New or moved sources not handed over because the learn ring was full; the next frame tries again.
        LearnLost = "learn_lost",
        /// Age ticks of known sources that were brought up to date.
        AgeRefreshed = "age_refreshed",
        /// Frames from a source whose static entry names another place; they are forwarded and not learned.
        StaticConflict = "static_conflict",
        /// Outer and inner ECN in a combination that RFC 6040, 4.2 calls for a warning.
        EcnWarning = "ecn_warning",
        /// ARP requests for the gateway's own address answered on the uplink.
        ArpAnswered = "arp_answered",
        /// IPv6 neighbour solicitations for the gateway's own address answered on the uplink.
        NeighbourAnswered = "neighbour_answered",
        /// ICMP and ICMPv6 echo requests to the gateway's own address answered on the uplink.
        EchoAnswered = "echo_answered",
        /// ICMP messages sent that told a sender the usable MTU.
        TooBigSent = "too_big_sent",
        /// ICMP messages about the usable MTU not sent because of the rate limit.
        TooBigSuppressed = "too_big_suppressed",
        /// ICMP messages of routers that a VXLAN packet of the gateway's does not fit its path; they are heeded.
        PathMtuTold = "path_mtu_told",
        /// Frames padded to the Ethernet minimum before an access port (IEEE 802.3, 4A.2.3.2.4).
        Padded = "padded",
        /// Packets handed to the worker that owns the port's transmit queue.
        HandedOver = "handed_over",
    }
}

labelled_enum! {
    /// A change of the forwarding database, or a refused one.
    FdbEvent {
        /// Addresses learned.
        Learned = "learned",
        /// Learned addresses that moved to another place.
        Moved = "moved",
        /// Learned addresses removed because nothing was heard of them for the ageing time.
        Aged = "aged",
        /// Learned addresses removed because their bridge, port or remote VTEP left the config.
        Flushed = "flushed",
        /// Addresses not learned because their bridge has `max_macs` of them; frames to them are flooded.
        RefusedByBridgeLimit = "refused_by_bridge_limit",
        /// Addresses not learned because the FDB has `max_entries`; frames to them are flooded.
        RefusedByGlobalLimit = "refused_by_global_limit",
        /// Entries moved to their other bucket to make room for a new one.
        Displaced = "displaced",
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, FdbEvent};
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_labels_and_every_event_is_explained() {
        let events = Event::ALL.iter().map(|event| (*event as usize, event.name(), event.help()));
        let fdb = FdbEvent::ALL.iter().map(|event| (*event as usize, event.name(), event.help()));
        for (count, list) in [(Event::COUNT, events.collect::<Vec<_>>()), (FdbEvent::COUNT, fdb.collect())] {
            let names: HashSet<_> = list.iter().map(|(_, name, _)| name).collect();
            assert_eq!(names.len(), count);
            for (index, (discriminant, name, help)) in list.iter().enumerate() {
                assert_eq!(*discriminant, index);
                assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
                assert!(help.ends_with(['.', ')']) && !help.starts_with(' '), "{help:?}");
            }
        }
    }
}

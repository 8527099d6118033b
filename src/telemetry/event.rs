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
        /// New or moved sources not handed over because the same had been less than 10 ms ago: control has not learned them
        /// yet, or refuses to.
        LearnRepeated = "learn_repeated",
        /// Membership queries and reports handed to the control thread, one for each group, in bridges that snoop.
        MembershipSent = "membership_sent",
        /// Membership queries and reports not handed over because the ring was full; hosts and routers say it again.
        MembershipLost = "membership_lost",
        /// Age ticks of known sources that were brought up to date.
        AgeRefreshed = "age_refreshed",
        /// Frames from a source whose static entry names another place; they are forwarded and not learned.
        StaticConflict = "static_conflict",
        /// Frames from a source that is frozen in another place because it moved too often; they are forwarded and not
        /// learned.
        FrozenConflict = "frozen_conflict",
        /// MAC+IP bindings heard on access ports handed to the control thread.
        BindingReported = "binding_reported",
        /// MAC+IP bindings heard again too soon to be handed over again.
        BindingRepeated = "binding_repeated",
        /// MAC+IP bindings not handed over because the ring was full; the station's next message tries again.
        BindingLost = "binding_lost",
        /// ARP requests answered in the place of the station asked for, and not flooded (RFC 9161).
        ArpSuppressed = "arp_suppressed",
        /// ARP probes answered in the place of the station that has the address, and not flooded (RFC 9161).
        ArpProbeSuppressed = "arp_probe_suppressed",
        /// IPv6 neighbour solicitations answered in the place of the station asked for, and not flooded (RFC 9161).
        SolicitationSuppressed = "solicitation_suppressed",
        /// IPv6 duplicate address detections answered in the place of the station that has the address, and not flooded
        /// (RFC 9161).
        DadSuppressed = "dad_suppressed",
        /// ARP requests and IPv6 neighbour solicitations flooded although their bridge suppresses them: for an address that
        /// is not known, the asker's own, one behind the port and VLAN of the asker, or one of IPv6 that no advertisement
        /// was seen of.
        SuppressionMissed = "suppression_missed",
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
        /// TCP connections through a tunnel whose announced segment size was lowered to what fits (`clamp_mss`).
        SegmentSizeClamped = "segment_size_clamped",
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
        /// Learned addresses forgotten because they moved to a port that has `max_macs` of others.
        Unseated = "unseated",
        /// Learned addresses removed because nothing was heard of them for the ageing time.
        Aged = "aged",
        /// Learned addresses removed because their bridge, port or remote VTEP left the config, or by `vtepctl fdb flush`.
        Flushed = "flushed",
        /// Addresses frozen where they are because they moved too often.
        Frozen = "frozen",
        /// Addresses whose freeze has ended.
        Thawed = "thawed",
        /// Addresses not learned because their bridge has `max_macs` of them; frames to them are flooded.
        RefusedByBridgeLimit = "refused_by_bridge_limit",
        /// Addresses not learned because the port they are behind has `max_macs` of them; frames to them are flooded.
        RefusedByPortLimit = "refused_by_port_limit",
        /// Addresses not learned because the FDB has `max_entries`; frames to them are flooded.
        RefusedByGlobalLimit = "refused_by_global_limit",
        /// Entries moved to their other bucket to make room for a new one.
        Displaced = "displaced",
    }
}

labelled_enum! {
    /// A change of the MAC+IP bindings, or a refused one.
    BindingEvent {
        /// Bindings learned from ARP and neighbour discovery on access ports.
        Learned = "learned",
        /// Bindings whose address another station has now, or that the control plane says of another.
        Moved = "moved",
        /// Bindings removed because their station did not say them again for `binding_ageing`.
        Aged = "aged",
        /// Bindings removed because their station's MAC address aged, was flushed, or is behind a remote VTEP now.
        Withdrawn = "withdrawn",
        /// Bindings not learned because there are `max_bindings`; questions for them are flooded.
        RefusedByLimit = "refused_by_limit",
        /// Bindings not learned because 64 of their station's are in that bridge; questions for them are flooded.
        RefusedByStationLimit = "refused_by_station_limit",
        /// Bindings not learned because their station's MAC address is not in the FDB: it is full, or the bridge has `max_macs`.
        RefusedUnknownMac = "refused_unknown_mac",
        /// Bindings not learned, or not taken from the kernel, because a `[[binding]]` gives their address to another station.
        RefusedStatic = "refused_static",
    }
}

#[cfg(test)]
mod tests {
    use super::{BindingEvent, Event, FdbEvent};
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_labels_and_every_event_is_explained() {
        let events = Event::ALL.iter().map(|event| (*event as usize, event.name(), event.help()));
        let fdb = FdbEvent::ALL.iter().map(|event| (*event as usize, event.name(), event.help()));
        let bindings = BindingEvent::ALL.iter().map(|event| (*event as usize, event.name(), event.help()));
        let lists = [
            (Event::COUNT, events.collect::<Vec<_>>()),
            (FdbEvent::COUNT, fdb.collect()),
            (BindingEvent::COUNT, bindings.collect()),
        ];
        for (count, list) in lists {
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

//! Why a packet was not forwarded. Each reason is one counter, one metric label and one line of documentation.

use super::label::labelled_enum;

labelled_enum! {
    /// Why a packet was not forwarded. A packet is counted under exactly one.
    DropReason {
        /// The frame is shorter than the headers it claims to have.
        Truncated = "truncated",
        /// The headers do not lie in the packet's first segment; the driver scattered them.
        HeadersScattered = "headers_scattered",
        /// The source MAC of a packet on the uplink is the port's own: it was looped back, or a neighbour has the same MAC.
        OwnSource = "own_source",
        /// A frame on the uplink is addressed to another station's MAC.
        UplinkForeignMac = "uplink_foreign_mac",
        /// A frame on the uplink is of an EtherType the gateway does not speak there.
        UplinkEtherType = "uplink_ethertype",
        /// A packet on the uplink is addressed to another host's IP address.
        UplinkForeignAddress = "uplink_foreign_address",
        /// A packet to the gateway's own address is of a protocol or port it does not serve.
        UplinkUnserved = "uplink_unserved",
        /// The outer IP header is malformed: wrong version or header length, or a length that the frame does not have.
        OuterIpMalformed = "outer_ip_malformed",
        /// The outer IPv4 header checksum is wrong.
        OuterIpChecksum = "outer_ip_checksum",
        /// The outer IPv6 packet has an extension header that cannot be walked, or a Routing header with segments left.
        OuterExtensionHeader = "outer_extension_header",
        /// The outer packet is a fragment; a VTEP does not reassemble (RFC 7348, 4.3). Raise the fabric's MTU.
        OuterFragment = "outer_fragment",
        /// The outer UDP length disagrees with the IP length, or is too short for a VXLAN header.
        OuterUdpLength = "outer_udp_length",
        /// The outer UDP checksum is wrong.
        OuterUdpChecksum = "outer_udp_checksum",
        /// The outer UDP checksum is zero over IPv6, and `udp_checksum` does not allow that (RFC 6935).
        OuterUdpChecksumMissing = "outer_udp_checksum_missing",
        /// The VXLAN header's I flag is 0: it carries no valid VNI (RFC 7348, 5).
        VxlanFlags = "vxlan_flags",
        /// The VXLAN header has a reserved bit set, and `strict` is on.
        VxlanReserved = "vxlan_reserved",
        /// The decapsulated frame is shorter than an Ethernet header.
        InnerTruncated = "inner_truncated",
        /// No bridge has the packet's VNI.
        UnknownVni = "unknown_vni",
        /// The packet was sent to a multicast group of the underlay that is not the `group` of its VNI's bridge.
        ForeignGroup = "foreign_group",
        /// The packet has no group policy ID (VXLAN-GBP), or one that its bridge does not have in `accept_group_policies`.
        GroupPolicy = "group_policy",
        /// The packet's source is no remote VTEP of the bridge, and `source_check` is on.
        UnknownRemote = "unknown_remote",
        /// The decapsulated frame carries a VLAN tag, and the bridge does not carry tags (RFC 7348, 6.1).
        InnerTagged = "inner_tagged",
        /// Outer CE over an inner packet that is not ECN capable (RFC 6040, 4.2).
        EcnCongestion = "ecn_congestion",
        /// No bridge has the access frame's VLAN, its pair of VLANs, or its lack of one, on this port.
        UnknownVlan = "unknown_vlan",
        /// The access frame has a VLAN tag behind the one or two that name its bridge, and the bridge does not carry tags.
        AccessDoubleTagged = "access_double_tagged",
        /// The frame's source MAC is a group address or zero.
        InvalidSourceMac = "invalid_source_mac",
        /// The source MAC has a static entry with `pinned`, which names another place.
        PinnedElsewhere = "pinned_elsewhere",
        /// The frame is for a reserved link-local group address (IEEE 802.1Q, 8.6.3).
        LinkLocal = "link_local",
        /// The frame's own VLAN tag, which its bridge carries, is another bridge's on the access port it would leave by.
        ForeignTag = "foreign_tag",
        /// The destination is on the port and VLAN the frame came from.
        SamePort = "same_port",
        /// The destination is behind a tunnel, and so was the source (split horizon).
        SplitHorizon = "split_horizon",
        /// A flood found no member to send to.
        NoMember = "no_member",
        /// The destination is unknown, and the bridge does not flood such frames (`unknown_unicast` "drop").
        UnknownUnicast = "unknown_unicast",
        /// Nobody behind another port or remote VTEP has asked for the multicast group, and the bridge snoops.
        NoListener = "no_listener",
        /// Storm control: more broadcasts than `broadcast_limit` of the port or the bridge.
        StormBroadcast = "storm_broadcast",
        /// Storm control: more multicasts than `multicast_limit` of the port or the bridge.
        StormMulticast = "storm_multicast",
        /// Storm control: more frames to unknown stations than `unknown_unicast_limit` of the port or the bridge.
        StormUnknownUnicast = "storm_unknown_unicast",
        /// There is no way to the remote VTEP: no `[[neighbour]]` for its address, and no route of the kernel's over an
        /// uplink whose next hop answers. See `vtepctl show vteps`.
        NoNextHop = "no_next_hop",
        /// The frame would not fit the underlay after encapsulation. Raise the fabric's MTU or lower the hosts'.
        TooBigForTunnel = "too_big_for_tunnel",
        /// The frame does not fit the access port's MTU.
        TooBigForAccess = "too_big_for_access",
        /// The packet has not enough room in front for outer headers or a tag, or behind for padding.
        NoHeadroom = "no_headroom",
        /// The packet pool had no buffer for a copy, or the payload is in 65,280 copies already.
        NoBuffer = "no_buffer",
        /// The transmit queue stayed full, or the driver does not send a frame that long.
        TransmitFull = "transmit_full",
        /// The worker that owns the port's transmit queue did not take the packet: its hand-over ring was full, or it
        /// had ended.
        HandoverFull = "handover_full",
        /// A packet for the kernel is beyond the rate of its class (`vtepd_exception_punted_packets_total`).
        PuntLimited = "punt_limited",
        /// The queue of a packet's class towards the kernel is full: the thread that empties it gets no processor time.
        PuntFull = "punt_full",
    }
}

#[cfg(test)]
mod tests {
    use super::DropReason;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_labels_and_every_reason_is_explained() {
        let mut seen = HashSet::new();
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(seen.insert(reason.name()), "{} twice", reason.name());
            assert!(
                reason.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            );
            assert!(reason.help().ends_with(['.', ')']) && !reason.help().starts_with(' '), "{:?}", reason.help());
        }
    }
}

//! `[[bridge]]` and `[[bridge.port]]`.

use super::{boolean, key, text};
use crate::config::schema::Absent::{self, Means, Required};
use crate::config::schema::{Default, Form, Kind, MAX_FDB_ENTRIES, Section};

/// `[[bridge]]`.
pub static BRIDGE: Section = Section {
    name: "bridge",
    form: Form::Repeated,
    required: false,
    doc: "A bridge: one VNI, and the VLANs and remote VTEPs it joins. With a range of VNIs and a range of VLANs of the \
          same length, as many bridges, paired in order, that agree in everything else. At most 65535 bridges; a port has \
          4094 VLANs, so more take several ports or pairs of tags.",
    keys: &[
        key(
            "vni",
            Kind::Numbers(0, 16_777_215),
            Required,
            "100",
            "The VXLAN network identifier, or a range of them. No VNI is in two bridges.",
        ),
        key(
            "udp_port",
            Kind::Integer(1, 65_535),
            Means("`udp_port` of `[vtep]`"),
            "8472",
            "The UDP destination port of what the bridge sends to remote VTEPs, where these have another than the rest. It is \
             accepted, too, for all bridges.",
        ),
        key(
            "group_policy",
            Kind::Integer(0, 65_535),
            Means("no group policy ID"),
            "100",
            "The group policy ID (VXLAN-GBP) of what the bridge sends to remote VTEPs.",
        ),
        key(
            "accept_group_policies",
            Kind::Integers(64, 0, 65_535),
            Means("any, or none"),
            "[100, 101]",
            "The group policy IDs (VXLAN-GBP) of which the bridge takes packets from remote VTEPs. Others, and those without \
             one, are dropped and counted as `group_policy`. Where a packet has the D flag, its source is not learned; the A \
             flag changes nothing.",
        ),
        key(
            "vlan",
            Kind::Numbers(1, 4094),
            Means("untagged frames"),
            "100",
            "The VLAN that is bridged on each of the ports, or a range as long as that of `vni`. No port has one VLAN, \
             one pair of VLANs, or its untagged frames, in two bridges; one VLAN of two ports may be in two bridges.",
        ),
        key(
            "inner_vlan",
            Kind::Numbers(1, 4094),
            Means("one tag"),
            "7",
            "The VLAN of a second tag (0x8100) behind that of `vlan` (QinQ, IEEE 802.1ad): frames with both tags are \
             bridged, and sent with both. Of `vlan` and `inner_vlan`, either or both may be ranges.",
        ),
        key(
            "ports",
            Kind::NamesOrTables(64, 32),
            Required,
            "[\"trunk0\"]",
            "The access ports, by name; those that have other VLANs than `vlan` and `inner_vlan` say, as tables \
             (`bridge.ports`, below). VLANs are translated between the ports.",
        ),
        key(
            "remotes",
            Kind::IpAddresses(65_535),
            Absent::Default(Default::Empty),
            "[\"10.0.0.2\"]",
            "The remote VTEPs that broadcast, unknown unicast and multicast frames are sent to, one copy each. None \
             twice, none the gateway itself, all of the family of `vtep.address`.",
        ),
        key(
            "learning",
            Kind::Boolean,
            boolean(true),
            "true",
            "Learn where source addresses are, and which IP addresses stations have.",
        ),
        key(
            "source_check",
            Kind::Boolean,
            Means("`true`, and with a `group` `false`"),
            "true",
            "Accept VXLAN packets only from the bridge's own remote VTEPs. The VTEPs of a `group` are not known in advance: \
             with one, where this is `false`, whoever sends to the bridge becomes a remote VTEP that stations are learned \
             behind. Without a `group`, who is not known is then heard, and not learned from.",
        ),
        key(
            "group",
            Kind::IpAddress,
            Means("floods go to `remotes` alone"),
            "\"239.1.1.1\"",
            "A multicast group of the underlay (RFC 7348, 4.2) that broadcast, unknown unicast and multicast frames are sent \
             to, one copy for all, and received from. The gateway joins it by IGMP or MLD. A VTEP in `remotes` gets a copy \
             of its own besides. Several bridges may have one group.",
        ),
        key(
            "group_ports",
            Kind::Texts(64, 32),
            Means("all uplinks"),
            "[\"uplink0\"]",
            "The uplinks that `group` is sent to, received from and joined on, by name. Of uplinks that lead to the same \
             fabric name one, or every VTEP gets two copies.",
        ),
        key(
            "tags",
            Kind::Choice(&["refuse", "carry"]),
            text("refuse"),
            "\"refuse\"",
            "What happens to a VLAN tag inside a bridged frame, behind the tag that names the bridge. \"refuse\": the \
             frame is dropped (RFC 7348, 6.1). \"carry\": the tag goes to the other side; where `vlan` is absent, so \
             do the tagged frames of the ports whose VLAN is in no other bridge.",
        ),
        key(
            "link_local",
            Kind::Boolean,
            boolean(false),
            "false",
            "Tunnel frames to the reserved addresses 01:80:c2:00:00:00 to 0f (IEEE 802.1Q, 8.6.3): they are bridged as \
             other groups are. Otherwise they are dropped, and so are always those to 01, which stop a MAC from \
             sending. What a port's own `link_local` says comes first.",
        ),
        key(
            "clamp_mss",
            Kind::Boolean,
            boolean(false),
            "true",
            "Lower the maximum segment size that TCP connections through the tunnel announce, in SYNs of both directions, to \
             what the way to the remote VTEP takes: for hosts that do not heed, or do not get, ICMP.",
        ),
        key(
            "max_macs",
            Kind::Integer(1, MAX_FDB_ENTRIES),
            Means("no bound of its own"),
            "1000",
            "The most MAC addresses each of the bridges learns. Frames beyond still pass, as floods.",
        ),
        key(
            "ageing",
            Kind::Integer(0, 1_000_000),
            Means("`fdb.ageing`"),
            "60",
            "How long an address learned in the bridge that is not heard of is kept, in seconds; 0 is for ever. No \
             bridge's time is more than 2048 times another's.",
        ),
        key(
            "control",
            Kind::Choice(&["static", "kernel"]),
            text("static"),
            "\"kernel\"",
            "Who says where remote stations are and where floods go. \"static\": `remotes` and `[[static]]`; the rest is \
             learned. \"kernel\": besides these the FDB of the kernel's vxlan device with this VNI, which FRR, flannel or \
             `bridge fdb` fill, and the bridge it belongs to, if it does; nothing is learned from remote VTEPs. \
             `vtep.underlay` must be \"kernel\". What is learned on access ports is told the kernel's bridge, so that FRR \
             advertises it.",
        ),
        key(
            "kernel_device",
            Kind::Text(64),
            Means("the one with the VNI, whoever made it; where there is none, the gateway makes one"),
            "\"vx{vni}\"",
            "Where `control` is \"kernel\", the name of the kernel's vxlan device that the bridge adopts when it is there; \
             then the gateway makes none. `{vni}` stands for the VNI.",
        ),
        key(
            "neighbour_suppression",
            Kind::Boolean,
            boolean(false),
            "true",
            "Answer who asks everyone behind an access port for an address that is known, in the place of the station that \
             has it, rather than flood the question: ARP requests and probes, IPv6 neighbour solicitations and duplicate \
             address detection (RFC 9161). Known is what stations behind access ports said of themselves by ARP and \
             neighbour discovery, and with `control` \"kernel\" what the kernel says of remote ones.",
        ),
        key(
            "snooping",
            Kind::Boolean,
            boolean(false),
            "true",
            "Send multicast only where it is wanted: to ports and remote VTEPs from where hosts ask for it by IGMP or MLD, and \
             to routers (RFC 4541). As long as no querier is heard all multicast is flooded.",
        ),
        key(
            "unknown_unicast",
            Kind::Choice(&["flood", "drop"]),
            text("flood"),
            "\"flood\"",
            "What happens to frames for stations that are not known. \"drop\" counts them as `unknown_unicast`; it is for \
             bridges whose stations are all known, by `[[static]]` or by the kernel.",
        ),
        key("broadcast_limit", Kind::Rate, Means("no limit"), "\"1000 pps\"", BROADCAST_OF_BRIDGE),
        key("multicast_limit", Kind::Rate, Means("no limit"), "\"10 Mbit/s\"", "The same for multicasts."),
        key(
            "unknown_unicast_limit",
            Kind::Rate,
            Means("no limit"),
            "\"1000 pps\"",
            "The same for frames to stations that are not known.",
        ),
    ],
    example: "[[bridge]]\nvni = 100\nvlan = 100\nports = [\"trunk0\"]\nremotes = [\"10.0.0.2\"]\nlearning = true\n\
              source_check = true\ntags = \"refuse\"\nlink_local = false\nclamp_mss = true\nmax_macs = 1000\nageing = 60\n\
              group = \"239.1.1.1\"\ngroup_ports = [\"uplink0\"]\ncontrol = \"kernel\"\nkernel_device = \"vx{vni}\"\nneighbour_suppression = true\n\
              snooping = true\nunknown_unicast = \"flood\"\nbroadcast_limit = \"1000 pps\"\n\
              multicast_limit = \"10 Mbit/s\"\nunknown_unicast_limit = \"1000 pps\"\nudp_port = 8472\n\
              group_policy = 100\naccept_group_policies = [100, 101]\n\n# 64 bridges: VNI 1000 \
              and VLAN 200, VNI 1001 and VLAN 201, and so on.\n[[bridge]]\nvni = \"1000-1063\"\nvlan = \"200-263\"\n\
              ports = [\"trunk0\"]\nremotes = [\"10.0.0.2\"]\n\n\
              # One bridge, four kinds of port: a tag, a native VLAN, a priority tag only, two tags.\n[[bridge]]\nvni = 101\nports = [\n    \
              { port = \"trunk0\", vlan = 101 },\n    { port = \"trunk1\", vlan = 1101, native = true },\n    \
              { port = \"server0\", untagged = true, priority_tag = true },\n    \
              { port = \"metro0\", vlan = 500, inner_vlan = 101 },\n]\n\n\
              # QinQ: 4000 bridges, VNI 10001 for the outer tag 501 and the inner tag 1, and so on.\n[[bridge]]\n\
              vni = \"10001-14000\"\nvlan = 501\ninner_vlan = \"1-4000\"\nports = [\"metro0\"]\n",
};

const BROADCAST_OF_BRIDGE: &str = "Storm control: how many broadcasts each of the bridges takes in one second by all ports \
    together, in packets (1 to 1000000000 pps) or in bits of their frames (1000 bit/s to 1000 Gbit/s, a whole number of \
    bit/s, kbit/s, Mbit/s or Gbit/s). What comes beyond is dropped as `storm_broadcast`. The workers that \
    receive from its ports share it.";

/// An entry of a `[[bridge]]`'s `ports`.
pub static BRIDGE_PORT: Section = Section {
    name: "bridge.ports",
    form: Form::Entry,
    required: false,
    doc: "An entry of a bridge's `ports` that is a table: which frames of the port are the bridge's. They arrive at the \
          bridge without the tags named here, and are sent with them.",
    keys: &[
        key("port", Kind::Text(32), Required, "\"trunk0\"", "The access port, by name."),
        key(
            "vlan",
            Kind::Numbers(1, 4094),
            Means("those of the bridge"),
            "200",
            "The VLAN on this port, or a range as long as that of `vni`, in place of the bridge's `vlan` and \
             `inner_vlan`. The tag has the EtherType that is the port's `tpid`.",
        ),
        key(
            "inner_vlan",
            Kind::Numbers(1, 4094),
            Means("that of the bridge, unless `vlan` is given"),
            "7",
            "The VLAN of a second tag (0x8100) behind the first. It goes before a bridge that has the port's `vlan` with \
             whatever is behind.",
        ),
        key(
            "untagged",
            Kind::Boolean,
            boolean(false),
            "false",
            "Untagged and priority-tagged frames (IEEE 802.1Q, 6.9) are the bridge's, whatever its `vlan` is; frames are \
             sent untagged.",
        ),
        key(
            "native",
            Kind::Boolean,
            boolean(false),
            "false",
            "The VLAN is the port's native one: untagged frames are of it, too, and frames are sent untagged.",
        ),
        key(
            "priority_tag",
            Kind::Boolean,
            boolean(false),
            "false",
            "What would be sent untagged is sent with a priority tag (VLAN 0), which carries the priority.",
        ),
    ],
    example: "",
};

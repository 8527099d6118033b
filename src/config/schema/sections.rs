//! The sections and keys.

use super::Absent::{self, Means, Required};
use super::{
    Default, Form, Key, Kind, MAX_ADDRESSES, MAX_CORE, MAX_FDB_ENTRIES, MAX_SOCKET_PATH, MAX_UDP_PORTS, Priority,
    Section,
};

const fn key(name: &'static str, kind: Kind, absent: Absent, example: &'static str, doc: &'static str) -> Key {
    Key { name, kind, absent, doc, example }
}

const fn boolean(value: bool) -> Absent {
    Absent::Default(Default::Boolean(value))
}

const fn integer(value: u64) -> Absent {
    Absent::Default(Default::Integer(value))
}

const fn text(value: &'static str) -> Absent {
    Absent::Default(Default::Text(value))
}

/// `[vtep]`.
pub static VTEP: Section = Section {
    name: "vtep",
    form: Form::Single,
    required: true,
    doc: "This gateway as a VXLAN tunnel endpoint (RFC 7348).",
    keys: &[
        key(
            "address",
            Kind::IpAddress,
            Required,
            "\"10.0.0.1\"",
            "The gateway's own address on the uplink: the outer source of what it sends, and an outer destination that it \
             accepts. Its family is the family of the whole underlay.",
        ),
        key(
            "other_addresses",
            Kind::IpAddresses(MAX_ADDRESSES - 1),
            Absent::Default(Default::Empty),
            "[\"10.0.0.100\"]",
            "Further outer destinations that it accepts, as an anycast address that several gateways have; of the same \
             family. Of two gateways that are to look like one VTEP, each has the common address as `address` and its own \
             one here.",
        ),
        key(
            "udp_port",
            Kind::Integer(1, 65_535),
            integer(4789),
            "4789",
            "The UDP destination port, sent and accepted; what is sent of a bridge that has its own goes there. Some older \
             systems use 8472.",
        ),
        key(
            "other_udp_ports",
            Kind::Integers(MAX_UDP_PORTS - 1, 1, 65_535),
            Absent::Default(Default::Empty),
            "[8472]",
            "Further UDP destination ports at which VXLAN is accepted, for all bridges. With `udp_port`, and those that \
             bridges have, at most 8 different ones.",
        ),
        key(
            "source_ports",
            Kind::Numbers(1, 65_535),
            text("49152-65535"),
            "\"32768-65535\"",
            "The range of UDP source ports of what is sent; a hash of the inner flow says which (RFC 7348, 5). A range of \
             fewer than some hundred ports leaves routers less to spread by.",
        ),
        key(
            "udp_checksum",
            Kind::Choice(&["full", "zero"]),
            text("full"),
            "\"full\"",
            "UDP checksums over an IPv6 underlay. \"full\": computed on what is sent, and a zero checksum is refused. \
             \"zero\": zero is sent and accepted, and a checksum that is not zero is still verified (RFC 6935).",
        ),
        key(
            "udp_checksum_ipv4",
            Kind::Choice(&["full", "zero"]),
            text("zero"),
            "\"zero\"",
            "UDP checksums of what is sent over an IPv4 underlay: \"zero\", as RFC 7348 has it, or \"full\", computed over \
             the whole packet. Received, a zero checksum is accepted and any other verified, whatever this says.",
        ),
        key(
            "dscp",
            Kind::Dscp,
            text("inherit"),
            "\"inherit\"",
            "The DSCP of the outer header: \"inherit\" copies the inner packet's (0 for frames that are not IP); \"map\" \
             makes it of the inner packet's by `qos.outer_from_dscp`, \"pcp\" of the priority of the tag that the frame \
             came with (0 without one) by `qos.outer_from_pcp`; a code point, or its name, sets it always (RFC 2983).",
        ),
        key("ttl", Kind::Integer(1, 255), integer(64), "64", "The TTL, or hop limit, of the outer header."),
        key(
            "strict",
            Kind::Boolean,
            boolean(false),
            "false",
            "Drop VXLAN packets that have reserved bits set. RFC 7348 says to ignore those bits.",
        ),
        key(
            "underlay",
            Kind::Choice(&["kernel", "static"]),
            Means("\"kernel\", and where an interface cannot be made, a warning and \"static\" for that uplink"),
            "\"kernel\"",
            "\"kernel\": each uplink has a TAP interface in the kernel, which gets what is not VXLAN and sends through the \
             uplink, so that ARP, IPv6 neighbour discovery, ICMP, BGP and BFD run there; and remote VTEPs without a \
             `[[neighbour]]` are reached as the kernel's routes, next hops and neighbours on these interfaces have it. \
             \"static\": neither.",
        ),
    ],
    example: "[vtep]\naddress = \"10.0.0.1\"\nother_addresses = [\"10.0.0.100\"]\nudp_port = 4789\nother_udp_ports = [8472]\n\
              source_ports = \"32768-65535\"\nudp_checksum = \"full\"\nudp_checksum_ipv4 = \"zero\"\ndscp = \"inherit\"\nttl = 64\n\
              strict = false\nunderlay = \"kernel\"\n",
};

/// `[dpdk]`.
pub static DPDK: Section = Section {
    name: "dpdk",
    form: Form::Single,
    required: false,
    doc: "How DPDK is started.",
    keys: &[
        key("hugepages", Kind::Boolean, boolean(true), "true", "Use hugepages. Without them the gateway runs, slower."),
        key(
            "file_prefix",
            Kind::Text(64),
            text("vtepd"),
            "\"vtepd\"",
            "The name under which DPDK keeps its run-time files. Two instances on one machine need two names. Letters, \
             digits, `_`, `-` and `.`, beginning with a letter or digit.",
        ),
        key("memory_mib", Kind::Integer(64, 1_048_576), integer(512), "512", "Memory given to DPDK, in MiB."),
        key(
            "packet_buffers",
            Kind::Integer(1024, 16_777_215),
            integer(16_384),
            "16384",
            "How many packet buffers there are. Every descriptor of every receive and transmit queue can hold one.",
        ),
        key(
            "eal_arguments",
            Kind::Texts(64, 4096),
            Absent::Default(Default::Empty),
            "[\"--log-level=lib.eal:debug\"]",
            "Further arguments for DPDK's environment abstraction layer, passed as they are.",
        ),
    ],
    example: "[dpdk]\nhugepages = true\nfile_prefix = \"vtepd\"\nmemory_mib = 512\npacket_buffers = 16384\n\
              eal_arguments = [\"--log-level=lib.eal:debug\"]\n",
};

/// `[workers]`.
pub static WORKERS: Section = Section {
    name: "workers",
    form: Form::Single,
    required: true,
    doc: "The poll-mode workers that forward packets.",
    keys: &[
        key(
            "cores",
            Kind::Integers(128, 0, MAX_CORE),
            Required,
            "[1]",
            "The cores the workers are pinned to, one worker each; at least one, none twice. That a core exists is \
             found out at the start.",
        ),
        key(
            "idle",
            Kind::Choice(&["poll", "adaptive"]),
            text("poll"),
            "\"poll\"",
            "What a worker does when nothing arrives. \"poll\": polls on, for the lowest latency at the cost of the \
             whole core. \"adaptive\": backs off to short sleeps, for a laptop, CI or a demonstration.",
        ),
    ],
    example: "[workers]\ncores = [1]\nidle = \"poll\"\n",
};

/// `[[port]]`.
pub static PORT: Section = Section {
    name: "port",
    form: Form::Repeated,
    required: true,
    doc: "A network port. There are 1 to 64; a config with remote VTEPs needs an uplink.",
    keys: &[
        key(
            "name",
            Kind::Text(32),
            Required,
            "\"trunk0\"",
            "What the rest of the file, `vtepctl` and the metrics call the port; no two alike. Letters, digits, `_`, \
             `-` and `.`.",
        ),
        key(
            "device",
            Kind::Text(1024),
            Required,
            "\"net_tap1,iface=ac0\"",
            "The DPDK device: a virtual device with its arguments (`net_tap1,iface=ac0`) or a PCI address \
             (`0000:01:10.0`). No two ports have one device.",
        ),
        key(
            "role",
            Kind::Choice(&["uplink", "access"]),
            Required,
            "\"access\"",
            "What is on the other side. \"uplink\": the IP fabric that carries VXLAN. \"access\": VLANs and machines.",
        ),
        key(
            "mac",
            Kind::MacAddress,
            Means("the device's own"),
            "\"02:00:00:aa:00:01\"",
            "The port's MAC address; neither a group address nor zero.",
        ),
        key(
            "mtu",
            Kind::Integer(1280, 9702),
            Means("the device's own"),
            "9000",
            "The port's MTU in bytes: the largest layer-3 packet, without Ethernet header and VLAN tags.",
        ),
        key(
            "descriptors",
            Kind::Integer(64, 32_768),
            integer(1024),
            "1024",
            "Descriptors of each receive and each transmit queue.",
        ),
        key(
            "tpid",
            Kind::Choice(&["0x8100", "0x88a8"]),
            text("0x8100"),
            "\"0x88a8\"",
            "The EtherType of the tags that name an access port's VLANs; of two tags, of the outer one (IEEE 802.1Q, table \
             9-1). What has another tag outermost is untagged to the port. May change with a reload.",
        ),
        key(
            "kernel_interface",
            Kind::Text(15),
            Means("the name of the port"),
            "\"fabric0\"",
            "What the port's interface in the kernel is called: an uplink's, where `vtep.underlay` is \"kernel\"; an \
             access port's, where `link_local` is \"punt\". Letters, digits, `_`, `-` and `.`; no two alike.",
        ),
        key(
            "link_local",
            Kind::Choice(&["drop", "punt"]),
            Means("an uplink: \"punt\" where it has an interface in the kernel; an access port: as its bridge says"),
            "\"punt\"",
            "What happens to frames to the reserved addresses 01:80:c2:00:00:00 to 0f that arrive here without the tag \
             of a VLAN, as LLDP, LACP, STP and EAPOL have it (IEEE 802.1Q, 8.6.3). \"drop\": dropped and counted. \
             \"punt\": the port's interface in the kernel gets them, which an access port then has, too; whatever runs \
             there, lldpd for one, sends its own by it. Nothing else crosses between an access port and the kernel.",
        ),
        key(
            "max_macs",
            Kind::Integer(1, MAX_FDB_ENTRIES),
            Means("no bound of its own"),
            "100",
            "The most MAC addresses learned behind an access port, in all its bridges together. Frames of others still \
             pass, and frames to them are flooded. A reload changes it.",
        ),
        key("broadcast_limit", Kind::Rate, Means("no limit"), "\"1000 pps\"", BROADCAST_OF_PORT),
        key("multicast_limit", Kind::Rate, Means("no limit"), "\"10 Mbit/s\"", "The same for multicasts."),
        key(
            "unknown_unicast_limit",
            Kind::Rate,
            Means("no limit"),
            "\"1000 pps\"",
            "The same for frames to stations that are not known.",
        ),
    ],
    example: "[[port]]\nname = \"uplink0\"\ndevice = \"0000:01:10.0\"\nrole = \"uplink\"\nmtu = 9000\nkernel_interface = \"fabric0\"\n\n\
              [[port]]\n\
              name = \"trunk0\"\ndevice = \"net_tap1,iface=ac0\"\nrole = \"access\"\nmac = \"02:00:00:aa:00:01\"\n\
              descriptors = 1024\nmax_macs = 100\nlink_local = \"punt\"\nkernel_interface = \"lldp0\"\n\
              broadcast_limit = \"1000 pps\"\nmulticast_limit = \"10 Mbit/s\"\nunknown_unicast_limit = \"1000 pps\"\n\n\
              [[port]]\nname = \"trunk1\"\ndevice = \"net_tap2,iface=ac1\"\nrole = \"access\"\n\n\
              [[port]]\nname = \"server0\"\ndevice = \"net_tap3,iface=ac2\"\nrole = \"access\"\n\n\
              # A provider's network: service tags outside.\n[[port]]\nname = \"metro0\"\n\
              device = \"net_tap4,iface=ac3\"\nrole = \"access\"\ntpid = \"0x88a8\"\n",
};

const BROADCAST_OF_PORT: &str = "Storm control: how many broadcasts the port takes in one second, in packets (1 to \
    1000000000 pps) or in bits of their frames (1000 bit/s to 1000 Gbit/s, a whole number of bit/s, kbit/s, Mbit/s or \
    Gbit/s). What comes beyond is dropped as `storm_broadcast`. The workers that receive from the port share it.";
const BROADCAST_OF_BRIDGE: &str = "Storm control: how many broadcasts each of the bridges takes in one second by all ports \
    together, in packets (1 to 1000000000 pps) or in bits of their frames (1000 bit/s to 1000 Gbit/s, a whole number of \
    bit/s, kbit/s, Mbit/s or Gbit/s). What comes beyond is dropped as `storm_broadcast`. The workers that \
    receive from its ports share it.";

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

/// `[[neighbour]]`.
pub static NEIGHBOUR: Section = Section {
    name: "neighbour",
    form: Form::Repeated,
    required: false,
    doc: "The next hop of a remote VTEP. One that has none here is reached as the kernel's routes have it, where \
          `vtep.underlay` is \"kernel\"; packets to one that cannot be reached are dropped and counted as `no_next_hop`.",
    keys: &[
        key("address", Kind::IpAddress, Required, "\"10.0.0.2\"", "The remote VTEP's address; none twice."),
        key(
            "mac",
            Kind::MacAddress,
            Required,
            "\"02:00:00:bb:00:01\"",
            "The MAC address of the next hop: the remote VTEP itself, or the router towards it.",
        ),
        key("port", Kind::Text(32), Required, "\"uplink0\"", "The uplink it is reached through, by name."),
    ],
    example: "[[neighbour]]\naddress = \"10.0.0.2\"\nmac = \"02:00:00:bb:00:01\"\nport = \"uplink0\"\n",
};

/// `[qos]`.
pub static QOS: Section = Section {
    name: "qos",
    form: Form::Single,
    required: false,
    doc: "Priorities: those of VLAN tags (PCP, 0 to 7) and those of IP headers (DSCP, 0 to 63, or its name). A map is a \
          table in braces, with the priorities that become another; for the others holds what stands under \"without it\".",
    keys: &[
        key(
            "outer_from_dscp",
            Kind::PriorityMap(Priority::Dscp, Priority::Dscp),
            Means("the same DSCP"),
            "{ EF = \"EF\", AF41 = \"AF31\", 0 = 8 }",
            "What becomes of an inner DSCP as the outer one of what is sent to remote VTEPs, where `vtep.dscp` is \"map\".",
        ),
        key(
            "outer_from_pcp",
            Kind::PriorityMap(Priority::Pcp, Priority::Dscp),
            Means("the class selector of the number: 5 becomes CS5"),
            "{ 5 = \"EF\", 1 = \"LE\" }",
            "What becomes of the PCP of an access tag as outer DSCP, where `vtep.dscp` is \"pcp\".",
        ),
        key(
            "access_pcp",
            Kind::Choice(&["zero", "map"]),
            text("zero"),
            "\"map\"",
            "The PCP of the tags that frames get on access ports. \"zero\": 0. \"map\": of what comes from remote VTEPs, by \
             the outer DSCP and `pcp_from_outer`; what is switched between access ports keeps its own.",
        ),
        key(
            "pcp_from_outer",
            Kind::PriorityMap(Priority::Dscp, Priority::Pcp),
            Means("the upper three bits: CS5, AF5x and EF become 5"),
            "{ EF = 5, CS6 = 6 }",
            "What becomes of an outer DSCP as PCP, where `access_pcp` is \"map\".",
        ),
        key(
            "inner_dscp",
            Kind::Choice(&["keep", "map"]),
            text("keep"),
            "\"keep\"",
            "The DSCP of what comes from remote VTEPs. \"keep\": as it was sent (RFC 2983, 3.1: pipe). \"map\": by the outer \
             DSCP and `dscp_from_outer` (uniform). The ECN field is dealt with by RFC 6040 in either case.",
        ),
        key(
            "dscp_from_outer",
            Kind::PriorityMap(Priority::Dscp, Priority::Dscp),
            Means("the same DSCP"),
            "{ CS1 = \"LE\" }",
            "What becomes of an outer DSCP as inner one, where `inner_dscp` is \"map\".",
        ),
    ],
    example: "[qos]\nouter_from_dscp = { EF = \"EF\", AF41 = \"AF31\", 0 = 8 }\nouter_from_pcp = { 5 = \"EF\", 1 = \"LE\" }\n\
              access_pcp = \"map\"\npcp_from_outer = { EF = 5, CS6 = 6 }\ninner_dscp = \"keep\"\n\
              dscp_from_outer = { CS1 = \"LE\" }\n",
};

/// `[fdb]`.
pub static FDB: Section = Section {
    name: "fdb",
    form: Form::Single,
    required: false,
    doc: "The forwarding database: which MAC address is where.",
    keys: &[
        key(
            "max_entries",
            Kind::Integer(1, MAX_FDB_ENTRIES),
            integer(65_536),
            "65536",
            "The most MAC addresses in all bridges together, static entries included.",
        ),
        key(
            "ageing",
            Kind::Integer(0, 1_000_000),
            integer(300),
            "300",
            "How long a learned address that is not heard of is kept, in seconds; 0 is for ever. For all bridges that \
             have no `ageing` of their own.",
        ),
        key(
            "max_moves",
            Kind::Integer(0, 1000),
            integer(5),
            "5",
            "With how many moves within `move_window` an address is frozen where it is: heard elsewhere it does not move \
             there, for the time of `freeze`; its frames are forwarded (RFC 7432, 15.1). 0 never.",
        ),
        key(
            "move_window",
            Kind::Integer(1, 86_400),
            integer(180),
            "180",
            "Within how many seconds from its first move an address may not have `max_moves`.",
        ),
        key(
            "freeze",
            Kind::Integer(0, 1_000_000),
            integer(180),
            "180",
            "How long an address that moved too often is frozen, in seconds; 0 is until `vtepctl fdb unfreeze`.",
        ),
        key(
            "max_bindings",
            Kind::Integer(1, MAX_FDB_ENTRIES),
            integer(131_072),
            "131072",
            "The most MAC+IP bindings in all bridges together, those of `[[binding]]` included: which station has which IPv4 or \
             IPv6 address. They are learned in bridges with `neighbour_suppression` or with `control` \"kernel\".",
        ),
        key(
            "binding_ageing",
            Kind::Integer(0, 86_400),
            integer(1800),
            "1800",
            "How long a MAC+IP binding is kept that its station does not say again by ARP or neighbour discovery, in seconds; \
             0 is for as long as its MAC address is known. It never outlives that. Of what is longer than 1024 times the \
             shortest `ageing` of all bridges, only so much may count: with 10 s, 10240 s.",
        ),
    ],
    example: "[fdb]\nmax_entries = 65536\nageing = 300\nmax_moves = 5\nmove_window = 180\nfreeze = 180\nmax_bindings = 131072\n\
              binding_ageing = 1800\n",
};

/// `[[static]]`.
pub static STATIC: Section = Section {
    name: "static",
    form: Form::Repeated,
    required: false,
    doc: "A MAC address that is never learned elsewhere and never ages. It has either `port` or `remote`.",
    keys: &[
        key("vni", Kind::Integer(0, 16_777_215), Required, "100", "The VNI of its bridge."),
        key(
            "mac",
            Kind::MacAddress,
            Required,
            "\"02:00:00:cc:00:01\"",
            "The station's MAC address; neither a group address nor zero, and not twice in a bridge.",
        ),
        key(
            "port",
            Kind::Text(32),
            Means("it is behind `remote`"),
            "\"trunk0\"",
            "The access port of the bridge that the station is behind, by name.",
        ),
        key(
            "remote",
            Kind::IpAddress,
            Means("it is behind `port`"),
            "\"10.0.0.2\"",
            "The remote VTEP that the station is behind; it need not be one of the bridge's `remotes`.",
        ),
        key(
            "pinned",
            Kind::Boolean,
            boolean(false),
            "true",
            "Drop frames that have this source address and come from anywhere else, counted as `pinned_elsewhere`. \
             Otherwise they are forwarded, and teach nothing.",
        ),
    ],
    example: "[[static]]\nvni = 100\nmac = \"02:00:00:cc:00:01\"\nport = \"trunk0\"\n\n[[static]]\nvni = 100\n\
              mac = \"02:00:00:cc:00:02\"\nremote = \"10.0.0.2\"\npinned = true\n",
};

/// `[[binding]]`.
pub static BINDING: Section = Section {
    name: "binding",
    form: Form::Repeated,
    required: false,
    doc: "Which station has an IP address, whatever is learned or the kernel says: a MAC+IP binding that does not age, and \
          by which its station is answered for where its MAC address is known, from `[[static]]` or otherwise.",
    keys: &[
        key(
            "vni",
            Kind::Integer(0, 0x00ff_ffff),
            Required,
            "100",
            "The VNI of its bridge, which has `neighbour_suppression`.",
        ),
        key(
            "address",
            Kind::IpAddress,
            Required,
            "\"192.168.100.1\"",
            "The IPv4 or IPv6 address; not twice in a bridge.",
        ),
        key(
            "mac",
            Kind::MacAddress,
            Required,
            "\"02:00:00:cc:00:01\"",
            "The MAC address of the station that has it; neither a group address nor zero. A station may have several \
             addresses.",
        ),
        key(
            "router",
            Kind::Boolean,
            boolean(false),
            "true",
            "Answer for an IPv6 address as a router does (RFC 4861, 4.4).",
        ),
    ],
    example: "[[binding]]\nvni = 100\naddress = \"192.168.100.1\"\nmac = \"02:00:00:cc:00:01\"\n\n[[binding]]\nvni = 100\n\
              address = \"2001:db8::1\"\nmac = \"02:00:00:cc:00:01\"\nrouter = true\n",
};

/// `[stats]`.
pub static STATS: Section = Section {
    name: "stats",
    form: Form::Single,
    required: false,
    doc: "The scrape endpoint.",
    keys: &[key(
        "listen",
        Kind::SocketAddress,
        text("127.0.0.1:9478"),
        "\"127.0.0.1:9478\"",
        "The address and TCP port that metrics are served at.",
    )],
    example: "[stats]\nlisten = \"127.0.0.1:9478\"\n",
};

/// `[api]`.
pub static API: Section = Section {
    name: "api",
    form: Form::Single,
    required: false,
    doc: "The control socket.",
    keys: &[key(
        "socket",
        Kind::Text(MAX_SOCKET_PATH),
        Means("`/run/vtepd/FILE_PREFIX.sock`, with `dpdk.file_prefix`"),
        "\"/run/vtepd/vtepd.sock\"",
        "The Unix socket that `vtepctl` connects to: an absolute path of at most 107 bytes.",
    )],
    example: "[api]\nsocket = \"/run/vtepd/vtepd.sock\"\n",
};

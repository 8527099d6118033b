//! `[[port]]`.

use super::{integer, key, text};
use crate::config::schema::Absent::{Means, Required};
use crate::config::schema::{Form, Kind, MAX_FDB_ENTRIES, Section};

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

//! What concerns the gateway as a VTEP: `[vtep]` and `[[neighbour]]`.

use super::{boolean, integer, key, text};
use crate::config::schema::Absent::{self, Means, Required};
use crate::config::schema::{Default, Form, Kind, MAX_ADDRESSES, MAX_UDP_PORTS, Section};

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

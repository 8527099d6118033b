//! What is known of stations: `[fdb]`, `[[static]]` and `[[binding]]`.

use super::{boolean, integer, key};
use crate::config::schema::Absent::{Means, Required};
use crate::config::schema::{Form, Kind, MAX_FDB_ENTRIES, Section};

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

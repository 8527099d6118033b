//! The one description of the config file: every section and key with its type, bounds, default and meaning. The
//! reader works by it and the reference page is made from it.

use std::fmt;

mod sections;

pub use sections::{API, BINDING, BRIDGE, BRIDGE_PORT, DPDK, FDB, NEIGHBOUR, PORT, QOS, STATIC, STATS, VTEP, WORKERS};

/// The most ports.
pub const MAX_PORTS: usize = 64;
/// The most bridges, ranges expanded.
pub const MAX_BRIDGES: u64 = 65_535;
/// The most different remote VTEPs.
pub const MAX_REMOTES: usize = 65_535;
/// The most remote VTEPs in the flood lists of all bridges together, one counted in each.
pub const MAX_FLOOD_ENTRIES: u64 = 4_194_304;
/// The most FDB entries that can be configured.
pub const MAX_FDB_ENTRIES: u64 = 4_194_304;
/// The most different multicast groups of the underlay.
pub const MAX_GROUPS: usize = super::model::UnderlayGroup::MOST;
/// The most addresses of the gateway.
pub const MAX_ADDRESSES: usize = 8;
/// The most UDP ports of VXLAN, those of all bridges counted.
pub const MAX_UDP_PORTS: usize = 8;
/// How many times the shortest ageing time the longest may be.
pub const MAX_AGEING_RATIO: u64 = 2048;
/// The largest number of a core.
pub const MAX_CORE: u64 = 1023;
/// The longest path of a Unix socket, in bytes (`sun_path` less its closing zero, unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

/// A section of the file.
#[derive(Debug)]
pub struct Section {
    /// Its name, between the brackets.
    pub name: &'static str,
    /// How often it is written.
    pub form: Form,
    /// True if a config without it is refused.
    pub required: bool,
    /// What it is for.
    pub doc: &'static str,
    /// What may stand in it.
    pub keys: &'static [Key],
    /// The section as one may write it.
    pub example: &'static str,
}

/// How often a section is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Once at most: `[name]`.
    Single,
    /// Once per thing: `[[name]]`.
    Repeated,
    /// As an entry of a list: `{ key = value }`.
    Entry,
}

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What it means that it is absent.
    pub absent: Absent,
    /// What it means.
    pub doc: &'static str,
    /// A value, as written in the file.
    pub example: &'static str,
}

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number, both bounds included.
    Integer(u64, u64),
    /// A whole number, or a text `"FIRST-LAST"` for all numbers from one to the other; both bounds included.
    Numbers(u64, u64),
    /// A text of up to so many bytes.
    Text(usize),
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// An IPv4 or IPv6 address.
    IpAddress,
    /// A MAC address.
    MacAddress,
    /// An IP address and a TCP port.
    SocketAddress,
    /// `"inherit"`, `"map"`, `"pcp"`, a code point from 0 to 63, or the name of one.
    Dscp,
    /// A table from priorities of one kind to those of another.
    PriorityMap(Priority, Priority),
    /// Packets or bits a second, as in `"1000 pps"` or `"10 Mbit/s"`.
    Rate,
    /// A list of up to so many texts of up to so many bytes.
    Texts(usize, usize),
    /// A text of up to so many bytes, or a table that has it among its keys.
    NameOrTable(usize),
    /// A list of up to so many of them.
    NamesOrTables(usize, usize),
    /// A list of up to so many IP addresses.
    IpAddresses(usize),
    /// A list of up to so many whole numbers between two bounds, both included.
    Integers(usize, u64, u64),
}

/// A kind of priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// That of a VLAN tag (IEEE 802.1Q, 6.9.4).
    Pcp,
    /// That of an IP header (RFC 2474).
    Dscp,
}

impl Priority {
    /// The last of its numbers, of which the first is 0.
    #[must_use]
    pub const fn last(self) -> u8 {
        match self {
            Self::Pcp => 7,
            Self::Dscp => 63,
        }
    }

    /// How its values are written.
    #[must_use]
    pub const fn values(self) -> &'static str {
        match self {
            Self::Pcp => "a number from 0 to 7",
            Self::Dscp => "a number from 0 to 63, or a name as in \"EF\" or \"AF11\"",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Pcp => "PCP",
            Self::Dscp => "DSCP",
        })
    }
}

/// What it means that a key is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It is an error.
    Required,
    /// This value is used.
    Default(Default),
    /// What the words say.
    Means(&'static str),
}

/// A value used for an absent key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// A boolean.
    Boolean(bool),
    /// A number.
    Integer(u64),
    /// A text.
    Text(&'static str),
    /// An empty list.
    Empty,
}

impl fmt::Display for Default {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(out),
            Self::Integer(value) => value.fmt(out),
            Self::Text(value) => write!(out, "\"{value}\""),
            Self::Empty => out.write_str("[]"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => out.write_str("`true` or `false`"),
            Self::Integer(least, most) => write!(out, "a number from {least} to {most}"),
            Self::Numbers(least, most) => {
                write!(out, "a number from {least} to {most}, or a range of them as in \"100-163\"")
            }
            Self::Text(most) => write!(out, "a string of 1 to {most} characters"),
            Self::Choice(choices) => {
                let choices: Vec<_> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
                out.write_str(&choices.join(" or "))
            }
            Self::IpAddress => out.write_str("an IPv4 or IPv6 address"),
            Self::MacAddress => out.write_str("a MAC address"),
            Self::SocketAddress => out.write_str("an IP address and a TCP port"),
            Self::Dscp => out.write_str(
                "\"inherit\", \"map\", \"pcp\", a code point from 0 to 63, or its name as in \"EF\" or \"AF11\"",
            ),
            Self::PriorityMap(from, to) => write!(out, "a table from {from} to {to}"),
            Self::Rate => out.write_str("a rate in packets or bits a second, as in \"1000 pps\" or \"10 Mbit/s\""),
            Self::Texts(most, longest) => write!(out, "a list of up to {most} strings of 1 to {longest} characters"),
            Self::NameOrTable(longest) => write!(out, "a string of 1 to {longest} characters, or a table of keys"),
            Self::NamesOrTables(most, longest) => {
                write!(out, "a list of up to {most} strings of 1 to {longest} characters or tables of keys")
            }
            Self::IpAddresses(most) => write!(out, "a list of up to {most} IPv4 or IPv6 addresses"),
            Self::Integers(most, least, largest) => {
                write!(out, "a list of up to {most} numbers from {least} to {largest}")
            }
        }
    }
}

impl Section {
    /// The header as written in the file.
    #[must_use]
    pub fn header(&self) -> String {
        match self.form {
            Form::Single => format!("[{}]", self.name),
            Form::Repeated => format!("[[{}]]", self.name),
            Form::Entry => self.name.to_owned(),
        }
    }

    /// The section with the keys it has to have, as written in the file.
    #[must_use]
    pub fn least(&self) -> String {
        let required = self.keys.iter().filter(|key| key.absent == Absent::Required);
        let lines: Vec<_> = required.map(|key| format!("\n{} = {}", key.name, key.example)).collect();
        self.header() + &lines.concat()
    }

    /// The key of a name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// The section of a name.
#[must_use]
pub fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().copied().find(|section| section.name == name)
}

/// What may stand in the tables that a section's lists have as entries.
#[must_use]
pub fn entries_of(section: &Section) -> Option<&'static Section> {
    (section.name == BRIDGE.name).then_some(&BRIDGE_PORT)
}

/// All sections, in the order of the reference page.
pub const SECTIONS: &[&Section] =
    &[&VTEP, &DPDK, &WORKERS, &PORT, &BRIDGE, &NEIGHBOUR, &QOS, &FDB, &STATIC, &BINDING, &STATS, &API];

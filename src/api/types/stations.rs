//! Where stations are, and which addresses they have.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::text;
use crate::wire::MacAddr;

/// Where a station is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// Behind an access port.
    Port {
        /// The port.
        port: String,
        /// The VLAN on it, or the outer one of two; absent for what is sent untagged.
        vlan: Option<u16>,
        /// The inner VLAN of two tags.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inner_vlan: Option<u16>,
    },
    /// Behind a remote VTEP.
    Remote {
        /// The remote VTEP's address.
        remote: IpAddr,
    },
}

/// How an FDB entry came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// From a frame's source address.
    Learned,
    /// From the config.
    Static,
    /// From the kernel's FDB, where that controls the bridge.
    Kernel,
}

impl EntryKind {
    /// The word for it in JSON and in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Static => "static",
            Self::Kernel => "kernel",
        }
    }
}

/// One of `GET /v1/fdb`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbEntry {
    /// The bridge's VNI.
    pub vni: u32,
    /// The station.
    #[serde(with = "text")]
    pub mac: MacAddr,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// How the entry came to be.
    pub kind: EntryKind,
    /// Whether frames of the station from anywhere else are dropped.
    #[serde(default)]
    pub pinned: bool,
    /// Whether the station moved too often and stays here for a while.
    #[serde(default)]
    pub frozen: bool,
    /// How long ago the station was last heard of, in seconds; absent for one that was not learned.
    pub age_seconds: Option<u64>,
}

/// Which FDB entries are asked for: those that match everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FdbFilter {
    /// Of the bridge with this VNI.
    pub vni: Option<u32>,
    /// Of this station.
    pub mac: Option<MacAddr>,
    /// Behind the access port of this name.
    pub port: Option<String>,
    /// Behind the remote VTEP of this address.
    pub remote: Option<IpAddr>,
    /// Of this kind.
    pub kind: Option<EntryKind>,
}

impl FdbFilter {
    /// Whether `entry` is asked for.
    #[must_use]
    pub fn matches(&self, entry: &FdbEntry) -> bool {
        let place = match &entry.place {
            Place::Port { port, .. } => self.remote.is_none() && self.port.as_ref().is_none_or(|wanted| wanted == port),
            Place::Remote { remote } => self.port.is_none() && self.remote.is_none_or(|wanted| wanted == *remote),
        };
        place
            && self.vni.is_none_or(|wanted| wanted == entry.vni)
            && self.mac.is_none_or(|wanted| wanted == entry.mac)
            && self.kind.is_none_or(|wanted| wanted == entry.kind)
    }
}

/// One of `GET /v1/bindings`: which station has an IP address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The bridge's VNI.
    pub vni: u32,
    /// The address.
    pub address: IpAddr,
    /// The station.
    #[serde(with = "text")]
    pub mac: MacAddr,
    /// Where the station is; absent where the FDB does not have it, and questions for the address are flooded.
    pub place: Option<Place>,
    /// How the binding came to be.
    pub kind: BindingKind,
    /// The station has said that it is a router (RFC 4861, 4.4).
    pub router: bool,
    /// How long ago the station last said that it has the address, in seconds; absent where the kernel or the config says so.
    pub age_seconds: Option<u64>,
}

/// How a binding came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BindingKind {
    /// From ARP or neighbour discovery of the station, on an access port.
    Learned,
    /// From the kernel's neighbours, where it controls the bridge.
    Kernel,
    /// From the config.
    Static,
}

impl BindingKind {
    /// The word for it in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Kernel => "kernel",
            Self::Static => "static",
        }
    }
}

/// Which bindings are asked for: those that match everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingFilter {
    /// Of the bridge with this VNI.
    pub vni: Option<u32>,
    /// Of this station.
    pub mac: Option<MacAddr>,
    /// Of this address.
    pub address: Option<IpAddr>,
}

impl BindingFilter {
    /// Whether a binding of the bridge with this VNI is asked for.
    #[must_use]
    pub fn matches(&self, vni: u32, mac: MacAddr, address: IpAddr) -> bool {
        self.vni.is_none_or(|wanted| wanted == vni)
            && self.mac.is_none_or(|wanted| wanted == mac)
            && self.address.is_none_or(|wanted| wanted == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(vni: u32, place: Place) -> FdbEntry {
        FdbEntry {
            vni,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            place,
            kind: EntryKind::Learned,
            pinned: false,
            frozen: false,
            age_seconds: Some(3),
        }
    }

    #[test]
    fn a_filter_takes_what_matches_everything_it_says() {
        let port = entry(100, Place::Port { port: "trunk0".into(), vlan: Some(100), inner_vlan: None });
        let remote = entry(100, Place::Remote { remote: [10, 0, 0, 2].into() });
        let filter = |change: fn(&mut FdbFilter)| {
            let mut filter = FdbFilter::default();
            change(&mut filter);
            (filter.matches(&port), filter.matches(&remote))
        };
        assert_eq!(filter(|_| ()), (true, true));
        assert_eq!(filter(|f| f.port = Some("trunk0".into())), (true, false));
        assert_eq!(filter(|f| f.port = Some("trunk1".into())), (false, false));
        assert_eq!(filter(|f| f.remote = Some([10, 0, 0, 2].into())), (false, true));
        assert_eq!(filter(|f| f.remote = Some([10, 0, 0, 3].into())), (false, false));
        assert_eq!(filter(|f| f.vni = Some(101)), (false, false));
        assert_eq!(filter(|f| f.mac = Some(MacAddr::ZERO)), (false, false));
        assert_eq!(filter(|f| f.kind = Some(EntryKind::Static)), (false, false));
    }

    #[test]
    fn an_fdb_entry_is_flat_json_and_comes_back() {
        let port = |vlan, inner_vlan| Place::Port { port: "a".into(), vlan, inner_vlan };
        let remote = Place::Remote { remote: "2001:db8::2".parse().unwrap() };
        for place in [port(None, None), port(Some(5), None), port(Some(5), Some(6)), remote] {
            let before = entry(1, place);
            let json = serde_json::to_value(&before).unwrap();
            assert_eq!(json["mac"], "02:00:00:00:00:01");
            assert_eq!(serde_json::from_value::<FdbEntry>(json).unwrap(), before);
        }
    }
}

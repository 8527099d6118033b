//! `[[neighbour]]`: the next hops, and the remote VTEPs that have none.

use std::borrow::Cow;
use std::net::IpAddr;

use rustc_hash::FxHashSet;

use super::addresses::remote_vtep;
use super::diagnostic::{Diagnostic, Findings, FirstPlaces};
use super::model::{Neighbour, PortRole};
use super::ports::{Ports, is_a_station};
use super::reader::Reader;
use super::schema::MAX_REMOTES;
use super::value::Located;
use crate::tables::PortIndex;
use crate::wire::MacAddr;

/// A `[[neighbour]]` by itself.
pub(super) struct NeighbourDraft<'t> {
    address: Option<Located<IpAddr>>,
    mac: Option<MacAddr>,
    port: Option<Located<Cow<'t, str>>>,
}

impl<'t> NeighbourDraft<'t> {
    pub(super) fn read(reader: &mut Reader<'t>, findings: &mut Findings) -> Self {
        Self {
            address: reader.get("address", findings).located(),
            mac: reader.get("mac", findings).checked(|mac| is_a_station(mac, "a next hop"), findings).value(),
            port: reader.get("port", findings).located(),
        }
    }
}

/// All next hops.
pub(super) struct Neighbours {
    /// What is right of them.
    list: Vec<Option<Neighbour>>,
    addresses: FxHashSet<IpAddr>,
    /// True if there is none whose address is not known.
    complete: bool,
}

impl Neighbours {
    /// Relates the next hops to the ports, to the gateway's `own` address and to each other.
    pub(super) fn new(
        drafts: Vec<NeighbourDraft<'_>>,
        ports: &Ports<'_>,
        own: Option<Located<IpAddr>>,
        sound: bool,
        findings: &mut Findings,
    ) -> Self {
        let mut places = FirstPlaces::new();
        let complete = sound && drafts.iter().all(|draft| draft.address.is_some());
        let addresses = drafts.iter().filter_map(|draft| Some(draft.address?.value)).collect();
        let mut relate = |draft: NeighbourDraft<'_>| {
            let port = draft.port.and_then(|port| ports.find(&port, PortRole::Uplink, "a next hop's port", findings));
            let address = draft.address?;
            if let Some(first) = places.earlier(address.value, address.span) {
                findings.push(
                    Diagnostic::error(address.span, format!("`{}` has two next hops", address.value))
                        .label("given again here")
                        .related(first, "given here first")
                        .remedy("remove one of the two"),
                );
            } else if let Err(found) = remote_vtep(&address, own) {
                findings.push(found);
            }
            let port: PortIndex = port?;
            Some(Neighbour { address: address.value, mac: draft.mac?, port })
        };
        let list = drafts.into_iter().map(&mut relate).collect();
        Self { list, addresses, complete }
    }

    /// Warns of remote VTEPs that have no next hop, and refuses too many of them.
    pub(super) fn check_remotes(&self, remotes: &[Located<IpAddr>], findings: &mut Findings) {
        if let Some(beyond) = remotes.get(MAX_REMOTES) {
            findings.push(
                Diagnostic::error(beyond.span, format!("there are more than {MAX_REMOTES} remote VTEPs"))
                    .label(format!("this is number {}", MAX_REMOTES + 1))
                    .remedy("give some of the bridges to a second instance"),
            );
        }
        let lonely = remotes.iter().filter(|remote| !self.addresses.contains(&remote.value));
        for remote in lonely.filter(|_| self.complete) {
            let message = format!("nothing says how to reach the remote VTEP `{}`", remote.value);
            findings.push(
                Diagnostic::warning(remote.span, message)
                    .label("packets to it are dropped as `no_next_hop`")
                    .remedy(format!("add a `[[neighbour]]` with `address = \"{}\"`", remote.value)),
            );
        }
    }

    /// The next hops, if all are right.
    pub(super) fn finish(self) -> Option<Vec<Neighbour>> {
        self.list.into_iter().collect()
    }
}

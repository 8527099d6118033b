//! `[[static]]`: FDB entries that stay.

use std::borrow::Cow;
use std::net::IpAddr;

use super::addresses::remote_vtep;
use super::bridges::Bridges;
use super::diagnostic::{Diagnostic, Findings, FirstPlaces, Span};
use super::model::{Fdb, PortRole, StaticEntry, StaticPlace};
use super::ports::{Ports, is_a_station};
use super::reader::{Field, Reader};
use super::value::Located;
use crate::wire::{MacAddr, Vni};

/// A `[[static]]` by itself.
pub(super) struct StaticDraft<'t> {
    span: Span,
    vni: Option<Located<u32>>,
    mac: Option<Located<MacAddr>>,
    port: Field<Cow<'t, str>>,
    remote: Field<IpAddr>,
}

impl<'t> StaticDraft<'t> {
    pub(super) fn read(reader: &mut Reader<'t>, findings: &mut Findings) -> Self {
        Self {
            span: reader.span(),
            vni: reader.get("vni", findings).located(),
            mac: reader.get("mac", findings).checked(|mac| is_a_station(mac, "a station"), findings).located(),
            port: reader.get("port", findings),
            remote: reader.get("remote", findings),
        }
    }

    /// The remote VTEP that the station is behind, if it is behind one.
    pub(super) fn remote(&self) -> Option<Located<IpAddr>> {
        if let Field::Given(remote) = self.remote { Some(remote) } else { None }
    }
}

/// What static entries are checked against.
pub(super) struct Surroundings<'a, 't> {
    pub(super) ports: &'a Ports<'t>,
    pub(super) bridges: &'a Bridges<'t>,
    pub(super) own: Option<Located<IpAddr>>,
    pub(super) fdb: Option<&'a Fdb>,
}

impl<'t> Surroundings<'_, 't> {
    /// Relates the entries to their surroundings and to each other; the entries, if all are right.
    pub(super) fn relate(&self, drafts: &[StaticDraft<'t>], findings: &mut Findings) -> Option<Vec<StaticEntry>> {
        self.check_count(drafts, findings);
        let mut places = FirstPlaces::new();
        let mut entries = Some(Vec::with_capacity(drafts.len()));
        for draft in drafts {
            if let (Some(vni), Some(mac)) = (draft.vni, draft.mac)
                && let Some(first) = places.earlier((vni.value, mac.value), mac.span)
            {
                let message = format!("`{}` is in the bridge with VNI {} twice", mac.value, vni.value);
                findings.push(
                    Diagnostic::error(mac.span, message)
                        .label("given again here")
                        .related(first, "given here first")
                        .remedy("a station is in one place: remove one of the two"),
                );
            }
            match (self.entry(draft, findings), &mut entries) {
                (Some(entry), Some(entries)) => entries.push(entry),
                _ => entries = None,
            }
        }
        entries
    }

    fn check_count(&self, drafts: &[StaticDraft<'t>], findings: &mut Findings) {
        let Some(fdb) = self.fdb else { return };
        if let Some(beyond) = drafts.get(fdb.max_entries as usize) {
            let message = format!("there are {} static entries, and the FDB has {}", drafts.len(), fdb.max_entries);
            findings.push(
                Diagnostic::error(beyond.span, message)
                    .label("the first that finds no place")
                    .remedy("raise `max_entries` in `[fdb]`; learned addresses need places too"),
            );
        }
    }

    fn entry(&self, draft: &StaticDraft<'t>, findings: &mut Findings) -> Option<StaticEntry> {
        let bridge = draft.vni.and_then(|vni| self.bridges.find(vni, findings));
        let place = self.place(draft, bridge, findings);
        let vni = Vni::new(draft.vni?.value).ok()?;
        Some(StaticEntry { vni, mac: draft.mac?.value, place: place? })
    }

    fn place(&self, draft: &StaticDraft<'t>, bridge: Option<usize>, findings: &mut Findings) -> Option<StaticPlace> {
        match (&draft.port, &draft.remote) {
            (Field::Given(name), Field::Absent) => {
                let value = self.ports.find(name, PortRole::Access, "a station's port", findings)?;
                self.bridges.check_port(bridge?, Located { value, span: name.span }, self.ports, findings);
                Some(StaticPlace::Port(value))
            }
            (Field::Absent, Field::Given(remote)) => match remote_vtep(remote, self.own) {
                Ok(()) => Some(StaticPlace::Remote(remote.value)),
                Err(found) => {
                    findings.push(found);
                    None
                }
            },
            (Field::Given(port), Field::Given(remote)) => {
                findings.push(
                    Diagnostic::error(remote.span, "a station is behind a port or behind a remote VTEP, not both")
                        .label("behind a remote VTEP")
                        .related(port.span, "behind a port")
                        .remedy("remove one of the two"),
                );
                None
            }
            (Field::Absent, Field::Absent) => {
                findings.push(
                    Diagnostic::error(draft.span, "`port` or `remote` is missing in `[[static]]`")
                        .remedy("say where the station is, as in `port = \"trunk0\"` or `remote = \"10.0.0.2\"`"),
                );
                None
            }
            (Field::Bad, _) | (_, Field::Bad) => None,
        }
    }
}

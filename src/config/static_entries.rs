//! `[[static]]`: FDB entries that stay.

use std::borrow::Cow;
use std::net::IpAddr;

use super::addresses::remote_vtep;
use super::bridges::Bridges;
use super::diagnostic::{Diagnostic, Findings, Span};
use super::model::{Fdb, PortRole, StaticEntry, StaticPlace};
use super::ports::{Ports, is_a_station};
use super::reader::{Field, Reader};
use super::value::Located;
use crate::wire::{MacAddr, Vni};

/// A `[[static]]` by itself.
#[derive(Debug, PartialEq)]
pub(super) struct StaticDraft<'t> {
    span: Span,
    vni: Option<Located<u32>>,
    mac: Option<Located<MacAddr>>,
    port: Field<Cow<'t, str>>,
    remote: Field<IpAddr>,
    pinned: Option<bool>,
}

impl<'t> StaticDraft<'t> {
    pub(super) fn read(reader: &mut Reader<'t>, findings: &mut Findings) -> Self {
        Self {
            span: reader.span(),
            vni: reader.get("vni", findings).located(),
            mac: reader.get("mac", findings).checked(|mac| is_a_station(mac, "a station"), findings).located(),
            port: reader.get("port", findings),
            remote: reader.get("remote", findings),
            pinned: reader.get("pinned", findings).value(),
        }
    }

    /// One of which every key has been read and is right by itself; `None` if there is something to say of it.
    pub(super) fn plain(
        span: Span,
        vni: Located<u32>,
        mac: Located<MacAddr>,
        port: Field<Cow<'t, str>>,
        remote: Field<IpAddr>,
        pinned: bool,
    ) -> Option<Self> {
        let in_one_place =
            matches!((&port, &remote), (Field::Given(_), Field::Absent) | (Field::Absent, Field::Given(_)));
        let right = in_one_place && mac.value.is_station();
        right.then_some(Self { span, vni: Some(vni), mac: Some(mac), port, remote, pinned: Some(pinned) })
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
        check_stations(drafts, findings);
        let mut entries = Some(Vec::with_capacity(drafts.len()));
        for draft in drafts {
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
        Some(StaticEntry { vni, mac: draft.mac?.value, place: place?, pinned: draft.pinned? })
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

/// No station of a bridge is given twice. Sorted, those that are lie side by side, and what a program wrote is mostly
/// sorted already: a million entries take neither a hash map nor long.
fn check_stations(drafts: &[StaticDraft<'_>], findings: &mut Findings) {
    let station = |draft: &StaticDraft<'_>| Some((draft.vni?.value, draft.mac?.value.to_u64(), draft.mac?.span));
    let mut stations: Vec<_> = drafts.iter().filter_map(station).collect();
    stations.sort_by_key(|&(vni, mac, _)| (vni, mac));
    let mut repeated = Vec::new();
    for same in stations.chunk_by(|one, next| (one.0, one.1) == (next.0, next.1)) {
        if let [first, again @ ..] = same {
            repeated.extend(again.iter().map(|&(vni, mac, span)| (span, vni, MacAddr::from_u64(mac), first.2)));
        }
    }
    repeated.sort_unstable_by_key(|(span, ..)| *span);
    for (span, vni, mac, first) in repeated {
        findings.push(
            Diagnostic::error(span, format!("`{mac}` is in the bridge with VNI {vni} twice"))
                .label("given again here")
                .related(first, "given here first")
                .remedy("a station is in one place: remove one of the two"),
        );
    }
}

//! `[[binding]]`: which station has an IP address, said by the operator.

use std::net::IpAddr;

use super::addresses::underlay_host;
use super::bridges::Bridges;
use super::diagnostic::{Diagnostic, Findings};
use super::model::{Binding, Fdb};
use super::ports::is_a_station;
use super::reader::Reader;
use super::value::Located;
use crate::wire::{MacAddr, Vni};

/// A `[[binding]]` by itself.
#[derive(Debug)]
pub(super) struct BindingDraft {
    vni: Option<Located<u32>>,
    address: Option<Located<IpAddr>>,
    mac: Option<Located<MacAddr>>,
    router: Option<bool>,
}

impl BindingDraft {
    pub(super) fn read(reader: &mut Reader<'_>, findings: &mut Findings) -> Self {
        Self {
            vni: reader.get("vni", findings).located(),
            address: reader.get("address", findings).checked(a_station_has, findings).located(),
            mac: reader.get("mac", findings).checked(|mac| is_a_station(mac, "a station"), findings).located(),
            router: reader.get("router", findings).value(),
        }
    }
}

/// An address that a station can have.
fn a_station_has(address: &Located<IpAddr>) -> Result<(), Diagnostic> {
    if address.value.is_loopback() {
        return Err(Diagnostic::error(address.span, format!("`{}` is nobody's address on a network", address.value))
            .label("a loopback address, which never leaves its machine")
            .remedy("write the address that the station has in the bridge"));
    }
    underlay_host(address, "a station")
}

/// Relates the bindings to their bridges, to the bound and to each other; the bindings, if all are right.
pub(super) fn relate(
    drafts: &[BindingDraft],
    bridges: &Bridges<'_>,
    fdb: Option<&Fdb>,
    findings: &mut Findings,
) -> Option<Vec<Binding>> {
    if let Some(fdb) = fdb
        && let Some(beyond) = drafts.get(fdb.max_bindings as usize).and_then(|draft| draft.address)
    {
        let message = format!("there are {} bindings, and there is room for {}", drafts.len(), fdb.max_bindings);
        findings.push(
            Diagnostic::error(beyond.span, message)
                .label("the first that finds no place")
                .remedy("raise `max_bindings` in `[fdb]`; learned bindings need places too"),
        );
    }
    check_addresses(drafts, findings);
    let mut bindings = Some(Vec::with_capacity(drafts.len()));
    for draft in drafts {
        match (binding(draft, bridges, findings), &mut bindings) {
            (Some(binding), Some(bindings)) => bindings.push(binding),
            _ => bindings = None,
        }
    }
    bindings
}

fn binding(draft: &BindingDraft, bridges: &Bridges<'_>, findings: &mut Findings) -> Option<Binding> {
    let vni = draft.vni?;
    let bridge = bridges.find(vni, findings)?;
    if bridges.suppresses(bridge) == Some(false) {
        findings.push(
            Diagnostic::error(vni.span, format!("the bridge with VNI {} answers for nobody", vni.value))
                .label("without `neighbour_suppression`")
                .remedy("set `neighbour_suppression = true` in its `[[bridge]]`, or remove the binding"),
        );
    }
    Some(Binding {
        vni: Vni::new(vni.value).ok()?,
        address: draft.address?.value,
        mac: draft.mac?.value,
        router: draft.router?,
    })
}

/// No address of a bridge is given to two stations, nor twice to one.
fn check_addresses(drafts: &[BindingDraft], findings: &mut Findings) {
    let named = |draft: &BindingDraft| Some((draft.vni?.value, draft.address?));
    let mut all: Vec<_> = drafts.iter().filter_map(named).collect();
    all.sort_by_key(|(vni, address)| (*vni, address.value));
    let mut repeated = Vec::new();
    for same in all.chunk_by(|one, next| (one.0, one.1.value) == (next.0, next.1.value)) {
        if let [(_, first), again @ ..] = same {
            repeated.extend(again.iter().map(|(vni, address)| (address.span, *vni, address.value, first.span)));
        }
    }
    repeated.sort_unstable_by_key(|(span, ..)| *span);
    for (span, vni, address, first) in repeated {
        findings.push(
            Diagnostic::error(span, format!("`{address}` is in the bridge with VNI {vni} twice"))
                .label("given again here")
                .related(first, "given here first")
                .remedy("one station has an address: remove one of the two"),
        );
    }
}

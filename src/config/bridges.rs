//! `[[bridge]]`: ranges expanded, and no VNI, VLAN of a port, pair of VLANs or untagged port in two of them.

use std::borrow::Cow;
use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHashSet};

use super::addresses::{remote_vtep, underlay_group};
use super::bridge_ports::{BridgePortDraft, VlanFields, VlanRange};
use super::clashes::{Clash, Clashes, Taken, UNTAGGED};
use super::diagnostic::{Diagnostic, Findings, FirstPlaces, Span};
use super::kernel_devices::{KernelDevices, name_of};
use super::model::{
    AccessVlan, Bridge, BridgePort, Control, Fdb, Flooding, PortRole, StormLimits, Tags, UnderlayGroup,
};
use super::ports::{Ports, read_storm_limits};
use super::reader::{Field, Reader};
use super::schema::{MAX_AGEING_RATIO, MAX_BRIDGES, MAX_FLOOD_ENTRIES, MAX_GROUPS, MAX_UDP_PORTS};
use super::singles::seconds_or_ever;
use super::value::{Located, NameOrTable, Numbers};
use super::wording::quoted;
use crate::tables::PortIndex;
use crate::wire::{VlanId, Vni};

/// A `[[bridge]]` by itself; with ranges it is several bridges.
pub(super) struct BridgeDraft<'t> {
    span: Span,
    vni: Option<Located<Numbers>>,
    udp_port: Option<Option<Located<u16>>>,
    group_policy: Option<Option<u16>>,
    accept_group_policies: Option<Option<Vec<Located<u16>>>>,
    vlans: VlanFields,
    ports: Option<Located<Vec<BridgePortDraft<'t>>>>,
    remotes: Vec<Located<IpAddr>>,
    learning: Option<bool>,
    source_check: Option<Option<bool>>,
    tags: Option<Tags>,
    link_local: Option<Located<bool>>,
    clamp_mss: Option<bool>,
    max_macs: Option<Option<u32>>,
    ageing: Field<u64>,
    control: Option<Located<Cow<'t, str>>>,
    kernel_device: Option<Option<Located<Cow<'t, str>>>>,
    neighbour_suppression: Option<bool>,
    unknown_unicast: Option<bool>,
    storm: Option<StormLimits>,
    snooping: Option<bool>,
    group: Option<Option<Located<IpAddr>>>,
    group_ports: Field<Vec<Located<Cow<'t, str>>>>,
}

impl<'t> BridgeDraft<'t> {
    pub(super) fn read(reader: &mut Reader<'t>, findings: &mut Findings) -> Self {
        let tags = |tags: Cow<'_, str>| if tags == "carry" { Tags::Carry } else { Tags::Refuse };
        let vlans = VlanFields::read(reader, findings);
        vlans.check(findings);
        let ports = reader.get::<Vec<Located<NameOrTable<'_>>>>("ports", findings).located();
        let mut read_ports = |ports: Located<Vec<Located<NameOrTable<'t>>>>| Located {
            value: ports.value.into_iter().map(|port| BridgePortDraft::read(port, findings)).collect(),
            span: ports.span,
        };
        Self {
            span: reader.span(),
            ports: ports.map(&mut read_ports),
            vni: reader.get("vni", findings).located(),
            udp_port: reader.get("udp_port", findings).optional_located(),
            group_policy: reader.get("group_policy", findings).optional(),
            accept_group_policies: reader
                .get::<Vec<Located<u16>>>("accept_group_policies", findings)
                .checked(|ids| if ids.value.is_empty() { Err(accepts_nothing(ids.span)) } else { Ok(()) }, findings)
                .optional(),
            vlans,
            remotes: reader.get("remotes", findings).value().unwrap_or_default(),
            learning: reader.get("learning", findings).value(),
            source_check: reader.get("source_check", findings).optional(),
            tags: reader.get("tags", findings).value().map(tags),
            link_local: reader.get("link_local", findings).located(),
            clamp_mss: reader.get("clamp_mss", findings).value(),
            max_macs: reader.get("max_macs", findings).optional(),
            ageing: reader.get("ageing", findings),
            control: reader.get("control", findings).located(),
            kernel_device: reader.get("kernel_device", findings).optional_located(),
            neighbour_suppression: reader.get("neighbour_suppression", findings).value(),
            unknown_unicast: reader.get("unknown_unicast", findings).value().map(|what: Cow<'_, str>| what == "flood"),
            storm: read_storm_limits(reader, findings),
            snooping: reader.get("snooping", findings).value(),
            group: reader.get("group", findings).optional_located(),
            group_ports: reader.get("group_ports", findings),
        }
    }

    /// Whether its VNI is known and the VLANs of each of its places are as many; what does not agree is reported, of the
    /// places that have the bridge's VLANs once.
    fn ranges_agree(&self, places: &[BridgePlace], findings: &mut Findings) -> bool {
        let Some(vni) = self.vni else { return false };
        let mut reported = FirstPlaces::new();
        let mut agree = true;
        for place in places {
            let Some(vlans) = &place.vlans else { return false };
            let said = vlans.place(vni.span);
            if reported.earlier(said, said).is_none() {
                agree &= vlans.agrees(vni, findings);
            }
        }
        agree
    }
}

/// A bridge's place on a port.
struct BridgePlace {
    port: Option<PortIndex>,
    /// Where it is written.
    span: Span,
    vlans: Option<VlanRange>,
}

/// All bridges, and where to find them.
pub(super) struct Bridges<'t> {
    drafts: Vec<BridgeDraft<'t>>,
    /// The places of each draft, one for each of the `ports` that is written, in order.
    places: Vec<Vec<BridgePlace>>,
    /// The ports of each draft's group.
    group_ports: Vec<Vec<PortIndex>>,
    /// The draft that has a VNI.
    by_vni: FxHashMap<u32, usize>,
    /// True if there is no bridge whose VNI is not known.
    complete: bool,
}

impl<'t> Bridges<'t> {
    /// Relates the bridges to the ports, to the gateway's `own` address and to each other.
    pub(super) fn new(
        drafts: Vec<BridgeDraft<'t>>,
        ports: &Ports<'t>,
        own: Option<Located<IpAddr>>,
        sound: bool,
        findings: &mut Findings,
    ) -> Self {
        let places: Vec<_> = drafts.iter().map(|draft| places_of(draft, ports, findings)).collect();
        let related = drafts.iter().zip(&places);
        let agreeing = related.filter(|(draft, places)| draft.ranges_agree(places, findings)).count();
        let mut bridges = Self {
            places,
            group_ports: drafts.iter().map(|draft| group_ports_of(draft, ports, findings)).collect(),
            by_vni: FxHashMap::default(),
            complete: sound && agreeing == drafts.len(),
            drafts,
        };
        if bridges.fits(findings) {
            bridges.unique_vnis(findings);
        } else {
            bridges.complete = false;
        }
        bridges.unique_members(ports, findings);
        let mut devices = KernelDevices::default();
        for draft in &bridges.drafts {
            check_remotes(draft, own, findings);
            if let (Some(Some(device)), Some(vni)) = (&draft.kernel_device, draft.vni)
                && bridges.complete
            {
                devices.check(device, vni, draft.control.as_ref(), findings);
            }
        }
        bridges.check_groups(own, findings);
        bridges
    }

    /// Refuses groups that are none of the underlay's, and more than can be joined.
    fn check_groups(&self, own: Option<Located<IpAddr>>, findings: &mut Findings) {
        let wrong = |group: &Located<IpAddr>| underlay_group(group, own).err();
        self.groups().filter_map(|group| wrong(&group)).for_each(|found| findings.push(found));
        if let Some(group) = distinct(self.groups()).get(MAX_GROUPS) {
            let message = format!("there are more than {MAX_GROUPS} different groups");
            let found = Diagnostic::error(group.span, message).label(format!("this is group {}", MAX_GROUPS + 1));
            findings.push(found.remedy("let several bridges have one group: the VNI tells them apart"));
        }
    }

    /// The groups of all bridges, repeats included.
    pub(super) fn groups(&self) -> impl Iterator<Item = Located<IpAddr>> {
        self.drafts.iter().filter_map(|draft| draft.group.flatten())
    }

    /// Whether the bridges are few enough to be expanded.
    fn fits(&self, findings: &mut Findings) -> bool {
        let mut total = 0u64;
        let mut floods = 0u64;
        for draft in &self.drafts {
            let count = draft.vni.map_or(0, |vni| vni.value.count());
            total = total.saturating_add(count);
            floods = floods.saturating_add(count.saturating_mul(draft.remotes.len() as u64));
            if total > MAX_BRIDGES {
                findings.push(
                    Diagnostic::error(draft.span, format!("there are more than {MAX_BRIDGES} bridges"))
                        .label(format!("with these there are {total}"))
                        .remedy("shorten a range, or give some of them to a second instance"),
                );
                return false;
            }
            if floods > MAX_FLOOD_ENTRIES {
                let message = format!("the bridges have more than {MAX_FLOOD_ENTRIES} remote VTEPs all together");
                findings.push(
                    Diagnostic::error(draft.span, message)
                        .label(format!("with these there are {floods}"))
                        .remedy("shorten a range or a list of remotes, or give some of them to a second instance"),
                );
                return false;
            }
        }
        true
    }

    fn unique_vnis(&mut self, findings: &mut Findings) {
        for (index, draft) in self.drafts.iter().enumerate() {
            let Some(vni) = draft.vni else { continue };
            let mut clashes = Clashes::default();
            for number in vni.value.first..=vni.value.last {
                match self.by_vni.entry(number) {
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        entry.insert(index);
                    }
                    std::collections::hash_map::Entry::Occupied(entry) => clashes.add(*entry.get(), (number, 0)),
                }
            }
            for clash in clashes.0 {
                let other = self.drafts.get(clash.other).and_then(|draft| draft.vni).unwrap_or(vni);
                findings.push(
                    Diagnostic::error(vni.span, format!("{} in two bridges", clash.what("VNI", "")))
                        .label("given again here")
                        .related(other.span, "given here first")
                        .remedy("give each bridge a VNI of its own, or put the ports of both into one bridge"),
                );
            }
        }
    }

    /// No VLAN of a port, no pair of VLANs, nor its untagged frames, in two bridges.
    fn unique_members(&self, ports: &Ports<'t>, findings: &mut Findings) {
        let mut members: FxHashMap<(PortIndex, Taken), (usize, Span)> = FxHashMap::default();
        for (index, places) in self.places.iter().enumerate() {
            for place in places {
                let (Some(port), Some(vlans)) = (place.port, place.vlans) else { continue };
                let said = vlans.place(place.span);
                let mut clashes = Clashes::default();
                for taken in (0..vlans.count()).filter_map(|number| vlans.nth(number)).flat_map(taken_by) {
                    match members.entry((port, taken)) {
                        std::collections::hash_map::Entry::Vacant(entry) => {
                            entry.insert((index, said));
                        }
                        std::collections::hash_map::Entry::Occupied(entry) => clashes.add(entry.get().0, taken),
                    }
                }
                for clash in clashes.0 {
                    let first = members.get(&(port, clash.first)).map_or(said, |(_, first)| *first);
                    findings.push(two_bridges(&clash, ports.name(port), said, first));
                }
            }
        }
    }

    /// The draft that has a VNI; what is not there is reported.
    pub(super) fn find(&self, vni: Located<u32>, findings: &mut Findings) -> Option<usize> {
        let found = self.by_vni.get(&vni.value).copied();
        if found.is_none() && self.complete {
            findings.push(
                Diagnostic::error(vni.span, format!("no bridge has VNI {}", vni.value))
                    .label("unknown VNI")
                    .remedy(format!("write the VNI of a bridge, or add a `[[bridge]]` with `vni = {}`", vni.value)),
            );
        }
        found
    }

    /// Whether a bridge answers address resolution; none where its file says nothing right of it.
    pub(super) fn suppresses(&self, bridge: usize) -> Option<bool> {
        self.drafts.get(bridge)?.neighbour_suppression
    }

    /// Reports a port that is not among those of a bridge.
    pub(super) fn check_port(
        &self,
        bridge: usize,
        port: Located<PortIndex>,
        ports: &Ports<'t>,
        findings: &mut Findings,
    ) {
        let (Some(draft), Some(places)) = (self.drafts.get(bridge), self.places.get(bridge)) else { return };
        let Some(written) = &draft.ports else { return };
        let all_known = places.iter().all(|place| place.port.is_some());
        if all_known && !places.iter().any(|place| place.port == Some(port.value)) {
            let message = format!("{} is not a port of this entry's bridge", quoted(ports.name(port.value)));
            findings.push(
                Diagnostic::error(port.span, message)
                    .label("not in the bridge")
                    .related(written.span, "the bridge's ports")
                    .remedy("name a port of the bridge, or add this one to it"),
            );
        }
    }

    /// Refuses bridges whose remote stations the kernel is to say where it is not asked.
    pub(super) fn check_control(&self, findings: &mut Findings) {
        let asking = self.drafts.iter().filter_map(|draft| draft.control.as_ref());
        for control in asking.filter(|control| control.value == "kernel") {
            findings.push(
                Diagnostic::error(control.span, "the kernel cannot control a bridge whose gateway does not ask it")
                    .label("`vtep.underlay` is \"static\"")
                    .remedy("set `underlay = \"kernel\"` in `[vtep]`, or `control = \"static\"` here"),
            );
        }
    }

    /// Refuses the first port of VXLAN that is one too many, with those of the gateway.
    pub(super) fn check_udp_ports(&self, gateway: &[Located<u16>], findings: &mut Findings) {
        let of_bridges = self.drafts.iter().filter_map(|draft| draft.udp_port?);
        let mut different = FxHashSet::default();
        for port in gateway.iter().copied().chain(of_bridges) {
            different.insert(port.value);
            if different.len() > MAX_UDP_PORTS {
                findings.push(
                    Diagnostic::error(port.span, format!("there are more than {MAX_UDP_PORTS} UDP ports of VXLAN"))
                        .label("one too many")
                        .remedy("give bridges whose remote VTEPs agree on a port the same one"),
                );
                return;
            }
        }
    }

    /// Refuses ageing times so far apart that one clock of 16 bits is too coarse for the shortest or wraps within the
    /// longest.
    pub(super) fn check_ageing(&self, fdb: &Fdb, findings: &mut Findings) {
        let inherited = Located { value: fdb.ageing.map_or(0, |ageing| ageing.as_secs()), span: Span::default() };
        let time = |draft: &BridgeDraft<'_>| match draft.ageing {
            Field::Given(own) => Some(own),
            Field::Absent => Some(inherited),
            Field::Bad => None,
        };
        let times = || self.drafts.iter().filter_map(time).filter(|time| time.value > 0);
        let (Some(shortest), Some(longest)) = (times().min_by_key(by_value), times().max_by_key(by_value)) else {
            return;
        };
        if longest.value <= shortest.value * MAX_AGEING_RATIO {
            return;
        }
        // One of the two is a bridge's own, for two bridges that have none have the same.
        let (at, other, label) = if shortest.span == Span::default() {
            (longest.span, shortest, "this long")
        } else {
            (shortest.span, longest, "this short")
        };
        let found = Diagnostic::error(at, format!("ageing times of {} s and {} s are too far apart", shortest.value, longest.value))
            .label(label)
            .remedy(format!(
                "the longest may be {MAX_AGEING_RATIO} times the shortest: choose at most {} s, at least {} s, or 0 for ever",
                shortest.value * MAX_AGEING_RATIO,
                longest.value.div_ceil(MAX_AGEING_RATIO),
            ));
        let related = other.span != Span::default();
        findings.push(if related { found.related(other.span, "and here") } else { found });
    }

    /// Refuses a bridge that tunnels the link-local frames of a port which keeps them: it would get those of others.
    pub(super) fn check_link_local(&self, ports: &Ports<'_>, findings: &mut Findings) {
        for (draft, places) in self.drafts.iter().zip(&self.places) {
            let Some(tunnelled) = draft.link_local.filter(|tunnelled| tunnelled.value) else { continue };
            let untagged = places.iter().filter(|place| place.vlans.is_some_and(|vlans| vlans.has_untagged()));
            let mut untagged = untagged.filter_map(|place| place.port);
            let keeper = untagged.find_map(|port| Some((ports.link_local(port)?, port)));
            if let Some((kept, port)) = keeper {
                let port = quoted(ports.name(port));
                findings.push(
                    Diagnostic::error(tunnelled.span, format!("port {port} keeps the link-local frames of its link"))
                        .label("tunnelled here")
                        .related(kept.span, "kept here")
                        .remedy("a link has one answer: remove `link_local` from the port or from the bridge"),
                );
            }
        }
    }

    /// All remote VTEPs of all bridges, repeats included.
    pub(super) fn remotes(&self) -> impl Iterator<Item = Located<IpAddr>> {
        self.drafts.iter().flat_map(|draft| draft.remotes.iter().copied())
    }

    /// The bridges, if all are right, ranges expanded.
    /// Those without an ageing time of their own have that of `fdb`.
    pub(super) fn finish(self, fdb: &Fdb) -> Option<Vec<Bridge>> {
        let mut bridges = Vec::new();
        for ((draft, places), group_ports) in self.drafts.into_iter().zip(self.places).zip(self.group_ports) {
            let vni = draft.vni?.value;
            let group = draft.group?.map(|group| Box::new(UnderlayGroup { address: group.value, ports: group_ports }));
            let template = Bridge {
                vni: Vni::new(vni.first).ok()?,
                ports: Vec::new(),
                udp_port: draft.udp_port?.map(|port| port.value),
                group_policy: draft.group_policy?,
                accept_group_policies: draft
                    .accept_group_policies?
                    .map(|ids| ids.into_iter().map(|id| id.value).collect()),
                remotes: draft.remotes.iter().map(|remote| remote.value).collect(),
                learning: draft.learning?,
                source_check: draft.source_check?,
                tags: draft.tags?,
                link_local: draft.link_local?.value,
                clamp_mss: draft.clamp_mss?,
                max_macs: draft.max_macs?,
                ageing: draft.ageing.optional()?.map_or(fdb.ageing, seconds_or_ever),
                control: if draft.control?.value == "kernel" { Control::Kernel } else { Control::Static },
                kernel_device: None,
                neighbour_suppression: draft.neighbour_suppression?,
                flooding: Flooding {
                    unknown_unicast: draft.unknown_unicast?,
                    storm: draft.storm?,
                    group,
                    snooping: draft.snooping?,
                },
            };
            let device = draft.kernel_device?;
            for (number, vni) in (0..).zip(vni.first..=vni.last) {
                let port =
                    |place: &BridgePlace| Some(BridgePort { port: place.port?, vlan: place.vlans?.nth(number)? });
                let ports = places.iter().map(port).collect::<Option<_>>()?;
                let kernel_device = device.as_ref().map(|pattern| name_of(&pattern.value, vni));
                bridges.push(Bridge { vni: Vni::new(vni).ok()?, ports, kernel_device, ..template.clone() });
            }
        }
        Some(bridges)
    }
}

fn accepts_nothing(span: Span) -> Diagnostic {
    Diagnostic::error(span, "the bridge would take nothing from remote VTEPs")
        .label("no group policy")
        .remedy("name the group policy IDs that it accepts, or leave the key out to take all packets")
}

fn by_value(time: &Located<u64>) -> u64 {
    time.value
}

/// What a bridge has of a port.
fn taken_by(vlan: AccessVlan) -> impl Iterator<Item = Taken> {
    let number = |vlan: VlanId| u32::from(vlan.get());
    let untagged = vlan.has_untagged().then_some(UNTAGGED);
    let tagged = vlan.vlan().map(|outer| (number(outer), vlan.inner().map_or(0, number)));
    untagged.into_iter().chain(tagged)
}

fn places_of(draft: &BridgeDraft<'_>, ports: &Ports<'_>, findings: &mut Findings) -> Vec<BridgePlace> {
    let Some(written) = &draft.ports else { return Vec::new() };
    if written.value.is_empty() {
        findings.push(
            Diagnostic::warning(written.span, "a bridge without ports has nothing to bridge")
                .label("no port")
                .remedy("name its access ports, or remove the bridge"),
        );
    }
    let mut names = FirstPlaces::new();
    let mut places = Vec::with_capacity(written.value.len());
    for port in &written.value {
        let vlans = port.vlans(&draft.vlans, findings);
        let name = port.name.as_ref();
        let first = name.and_then(|name| names.earlier(&*name.value, name.span));
        let found = match (name, first) {
            (Some(name), Some(first)) => {
                let message = format!("{} is in this bridge twice", quoted(&name.value));
                findings.push(twice(message, name.span, first));
                None
            }
            (Some(name), None) => ports.find(name, PortRole::Access, "a bridge's port", findings),
            (None, _) => None,
        };
        places.push(BridgePlace { port: found, span: port.span, vlans });
    }
    places
}

/// The uplinks of a bridge's group: those that are named, else all.
fn group_ports_of(draft: &BridgeDraft<'_>, ports: &Ports<'_>, findings: &mut Findings) -> Vec<PortIndex> {
    let Field::Given(written) = &draft.group_ports else { return ports.uplinks() };
    if draft.group == Some(None) {
        findings.push(
            Diagnostic::error(written.span, "`group_ports` without a `group`")
                .label("nothing is sent to them")
                .remedy("add `group`, or remove `group_ports`"),
        );
    }
    if written.value.is_empty() {
        findings.push(
            Diagnostic::error(written.span, "a group without uplinks is neither sent nor received")
                .label("no uplink")
                .remedy("name an uplink, or remove `group_ports` for all of them"),
        );
    }
    let mut places = FirstPlaces::new();
    let mut found = Vec::new();
    for name in &written.value {
        if let Some(first) = places.earlier(&name.value, name.span) {
            let message = format!("{} is in this list twice", quoted(&name.value));
            findings.push(twice(message, name.span, first));
        } else {
            found.extend(ports.find(name, PortRole::Uplink, "a group's port", findings));
        }
    }
    found
}

fn check_remotes(draft: &BridgeDraft<'_>, own: Option<Located<IpAddr>>, findings: &mut Findings) {
    let mut places = FirstPlaces::new();
    for remote in &draft.remotes {
        if let Some(first) = places.earlier(remote.value, remote.span) {
            let message = format!("the remote VTEP `{}` is in this bridge twice", remote.value);
            findings.push(twice(message, remote.span, first));
        } else if let Err(found) = remote_vtep(remote, own) {
            findings.push(found);
        }
    }
}

fn twice(message: String, span: Span, first: Span) -> Diagnostic {
    let found = Diagnostic::error(span, message).label("given again here").related(first, "given here first");
    found.remedy("remove one of the two")
}

fn two_bridges(clash: &Clash, port: &str, place: Span, first: Span) -> Diagnostic {
    let port = quoted(port);
    let message = if clash.first == UNTAGGED {
        format!("untagged frames of port {port} are in two bridges")
    } else {
        format!("{} in two bridges", clash.what("VLAN", &format!(" of port {port}")))
    };
    Diagnostic::error(place, message)
        .label("again in this bridge")
        .related(first, "in this bridge first")
        .remedy("a frame belongs to one bridge: choose another VLAN or port, or put both bridges together")
}

/// The different addresses among some.
pub(super) fn distinct(addresses: impl Iterator<Item = Located<IpAddr>>) -> Vec<Located<IpAddr>> {
    let mut seen = FxHashSet::default();
    addresses.filter(|address| seen.insert(address.value)).collect()
}

//! `[[port]]`, and the names by which the rest of the file speaks of ports.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::diagnostic::{Diagnostic, Findings, FirstPlaces, Span};
use super::kernel_devices::LONGEST_INTERFACE;
use super::model::{LinkLocal, Port, PortRole, StormLimits, Underlay};
use super::reader::Reader;
use super::schema::MAX_PORTS;
use super::singles::is_of_a_name;
use super::value::Located;
use super::wording::{listed, most_alike, quoted};
use crate::tables::PortIndex;
use crate::wire::MacAddr;
use crate::wire::ethernet::{ETHERTYPE_QINQ, ETHERTYPE_VLAN};

/// A `[[port]]` by itself.
pub(super) struct PortDraft<'t> {
    span: Span,
    name: Option<Located<Cow<'t, str>>>,
    device: Option<Located<Cow<'t, str>>>,
    role: Option<Located<PortRole>>,
    mac: Option<Option<MacAddr>>,
    mtu: Option<Option<u16>>,
    descriptors: Option<u16>,
    tpid: Option<Located<u16>>,
    kernel_interface: Option<Option<Located<Cow<'t, str>>>>,
    max_macs: Option<Option<Located<u32>>>,
    storm: Option<StormLimits>,
    link_local: Option<Option<Located<LinkLocal>>>,
}

impl<'t> PortDraft<'t> {
    pub(super) fn read(reader: &mut Reader<'t>, findings: &mut Findings) -> Self {
        let role = |role: Located<Cow<'_, str>>| {
            let value = if role.value == "uplink" { PortRole::Uplink } else { PortRole::Access };
            Located { value, span: role.span }
        };
        let tpid = |tpid: Located<Cow<'_, str>>| {
            let value = if tpid.value == "0x88a8" { ETHERTYPE_QINQ } else { ETHERTYPE_VLAN };
            Located { value, span: tpid.span }
        };
        Self {
            span: reader.span(),
            name: reader.get("name", findings).checked(is_a_name, findings).located(),
            device: reader.get("device", findings).checked(is_a_device, findings).located(),
            role: reader.get("role", findings).located().map(role),
            mac: reader.get("mac", findings).checked(|mac| is_a_station(mac, "a port"), findings).optional(),
            mtu: reader.get("mtu", findings).optional(),
            descriptors: reader.get("descriptors", findings).value(),
            tpid: reader.get("tpid", findings).located().map(tpid),
            kernel_interface: reader
                .get("kernel_interface", findings)
                .checked(is_an_interface, findings)
                .optional_located(),
            max_macs: reader.get("max_macs", findings).optional_located(),
            storm: read_storm_limits(reader, findings),
            link_local: reader.get("link_local", findings).optional_located().map(|given| given.map(link_local)),
        }
    }

    fn finish(self) -> Option<Port> {
        Some(Port {
            name: self.name?.value.into_owned(),
            device: self.device?.value.into_owned(),
            role: self.role?.value,
            mac: self.mac?,
            mtu: self.mtu?,
            descriptors: self.descriptors?,
            tpid: self.tpid?.value,
            kernel_interface: self.kernel_interface?.map(|name| name.value.into_owned()),
            max_macs: self.max_macs?.map(|limit| limit.value),
            storm: self.storm?,
            link_local: self.link_local?.map(|given| given.value),
        })
    }

    /// Where it says that the kernel gets the frames of its link.
    fn punts(&self) -> Option<Span> {
        let given = self.link_local.flatten().filter(|given| given.value == LinkLocal::Punt);
        given.map(|given| given.span)
    }

    fn drops(&self) -> bool {
        self.link_local.flatten().is_some_and(|given| given.value == LinkLocal::Drop)
    }

    fn has_role(&self, role: PortRole) -> bool {
        self.role.is_some_and(|found| found.value == role)
    }
}

fn link_local(word: Located<Cow<'_, str>>) -> Located<LinkLocal> {
    let value = if word.value == "punt" { LinkLocal::Punt } else { LinkLocal::Drop };
    Located { value, span: word.span }
}

/// The limits of storm control of a port or a bridge.
pub(super) fn read_storm_limits(reader: &mut Reader<'_>, findings: &mut Findings) -> Option<StormLimits> {
    // All are read before one that is bad gives up, so that each is told.
    let [broadcast, multicast, unknown_unicast] = ["broadcast_limit", "multicast_limit", "unknown_unicast_limit"]
        .map(|name| reader.get(name, findings).optional());
    Some(StormLimits { broadcast: broadcast?, multicast: multicast?, unknown_unicast: unknown_unicast? })
}

fn is_a_name(name: &Located<Cow<'_, str>>) -> Result<(), Diagnostic> {
    if name.value.chars().all(is_of_a_name) {
        return Ok(());
    }
    Err(Diagnostic::error(name.span, "the name of a port is made of letters, digits, `_`, `-` and `.`")
        .label("something else is in it")
        .remedy("choose a name of these characters; the metrics and `vtepctl` use it"))
}

/// A name that the kernel takes for an interface.
fn is_an_interface(name: &Located<Cow<'_, str>>) -> Result<(), Diagnostic> {
    if name.value.chars().all(is_of_a_name) && !matches!(&*name.value, "." | "..") {
        return Ok(());
    }
    Err(Diagnostic::error(name.span, "`kernel_interface` is not a name for an interface")
        .label("not such a name")
        .remedy("use up to 15 letters, digits, `_`, `-` and `.`"))
}

fn tpid_of_uplink(tpid: Span, role: Span) -> Diagnostic {
    Diagnostic::error(tpid, "an uplink has no VLANs, and so no kind of tag")
        .label("for access ports only")
        .related(role, "its role")
        .remedy("remove `tpid`")
}

fn interface_of_access_port(interface: Span, role: Span) -> Diagnostic {
    Diagnostic::error(interface, "this access port has no interface in the kernel")
        .label("for uplinks, and access ports that punt")
        .related(role, "its role")
        .remedy("remove `kernel_interface`, or add `link_local = \"punt\"` to have the kernel get LLDP and its like")
}

fn limit_of_uplink(limit: Span, role: Span) -> Diagnostic {
    Diagnostic::error(limit, "an uplink has no limit of MAC addresses")
        .label("for access ports only")
        .related(role, "its role")
        .remedy("remove `max_macs`; that of a `[[bridge]]` bounds what is learned from remote VTEPs, too")
}

/// A PCI address, or the name of a virtual device with arguments behind a comma.
fn is_a_device(device: &Located<Cow<'_, str>>) -> Result<(), Diagnostic> {
    let name = device_name(&device.value);
    let virtual_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    if pci_address(name).is_some() || virtual_name(name) {
        return Ok(());
    }
    Err(Diagnostic::error(device.span, "`device` must be a virtual device or a PCI address")
        .label("neither of them")
        .remedy("write it as in `net_tap0,iface=up0`, or as in `0000:01:10.0`; `dpdk-devbind.py -s` lists PCI devices"))
}

fn device_name(device: &str) -> &str {
    device.split_once(',').map_or(device, |(name, _)| name)
}

/// The parts of `DOMAIN:BUS:DEVICE.FUNCTION`; the domain may be left out and is then zero.
fn pci_address(name: &str) -> Option<[u32; 4]> {
    let (rest, function) = name.split_once('.')?;
    let mut parts = rest.rsplit(':');
    let hexadecimal = |text: &str, digits: usize| {
        let fits = (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| u32::from_str_radix(text, 16).ok())?
    };
    let (device, bus) = (hexadecimal(parts.next()?, 2)?, hexadecimal(parts.next()?, 2)?);
    let domain = parts.next().map_or(Some(0), |domain| hexadecimal(domain, 8))?;
    let function = hexadecimal(function, 1).filter(|function| *function < 8)?;
    (parts.next().is_none() && device < 32).then_some([domain, bus, device, function])
}

/// A MAC address that one station can have.
pub(super) fn is_a_station(mac: &Located<MacAddr>, whose: &str) -> Result<(), Diagnostic> {
    if mac.value.is_station() {
        return Ok(());
    }
    let what = if mac.value.is_group() { "a group address: the lowest bit of the first octet is set" } else { "zero" };
    Err(Diagnostic::error(mac.span, format!("`{}` cannot be the MAC address of {whose}", mac.value))
        .label(format!("this is {what}"))
        .remedy("write the address of one station, as in `02:00:00:bb:00:01`"))
}

/// All ports, and their names.
pub(super) struct Ports<'t> {
    drafts: Vec<PortDraft<'t>>,
    by_name: FxHashMap<Cow<'t, str>, PortIndex>,
    /// True if there is no port whose name is not known.
    complete: bool,
}

impl<'t> Ports<'t> {
    /// Relates the ports to each other.
    pub(super) fn new(drafts: Vec<PortDraft<'t>>, sound: bool, findings: &mut Findings) -> Self {
        let mut names = FirstPlaces::new();
        let mut devices = FirstPlaces::new();
        let mut interfaces = FirstPlaces::new();
        let mut by_name = FxHashMap::default();
        let twice = |span: Span, first: Span, message: String| {
            Diagnostic::error(span, message).label("given again here").related(first, "given here first")
        };
        for (index, draft) in drafts.iter().enumerate() {
            if index == MAX_PORTS {
                findings.push(
                    Diagnostic::error(draft.span, format!("there are more than {MAX_PORTS} ports"))
                        .label(format!("this is port {}", MAX_PORTS + 1))
                        .remedy("remove ports, or run a second instance"),
                );
            }
            if let Some(name) = &draft.name {
                by_name.entry(name.value.clone()).or_insert(PortIndex(u16::try_from(index).unwrap_or(u16::MAX)));
                if let Some(first) = names.earlier(name.value.clone(), name.span) {
                    let message = format!("two ports are called {}", quoted(&name.value));
                    findings.push(twice(name.span, first, message).remedy("give each port a name of its own"));
                }
            }
            if let Some(Some(interface)) = &draft.kernel_interface {
                if let Some(first) = interfaces.earlier(interface.value.clone(), interface.span) {
                    let message = format!("two ports have the kernel interface {}", quoted(&interface.value));
                    let remedy = "give each uplink an interface of its own";
                    findings.push(twice(interface.span, first, message).remedy(remedy));
                }
                let role = draft.role.filter(|role| role.value == PortRole::Access);
                if let Some(role) = role.filter(|_| matches!(draft.link_local, Some(None)) || draft.drops()) {
                    findings.push(interface_of_access_port(interface.span, role.span));
                }
            }
            let tpid = draft.tpid.filter(|tpid| tpid.value != ETHERTYPE_VLAN);
            if let (Some(tpid), Some(role)) = (tpid, draft.role.filter(|role| role.value == PortRole::Uplink)) {
                findings.push(tpid_of_uplink(tpid.span, role.span));
            }
            if let (Some(Some(limit)), Some(role)) = (draft.max_macs, draft.role)
                && role.value == PortRole::Uplink
            {
                findings.push(limit_of_uplink(limit.span, role.span));
            }
            if let Some(device) = &draft.device {
                let name = device_name(&device.value);
                let key = pci_address(name).map_or_else(|| name.to_owned(), |parts| format!("{parts:?}"));
                if let Some(first) = devices.earlier(key, device.span) {
                    let message = format!("the device {} is two ports", quoted(name));
                    let remedy =
                        "give each port a device of its own; virtual devices differ in the name before the comma";
                    findings.push(twice(device.span, first, message).remedy(remedy));
                }
            }
        }
        let complete = sound && drafts.iter().all(|draft| draft.name.is_some());
        Self { drafts, by_name, complete }
    }

    /// The port of a name, which must have the `role`; `user` is what the name is used for.
    pub(super) fn find(
        &self,
        name: &Located<Cow<'_, str>>,
        role: PortRole,
        user: &str,
        findings: &mut Findings,
    ) -> Option<PortIndex> {
        let Some(index) = self.by_name.get(&name.value).copied() else {
            if self.complete {
                findings.push(self.dangling(name, role));
            }
            return None;
        };
        let found = self.drafts.get(usize::from(index.0))?.role?;
        if found.value == role {
            return Some(index);
        }
        let kind = |role| if role == PortRole::Uplink { "an uplink" } else { "an access port" };
        let message = format!("{} is {}, and {user} must be {}", quoted(&name.value), kind(found.value), kind(role));
        findings.push(
            Diagnostic::error(name.span, message)
                .label(format!("must be {}", kind(role)))
                .related(found.span, "its role")
                .remedy(self.choice(role)),
        );
        None
    }

    fn dangling(&self, name: &Located<Cow<'_, str>>, role: PortRole) -> Diagnostic {
        let names = self.names(role);
        let remedy = match most_alike(&name.value, names.iter().copied()) {
            Some(meant) => format!("did you mean {}?", quoted(meant)),
            None => self.choice(role),
        };
        Diagnostic::error(name.span, format!("no port is called {}", quoted(&name.value)))
            .label("unknown port")
            .remedy(remedy)
    }

    /// What to name instead.
    fn choice(&self, role: PortRole) -> String {
        let (kind, word) = if role == PortRole::Uplink { ("uplink", "uplink") } else { ("access port", "access") };
        match self.names(role).as_slice() {
            [] => format!("there is no {kind}; add a `[[port]]` with `role = \"{word}\"`"),
            [only] => format!("the {kind} is {}", quoted(only)),
            names => format!("the {kind}s are {}", listed(names)),
        }
    }

    fn names(&self, role: PortRole) -> Vec<&str> {
        let of_role = |draft: &&PortDraft<'_>| draft.role.is_some_and(|found| found.value == role);
        self.drafts.iter().filter(of_role).filter_map(|draft| Some(&*draft.name.as_ref()?.value)).collect()
    }

    /// The name of a port, for messages.
    pub(super) fn name(&self, index: PortIndex) -> &str {
        let draft = self.drafts.get(usize::from(index.0));
        draft.and_then(|draft| draft.name.as_ref()).map_or("", |name| &name.value)
    }

    /// The uplinks.
    pub(super) fn uplinks(&self) -> Vec<PortIndex> {
        let is_uplink = |draft: &PortDraft<'_>| draft.role.is_some_and(|role| role.value == PortRole::Uplink);
        let uplinks = self.drafts.iter().enumerate().filter(|(_, draft)| is_uplink(draft));
        uplinks.map(|(index, _)| PortIndex(u16::try_from(index).unwrap_or(u16::MAX))).collect()
    }

    /// True if no port is an uplink, and none is that could not be read.
    pub(super) fn lacks_uplink(&self) -> bool {
        self.complete && self.drafts.iter().all(|draft| draft.has_role(PortRole::Access))
    }

    /// Refuses uplinks that are to punt where none has an interface in the kernel.
    pub(super) fn check_punting_uplinks(&self, findings: &mut Findings) {
        let uplinks = self.drafts.iter().filter(|draft| draft.has_role(PortRole::Uplink));
        for span in uplinks.filter_map(PortDraft::punts) {
            findings.push(
                Diagnostic::error(span, "an uplink cannot punt to a kernel where it has no interface")
                    .label("`vtep.underlay` is \"static\"")
                    .remedy("set `underlay = \"kernel\"` in `[vtep]`, or `link_local = \"drop\"` here"),
            );
        }
    }

    /// Refuses interfaces in the kernel that have the names of ports, where the kernel does not take those or two are alike;
    /// what `kernel_interface` says has been looked at. Uplinks that need no interface are only warned of.
    pub(super) fn check_interfaces(&self, underlay: Underlay, findings: &mut Findings) {
        let mut earlier: FxHashMap<&str, (Span, bool)> = FxHashMap::default();
        for draft in &self.drafts {
            let (Some(name), Some(given), Some(role)) = (&draft.name, &draft.kernel_interface, draft.role) else {
                continue;
            };
            let finding: fn(Span, String) -> Diagnostic = match (role.value, underlay) {
                (PortRole::Uplink, Underlay::Static) => continue,
                (PortRole::Uplink, Underlay::KernelIfPossible) => Diagnostic::warning,
                (PortRole::Access, _) if draft.punts().is_none() => continue,
                (PortRole::Uplink, Underlay::Kernel) | (PortRole::Access, _) => Diagnostic::error,
            };
            let (interface, is_given) = (given.as_ref().unwrap_or(name), given.is_some());
            if !is_given && (interface.value.len() > LONGEST_INTERFACE || is_an_interface(interface).is_err()) {
                let message = format!(
                    "the kernel has no interfaces called {} (up to {LONGEST_INTERFACE} characters, and not `.` or `..`), \
                     and `kernel_interface` is absent",
                    quoted(&name.value)
                );
                findings.push(
                    finding(name.span, message)
                        .label("the interface has the port's name")
                        .remedy("set `kernel_interface` here: up to 15 letters, digits, `_`, `-` and `.`"),
                );
                continue;
            }
            match earlier.get(&*interface.value) {
                // Two that are given, or two ports of one name, are told of already.
                Some((first, was_given)) if *was_given != is_given => {
                    let message = format!("two ports have the kernel interface {}", quoted(&interface.value));
                    findings.push(
                        finding(interface.span, message)
                            .label(if is_given { "given here" } else { "the interface has the port's name" })
                            .related(*first, "and here")
                            .remedy("set `kernel_interface` so that each port has an interface of its own"),
                    );
                }
                Some(_) => {}
                None => {
                    earlier.insert(&interface.value, (interface.span, is_given));
                }
            }
        }
    }

    /// What a port says of the frames of its own link, and where, if it says anything.
    pub(super) fn link_local(&self, index: PortIndex) -> Option<Located<LinkLocal>> {
        self.drafts.get(usize::from(index.0))?.link_local.flatten()
    }

    /// How many packet buffers the descriptors of all queues can hold, if each port has a receive and a transmit
    /// queue for each worker.
    pub(super) fn held_buffers(&self, workers: u64) -> u64 {
        let descriptors = self.drafts.iter().filter_map(|draft| draft.descriptors);
        descriptors.map(|descriptors| 2 * workers * u64::from(descriptors)).sum()
    }

    /// The ports, if all are right.
    pub(super) fn finish(self) -> Option<Vec<Port>> {
        self.drafts.into_iter().map(PortDraft::finish).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pci_address_is_known_in_all_its_spellings() {
        assert_eq!(pci_address("0000:01:10.0"), pci_address("01:10.0"));
        assert_eq!(pci_address("0000:0a:1F.7"), Some([0, 10, 31, 7]));
        for name in ["net_tap0", "01:20.0", "01:10.8", "01:10", "1:2:3:4.0", ":10.0", "0000:01:10.00", "+1:10.0"] {
            assert_eq!(pci_address(name), None, "{name}");
        }
    }
}

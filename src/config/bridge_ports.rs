//! The `ports` of a `[[bridge]]`: which frames of each port are the bridge's.

use std::borrow::Cow;

use super::diagnostic::{Diagnostic, Findings, Span};
use super::model::AccessVlan;
use super::reader::{Field, Reader};
use super::schema::BRIDGE_PORT;
use super::value::{Located, NameOrTable, Numbers};
use crate::wire::VlanId;

/// The VLANs that a bridge, or one of its ports, is given.
#[derive(Clone, Copy)]
pub(super) struct VlanFields {
    vlan: Field<Numbers>,
    inner_vlan: Field<Numbers>,
}

impl VlanFields {
    const NONE: Self = Self { vlan: Field::Absent, inner_vlan: Field::Absent };

    pub(super) fn read(reader: &mut Reader<'_>, findings: &mut Findings) -> Self {
        Self { vlan: reader.get("vlan", findings), inner_vlan: reader.get("inner_vlan", findings) }
    }

    /// Reports an inner VLAN without an outer one.
    pub(super) fn check(&self, findings: &mut Findings) {
        if let (Field::Absent, Field::Given(inner)) = (self.vlan, self.inner_vlan) {
            findings.push(inner_alone(inner.span));
        }
    }
}

/// One of the `ports` by itself.
pub(super) struct BridgePortDraft<'t> {
    pub(super) span: Span,
    pub(super) name: Option<Located<Cow<'t, str>>>,
    vlans: VlanFields,
    untagged: Option<Located<bool>>,
    native: Option<Located<bool>>,
    priority_tag: Option<Located<bool>>,
}

impl<'t> BridgePortDraft<'t> {
    /// Reads a name, or a table of keys.
    pub(super) fn read(written: Located<NameOrTable<'t>>, findings: &mut Findings) -> Self {
        let span = written.span;
        match written.value {
            NameOrTable::Name(name) => Self {
                span,
                name: Some(Located { value: name, span }),
                vlans: VlanFields::NONE,
                untagged: None,
                native: None,
                priority_tag: None,
            },
            NameOrTable::Table(table, base) => {
                let reader = &mut Reader::new(&BRIDGE_PORT, table, base, span, true, findings);
                let mut is_set = |name, findings: &mut Findings| {
                    reader.get::<bool>(name, findings).located().filter(|value| value.value)
                };
                let [untagged, native, priority_tag] =
                    ["untagged", "native", "priority_tag"].map(|name| is_set(name, findings));
                let name = reader.get("port", findings).located();
                Self { span, name, vlans: VlanFields::read(reader, findings), untagged, native, priority_tag }
            }
        }
    }

    /// Which frames of the port are the bridge's, whose VLANs are `of_bridge` where the port has none of its own. None
    /// where that cannot be said, and has been reported.
    pub(super) fn vlans(&self, of_bridge: &VlanFields, findings: &mut Findings) -> Option<VlanRange> {
        match self.resolve(of_bridge) {
            Ok(vlans) => vlans,
            Err(found) => {
                findings.push(found);
                None
            }
        }
    }

    fn resolve(&self, of_bridge: &VlanFields) -> Result<Option<VlanRange>, Diagnostic> {
        let own = &self.vlans;
        if let Some(untagged) = self.untagged {
            let other = own.vlan.located().or_else(|| own.inner_vlan.located()).map(|vlan| vlan.span);
            if let Some(other) = other.or_else(|| self.native.map(|native| native.span)) {
                return Err(untagged_with_vlan(untagged.span, other));
            }
            return Ok(Some(if self.priority_tag.is_some() { VlanRange::PriorityTagged } else { VlanRange::Untagged }));
        }
        // A port with a VLAN of its own has nothing of the bridge's.
        let inherits = own.vlan == Field::Absent;
        let vlan = if inherits { of_bridge.vlan } else { own.vlan };
        let inner = if inherits && own.inner_vlan == Field::Absent { of_bridge.inner_vlan } else { own.inner_vlan };
        let (Some(vlan), Some(inner)) = (vlan.optional_located(), inner.optional_located()) else { return Ok(None) };
        if let Some(tag) = self.priority_tag.filter(|_| vlan.is_some()) {
            return Err(priority_tag_with_vlan(tag.span));
        }
        match (vlan, inner, self.native) {
            (None, None, None) if self.priority_tag.is_some() => Ok(Some(VlanRange::PriorityTagged)),
            (None, None, None) => Ok(Some(VlanRange::Untagged)),
            (None, None, Some(native)) => Err(native_without_vlan(native.span)),
            (Some(vlan), None, None) => Ok(Some(VlanRange::Tagged(vlan))),
            (Some(vlan), None, Some(_)) => Ok(Some(VlanRange::Native(vlan))),
            (Some(outer), Some(inner), None) => Ok(Some(VlanRange::QinQ { outer, inner })),
            (Some(_), Some(inner), Some(native)) => Err(native_with_inner(native.span, inner.span)),
            // That of the bridge was reported there.
            (None, Some(_), _) if own.inner_vlan == Field::Absent => Ok(None),
            (None, Some(inner), _) => Err(inner_alone(inner.span)),
        }
    }
}

fn inner_alone(inner: Span) -> Diagnostic {
    Diagnostic::error(inner, "`inner_vlan` is the VLAN of a second tag, and there is no `vlan` for the first")
        .label("the second of two tags")
        .remedy("add `vlan`, the VLAN of the tag in front; where there is one tag only, it is `vlan`")
}

fn untagged_with_vlan(untagged: Span, other: Span) -> Diagnostic {
    Diagnostic::error(other, "an untagged port has no VLAN")
        .label("of a VLAN")
        .related(untagged, "and untagged")
        .remedy("remove `untagged`; where untagged frames are of a VLAN, write `native = true` beside `vlan`")
}

fn priority_tag_with_vlan(tag: Span) -> Diagnostic {
    Diagnostic::error(tag, "a priority tag is a tag without a VLAN, and this port has one")
        .label("for untagged ports")
        .remedy("remove `priority_tag`: the tag of a VLAN carries the priority, too; or write `untagged = true`")
}

fn native_without_vlan(native: Span) -> Diagnostic {
    Diagnostic::error(native, "`native` says that untagged frames are of a VLAN, and there is none")
        .label("of which VLAN?")
        .remedy("add `vlan`; for a port without tags write `untagged = true`")
}

fn native_with_inner(native: Span, inner: Span) -> Diagnostic {
    Diagnostic::error(native, "frames of a native VLAN are sent without a tag, and these have two")
        .label("without a tag")
        .related(inner, "with two tags")
        .remedy("remove `native`, or `inner_vlan`")
}

/// Which frames of a port are a bridge's; with ranges, those of several bridges, in order.
#[derive(Clone, Copy)]
pub(super) enum VlanRange {
    Untagged,
    PriorityTagged,
    Native(Located<Numbers>),
    Tagged(Located<Numbers>),
    QinQ { outer: Located<Numbers>, inner: Located<Numbers> },
}

impl VlanRange {
    /// Those of the bridge of this number, from 0.
    pub(super) fn nth(&self, number: u32) -> Option<AccessVlan> {
        let vlan = |vlans: &Located<Numbers>| {
            let Numbers { first, last } = vlans.value;
            // One VLAN stands for all of a range of inner ones, or the other way round.
            let vlan = if first == last { first } else { first.checked_add(number)? };
            VlanId::new(u16::try_from(vlan).ok()?).ok()
        };
        Some(match self {
            Self::Untagged => AccessVlan::Untagged,
            Self::PriorityTagged => AccessVlan::PriorityTagged,
            Self::Native(vlans) => AccessVlan::Native(vlan(vlans)?),
            Self::Tagged(vlans) => AccessVlan::Tagged(vlan(vlans)?),
            Self::QinQ { outer, inner } => AccessVlan::QinQ { outer: vlan(outer)?, inner: vlan(inner)? },
        })
    }

    /// Whether the port's untagged frames are among them.
    pub(super) fn has_untagged(&self) -> bool {
        matches!(self, Self::Untagged | Self::PriorityTagged | Self::Native(_))
    }

    /// How many bridges they are for.
    pub(super) fn count(&self) -> u32 {
        let count = match self {
            // A port has one native VLAN; that a range is wrong is said where lengths are compared.
            Self::Untagged | Self::PriorityTagged | Self::Native(_) => 1,
            Self::Tagged(vlans) => vlans.value.count(),
            Self::QinQ { outer, inner } => outer.value.count().max(inner.value.count()),
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The place that says so, or that of the `entry`.
    pub(super) fn place(&self, entry: Span) -> Span {
        match self {
            Self::Untagged | Self::PriorityTagged => entry,
            Self::Native(vlans) | Self::Tagged(vlans) => vlans.span,
            Self::QinQ { outer, inner } => {
                if outer.value.is_range() {
                    outer.span
                } else {
                    inner.span
                }
            }
        }
    }

    /// Whether they are as many as the VNIs; what does not agree is reported.
    pub(super) fn agrees(&self, vni: Located<Numbers>, findings: &mut Findings) -> bool {
        let found = match self {
            Self::Untagged | Self::PriorityTagged if vni.value.is_range() => without_vlan(vni.span),
            Self::Native(vlans) if vni.value.is_range() => native_range(vlans.span, vni.span),
            Self::Untagged | Self::PriorityTagged => return true,
            Self::Native(vlans) | Self::Tagged(vlans) if vlans.value.count() == vni.value.count() => return true,
            Self::Native(vlans) | Self::Tagged(vlans) => different_lengths("vlan", *vlans, vni),
            Self::QinQ { outer, inner } => {
                let fits =
                    |vlans: &Located<Numbers>| !vlans.value.is_range() || vlans.value.count() == vni.value.count();
                match (fits(outer), fits(inner)) {
                    (false, _) => different_lengths("vlan", *outer, vni),
                    (true, false) => different_lengths("inner_vlan", *inner, vni),
                    _ if u64::from(self.count()) == vni.value.count() => return true,
                    _ => different_lengths("inner_vlan", *inner, vni),
                }
            }
        };
        findings.push(found);
        false
    }
}

fn without_vlan(vni: Span) -> Diagnostic {
    Diagnostic::error(vni, "a range of VNIs needs a range of VLANs of the same length")
        .label("`vlan` is missing")
        .remedy("a port's untagged frames can be in one bridge only; add `vlan`, or write a single VNI")
}

fn native_range(vlans: Span, vni: Span) -> Diagnostic {
    Diagnostic::error(vlans, "a port has one native VLAN, and this is for several bridges")
        .label("native VLANs")
        .related(vni, "a range of VNIs")
        .remedy("give the bridge of the native VLAN a `[[bridge]]` of its own")
}

fn different_lengths(key: &str, vlans: Located<Numbers>, vni: Located<Numbers>) -> Diagnostic {
    let of = |numbers: Numbers, what: &str| match numbers.count() {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let last = u64::from(vlans.value.first) + vni.value.count() - 1;
    let remedy = if last <= 4094 && vni.value.is_range() {
        format!("for as many VLANs, write `{key} = \"{}-{last}\"`", vlans.value.first)
    } else {
        "write two ranges of the same length; they are paired in order".to_owned()
    };
    Diagnostic::error(vlans.span, format!("`vni` and `{key}` are ranges of different lengths"))
        .label(of(vlans.value, "VLAN"))
        .related(vni.span, of(vni.value, "VNI"))
        .remedy(remedy)
}

//! `kernel_device` of a `[[bridge]]`: the name of a vxlan device of the kernel's, in which `{vni}` stands for the VNI.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::diagnostic::{Diagnostic, Findings, Span};
use super::singles::is_of_a_name;
use super::value::{Located, Numbers};
use super::wording::quoted;

/// What stands for the VNI.
const VNI: &str = "{vni}";
/// The longest name of an interface, in bytes (`IFNAMSIZ`, with the zero that ends it).
pub(super) const LONGEST_INTERFACE: usize = 15;

/// The name of the device of a VNI.
pub(super) fn name_of(pattern: &str, vni: u32) -> Box<str> {
    pattern.replace(VNI, &vni.to_string()).into_boxed_str()
}

/// Looks at the name of each bridge's device, and that no two are alike.
#[derive(Default)]
pub(super) struct KernelDevices {
    taken: FxHashMap<Box<str>, Span>,
}

impl KernelDevices {
    /// Looks at the pattern of the bridges with these VNIs; `control` is who says where their remote stations are.
    pub(super) fn check(
        &mut self,
        pattern: &Located<Cow<'_, str>>,
        vni: Located<Numbers>,
        control: Option<&Located<Cow<'_, str>>>,
        findings: &mut Findings,
    ) {
        if control.is_some_and(|control| control.value != "kernel") {
            return findings.push(
                Diagnostic::error(pattern.span, "the bridge has nothing to do with the kernel's devices")
                    .label("for bridges whose `control` is \"kernel\"")
                    .remedy("set `control = \"kernel\"` in this `[[bridge]]`, or remove `kernel_device`"),
            );
        }
        let longest = name_of(&pattern.value, vni.value.last);
        let is_a_name = longest.len() <= LONGEST_INTERFACE
            && longest.chars().all(is_of_a_name)
            && !matches!(&*longest, "" | "." | "..");
        if !is_a_name {
            return findings.push(
                Diagnostic::error(pattern.span, "`kernel_device` is not a name for an interface")
                    .label(format!("of VNI {} it would be {}", vni.value.last, quoted(&longest)))
                    .remedy("use up to 15 letters, digits, `_`, `-` and `.`; `{vni}` stands for the VNI"),
            );
        }
        if vni.value.is_range() && !pattern.value.contains(VNI) {
            return findings.push(
                Diagnostic::error(pattern.span, "many bridges cannot have one device in the kernel")
                    .label("the same for each VNI")
                    .related(vni.span, "the VNIs")
                    .remedy("write `{vni}` in the name where the VNI stands, as in `kernel_device = \"vx{vni}\"`"),
            );
        }
        for number in vni.value.first..=vni.value.last {
            let name = name_of(&pattern.value, number);
            if let Some(first) = self.taken.get(&name) {
                return findings.push(
                    Diagnostic::error(pattern.span, format!("two bridges have the kernel device {}", quoted(&name)))
                        .label("given again here")
                        .related(*first, "given here first")
                        .remedy("name the device with the bridge's VNI in each"),
                );
            }
            self.taken.insert(name, pattern.span);
        }
    }
}

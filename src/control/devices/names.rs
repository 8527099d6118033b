//! What the gateway's own devices are called.

use crate::wire::Vni;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Bridge,
    Vxlan,
    /// The TAP that stands for the access ports.
    Tap,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Bridge, Self::Vxlan, Self::Tap];
    pub(super) const COUNT: usize = Self::ALL.len();

    const fn prefix(self) -> &'static str {
        match self {
            Self::Bridge => "vtbr",
            Self::Vxlan => "vtvx",
            Self::Tap => "vtac",
        }
    }
}

/// The name of a VNI's device: at most 12 bytes of the 15 that a name may have.
pub(super) fn name(kind: Kind, vni: Vni) -> String {
    format!("{}{}", kind.prefix(), vni.get())
}

/// What a device of that name is.
pub(super) fn read_name(text: &str) -> Option<(Kind, Vni)> {
    let read = |kind: Kind| Some((kind, Vni::new(text.strip_prefix(kind.prefix())?.parse().ok()?).ok()?));
    let (kind, vni) = Kind::ALL.into_iter().find_map(read)?;
    (name(kind, vni) == text).then_some((kind, vni))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_no_other_is() {
        for kind in Kind::ALL {
            for number in [0, 100, Vni::MAX] {
                let vni = Vni::new(number).expect("24 bits");
                assert_eq!(read_name(&name(kind, vni)), Some((kind, vni)));
                assert!(name(kind, vni).len() <= 15);
            }
        }
        for other in ["", "vtbr", "vtbr0100", "vtbr+1", "vtbr16777216", "br100", "vtbr1x"] {
            assert_eq!(read_name(other), None, "{other}");
        }
    }
}

//! What the gateway's own devices are called.

use crate::wire::Vni;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Bridge,
    Vxlan,
    /// The bridge's port that stands for the access ports.
    Port,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Bridge, Self::Vxlan, Self::Port];
    pub(super) const COUNT: usize = Self::ALL.len();

    const fn prefix(self) -> &'static str {
        match self {
            Self::Bridge => "vtbr",
            Self::Vxlan => "vtvx",
            Self::Port => "vtac",
        }
    }
}

/// The name of a VNI's device: at most 12 bytes of the 15 that a name may have.
pub(super) fn name(kind: Kind, vni: Vni) -> String {
    format!("{}{}", kind.prefix(), vni.get())
}

/// What a device of that name is.
pub(super) fn read_name(text: &str) -> Option<(Kind, Vni)> {
    let of_kind = |kind: Kind| Some((kind, text.strip_prefix(kind.prefix())?));
    let (kind, digits) = Kind::ALL.into_iter().find_map(of_kind)?;
    // As a number is written, and not as one may also be read.
    let is_written = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit());
    Some((kind, Vni::new(digits.parse().ok().filter(|_| is_written)?).ok()?))
}

/// The longest name that a link may have, in bytes.
const LONGEST: usize = 15;

/// The name of the TAP that all ports of a gateway are made on. Each gateway in a network namespace has its own, by its
/// `file_prefix`, of which a number stands for one that is too long.
pub(super) fn tap_name(file_prefix: &str) -> String {
    let name = format!("{}-{file_prefix}", Kind::Port.prefix());
    if name.len() <= LONGEST {
        return name;
    }
    // FNV-1a, which is the same in every run and every build.
    let hash =
        file_prefix.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{}-{hash:08x}", Kind::Port.prefix())
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
        for other in ["", "vtbr", "vtbr0100", "vtbr+1", "vtbr16777216", "br100", "vtbr1x", "vtac-vtepd"] {
            assert_eq!(read_name(other), None, "{other}");
        }
    }

    #[test]
    fn each_gateway_has_a_tap_of_its_own_whose_name_fits() {
        assert_eq!(tap_name("vtepd"), "vtac-vtepd");
        let [one, other] = ["vtepd-of-the-first-rack", "vtepd-of-the-other-rack"].map(tap_name);
        assert_ne!(one, other);
        assert!(one.len() <= LONGEST && read_name(&one).is_none(), "{one}");
    }
}

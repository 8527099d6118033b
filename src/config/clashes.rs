//! What is already taken by others, told in as few words as it takes.

/// VNIs, or VLANs of a port, or pairs of VLANs, that are already taken by others; those next to each other and by the same
/// one put together.
#[derive(Default)]
pub(super) struct Clashes(pub(super) Vec<Clash>);

/// A VNI, or the VLAN of one tag, and zero; or the VLANs of two tags; or twice zero, for untagged frames.
pub(super) type Taken = (u32, u32);
pub(super) const UNTAGGED: Taken = (0, 0);

pub(super) struct Clash {
    /// Who has them.
    pub(super) other: usize,
    pub(super) first: Taken,
    last: Taken,
}

impl Clashes {
    pub(super) fn add(&mut self, other: usize, taken: Taken) {
        let step = |from: Taken, to: Taken| (to.0.wrapping_sub(from.0), to.1.wrapping_sub(from.1));
        match self.0.last_mut() {
            Some(clash)
                if clash.other == other
                    && clash.last != UNTAGGED
                    && matches!(step(clash.last, taken), (1, 0) | (0, 1) | (1, 1))
                    && (clash.first == clash.last || clash.step() == step(clash.last, taken)) =>
            {
                clash.last = taken;
            }
            _ => self.0.push(Clash { other, first: taken, last: taken }),
        }
    }
}

impl Clash {
    fn step(&self) -> Taken {
        (u32::from(self.first.0 != self.last.0), u32::from(self.first.1 != self.last.1))
    }

    /// The numbers, of what they are, and the verb.
    pub(super) fn what(&self, name: &str, of: &str) -> String {
        let numbers = |first: u32, last: u32| {
            if first == last { format!("{name} {first}") } else { format!("{name}s {first} to {last}") }
        };
        let outer = numbers(self.first.0, self.last.0);
        let inner = match (self.first.1, self.last.1) {
            (0, _) => String::new(),
            (first, last) => format!(" with inner {}", numbers(first, last)),
        };
        format!("{outer}{inner}{of} {}", if self.first == self.last { "is" } else { "are" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_told_together_and_others_apart() {
        let mut clashes = Clashes::default();
        for (other, taken) in [
            (0, UNTAGGED),
            (0, (1, 0)),
            (0, (5, 0)),
            (0, (6, 0)),
            (1, (7, 0)),
            (1, (9, 0)),
            (1, (9, 3)),
            (1, (9, 4)),
            (1, (10, 4)),
            (1, (11, 5)),
        ] {
            clashes.add(other, taken);
        }
        let told: Vec<_> = clashes.0.iter().map(|clash| clash.what("VLAN", " of port `a`")).collect();
        let expected = [
            "VLAN 0 of port `a` is",
            "VLAN 1 of port `a` is",
            "VLANs 5 to 6 of port `a` are",
            "VLAN 7 of port `a` is",
            "VLAN 9 of port `a` is",
            "VLAN 9 with inner VLANs 3 to 4 of port `a` are",
            "VLANs 10 to 11 with inner VLANs 4 to 5 of port `a` are",
        ];
        assert_eq!(told, expected);
    }
}

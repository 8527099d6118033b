//! VNI to bridge: one flat table, so that a lookup takes one load of one cache line, wherever in the 24-bit space the
//! VNIs in use lie.

use super::BridgeIndex;
use crate::wire::Vni;

/// A VNI and its bridge.
#[derive(Clone, Copy, Debug)]
struct Slot {
    vni: u32,
    bridge: BridgeIndex,
}

impl Slot {
    /// No VNI has this number: they have 24 bits.
    const NONE: u32 = u32::MAX;
    const EMPTY: Self = Self { vni: Self::NONE, bridge: BridgeIndex(u16::MAX) };
}

const _: () = assert!(size_of::<Slot>() == 8);

/// An immutable map from VNI to bridge: an open-addressing table, at most a quarter full, so that a probe seldom looks
/// at more than one slot. Takes 32 to 64 bytes a bridge.
#[derive(Clone, Debug)]
pub struct VniMap {
    slots: Box<[Slot]>,
    /// VNIs whose packets are all to go the unusual way: [`VniMap::get`] does not know them.
    set_aside: Option<Box<VniMap>>,
}

impl VniMap {
    /// The map of these pairs; a VNI given twice keeps the last bridge.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (Vni, BridgeIndex)>) -> Self {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let slots = vec![Slot::EMPTY; (pairs.len() * 4).next_power_of_two().max(4)].into();
        let mut map = Self { slots, set_aside: None };
        let mask = map.slots.len() - 1;
        for (vni, bridge) in pairs {
            let vni = vni.get();
            let mut slot = map.home(vni);
            while map.slots[slot].vni != Slot::NONE && map.slots[slot].vni != vni {
                slot = (slot + 1) & mask;
            }
            map.slots[slot] = Slot { vni, bridge };
        }
        map
    }

    /// The map with these pairs as well, which only [`VniMap::get_any`] finds.
    #[must_use]
    pub fn setting_aside(self, pairs: impl IntoIterator<Item = (Vni, BridgeIndex)>) -> Self {
        Self { set_aside: Some(Box::new(Self::new(pairs))), ..self }
    }

    /// The bridge of a VNI, also where it was set aside.
    #[must_use]
    pub fn get_any(&self, vni: Vni) -> Option<BridgeIndex> {
        self.get(vni).or_else(|| self.set_aside.as_ref()?.get(vni))
    }

    /// The bridge of a VNI that was not set aside.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, vni: Vni) -> Option<BridgeIndex> {
        let vni = vni.get();
        let home = self.home(vni);
        let slot = self.slots.get(home)?;
        if slot.vni == vni { Some(slot.bridge) } else { self.search_behind(home, vni) }
    }

    /// Ends at an empty slot: three quarters of them are.
    #[cold]
    #[inline(never)]
    fn search_behind(&self, home: usize, vni: u32) -> Option<BridgeIndex> {
        let mut at = home;
        while let Some(slot) = self.slots.get(at).filter(|slot| slot.vni != Slot::NONE) {
            if slot.vni == vni {
                return Some(slot.bridge);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }

    /// Where a VNI is if its place was free. Multiplied by the golden ratio, numbers that follow each other, or that lie
    /// a power of two apart, come to lie apart.
    #[inline(always)]
    fn home(&self, vni: u32) -> usize {
        let mixed = u64::from(vni).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_24_bit_space_is_told_apart() {
        let vni = |value| Vni::new(value).expect("24 bits");
        let vnis = [0, 1, 4095, 4096, 0x0012_3456, Vni::MAX].map(vni);
        let pair = |(index, vni): (usize, &Vni)| (*vni, BridgeIndex(index as u16));
        let map = VniMap::new(vnis.iter().enumerate().map(pair));
        for (index, vni) in vnis.iter().enumerate() {
            assert_eq!(map.get(*vni), Some(BridgeIndex(index as u16)), "VNI {vni}");
        }
        for vni in [2, 4097, 0x0012_3457, Vni::MAX - 1].map(vni) {
            assert_eq!(map.get(vni), None, "VNI {vni}");
        }
    }

    #[test]
    fn as_many_bridges_as_there_can_be_are_found_however_their_vnis_lie_and_no_probe_is_long() {
        for stride in [1, 2, 16, 100, 256] {
            let vni = |number: u32| Vni::new(number * stride % (Vni::MAX + 1)).expect("24 bits");
            let map = VniMap::new((0..65_535).map(|number| (vni(number), BridgeIndex(number as u16))));
            for number in 0..65_535 {
                assert_eq!(map.get(vni(number)), Some(BridgeIndex(number as u16)));
            }
            let runs = map.slots.chunk_by(|one, next| (one.vni == Slot::NONE) == (next.vni == Slot::NONE));
            let longest = runs.filter(|run| run[0].vni != Slot::NONE).map(<[Slot]>::len).max();
            assert!(longest < Some(32), "{longest:?} slots in a row for a stride of {stride}");
        }
        assert_eq!(VniMap::new([]).get(Vni::default()), None);
    }
}

//! VNI to bridge: two levels of 4096 entries, so that the whole 24-bit space is reached by two loads and only the
//! pages in use take memory (8 KiB each).

use super::BridgeIndex;
use crate::wire::Vni;

const PAGE: usize = 4096;
const NONE: u16 = u16::MAX;

/// An immutable map from VNI to bridge.
#[derive(Clone, Debug)]
pub struct VniMap {
    /// Which page holds a VNI's upper 12 bits; page 0 is empty and stands for all that are not in use.
    directory: Box<[u16; PAGE]>,
    pages: Vec<[u16; PAGE]>,
}

impl VniMap {
    /// The map of these pairs; a VNI given twice keeps the last bridge.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (Vni, BridgeIndex)>) -> Self {
        let mut map = Self { directory: Box::new([0; PAGE]), pages: vec![[NONE; PAGE]] };
        for (vni, bridge) in pairs {
            let (upper, lower) = Self::split(vni.get());
            if map.directory[upper] == 0 {
                // At most 4096 pages exist besides the empty one, so the number always fits.
                map.directory[upper] = map.pages.len() as u16;
                map.pages.push([NONE; PAGE]);
            }
            map.pages[usize::from(map.directory[upper])][lower] = bridge.0;
        }
        map
    }

    /// The bridge of a VNI.
    #[inline]
    #[must_use]
    pub fn get(&self, vni: Vni) -> Option<BridgeIndex> {
        let (upper, lower) = Self::split(vni.get());
        let page = self.pages.get(usize::from(self.directory[upper]))?;
        match page[lower] {
            NONE => None,
            bridge => Some(BridgeIndex(bridge)),
        }
    }

    #[inline]
    const fn split(vni: u32) -> (usize, usize) {
        ((vni >> 12) as usize % PAGE, vni as usize % PAGE)
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
}

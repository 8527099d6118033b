//! Which way each share of the flows takes.
//!
//! A remote VTEP with several ways has a fixed number of slots; a flow's hash chooses the slot, and each slot has a
//! way. When ways come or go, a slot keeps its way if that is still there and is not owed fewer slots now, so that
//! flows which need not move stay where they are, in order.

use crate::tables::next_hop_group::BUCKETS;

/// The slots of a remote VTEP with more than one way: the buckets of its group.
pub const SLOTS: usize = BUCKETS;

/// The way of every slot, as its place in `weights`: one slot for one way, [`SLOTS`] for more, none for none.
///
/// Each way has slots by its weight, by the largest-remainder method, and at least one if there are no more ways than
/// slots. `before` says, by places in `weights` too, which way each slot had so far; `None` for one that is gone.
#[must_use]
pub fn slots(weights: &[u32], before: &[Option<usize>]) -> Vec<usize> {
    if weights.len() < 2 {
        return (0..weights.len()).collect();
    }
    let mut owed = quotas(weights);
    let mut slots: Vec<Option<usize>> = (0..SLOTS)
        .map(|slot| {
            // A lone way before had all flows, whatever their slot now.
            let way = before.get(slot % before.len().max(1)).copied().flatten()?;
            let quota = owed.get_mut(way)?;
            *quota = quota.checked_sub(1)?;
            Some(way)
        })
        .collect();
    let mut rest = owed.iter().enumerate().flat_map(|(way, quota)| std::iter::repeat_n(way, *quota));
    for slot in slots.iter_mut().filter(|slot| slot.is_none()) {
        *slot = rest.next();
    }
    slots.into_iter().flatten().collect()
}

/// How many slots each way is owed; all of them together, [`SLOTS`].
fn quotas(weights: &[u32]) -> Vec<usize> {
    let total = weights.iter().map(|weight| u64::from(*weight)).sum::<u64>().max(1);
    let exact = |weight: u32| u64::from(weight) * SLOTS as u64;
    let mut quotas: Vec<usize> = weights.iter().map(|weight| (exact(*weight) / total) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|way| std::cmp::Reverse(weights.get(*way).map(|weight| exact(*weight) % total)));
    let missing = SLOTS.saturating_sub(quotas.iter().sum());
    for way in by_remainder.into_iter().cycle().take(missing) {
        if let Some(quota) = quotas.get_mut(way) {
            *quota += 1;
        }
    }
    if weights.len() <= SLOTS {
        while let Some(none) = quotas.iter().position(|quota| *quota == 0) {
            let Some(most) = (0..quotas.len()).max_by_key(|way| quotas.get(*way)) else { break };
            for (way, quota) in quotas.iter_mut().enumerate() {
                *quota = *quota + usize::from(way == none) - usize::from(way == most);
            }
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(slots: &[usize], way: usize) -> usize {
        slots.iter().filter(|slot| **slot == way).count()
    }

    #[test]
    fn weights_decide_how_many_slots_a_way_has() {
        assert_eq!(slots(&[], &[]), [] as [usize; 0]);
        assert_eq!(slots(&[7], &[]), [0]);
        for (weights, shares) in [
            (&[1, 1][..], &[32, 32][..]),
            (&[3, 1], &[48, 16]),
            (&[1, 1, 1], &[22, 21, 21]),
            (&[1000, 1, 1], &[62, 1, 1]),
            (&[0, 0], &[32, 32]),
        ] {
            let slots = slots(weights, &[]);
            let counted: Vec<usize> = (0..weights.len()).map(|way| share(&slots, way)).collect();
            assert_eq!(counted, shares, "{weights:?}");
        }
    }

    #[test]
    fn a_second_way_takes_only_its_share_from_the_first() {
        let slots = slots(&[1, 1], &[Some(1)]);
        assert_eq!((share(&slots, 0), share(&slots, 1)), (32, 32));
    }

    proptest! {
        #[test]
        fn all_slots_are_given_and_shares_are_within_one_of_the_weights(
            weights in prop::collection::vec(1..1000_u32, 2..20),
        ) {
            let given = slots(&weights, &[]);
            prop_assert_eq!(given.len(), SLOTS);
            let total: u32 = weights.iter().sum();
            for (way, weight) in weights.iter().enumerate() {
                let exact = f64::from(*weight) * SLOTS as f64 / f64::from(total);
                let share = share(&given, way);
                prop_assert!(share >= 1);
                // What gives others their least slot may be short of more.
                prop_assert!((share as f64) < exact + 1.0 + f64::EPSILON || share == 1, "{share} of {exact}");
            }
        }

        #[test]
        fn flows_of_the_ways_that_stay_mostly_stay(
            weights in prop::collection::vec(1..8_u32, 3..12), gone in any::<prop::sample::Index>(),
        ) {
            let before = slots(&weights, &[]);
            let gone = gone.index(weights.len());
            let mut left = weights.clone();
            left.remove(gone);
            let place = |way: usize| (way != gone).then_some(if way > gone { way - 1 } else { way });
            let kept: Vec<Option<usize>> = before.iter().map(|way| place(*way)).collect();
            let after = slots(&left, &kept);
            prop_assert_eq!(after.len(), SLOTS);
            let moved = kept.iter().zip(&after).filter(|(kept, after)| kept.is_some_and(|way| way != **after)).count();
            prop_assert!(moved < weights.len(), "{moved} flows moved without need");
            // And back: the way that returns takes its own, and no more.
            let place_back = |way: usize| Some(if way >= gone { way + 1 } else { way });
            let kept: Vec<Option<usize>> = after.iter().map(|way| place_back(*way)).collect();
            let back = slots(&weights, &kept);
            let changed = after.iter().zip(&back).filter(|(way, back)| place_back(**way) != Some(**back)).count();
            prop_assert!(changed < share(&back, gone) + weights.len());
        }
    }
}

//! A table that is kept in step with one of the kernel's by events and by dumps at the same time.
//!
//! A dump is a photograph taken over some time, and events arrive in between, late perhaps, but in their order. During a
//! resync an event wins over the dump, also one that says that a key is gone: either it is as new as what the dump says,
//! or newer, or the event that made it so is still to come. That holds only as long as no event is lost once the resync
//! has begun, which is why it begins behind a loss, and another follows where there was one meanwhile. What neither the
//! dump nor an event has named when the dump is over is swept out.
//!
//! Of the tables whose dumps the kernel marks as interrupted when they change, that a dump does not name something is
//! proof that it is not there. Of forwarding entries and neighbours it is none: the kernel hands such a dump out in pieces,
//! finds its place again by counting entries, and where one before that place has gone meanwhile, leaves one out that is
//! there. It is the events of that very time that such a dump is made beside. So of these, what a resync does not name is
//! in doubt, and goes when the next one does not name it either.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

/// Which resync runs, if one does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resync {
    /// The number of the last one that began.
    number: u64,
    running: bool,
}

impl Resync {
    /// The next one begins. One that ran is given up.
    pub fn begin(&mut self) {
        self.number += 1;
        self.running = true;
    }

    /// It is over.
    pub fn end(&mut self) {
        self.running = false;
    }
}

/// The table.
#[derive(Debug)]
pub struct Tracked<K, V> {
    slots: BTreeMap<K, Slot<V>>,
    /// Slots with a value.
    length: usize,
}

#[derive(Debug)]
struct Slot<V> {
    /// Absent for what an event said is gone, while a dump may still say that it is there.
    value: Option<V>,
    /// The last resync that met it.
    seen: u64,
    /// The last resync during which an event spoke of it.
    told: u64,
    /// The last resync that was completed did not meet it.
    missed: bool,
}

/// What came of a sweep.
#[derive(Debug)]
pub struct Swept<K, V> {
    /// What went.
    pub gone: Vec<(K, V)>,
    /// How many stay although they were not met.
    pub in_doubt: usize,
}

impl<K, V> Default for Tracked<K, V> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), length: 0 }
    }
}

impl<K: Ord + Clone, V: PartialEq> Tracked<K, V> {
    /// What is known of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.slots.get(key)?.value.as_ref()
    }

    /// Every key in a range, and what is known of it.
    pub fn range(&self, keys: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &V)> {
        self.slots.range(keys).filter_map(|(key, slot)| Some((key, slot.value.as_ref()?)))
    }

    /// Every value.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.slots.values().filter_map(|slot| slot.value.as_ref())
    }

    /// How many keys something is known of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// An event says what a key's value is now, or that there is none. True where that is news.
    pub fn told(&mut self, key: K, value: Option<V>, resync: Resync) -> bool {
        if !resync.running && value.is_none() {
            let gone = self.slots.remove(&key).and_then(|slot| slot.value).is_some();
            self.length -= usize::from(gone);
            return gone;
        }
        let told = if resync.running { resync.number } else { 0 };
        self.set(key, value, resync.number, told)
    }

    /// True where an event of the resync that runs said that a key is gone.
    #[must_use]
    pub fn is_told_gone(&self, key: &K, resync: Resync) -> bool {
        resync.running && self.slots.get(key).is_some_and(|slot| slot.value.is_none() && slot.told == resync.number)
    }

    /// A dump says what a key's value is. True where that is news.
    pub fn dumped(&mut self, key: K, value: V, resync: Resync) -> bool {
        if self.slots.get(&key).is_some_and(|slot| slot.told == resync.number) {
            return false;
        }
        self.set(key, Some(value), resync.number, 0)
    }

    /// Ends a resync whose dumps leave nothing out: what it has not met goes. Gives what went.
    pub fn sweep(&mut self, resync: Resync) -> Vec<(K, V)> {
        self.slots.values_mut().for_each(|slot| slot.missed = true);
        self.sweep_missed_twice(resync).gone
    }

    /// Ends a resync whose dumps may leave something out: what neither it has met nor the one before that was completed
    /// goes.
    pub fn sweep_missed_twice(&mut self, resync: Resync) -> Swept<K, V> {
        let mut swept = Swept { gone: Vec::new(), in_doubt: 0 };
        self.slots.retain(|key, slot| {
            let was_missed = std::mem::replace(&mut slot.missed, slot.seen != resync.number);
            let stays = slot.value.is_some() && !(was_missed && slot.missed);
            if !stays && let Some(value) = slot.value.take() {
                swept.gone.push((key.clone(), value));
            }
            swept.in_doubt += usize::from(stays && slot.missed);
            stays
        });
        self.length -= swept.gone.len();
        swept
    }

    /// Forgets every key in a range, at once. Gives what went.
    pub fn forget(&mut self, keys: impl RangeBounds<K>) -> Vec<(K, V)> {
        let keys: Vec<K> = self.slots.range(keys).map(|(key, _)| key.clone()).collect();
        let value = |key: K| self.slots.remove(&key).and_then(|slot| Some((key, slot.value?)));
        let gone: Vec<(K, V)> = keys.into_iter().filter_map(value).collect();
        self.length -= gone.len();
        gone
    }

    fn set(&mut self, key: K, value: Option<V>, seen: u64, told: u64) -> bool {
        let slot = self.slots.entry(key).or_insert(Slot { value: None, seen, told, missed: false });
        (slot.seen, slot.told, slot.missed) = (seen, told, false);
        if slot.value == value {
            return false;
        }
        self.length = self.length + usize::from(value.is_some()) - usize::from(slot.value.is_some());
        slot.value = value;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn known(table: &Tracked<u8, u8>) -> BTreeMap<u8, u8> {
        table.range(..).map(|(key, value)| (*key, *value)).collect()
    }

    #[test]
    fn what_an_event_said_during_a_dump_outlives_what_the_dump_says_later() {
        let (mut table, mut resync) = (Tracked::default(), Resync::default());
        assert!(table.told(1, Some(10), resync));
        assert!(table.told(2, Some(20), resync));
        assert!(table.told(5, Some(50), resync));
        resync.begin();
        assert!(table.told(1, None, resync));
        assert!(table.told(2, Some(21), resync));
        assert!(table.told(4, Some(40), resync));
        assert!(!table.dumped(1, 10, resync), "it was deleted after the kernel wrote this");
        assert!(!table.dumped(2, 20, resync), "it was replaced after the kernel wrote this");
        assert!(table.dumped(3, 30, resync));
        assert_eq!(table.sweep(resync), [(5, 50)]);
        resync.end();
        assert_eq!(known(&table), [(2, 21), (3, 30), (4, 40)].into());
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn an_entry_that_did_not_change_is_no_news_in_a_resync() {
        let (mut table, mut resync) = (Tracked::default(), Resync::default());
        table.told(1, Some(10), resync);
        for _ in 0..3 {
            resync.begin();
            assert!(!table.dumped(1, 10, resync));
            assert_eq!(table.sweep(resync), [] as [(u8, u8); 0]);
            resync.end();
        }
        assert!(!table.told(1, Some(10), resync));
    }

    #[test]
    fn what_a_dump_may_have_left_out_goes_when_the_next_one_does_not_name_it_either() {
        let (mut table, mut resync) = (Tracked::default(), Resync::default());
        for key in 1..=3 {
            table.told(key, Some(10), resync);
        }
        resync.begin();
        table.dumped(3, 10, resync);
        let swept = table.sweep_missed_twice(resync);
        assert_eq!((swept.gone, swept.in_doubt), (vec![], 2));
        resync.end();
        // One that is given up says nothing.
        resync.begin();
        resync.end();
        resync.begin();
        table.dumped(1, 10, resync);
        let swept = table.sweep_missed_twice(resync);
        assert_eq!((swept.gone, swept.in_doubt), (vec![(2, 10)], 1));
        resync.end();
        assert_eq!(known(&table), [(1, 10), (3, 10)].into());
        assert_eq!(table.len(), 2);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// The kernel changes a key and tells so.
        Change(u8, Option<u8>),
        /// The gateway reads an event.
        Read,
        /// The kernel writes the next entry of the dump, and the gateway reads it.
        Dump,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..8_u8, prop::option::of(0..4_u8)).prop_map(|(key, value)| Step::Change(key, value)),
            Just(Step::Read),
            Just(Step::Dump),
        ]
    }

    proptest! {
        /// Whatever the order in which the kernel changes, writes the dump and the gateway reads: what is in the kernel all
        /// the time is never missing, although the dump goes by the number of entries, as that of an FDB, and leaves some
        /// out. When the next dump is over, the table is the kernel's.
        #[test]
        fn a_table_ends_as_the_kernels(
            before in prop::collection::btree_map(0..8_u8, 0..4_u8, 0..8),
            stale in prop::collection::btree_map(0..8_u8, 0..4_u8, 0..8),
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut kernel = before;
            let (mut table, mut resync) = (Tracked::default(), Resync::default());
            for (key, value) in stale {
                table.told(key, Some(value), resync);
            }
            // Those that are known, and never change.
            let mut constant = kernel.clone();
            constant.retain(|key, _| table.get(key).is_some());
            resync.begin();
            let mut events = std::collections::VecDeque::new();
            let mut next = 0;
            let dumping = resync;
            let dump = |next: &mut usize, kernel: &BTreeMap<u8, u8>, table: &mut Tracked<u8, u8>| {
                let entry = kernel.iter().nth(*next);
                *next += 1;
                entry.map(|(key, value)| table.dumped(*key, *value, dumping)).is_some()
            };
            for step in steps {
                match step {
                    Step::Change(key, value) => {
                        constant.remove(&key);
                        match value {
                            Some(value) => kernel.insert(key, value),
                            None => kernel.remove(&key),
                        };
                        events.push_back((key, value));
                    }
                    Step::Read => {
                        if let Some((key, value)) = events.pop_front() {
                            table.told(key, value, resync);
                        }
                    }
                    Step::Dump => {
                        dump(&mut next, &kernel, &mut table);
                    }
                }
            }
            while dump(&mut next, &kernel, &mut table) {}
            table.sweep_missed_twice(resync);
            resync.end();
            for (key, value) in &constant {
                // What was known of it before may have been wrong, and stays so where the dump left it out.
                prop_assert!(table.get(key).is_some(), "{} ({}) is missing", key, value);
            }
            for (key, value) in events {
                table.told(key, value, resync);
            }
            resync.begin();
            for (key, value) in &kernel {
                table.dumped(*key, *value, resync);
            }
            table.sweep_missed_twice(resync);
            resync.end();
            prop_assert_eq!(table.len(), kernel.len());
            prop_assert_eq!(known(&table), kernel);
        }
    }
}

//! The FDB as its users see it: against a model, under load, and from several threads at once.
#![cfg(not(vtepd_loom))]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use vtepd::tables::fdb::{HashSeed, InsertError, Inserted};
use vtepd::tables::{
    AgeTick, BridgeIndex, Fdb, FdbKey, FdbValue, FdbWriter, Location, MemberIndex, Quiescence, Reader, TunnelIndex,
};
use vtepd::wire::address::MacAddr;

fn key(number: u64) -> FdbKey {
    FdbKey::new(BridgeIndex((number % 3) as u16), MacAddr::from_u64(0x0200_0000_0000 | number))
}

fn at(place: u32) -> FdbValue {
    FdbValue::learned(Location::access(MemberIndex(place)), AgeTick(1))
}

fn look(fdb: &Fdb, key: FdbKey) -> Option<FdbValue> {
    fdb.lookup(&fdb.probe(key))
}

fn small(max_entries: usize, buckets: usize, seed: u64) -> (Arc<Fdb>, FdbWriter, Arc<Quiescence>) {
    let readers = Quiescence::new();
    let (fdb, writer) = Fdb::with_buckets(max_entries, buckets, HashSeed::fixed(seed), Arc::clone(&readers))
        .expect("memory for a small table");
    (fdb, writer, readers)
}

#[test]
fn an_entry_says_what_was_inserted_until_it_is_replaced_or_removed() {
    let (fdb, mut writer, _) = small(16, 16, 1);
    assert_eq!(look(&fdb, key(1)), None);
    assert_eq!(writer.insert(key(1), at(7)), Ok(Inserted::New));
    assert_eq!(look(&fdb, key(1)), Some(at(7)));
    assert_eq!(look(&fdb, key(2)), None);
    assert_eq!(writer.insert(key(1), at(8)), Ok(Inserted::Replaced(at(7))));
    let tunnel = FdbValue::fixed(Location::tunnel(TunnelIndex(3)));
    assert_eq!(writer.set(key(1), tunnel), Some(at(8)));
    assert_eq!(writer.set(key(2), tunnel), None, "set does not insert");
    assert_eq!((look(&fdb, key(1)), look(&fdb, key(2)), fdb.len()), (Some(tunnel), None, 1));
    assert_eq!(writer.remove(key(1)), Some(tunnel));
    assert_eq!((look(&fdb, key(1)), writer.remove(key(1)), fdb.len()), (None, None, 0));
}

#[test]
fn one_address_in_two_bridges_is_two_entries() {
    let (fdb, mut writer, _) = small(16, 16, 1);
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let last = u16::MAX - 1;
    let [one, two] = [0, last].map(|bridge| FdbKey::new(BridgeIndex(bridge), mac));
    writer.insert(one, at(1)).expect("room");
    assert_eq!(look(&fdb, two), None);
    writer.insert(two, at(2)).expect("room");
    assert_eq!((look(&fdb, one), look(&fdb, two)), (Some(at(1)), Some(at(2))));
    assert_eq!((two.bridge(), two.mac()), (BridgeIndex(last), mac));
    let nowhere = FdbKey::new(BridgeIndex(u16::MAX), mac);
    assert_eq!(writer.insert(nowhere, at(3)), Err(InsertError::NotAStation), "there is no bridge 65535");
    assert_eq!(look(&fdb, nowhere), None);
}

#[test]
fn group_and_zero_addresses_are_never_found_nor_inserted() {
    // A table that has slots of every kind: empty, in use, and retired (a worker that does not pass holds them).
    let (fdb, mut writer, readers) = small(64, 16, 1);
    let _worker = readers.register();
    (0..40).for_each(|number| assert!(writer.insert(key(number), at(1)).is_ok()));
    (0..20).for_each(|number| assert!(writer.remove(key(number)).is_some()));
    for mac in [MacAddr::ZERO, MacAddr::BROADCAST, MacAddr([1, 0, 0, 0, 0, 0]), MacAddr([0x33, 0x33, 0, 0, 0, 1])] {
        for bridge in [0, 1, u16::MAX] {
            let key = FdbKey::new(BridgeIndex(bridge), mac);
            assert_eq!(look(&fdb, key), None, "{mac}");
            assert_eq!(writer.insert(key, at(1)), Err(InsertError::NotAStation));
        }
    }
    assert_eq!(fdb.len(), 20);
}

#[test]
fn a_value_keeps_its_fields_apart() {
    let places = [0, 1, 0x7fff_ffff].map(|index| Location::access(MemberIndex(index)));
    for location in places.into_iter().chain([Location::tunnel(TunnelIndex(0)), Location::tunnel(TunnelIndex(65535))]) {
        for tick in [0, 1, 0x8000, 0xffff].map(AgeTick) {
            let value = FdbValue::learned(location, tick);
            assert_eq!((value.location(), value.tick(), value.is_static()), (location, tick, false));
            assert!(value.is_current(location, tick));
            assert!(!value.is_current(location, AgeTick(tick.0.wrapping_add(1))));
            assert!(!value.is_current(Location::access(MemberIndex(5)), tick));
            assert_eq!(value.with_tick(AgeTick(9)).with_location(places[1]), FdbValue::learned(places[1], AgeTick(9)));
            assert!(FdbValue::fixed(location).with_tick(tick).is_static());
        }
    }
    assert_eq!(AgeTick(3).since(AgeTick(0xfffe)), 5, "ticks wrap");
}

#[test]
fn a_refresh_changes_the_tick_of_what_was_seen_and_nothing_else() {
    let (fdb, mut writer, _) = small(16, 16, 1);
    writer.insert(key(1), at(1)).expect("room");
    let probe = fdb.probe(key(1));
    assert!(fdb.refresh(&probe, at(1), AgeTick(2)));
    assert_eq!(fdb.lookup(&probe), Some(at(1).with_tick(AgeTick(2))));
    writer.set(key(1), at(5)).expect("it is there");
    assert!(!fdb.refresh(&probe, at(1).with_tick(AgeTick(2)), AgeTick(3)), "the station has moved");
    assert_eq!(fdb.lookup(&probe), Some(at(5)));
    assert!(!writer.remove_if_unchanged(key(1), at(1)));
    assert!(writer.remove_if_unchanged(key(1), at(5)));
    assert!(!fdb.refresh(&probe, at(5), AgeTick(3)), "it is gone");
    assert!(fdb.is_empty());
}

#[test]
fn the_limit_is_exact_and_replacing_is_no_insertion() {
    let (fdb, mut writer, _) = small(10, 16, 1);
    (0..10).for_each(|number| assert_eq!(writer.insert(key(number), at(1)), Ok(Inserted::New)));
    assert_eq!(writer.insert(key(10), at(1)), Err(InsertError::Full));
    assert_eq!(writer.insert(key(3), at(2)), Ok(Inserted::Replaced(at(1))));
    assert_eq!((fdb.len(), fdb.refused(), fdb.max_entries()), (10, 1, 10));
    assert!(writer.remove(key(3)).is_some());
    assert_eq!(writer.insert(key(10), at(1)), Ok(Inserted::New));
}

#[test]
fn a_full_table_of_the_designed_load_refuses_nobody() {
    const ENTRIES: u64 = 1 << 16;
    let (fdb, mut writer) = Fdb::with_writer(ENTRIES as usize, Quiescence::new()).expect("memory");
    assert_eq!(fdb.bucket_count() as u64, ENTRIES);
    (0..ENTRIES).for_each(|number| assert_eq!(writer.insert(key(number), at(number as u32)), Ok(Inserted::New)));
    (0..ENTRIES).for_each(|number| assert_eq!(look(&fdb, key(number)), Some(at(number as u32))));
    assert_eq!((fdb.len() as u64, fdb.refused()), (ENTRIES, 0));
    let in_first = |bucket: usize| {
        fdb.sweep(bucket..bucket + 1).filter(|(key, _)| fdb.homes(&fdb.probe(*key))[0] == bucket).count()
    };
    let first: usize = (0..fdb.bucket_count()).map(in_first).sum();
    assert!(first as u64 >= ENTRIES * 99 / 100, "{first} entries are in their first bucket");
}

#[test]
fn a_removed_entry_s_slot_is_reused_only_after_workers_passed() {
    let (fdb, mut writer, readers) = small(100, 2, 1);
    let mut worker = readers.register();
    (0..8).for_each(|number| assert!(writer.insert(key(number), at(1)).is_ok()));
    assert_eq!(writer.insert(key(8), at(1)), Err(InsertError::Crowded));
    assert!(writer.remove(key(0)).is_some());
    assert_eq!(writer.insert(key(8), at(1)), Err(InsertError::Crowded), "the slot may still be read");
    assert_eq!(fdb.refused(), 2);
    worker.pass();
    assert_eq!(writer.insert(key(8), at(1)), Ok(Inserted::New));
    assert_eq!(writer.waiting(), 0);
}

#[test]
fn reclaiming_does_a_bounded_amount_of_work_per_call() {
    let entries = 3 * FdbWriter::RECLAIM_BATCH as u64;
    let (_, mut writer) = Fdb::with_writer(entries as usize, Quiescence::new()).expect("memory");
    (0..entries).for_each(|number| assert!(writer.insert(key(number), at(1)).is_ok()));
    (0..entries).for_each(|number| assert!(writer.remove(key(number)).is_some()));
    let before = writer.waiting();
    assert!(before as u64 >= entries);
    assert_eq!(writer.reclaim(), FdbWriter::RECLAIM_BATCH);
    assert_eq!(writer.waiting(), before - FdbWriter::RECLAIM_BATCH);
    while writer.waiting() > 0 {
        assert!(writer.reclaim() <= FdbWriter::RECLAIM_BATCH);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u32),
    Set(u64, u32),
    Remove(u64),
    Age(u64, u32),
    Refresh(u64, u16),
    Reclaim,
    Pass,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (number, place) = (0..48u64, 0..4u32);
    prop::collection::vec(
        prop_oneof![
            6 => (number.clone(), place.clone()).prop_map(|(number, place)| Step::Insert(number, place)),
            1 => (number.clone(), place.clone()).prop_map(|(number, place)| Step::Set(number, place)),
            2 => number.clone().prop_map(Step::Remove),
            1 => (number.clone(), place).prop_map(|(number, place)| Step::Age(number, place)),
            1 => (number, 1..3u16).prop_map(|(number, tick)| Step::Refresh(number, tick)),
            1 => Just(Step::Reclaim),
            2 => Just(Step::Pass),
        ],
        1..300,
    )
}

/// A table of 32 slots, and what should be in it.
struct Checked {
    fdb: Arc<Fdb>,
    writer: FdbWriter,
    worker: Reader,
    model: HashMap<FdbKey, FdbValue>,
}

impl Checked {
    const LIMIT: usize = 30;

    fn new(seed: u64) -> Self {
        let (fdb, writer, readers) = small(Self::LIMIT, 8, seed);
        Self { fdb, writer, worker: readers.register(), model: HashMap::new() }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Insert(number, place) => match self.writer.insert(key(number), at(place)) {
                Ok(Inserted::New) => assert_eq!(self.model.insert(key(number), at(place)), None),
                Ok(Inserted::Replaced(old)) => assert_eq!(self.model.insert(key(number), at(place)), Some(old)),
                Err(InsertError::Full) => {
                    assert!(self.model.len() == Self::LIMIT && !self.model.contains_key(&key(number)));
                }
                Err(InsertError::Crowded) => assert!(!self.model.contains_key(&key(number))),
                Err(InsertError::NotAStation) => panic!("it is a station"),
            },
            Step::Set(number, place) => {
                let old = self.model.get_mut(&key(number)).map(|value| std::mem::replace(value, at(place)));
                assert_eq!(self.writer.set(key(number), at(place)), old);
            }
            Step::Remove(number) => {
                assert_eq!(self.writer.remove(key(number)), self.model.remove(&key(number)));
            }
            Step::Age(number, place) => {
                let unchanged = self.model.get(&key(number)) == Some(&at(place));
                assert_eq!(self.writer.remove_if_unchanged(key(number), at(place)), unchanged);
                if unchanged {
                    self.model.remove(&key(number));
                }
            }
            Step::Refresh(number, tick) => {
                let probe = self.fdb.probe(key(number));
                if let Some(value) = self.model.get_mut(&key(number)) {
                    assert!(self.fdb.refresh(&probe, *value, AgeTick(tick)));
                    *value = value.with_tick(AgeTick(tick));
                }
            }
            Step::Reclaim => {
                self.writer.reclaim();
            }
            Step::Pass => self.worker.pass(),
        }
    }

    fn check(&self) {
        assert_eq!(self.fdb.len(), self.model.len());
        for number in 0..48 {
            assert_eq!(look(&self.fdb, key(number)), self.model.get(&key(number)).copied());
        }
        let listed: Vec<_> = self.fdb.iter().collect();
        assert_eq!(listed.len(), self.model.len(), "each entry is listed once");
        assert_eq!(listed.into_iter().collect::<HashMap<_, _>>(), self.model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_table_agrees_with_a_map(seed in any::<u64>(), steps in steps()) {
        let mut checked = Checked::new(seed);
        for step in steps {
            checked.apply(step);
            checked.check();
        }
    }

    #[test]
    fn displacement_fills_a_small_table_to_a_high_load(seed in any::<u64>()) {
        let (fdb, mut writer, readers) = small(1000, 64, seed);
        let mut worker = readers.register();
        // Scattered addresses: the hash spreads those in sequence so evenly that there may be nothing to displace.
        let key = |number: u64| key(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32);
        let taken: HashSet<u64> = (0..220).filter(|&number| {
            worker.pass();
            writer.insert(key(number), at(number as u32)).is_ok()
        }).collect();
        prop_assert_eq!(fdb.len(), taken.len());
        prop_assert!(taken.len() >= 200, "{} of 256 slots", taken.len());
        prop_assert!(fdb.displaced() > 0);
        for number in 0..220 {
            prop_assert_eq!(look(&fdb, key(number)), taken.contains(&number).then(|| at(number as u32)));
        }
    }
}

/// Stations 0 to `RESIDENTS` are always there; the others come and go, and push the residents about. Each says its own
/// number as its place, in the lower bits; the upper ones count its moves.
#[test]
fn workers_never_miss_a_resident_nor_reach_another_station_while_the_writer_is_at_work() {
    const RESIDENTS: u64 = 40;
    const VISITORS: u64 = 40;
    let place = |number: u64, moves: u64| at(number as u32 | (moves as u32 & 0xffff) << 12);
    let (fdb, mut writer, readers) = small(1000, 32, 1);
    (0..RESIDENTS).for_each(|number| assert!(writer.insert(key(number), place(number, 0)).is_ok()));
    let stop = AtomicBool::new(false);
    let lookups = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for worker in 0..2u64 {
            let (fdb, stop, lookups, mut reader) = (&fdb, &stop, &lookups, readers.register());
            scope.spawn(move || {
                let mut done = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    for number in
                        (0..RESIDENTS + VISITORS).map(|n| (n * 7 + worker * 3 + done) % (RESIDENTS + VISITORS))
                    {
                        let probe = fdb.probe(key(number));
                        fdb.prefetch_first(&probe);
                        match fdb.lookup(&probe) {
                            Some(value) => {
                                let bits = value.location().to_bits();
                                assert_eq!(u64::from(bits & 0xfff), number, "delivered to another station's place");
                                fdb.refresh(&probe, value, AgeTick(done as u16));
                            }
                            None => assert!(number >= RESIDENTS, "resident {number} was missed"),
                        }
                    }
                    done += 1;
                    reader.pass();
                }
                lookups.fetch_add(done * (RESIDENTS + VISITORS), Ordering::Relaxed);
            });
        }
        let end = Instant::now() + Duration::from_secs(1);
        let mut round = 0u64;
        while Instant::now() < end {
            for visitor in RESIDENTS..RESIDENTS + VISITORS {
                if (visitor * 31 + round).is_multiple_of(3) {
                    let _ = writer.remove(key(visitor));
                } else {
                    let _ = writer.insert(key(visitor), place(visitor, round));
                }
                let resident = (visitor + round) % RESIDENTS;
                assert!(writer.set(key(resident), place(resident, round)).is_some());
                assert_eq!(
                    fdb.lookup(&fdb.probe(key(resident))).map(FdbValue::location),
                    Some(place(resident, round).location())
                );
                writer.reclaim();
            }
            round += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(lookups.into_inner() > 0);
    assert!(fdb.displaced() > 0, "the writer displaced nothing, so this showed little");
    assert_eq!(fdb.iter().count(), fdb.len());
}

//! The claims of the essay at the top of `tables::fdb` and of `tables::quiescence`, under every order of operations
//! that the memory model allows, by loom:
//!
//! ```text
//! RUSTFLAGS="--cfg vtepd_loom" cargo test --release --no-default-features --test loom_fdb
//! ```
//!
//! Buckets have two slots here and tables two or four buckets, so that the search ends. In each model the main thread
//! is the writer.
#![cfg(vtepd_loom)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use vtepd::tables::fdb::{HashSeed, InsertError, Inserted};
use vtepd::tables::{
    AgeTick, BridgeIndex, Fdb, FdbKey, FdbValue, FdbWriter, Location, MemberIndex, Quiescence, Reader,
};
use vtepd::wire::address::MacAddr;

const OLD: AgeTick = AgeTick(1);
const NEW: AgeTick = AgeTick(2);

fn key(number: u64) -> FdbKey {
    FdbKey::new(BridgeIndex(0), MacAddr::from_u64(0x0200_0000_0000 | number))
}

fn at(place: u32) -> FdbValue {
    FdbValue::learned(Location::access(MemberIndex(place)), OLD)
}

/// An entry that no other key has.
fn own(key: FdbKey) -> FdbValue {
    at(key.mac().to_u64() as u32)
}

fn table(buckets: usize) -> (Arc<Fdb>, FdbWriter, Arc<Quiescence>) {
    let readers = Quiescence::new();
    let (fdb, writer) =
        Fdb::with_buckets(64, buckets, HashSeed::fixed(1), Arc::clone(&readers)).expect("a small table");
    (fdb, writer, readers)
}

fn look(fdb: &Fdb, key: FdbKey) -> Option<FdbValue> {
    fdb.lookup(&fdb.probe(key))
}

fn insert(writer: &mut FdbWriter, key: FdbKey) {
    assert_eq!(writer.insert(key, own(key)), Ok(Inserted::New));
}

/// Explores a model, and says how many orders there were. `preemptions` bounds how often a thread is interrupted where
/// it could go on; `None` bounds nothing.
fn explore(name: &str, preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&orders);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 20_000;
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        model();
    });
    println!("{name}: {} orders", orders.load(Relaxed));
}

/// The first key from `from` on whose homes are these; both must be buckets of the table.
fn key_with_homes(fdb: &Fdb, homes: [usize; 2], from: u64) -> FdbKey {
    (from..from + 1000).map(key).find(|&key| fdb.homes(&fdb.probe(key)) == homes).expect("one of a thousand")
}

/// Which home an entry is displaced from.
#[derive(Clone, Copy)]
enum From {
    First,
    Second,
}

/// A table of four buckets in which inserting the second key given displaces the first one given, out of the home
/// named. Buckets 0 and 1 are full, the entry is in bucket 0, and bucket 2 has room.
fn about_to_displace(from: From) -> (Arc<Fdb>, FdbWriter, Arc<Quiescence>, FdbKey, FdbKey) {
    let (fdb, mut writer, readers) = table(4);
    let homes = match from {
        From::First => [0, 2],
        From::Second => [2, 0],
    };
    let displaced = key_with_homes(&fdb, homes, 0);
    let fillers = [0, 1000].map(|start| key_with_homes(&fdb, [2, 3], start));
    if matches!(from, From::Second) {
        fillers.into_iter().for_each(|filler| insert(&mut writer, filler));
    }
    insert(&mut writer, displaced);
    if matches!(from, From::Second) {
        fillers.into_iter().for_each(|filler| assert!(writer.remove(filler).is_some()));
        assert_eq!(writer.reclaim(), 2);
    }
    insert(&mut writer, key_with_homes(&fdb, [0, 1], 0));
    for start in [0, 1000] {
        insert(&mut writer, key_with_homes(&fdb, [1, 0], start));
    }
    assert!(fdb.sweep(0..1).any(|(key, _)| key == displaced));
    let newcomer = key_with_homes(&fdb, [0, 1], 2000);
    (fdb, writer, readers, displaced, newcomer)
}

fn a_displaced_entry_is_found(name: &str, from: From) {
    explore(name, None, move || {
        let (fdb, mut writer, readers, displaced, newcomer) = about_to_displace(from);
        let _registered: Reader = readers.register();
        let worker = {
            let fdb = Arc::clone(&fdb);
            thread::spawn(move || {
                assert_eq!(look(&fdb, displaced), Some(own(displaced)), "missed, or another's");
            })
        };
        insert(&mut writer, newcomer);
        assert_eq!(fdb.displaced(), 1);
        worker.join().expect("the worker's claims hold");
        assert!(fdb.sweep(2..3).any(|(key, _)| key == displaced), "it is in its other home");
        assert_eq!(look(&fdb, displaced), Some(own(displaced)));
        assert_eq!(look(&fdb, newcomer), Some(own(newcomer)));
    });
}

#[test]
fn an_entry_displaced_from_its_first_bucket_is_found_throughout() {
    a_displaced_entry_is_found("displacement from the first bucket", From::First);
}

#[test]
fn an_entry_displaced_from_its_second_bucket_is_found_throughout() {
    a_displaced_entry_is_found("displacement from the second bucket", From::Second);
}

#[test]
fn a_newcomer_in_a_displaced_slot_is_found_as_itself_or_not_at_all() {
    explore("newcomer", None, || {
        let (fdb, mut writer, readers, _, newcomer) = about_to_displace(From::First);
        let _registered = readers.register();
        let worker = {
            let fdb = Arc::clone(&fdb);
            thread::spawn(move || {
                let first = look(&fdb, newcomer);
                assert!(first.is_none() || first == Some(own(newcomer)));
                if first.is_some() {
                    assert_eq!(look(&fdb, newcomer), first, "what was found stays found");
                }
            })
        };
        insert(&mut writer, newcomer);
        worker.join().expect("the worker's claims hold");
    });
}

/// The newcomer of a first displacement leaves again, and its slot, or the displaced entry, is wanted a second time
/// while a worker may still be in the burst of the first one.
#[test]
fn an_entry_is_displaced_only_once_in_a_burst() {
    explore("displacement there and back", Some(3), || {
        let (fdb, mut writer, readers, displaced, newcomer) = about_to_displace(From::Second);
        let other = key_with_homes(&fdb, [2, 3], 0);
        let last = key_with_homes(&fdb, [2, 3], 2000);
        // Bucket 2 will be full with the displaced entry in it, and bucket 3 is full, with entries that cannot leave it
        // but for buckets 0 and 1, of which 0 has room again: the displaced entry is the one to move, and it must not.
        insert(&mut writer, other);
        for start in [0, 1000] {
            insert(&mut writer, key_with_homes(&fdb, [3, 1], start));
        }
        let mut registered = readers.register();
        let worker = {
            let fdb = Arc::clone(&fdb);
            thread::spawn(move || {
                assert_eq!(look(&fdb, displaced), Some(own(displaced)), "missed, or another's");
                registered.pass();
                assert_eq!(look(&fdb, displaced), Some(own(displaced)), "missed, or another's, in the next burst");
            })
        };
        let neighbour = fdb.sweep(0..1).map(|(key, _)| key).find(|&key| key != displaced).expect("the slot beside");
        assert!(writer.remove(neighbour).is_some());
        insert(&mut writer, newcomer);
        let _ = writer.reclaim();
        let _ = writer.reclaim();
        let outcome = writer.insert(last, own(last));
        assert!(matches!(outcome, Ok(Inserted::New) | Err(InsertError::Crowded)));
        worker.join().expect("the worker's claims hold");
        assert_eq!(look(&fdb, displaced), Some(own(displaced)));
    });
}

/// One slot goes from one station to another and back while a worker looks: what it finds is the station's own.
#[test]
fn a_slot_reused_for_another_station_never_delivers_to_the_wrong_place() {
    explore("reuse of a slot, there and back", Some(3), || {
        let (fdb, mut writer, readers) = table(2);
        let [station, other] = [0, 10].map(key);
        (1..4).map(key).for_each(|filler| insert(&mut writer, filler));
        insert(&mut writer, station);
        let mut registered = readers.register();
        let worker = {
            let fdb = Arc::clone(&fdb);
            thread::spawn(move || {
                for _ in 0..2 {
                    let found = look(&fdb, station);
                    assert!(found.is_none() || found == Some(own(station)), "{found:?}");
                    registered.pass();
                }
            })
        };
        assert_eq!(writer.remove(station), Some(own(station)));
        if writer.insert(other, own(other)).is_ok() {
            assert_eq!(writer.remove(other), Some(own(other)));
            // Where the worker has not passed again, this is refused, as it must be.
            let _ = writer.insert(station, own(station));
        }
        worker.join().expect("the worker's claims hold");
        assert!(fdb.len() <= 4);
    });
}

#[test]
fn a_station_s_move_is_never_lost_to_refreshes() {
    explore("refreshes against a move", None, || {
        let (fdb, mut writer, readers) = table(2);
        let station = key(0);
        writer.insert(station, at(1)).expect("an empty table");
        let workers = [NEW, AgeTick(3)].map(|tick| {
            let (fdb, registered) = (Arc::clone(&fdb), readers.register());
            thread::spawn(move || {
                let _registered = registered;
                let probe = fdb.probe(station);
                let seen = fdb.lookup(&probe).expect("it is there throughout");
                fdb.refresh(&probe, seen, tick);
            })
        });
        let replaced = writer.set(station, at(2)).expect("it is there");
        assert_eq!(replaced.location(), at(1).location());
        for worker in workers {
            worker.join().expect("the worker's claims hold");
        }
        assert_eq!(look(&fdb, station).map(FdbValue::location), Some(at(2).location()));
    });
}

#[test]
fn ageing_removes_an_entry_or_a_refresh_keeps_it() {
    explore("ageing against a refresh", None, || {
        let (fdb, mut writer, readers) = table(2);
        let station = key(0);
        writer.insert(station, at(1)).expect("an empty table");
        let worker = {
            let (fdb, registered) = (Arc::clone(&fdb), readers.register());
            thread::spawn(move || {
                let _registered = registered;
                let probe = fdb.probe(station);
                fdb.lookup(&probe).is_some_and(|seen| fdb.refresh(&probe, seen, NEW))
            })
        };
        let removed = writer.remove_if_unchanged(station, at(1));
        let refreshed = worker.join().expect("the worker's claims hold");
        assert!(removed != refreshed, "exactly one of them has its way");
        assert_eq!(look(&fdb, station), refreshed.then(|| at(1).with_tick(NEW)));
        assert_eq!(fdb.len(), usize::from(refreshed));
    });
}

#[test]
fn a_refresh_that_succeeded_survives_displacement() {
    explore("refresh during displacement", None, || {
        let (fdb, mut writer, readers, displaced, newcomer) = about_to_displace(From::First);
        let _registered = readers.register();
        let worker = {
            let fdb = Arc::clone(&fdb);
            thread::spawn(move || fdb.refresh(&fdb.probe(displaced), own(displaced), NEW))
        };
        insert(&mut writer, newcomer);
        let tick = if worker.join().expect("the worker's claims hold") { NEW } else { OLD };
        assert_eq!(look(&fdb, displaced), Some(own(displaced).with_tick(tick)));
        assert_eq!(look(&fdb, newcomer), Some(own(newcomer)));
    });
}

/// Loom knows a read that races with a write of a cell, and fails the model.
#[test]
fn what_workers_read_is_overwritten_only_after_they_passed() {
    explore("quiescence", None, || {
        let domain = Quiescence::new();
        let shared = Arc::new((AtomicBool::new(true), UnsafeCell::new(1u32)));
        let worker = {
            let (domain, shared) = (Arc::clone(&domain), Arc::clone(&shared));
            // Registering races with the writer too.
            thread::spawn(move || {
                let mut reader = domain.register();
                for _ in 0..2 {
                    if shared.0.load(Ordering::Relaxed) {
                        // SAFETY: the writer writes only after every reader passed since the flag was taken down.
                        assert_eq!(shared.1.with(|value| unsafe { *value }), 1);
                    }
                    reader.pass();
                }
            })
        };
        shared.0.store(false, Ordering::Relaxed);
        let epoch = domain.advance();
        if domain.has_passed(epoch) {
            // SAFETY: as above.
            shared.1.with_mut(|value| unsafe { *value = 2 });
        }
        worker.join().expect("the worker's claims hold");
        assert!(domain.has_passed(epoch), "a worker that left is not waited for");
    });
}

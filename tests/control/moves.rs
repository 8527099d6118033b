//! B3: a station that moves too often is frozen where it is, and recovers (RFC 7432, 15.1); and what became of it is on
//! record.

use std::time::Duration;

use vtepd::config::Config;
use vtepd::control::FdbRequest;
use vtepd::control::flight_recorder::{Record, RecordedPlace, StationFilter, newest_first};
use vtepd::tables::PortIndex;
use vtepd::telemetry::{FdbEvent, StationChange};

use crate::desk::{Desk, bridge, config, config_with, fixed, log_of, mac};

const FROZEN: &str = "moved too often";
const PLACES: [&str; 2] = ["trunk0", "trunk1"];

fn damped(keys: &str) -> Config {
    config(&(bridge(100, 100, "") + &bridge(200, 200, "") + "[fdb]\nageing = 0\n" + keys))
}

/// The station is heard here and there, a second apart, beginning at trunk0: one more time than it moves.
fn flap(desk: &mut Desk, number: u64, moves: usize) {
    for count in 0..=moves {
        desk.hear(100, mac(number), PLACES[count % 2]);
        desk.now += Duration::from_secs(1);
    }
}

fn history(desk: &mut Desk, filter: StationFilter) -> Vec<Record> {
    let (answer, records) = crossbeam::channel::bounded(1);
    desk.gateway.serve(FdbRequest::History(filter, answer));
    let mut records = records.try_recv().expect("an answer");
    newest_first(&mut records);
    records
}

fn changes(desk: &mut Desk, number: u64) -> Vec<StationChange> {
    let filter = StationFilter { vni: None, mac: Some(mac(number)) };
    history(desk, filter).iter().map(|record| record.change).collect()
}

fn unfreeze(desk: &mut Desk, filter: StationFilter) -> u64 {
    let (answer, count) = crossbeam::channel::bounded(1);
    desk.gateway.serve(FdbRequest::Unfreeze(filter, answer));
    count.try_recv().expect("an answer")
}

#[test]
fn b3_with_the_fifth_move_a_station_is_frozen_where_it_is_and_recovers_by_itself() {
    let mut desk = Desk::new(damped(""));
    let log = log_of(|| flap(&mut desk, 1, 5));
    assert_eq!(log.matches(FROZEN).count(), 1, "{log}");
    assert!(log.contains("vni=100") && log.contains("02:00:00:00:00:01"), "{log}");
    assert!(desk.is_at(100, mac(1), "trunk1") && desk.find(100, mac(1)).is_some_and(|value| value.is_frozen()));
    assert_eq!((desk.events(FdbEvent::Moved), desk.events(FdbEvent::Frozen), desk.control.fdb.frozen.get()), (5, 1, 1));
    for place in ["trunk0", "10.0.0.2", "trunk1", "trunk0"] {
        desk.hear(100, mac(1), place);
        assert!(desk.is_at(100, mac(1), "trunk1"), "{place}");
    }
    assert_eq!(desk.events(FdbEvent::Moved), 5);
    desk.now += Duration::from_secs(178);
    desk.round();
    assert!(desk.find(100, mac(1)).is_some_and(|value| value.is_frozen()));
    desk.now += Duration::from_secs(2);
    desk.round();
    assert!(desk.find(100, mac(1)).is_some_and(|value| !value.is_frozen()));
    assert_eq!((desk.events(FdbEvent::Thawed), desk.control.fdb.frozen.get()), (1, 0));
    desk.hear(100, mac(1), "trunk0");
    assert!(desk.is_at(100, mac(1), "trunk0"), "it moves again");
    let expected = [StationChange::Moved, StationChange::Thawed, StationChange::Frozen];
    assert_eq!(changes(&mut desk, 1)[..3], expected);
}

#[test]
fn b3_nobody_behind_a_full_port_unseats_a_station_for_ever() {
    let port = "device = \"net_null1\"";
    let rest = bridge(100, 100, "") + "[fdb]\nageing = 0\n";
    let mut desk = Desk::new(config_with(port, &format!("{port}\nmax_macs = 1"), &rest));
    desk.hear(100, mac(9), "trunk0");
    let log = log_of(|| {
        for _ in 0..5 {
            desk.hear(100, mac(1), "trunk1");
            desk.hear(100, mac(1), "trunk0");
        }
    });
    assert_eq!(log.matches(FROZEN).count(), 1, "{log}");
    assert!(desk.is_at(100, mac(1), "trunk1") && desk.find(100, mac(1)).is_some_and(|value| value.is_frozen()));
    let counted = [FdbEvent::Unseated, FdbEvent::Frozen, FdbEvent::Moved].map(|event| desk.events(event));
    assert_eq!((counted, desk.control.fdb.frozen.get(), desk.learned_behind("trunk1")), ([4, 1, 0], 1, 1));
    desk.hear(100, mac(1), "trunk0");
    assert!(desk.is_at(100, mac(1), "trunk1"));
    assert_eq!(changes(&mut desk, 1)[..2], [StationChange::Frozen, StationChange::Unseated]);
    assert_eq!(
        history(&mut desk, StationFilter { vni: None, mac: Some(mac(1)) })[0].to,
        Some(RecordedPlace::Port(PortIndex(2), 100, 0))
    );
    desk.now += Duration::from_secs(180);
    desk.round();
    assert!(desk.find(100, mac(1)).is_some_and(|value| !value.is_frozen()));
}

#[test]
fn b3_four_moves_in_the_window_or_five_out_of_it_freeze_nobody() {
    let mut desk = Desk::new(damped(""));
    flap(&mut desk, 1, 4);
    desk.now += Duration::from_secs(180);
    flap(&mut desk, 1, 4);
    for number in 0..10 {
        desk.hear(200, mac(2), PLACES[number % 2]);
        desk.now += Duration::from_secs(50);
    }
    assert_eq!((desk.events(FdbEvent::Frozen), desk.control.fdb.frozen.get()), (0, 0));
}

#[test]
fn b3_numbers_and_times_are_the_configs_and_zero_moves_is_never() {
    let mut desk = Desk::new(damped("max_moves = 2\nmove_window = 10\nfreeze = 5\n"));
    flap(&mut desk, 1, 2);
    assert!(desk.find(100, mac(1)).is_some_and(|value| value.is_frozen()));
    desk.now += Duration::from_secs(5);
    desk.round();
    assert!(desk.find(100, mac(1)).is_some_and(|value| !value.is_frozen()));
    flap(&mut desk, 1, 2);
    desk.reload(damped("max_moves = 0\n"));
    desk.now += Duration::from_secs(1);
    desk.round();
    assert!(desk.find(100, mac(1)).is_some_and(|value| !value.is_frozen()), "nobody stays frozen without damping");
    flap(&mut desk, 1, 100);
    assert_eq!(desk.control.fdb.frozen.get(), 0);
}

#[test]
fn b3_an_operator_ends_a_freeze_that_would_never_end() {
    let mut desk = Desk::new(damped("freeze = 0\n"));
    (1..=3).for_each(|number| flap(&mut desk, number, 5));
    desk.now += Duration::from_secs(100_000);
    desk.round();
    assert_eq!(desk.control.fdb.frozen.get(), 3);
    let vni = |number| Some(vtepd::wire::Vni::new(number).expect("a VNI"));
    assert_eq!(unfreeze(&mut desk, StationFilter { vni: vni(200), mac: None }), 0);
    assert_eq!(unfreeze(&mut desk, StationFilter { vni: vni(100), mac: Some(mac(1)) }), 1);
    assert_eq!(changes(&mut desk, 1)[0], StationChange::Unfrozen);
    desk.hear(100, mac(1), "trunk0");
    assert!(desk.is_at(100, mac(1), "trunk0"));
    assert_eq!(unfreeze(&mut desk, StationFilter::default()), 2);
    assert_eq!(desk.control.fdb.frozen.get(), 0);
}

#[test]
fn b3_what_takes_a_frozen_entry_away_ends_its_freeze() {
    let text = |rest: &str| config(&(bridge(100, 100, "") + "[fdb]\nageing = 100\nfreeze = 0\n" + rest));
    let mut desk = Desk::new(text(""));
    flap(&mut desk, 1, 5);
    flap(&mut desk, 2, 5);
    assert_eq!(desk.control.fdb.frozen.get(), 2);
    desk.reload(text(&fixed(100, mac(1), "trunk0")));
    assert_eq!(desk.control.fdb.frozen.get(), 1);
    desk.pass(Duration::from_secs(110));
    assert_eq!((desk.find(100, mac(2)), desk.control.fdb.frozen.get()), (None, 0), "it ages as any other");
    desk.hear(100, mac(2), "trunk0");
    assert!(desk.find(100, mac(2)).is_some_and(|value| !value.is_frozen()));
    assert_eq!(changes(&mut desk, 1)[0], StationChange::MadeStatic);
    assert_eq!(changes(&mut desk, 2)[0], StationChange::Aged);
}

#[test]
fn a_loop_of_many_stations_is_a_line_a_second_in_the_log() {
    let mut desk = Desk::new(damped(""));
    let log = log_of(|| {
        for count in 0..=5 {
            (0..1000).for_each(|number| assert!(desk.ring.send(desk.event(100, mac(number), PLACES[count % 2]))));
            desk.round();
        }
    });
    assert_eq!((desk.control.fdb.frozen.get(), log.matches(FROZEN).count()), (1000, 1), "{log}");
    let log = log_of(|| {
        desk.now += Duration::from_secs(2);
        flap(&mut desk, 5000, 5);
    });
    assert!(log.contains("others=999"), "{log}");
}

#[test]
fn a_move_is_on_record_with_when_from_where_and_to_where() {
    let mut desk = Desk::new(damped(""));
    let before = std::time::SystemTime::now();
    desk.hear(100, mac(1), "trunk1");
    desk.hear(100, mac(1), "10.0.0.3");
    desk.hear(200, mac(1), "trunk0");
    desk.hear(200, mac(1), "trunk1");
    let vni = Some(vtepd::wire::Vni::new(100).expect("a VNI"));
    let records = history(&mut desk, StationFilter { vni, mac: Some(mac(1)) });
    let [moved] = records[..] else { panic!("{records:?}") };
    assert!(moved.at >= before && moved.at <= std::time::SystemTime::now());
    let remote = RecordedPlace::Remote("10.0.0.3".parse().expect("an address"));
    assert_eq!((moved.change, moved.mac, moved.entries), (StationChange::Moved, Some(mac(1)), 1));
    assert_eq!((moved.from, moved.to), (Some(RecordedPlace::Port(PortIndex(2), 100, 0)), Some(remote)));
    // What leaves with the config is one record, and in the places that the old config had.
    desk.reload(config(&(bridge(200, 200, "") + "[fdb]\nageing = 0\n")));
    let left = history(&mut desk, StationFilter { vni, mac: None })[0];
    assert_eq!((left.change, left.mac, left.entries), (StationChange::LeftConfig, None, 1));
}

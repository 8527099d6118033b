//! Entries that are not heard of leave after the ageing time; others stay.

use std::time::{Duration, Instant};

use vtepd::config::Config;
use vtepd::control::gateway::tick_length;
use vtepd::tables::{FdbValue, FdbWriter};
use vtepd::telemetry::FdbEvent;

use crate::desk::{Desk, bridge, config, fixed, mac};

fn aged_after(seconds: u32) -> Config {
    config(
        &(bridge(100, 100, "")
            + &format!("[fdb]\nmax_entries = 8192\nageing = {seconds}\n")
            + &fixed(100, mac(99), "trunk0")),
    )
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn what_is_not_heard_of_leaves_soon_after_the_ageing_time_and_not_before() {
    for ageing in [1, 10, 300] {
        let mut desk = Desk::new(aged_after(ageing));
        let ageing = seconds(u64::from(ageing));
        let tick = tick_length(Some(ageing));
        desk.pass(tick * 3 / 2);
        for number in 0..20 {
            desk.hear(100, mac(number), "trunk0");
        }
        desk.pass(ageing - Duration::from_millis(1));
        assert_eq!(desk.len(), 21, "{ageing:?}: nothing leaves before its time");
        desk.pass(tick * 3);
        assert_eq!((desk.len(), desk.events(FdbEvent::Aged)), (1, 20), "{ageing:?}");
        assert!(desk.find(100, mac(99)).is_some_and(FdbValue::is_static), "the static one stays");
        assert_eq!((desk.bridge_entries(100), desk.control.fdb.entries.get()), (1, 1));
        assert!(tick * 3 <= ageing / 5, "{tick:?} is fine enough for {ageing:?}");
    }
}

#[test]
fn the_default_is_300_seconds() {
    let mut desk = Desk::new(config(&bridge(100, 100, "")));
    desk.hear(100, mac(1), "trunk0");
    desk.pass(seconds(299));
    assert!(desk.is_at(100, mac(1), "trunk0"));
    desk.pass(seconds(13));
    assert_eq!(desk.find(100, mac(1)), None);
}

#[test]
fn each_bridge_forgets_after_its_own_time() {
    let bridges = bridge(100, 100, "ageing = 2") + &bridge(200, 200, "") + &bridge(300, 300, "ageing = 0");
    let mut desk = Desk::new(config(&(bridges + "[fdb]\nageing = 20\n")));
    for vni in [100, 200, 300] {
        desk.hear(vni, mac(1), "trunk0");
    }
    let here = |desk: &Desk| [100, 200, 300].map(|vni| desk.find(vni, mac(1)).is_some());
    desk.pass(Duration::from_millis(1999));
    assert_eq!(here(&desk), [true, true, true]);
    desk.pass(Duration::from_millis(500));
    assert_eq!(here(&desk), [false, true, true]);
    desk.pass(Duration::from_millis(17_500));
    assert_eq!(here(&desk), [false, true, true]);
    desk.pass(Duration::from_millis(500));
    assert_eq!(here(&desk), [false, false, true]);
    desk.pass(seconds(100));
    assert_eq!(here(&desk), [false, false, true]);
}

#[test]
fn a_bridges_ageing_time_changes_with_a_reload_and_the_others_keep_theirs() {
    let text = |keys: &str| config(&(bridge(100, 100, keys) + &bridge(200, 200, "") + "[fdb]\nageing = 0\n"));
    let mut desk = Desk::new(text(""));
    desk.hear(100, mac(1), "trunk0");
    desk.hear(200, mac(1), "trunk0");
    desk.pass(seconds(10));
    assert_eq!(desk.len(), 2);
    desk.reload(text("ageing = 1"));
    desk.pass(seconds(2));
    assert_eq!((desk.find(100, mac(1)), desk.len()), (None, 1));
    desk.hear(100, mac(1), "trunk0");
    desk.reload(text(""));
    desk.pass(seconds(10));
    assert_eq!(desk.len(), 2);
}

#[test]
fn the_longest_ageing_time_that_may_be_beside_the_shortest_fits_the_clock() {
    let (shortest, longest) = (seconds(1), seconds(2048));
    let tick = tick_length([longest, shortest]);
    assert!(tick <= shortest / 8 && longest.as_nanos() / tick.as_nanos() <= 16384, "{tick:?}");
    assert_eq!(tick_length([seconds(300), seconds(60)]), tick_length(Some(seconds(60))));
}

#[test]
fn what_is_heard_of_stays_as_long_as_it_is() {
    let mut desk = Desk::new(aged_after(2));
    for number in 0..100 {
        desk.hear(100, mac(number), "trunk0");
    }
    for _ in 0..20 {
        desk.pass(seconds(1));
        (0..50).for_each(|number| desk.refresh(100, mac(number)));
    }
    assert!((0..50).all(|number| desk.is_at(100, mac(number), "trunk0")));
    assert!((50..99).all(|number| desk.find(100, mac(number)).is_none()));
    assert_eq!(desk.events(FdbEvent::Aged), 49, "station 99 is static");
}

#[test]
fn without_an_ageing_time_nothing_ever_leaves() {
    let mut desk = Desk::new(aged_after(0));
    desk.hear(100, mac(1), "trunk0");
    for _ in 0..100 {
        desk.now += seconds(3600);
        desk.round();
    }
    assert!(desk.is_at(100, mac(1), "trunk0"));
    assert_eq!(desk.events(FdbEvent::Aged), 0);
}

#[test]
fn the_whole_table_is_swept_once_a_tick_however_unevenly_the_rounds_come() {
    let (ageing, stations) = (seconds(32), 5000);
    let tick = tick_length(Some(ageing));
    let mut desk = Desk::new(aged_after(32));
    for number in 1000..1000 + stations {
        assert!(desk.ring.send(desk.event(100, mac(number), "trunk1")));
    }
    desk.round();
    assert_eq!(desk.len() as u64, stations + 1);
    // To the tick by which all of them are too old, in one step: the round looks at the whole table.
    desk.now += ageing + tick;
    desk.round();
    assert_eq!(desk.len(), 1);
    // Rounds give the slots of those that left back a batch at a time.
    (0..stations / FdbWriter::RECLAIM_BATCH as u64 + 2).for_each(|_| assert_eq!(desk.round(), 0));

    for number in 1000..1000 + stations {
        assert!(desk.ring.send(desk.event(100, mac(number), "trunk1")));
    }
    desk.round();
    desk.now += ageing;
    desk.round();
    assert_eq!(desk.len() as u64, stations + 1, "not too old yet");
    // In uneven steps within one tick: each looks at its share, none at all, together at everything.
    let mut left = Vec::new();
    desk.now += Duration::from_micros(1);
    for percent in [1, 0, 9, 40, 25, 25] {
        desk.now += tick * percent / 100;
        desk.round();
        left.push(desk.len() as u64 - 1);
    }
    assert!(left.is_sorted_by(|more, fewer| more >= fewer), "{left:?}");
    desk.now += tick;
    desk.round();
    assert_eq!(desk.len(), 1, "{left:?}");
}

#[test]
fn a_reload_with_a_much_shorter_ageing_time_forgets_nobody_who_was_just_heard() {
    for (before, after) in [(300, 1), (0, 1), (1_000_000, 10), (300, 10)] {
        let mut desk = Desk::new(aged_after(before));
        // Late in a long tick: what has passed of it is many short ones.
        desk.pass(tick_length((before > 0).then(|| seconds(u64::from(before)))) * 19 / 10);
        desk.hear(100, mac(1), "trunk0");
        desk.reload(aged_after(after));
        desk.pass(seconds(u64::from(after)) / 2);
        assert!(desk.is_at(100, mac(1), "trunk0"), "from {before} s to {after} s");
        desk.pass(seconds(u64::from(after)));
        assert_eq!(desk.find(100, mac(1)), None, "from {before} s to {after} s: it leaves in its time");
    }
}

#[test]
fn a_reload_with_a_longer_ageing_time_makes_nobody_older_than_the_table_allows() {
    for (before, after) in [(1, 300), (1, 1_000_000), (300, 3600), (10, 0)] {
        let mut desk = Desk::new(aged_after(before));
        desk.hear(100, mac(1), "trunk0");
        desk.pass(seconds(u64::from(before)) * 3 / 4);
        desk.reload(aged_after(after));
        desk.pass(seconds(5));
        assert!(desk.is_at(100, mac(1), "trunk0"), "from {before} s to {after} s");
    }
}

#[test]
fn rounds_by_the_systems_clock_age_too() {
    let mut desk = Desk::new(aged_after(1));
    assert!(desk.ring.send(desk.event(100, mac(1), "trunk0")));
    let began = Instant::now();
    desk.gateway.round();
    while desk.find(100, mac(1)).is_some() {
        assert!(began.elapsed() < seconds(20), "it never leaves");
        std::thread::sleep(Duration::from_millis(5));
        desk.gateway.round();
    }
    assert!(began.elapsed() >= Duration::from_millis(950), "{:?}", began.elapsed());
}

//! What workers report becomes entries, and static entries stand above them.

use std::time::{Duration, Instant};

use vtepd::tables::{FdbKey, FdbValue};
use vtepd::telemetry::FdbEvent;
use vtepd::wire::MacAddr;

use crate::desk::{Desk, bridge, config, fixed, log_of, mac};

#[test]
fn b1_a_source_is_learned_and_moves_at_once_and_is_refreshed_by_what_says_the_same() {
    let mut desk = Desk::new(config(&bridge(100, 100, "")));
    assert_eq!(desk.round(), 0);
    desk.hear(100, mac(1), "trunk0");
    assert!(desk.is_at(100, mac(1), "trunk0"));
    desk.hear(100, mac(1), "10.0.0.3");
    assert!(desk.is_at(100, mac(1), "10.0.0.3"));
    desk.pass(Duration::from_secs(10));
    desk.hear(100, mac(1), "10.0.0.3");
    let value = desk.find(100, mac(1)).expect("known");
    assert_eq!(value.tick(), desk.gateway.tables().age.now(), "what says the same refreshes");
    assert!(desk.gateway.tables().age.now().0 > 0, "the clock has been turned");
    assert_eq!([FdbEvent::Learned, FdbEvent::Moved].map(|event| desk.events(event)), [1, 1]);
    assert_eq!((desk.bridge_entries(100), desk.len(), desk.control.fdb.entries.get()), (1, 1, 1));
}

#[test]
fn one_station_is_in_two_bridges_at_two_places() {
    let mut desk = Desk::new(config(&(bridge(100, 100, "") + &bridge(200, 200, ""))));
    desk.hear(100, mac(1), "trunk0");
    desk.hear(200, mac(1), "10.0.0.2");
    assert!(desk.is_at(100, mac(1), "trunk0") && desk.is_at(200, mac(1), "10.0.0.2"));
}

#[test]
fn a_whole_ring_of_events_is_applied_in_one_round_in_its_order() {
    let mut desk = Desk::new(config(&(bridge(100, 100, "") + "[fdb]\nmax_moves = 0\n")));
    let places = ["trunk0", "trunk1", "10.0.0.2"];
    let mut sent = 0;
    while desk.ring.send(desk.event(100, mac(sent % 1000), places[(sent / 1000) as usize % 3])) {
        sent += 1;
    }
    assert_eq!(desk.round() as u64, sent);
    for number in 0..1000 {
        let last = (sent - 1 - number) / 1000 * 1000 + number;
        assert!(desk.is_at(100, mac(number), places[(last / 1000) as usize % 3]), "{number}");
    }
    assert_eq!((desk.len(), desk.events(FdbEvent::Learned)), (1000, 1000));
}

#[test]
fn b1_a_static_entry_is_never_overwritten_by_learning() {
    let text = bridge(100, 100, "") + &fixed(100, mac(1), "trunk0") + &fixed(100, mac(2), "10.0.0.2");
    let mut desk = Desk::new(config(&text));
    for _ in 0..3 {
        desk.hear(100, mac(1), "10.0.0.2");
        desk.hear(100, mac(2), "trunk1");
        desk.hear(100, mac(1), "trunk0");
    }
    let at = |place| Some(FdbValue::fixed(desk.location(100, place)));
    assert_eq!(desk.find(100, mac(1)), at("trunk0"));
    assert_eq!(desk.find(100, mac(2)), at("10.0.0.2"));
    assert_eq!([FdbEvent::Learned, FdbEvent::Moved].map(|event| desk.events(event)), [0, 0]);
    assert_eq!(desk.bridge_entries(100), 2);
}

#[test]
fn a_reload_installs_replaces_and_removes_static_entries() {
    let bridge = bridge(100, 100, "");
    let mut desk = Desk::new(config(&bridge));
    desk.hear(100, mac(1), "trunk1");
    desk.hear(100, mac(2), "trunk1");
    desk.reload(config(&(bridge.clone() + &fixed(100, mac(1), "trunk0"))));
    assert_eq!(desk.find(100, mac(1)), Some(FdbValue::fixed(desk.location(100, "trunk0"))), "over a learned one");
    desk.reload(config(&(bridge.clone() + &fixed(100, mac(1), "10.0.0.3"))));
    assert_eq!(desk.find(100, mac(1)), Some(FdbValue::fixed(desk.location(100, "10.0.0.3"))), "replaced");
    assert_eq!(desk.bridge_entries(100), 2);
    desk.reload(config(&bridge));
    assert_eq!(desk.find(100, mac(1)), None, "removed");
    assert!(desk.is_at(100, mac(2), "trunk1"), "what was learned stays");
    assert_eq!((desk.bridge_entries(100), desk.events(FdbEvent::Flushed)), (1, 0));
    desk.hear(100, mac(1), "trunk1");
    assert!(desk.is_at(100, mac(1), "trunk1"), "it can be learned again");
}

#[test]
fn a_reload_pins_a_static_entry_and_lets_it_go() {
    let text = |keys: &str| config(&(bridge(100, 100, "") + &fixed(100, mac(1), "trunk0") + keys));
    let mut desk = Desk::new(text(""));
    let at = desk.location(100, "trunk0");
    assert_eq!(desk.find(100, mac(1)), Some(FdbValue::fixed(at)));
    desk.reload(text("pinned = true\n"));
    assert_eq!(desk.find(100, mac(1)), Some(FdbValue::pinned(at)));
    desk.hear(100, mac(1), "trunk1");
    assert_eq!(desk.find(100, mac(1)), Some(FdbValue::pinned(at)), "a late event changes nothing");
    desk.reload(text(""));
    assert_eq!(desk.find(100, mac(1)), Some(FdbValue::fixed(at)));
}

#[test]
fn a_static_entry_without_room_is_said_and_tried_again_at_the_next_reload() {
    let text = |rest: &str| config(&(bridge(100, 100, "") + "[fdb]\nmax_entries = 2\nageing = 10\n" + rest));
    let mut desk = Desk::new(text(""));
    desk.hear(100, mac(1), "trunk0");
    desk.hear(100, mac(2), "trunk0");
    let wanted = fixed(100, mac(3), "trunk1");
    let log = log_of(|| desk.reload(text(&wanted)));
    assert!(log.contains("static entries were not installed") && log.contains("entries=1"), "{log}");
    assert_eq!((desk.find(100, mac(3)), desk.len()), (None, 2), "nothing is evicted");
    desk.pass(Duration::from_secs(15));
    assert_eq!(desk.len(), 0, "the learned ones aged");
    desk.hear(100, mac(3), "trunk0");
    desk.reload(text(&wanted));
    assert_eq!(desk.find(100, mac(3)), Some(FdbValue::fixed(desk.location(100, "trunk1"))), "there is room now");
    // One that never got in is not taken out for somebody who was learned in its place.
    desk.hear(100, mac(4), "trunk0");
    desk.reload(text(&(wanted.clone() + &fixed(100, mac(5), "trunk0"))));
    desk.reload(text(&wanted));
    assert!(desk.is_at(100, mac(4), "trunk0"));
}

#[test]
fn a_learned_station_outlives_a_static_entry_that_found_no_room() {
    let text = |rest: &str| config(&(bridge(100, 100, "") + "[fdb]\nmax_entries = 1\nageing = 10\n" + rest));
    let mut desk = Desk::new(text(""));
    desk.hear(100, mac(1), "trunk0");
    desk.reload(text(&fixed(100, mac(2), "trunk1")));
    desk.pass(Duration::from_secs(15));
    desk.hear(100, mac(2), "trunk0");
    desk.reload(text(""));
    assert!(desk.is_at(100, mac(2), "trunk0"), "it was learned");
}

#[test]
fn a_hundred_thousand_static_entries_are_installed_in_a_moment() {
    let station = |number: u64| fixed(100, mac(number), if number.is_multiple_of(2) { "trunk0" } else { "10.0.0.2" });
    let many: String = (0..100_000).map(station).collect();
    let all = config(&(bridge(100, 100, "") + "[fdb]\nmax_entries = 131072\n" + &many));
    let began = Instant::now();
    let mut desk = Desk::new(all.clone());
    let started = began.elapsed();
    assert_eq!((desk.len(), desk.bridge_entries(100)), (100_000, 100_000));
    assert!((0..100_000).all(|number| desk.find(100, mac(number)).is_some_and(FdbValue::is_static)));
    let began = Instant::now();
    desk.reload(all);
    let reloaded = began.elapsed();
    assert_eq!(desk.len(), 100_000);
    let patience = Duration::from_secs(5);
    assert!(started < patience && reloaded < patience, "{started:?} to start, {reloaded:?} to reload");
}

#[test]
fn what_is_no_station_is_not_learned() {
    let mut desk = Desk::new(config(&bridge(100, 100, "")));
    let group = MacAddr([0x01, 0, 0x5e, 0, 0, 1]);
    for address in [group, MacAddr([0; 6]), MacAddr([0xff; 6])] {
        desk.hear(100, address, "trunk0");
        assert_eq!(desk.find_key(FdbKey::new(desk.bridge(100), address)), None);
    }
    assert_eq!((desk.len(), desk.bridge_entries(100), desk.events(FdbEvent::Learned)), (0, 0, 0));
}

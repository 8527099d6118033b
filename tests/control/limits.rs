//! Beyond a limit nothing is learned and nothing evicted; each limit is counted by itself and logged once.

use std::time::Duration;

use vtepd::config::Config;
use vtepd::telemetry::FdbEvent;

use crate::desk::{Desk, bridge, config, config_with, fixed, log_of, mac};

const BRIDGE_FULL: &str = "has learned all the addresses it may";
const PORT_FULL: &str = "the port has all the addresses it may";
const TABLE_FULL: &str = "an address was not learned";

fn refused(desk: &Desk) -> [u64; 2] {
    [FdbEvent::RefusedByBridgeLimit, FdbEvent::RefusedByGlobalLimit].map(|event| desk.events(event))
}

fn limited(max_macs: u32, rest: &str) -> Config {
    config(&(bridge(100, 100, &format!("max_macs = {max_macs}")) + &bridge(200, 200, "") + rest))
}

#[test]
fn a_bridge_learns_as_many_as_it_may_and_the_others_are_not_held_back() {
    let mut desk = Desk::new(limited(3, ""));
    let log = log_of(|| (1..=10).for_each(|number| desk.hear(100, mac(number), "trunk0")));
    assert_eq!(log.matches(BRIDGE_FULL).count(), 1, "{log}");
    assert!(log.contains("vni=100") && log.contains("max_macs=3"), "{log}");
    assert!((1..=3).all(|number| desk.is_at(100, mac(number), "trunk0")), "nothing is evicted");
    assert!((4..=10).all(|number| desk.find(100, mac(number)).is_none()));
    assert_eq!((refused(&desk), desk.bridge_entries(100)), ([7, 0], 3));
    desk.hear(100, mac(2), "10.0.0.2");
    assert!(desk.is_at(100, mac(2), "10.0.0.2"), "what is known moves all the same");
    (1..=10).for_each(|number| desk.hear(200, mac(number), "trunk0"));
    assert_eq!((desk.bridge_entries(200), refused(&desk)), (10, [7, 0]));
}

fn with_port_limit(trunk0: &str, rest: &str) -> Config {
    config_with("device = \"net_null1\"", &format!("device = \"net_null1\"\n{trunk0}"), rest)
}

#[test]
fn a_port_learns_as_many_as_it_may_over_all_its_bridges_and_the_others_are_not_held_back() {
    let bridges = bridge(100, 100, "") + &bridge(200, 200, "") + &fixed(100, mac(99), "trunk0");
    let mut desk = Desk::new(with_port_limit("max_macs = 3", &bridges));
    let log = log_of(|| {
        (1..=2).for_each(|number| desk.hear(100, mac(number), "trunk0"));
        (3..=9).for_each(|number| desk.hear(200, mac(number), "trunk0"));
    });
    assert_eq!(log.matches(PORT_FULL).count(), 1, "{log}");
    assert!(log.contains("trunk0") && log.contains("max_macs=3"), "{log}");
    assert_eq!((desk.events(FdbEvent::RefusedByPortLimit), refused(&desk)), (6, [0, 0]));
    assert_eq!((desk.bridge_entries(100), desk.bridge_entries(200)), (3, 1), "the static one does not count");
    assert_eq!(desk.learned_behind("trunk0"), 3);
    (11..=20).for_each(|number| desk.hear(100, mac(number), "trunk1"));
    (21..=30).for_each(|number| desk.hear(100, mac(number), "10.0.0.2"));
    assert_eq!((desk.bridge_entries(100), desk.learned_behind("trunk1")), (23, 10));
    desk.hear(100, mac(1), "trunk1");
    assert_eq!((desk.learned_behind("trunk0"), desk.learned_behind("trunk1")), (2, 11));
    desk.hear(200, mac(9), "trunk0");
    assert!(desk.is_at(200, mac(9), "trunk0"), "there is room for another where one left");
}

#[test]
fn a_station_that_moves_to_a_full_port_is_flooded_to_and_one_that_leaves_it_is_not_held() {
    let mut desk = Desk::new(with_port_limit("max_macs = 1", &bridge(100, 100, "")));
    desk.hear(100, mac(1), "trunk0");
    desk.hear(100, mac(2), "trunk1");
    desk.hear(100, mac(2), "trunk0");
    assert_eq!(desk.find(100, mac(2)), None, "where it was it is not");
    assert_eq!((desk.events(FdbEvent::RefusedByPortLimit), desk.events(FdbEvent::Unseated)), (1, 1));
    assert_eq!((desk.bridge_entries(100), desk.learned_behind("trunk1")), (1, 0));
    assert!(desk.is_at(100, mac(1), "trunk0"), "nobody who is there is evicted for it");
    desk.hear(100, mac(1), "10.0.0.2");
    assert!(desk.is_at(100, mac(1), "10.0.0.2"));
    desk.hear(100, mac(2), "trunk0");
    assert!(desk.is_at(100, mac(2), "trunk0"));
    assert_eq!(desk.events(FdbEvent::Moved), 1);
}

#[test]
fn a_reload_changes_a_ports_limit_and_what_is_over_it_stays() {
    let rest = bridge(100, 100, "") + "[fdb]\nageing = 10\n";
    let mut desk = Desk::new(with_port_limit("", &rest));
    (1..=4).for_each(|number| desk.hear(100, mac(number), "trunk0"));
    desk.reload(with_port_limit("max_macs = 2", &rest));
    let log = log_of(|| desk.hear(100, mac(5), "trunk0"));
    assert_eq!((desk.learned_behind("trunk0"), log.matches(PORT_FULL).count()), (4, 1), "{log}");
    desk.reload(with_port_limit("max_macs = 5", &rest));
    let log = log_of(|| (5..=6).for_each(|number| desk.hear(100, mac(number), "trunk0")));
    assert_eq!((desk.learned_behind("trunk0"), log.matches(PORT_FULL).count()), (5, 1), "{log}");
    desk.pass(Duration::from_secs(12));
    assert_eq!((desk.len(), desk.learned_behind("trunk0")), (0, 0));
    // Entries of a bridge that leaves no longer count.
    (1..=5).for_each(|number| desk.hear(100, mac(number), "trunk0"));
    desk.reload(with_port_limit("max_macs = 5", &bridge(200, 200, "")));
    assert_eq!((desk.len(), desk.learned_behind("trunk0")), (0, 0));
    (1..=5).for_each(|number| desk.hear(200, mac(number), "trunk0"));
    assert_eq!((desk.bridge_entries(200), desk.learned_behind("trunk0")), (5, 5));
}

#[test]
fn static_entries_do_not_count_against_a_bridges_limit() {
    let statics: String = (1..=5).map(|number| fixed(100, mac(number), "trunk0")).collect();
    let mut desk = Desk::new(limited(2, &statics));
    (11..=14).for_each(|number| desk.hear(100, mac(number), "trunk1"));
    assert_eq!((desk.bridge_entries(100), refused(&desk)), (7, [2, 0]));
    // One that becomes static makes room for one more.
    desk.reload(limited(2, &(statics + &fixed(100, mac(11), "trunk1"))));
    (15..=16).for_each(|number| desk.hear(100, mac(number), "trunk1"));
    assert_eq!((desk.bridge_entries(100), refused(&desk)), (8, [3, 0]));
}

#[test]
fn the_whole_table_takes_as_many_as_it_may_static_ones_included() {
    let fdb = "[fdb]\nmax_entries = 4\n";
    let mut desk = Desk::new(limited(100, &(fdb.to_owned() + &fixed(100, mac(1), "trunk0"))));
    let log = log_of(|| {
        (2..=3).for_each(|number| desk.hear(100, mac(number), "trunk0"));
        (4..=9).for_each(|number| desk.hear(200, mac(number), "trunk0"));
    });
    assert_eq!(log.matches(TABLE_FULL).count(), 1, "{log}");
    assert!(log.contains("max_entries=4"), "{log}");
    assert_eq!((desk.len(), refused(&desk)), (4, [0, 5]));
    assert_eq!((desk.bridge_entries(100), desk.bridge_entries(200)), (3, 1));
    assert!((1..=3).all(|number| desk.is_at(100, mac(number), "trunk0")) && desk.is_at(200, mac(4), "trunk0"));
}

#[test]
fn a_limit_is_logged_again_after_the_table_was_well_below_it() {
    let text = limited(4, "[fdb]\nmax_entries = 8\nageing = 10\n");
    let mut desk = Desk::new(text);
    let fill = |desk: &mut Desk| {
        log_of(|| {
            (1..=6).for_each(|number| desk.hear(100, mac(number), "trunk0"));
            (1..=6).for_each(|number| desk.hear(200, mac(number), "trunk0"));
        })
    };
    for _ in 0..3 {
        let log = fill(&mut desk);
        assert_eq!((log.matches(BRIDGE_FULL).count(), log.matches(TABLE_FULL).count()), (1, 1), "{log}");
        let log = fill(&mut desk);
        assert_eq!((log.matches(BRIDGE_FULL).count(), log.matches(TABLE_FULL).count()), (0, 0), "{log}");
        desk.pass(Duration::from_secs(12));
        assert_eq!(desk.len(), 0);
    }
}

#[test]
fn more_stations_than_a_limit_do_not_fill_the_log_while_they_come_and_go() {
    let mut desk = Desk::new(limited(64, "[fdb]\nmax_entries = 1024\nageing = 10\n"));
    let log = log_of(|| {
        for number in 0..2000 {
            // More than ten seconds' worth of stations: each that ages makes room for one.
            desk.hear(100, mac(number), "trunk0");
            desk.pass(Duration::from_millis(100));
        }
    });
    assert!(refused(&desk)[0] > 100 && desk.events(FdbEvent::Aged) > 1000, "{:?}", refused(&desk));
    let lines = log.matches(BRIDGE_FULL).count();
    assert!((1..=20).contains(&lines), "{lines} lines in 200 s");
}

#[test]
fn a_limit_raised_by_a_reload_is_logged_when_it_is_reached_in_its_turn() {
    let mut desk = Desk::new(limited(2, ""));
    (1..=3).for_each(|number| desk.hear(100, mac(number), "trunk0"));
    desk.reload(limited(20, ""));
    let log = log_of(|| (1..=21).for_each(|number| desk.hear(100, mac(number), "trunk0")));
    assert_eq!((log.matches(BRIDGE_FULL).count(), desk.bridge_entries(100)), (1, 20), "{log}");
    desk.reload(limited(10, ""));
    let log = log_of(|| desk.hear(100, mac(30), "trunk0"));
    assert_eq!((desk.bridge_entries(100), refused(&desk)), (20, [3, 0]), "what is over the limit stays");
    assert!(!log.contains(BRIDGE_FULL), "{log}");
}

#[test]
fn a_limit_taken_away_by_a_reload_is_gone() {
    let mut desk = Desk::new(limited(1, ""));
    (1..=2).for_each(|number| desk.hear(100, mac(number), "trunk0"));
    desk.reload(config(&(bridge(100, 100, "") + &bridge(200, 200, ""))));
    (1..=9).for_each(|number| desk.hear(100, mac(number), "trunk0"));
    assert_eq!((desk.bridge_entries(100), refused(&desk)), (9, [1, 0]));
}

//! A reload changes what it names and nothing else.

use std::sync::Arc;

use vtepd::config::Config;
use vtepd::control::gateway::ApplyError;
use vtepd::tables::{FdbKey, FdbValue};
use vtepd::telemetry::FdbEvent;

use crate::desk::{Desk, bridge, config, config_with, fixed, log_of, mac};

fn entries(desk: &Desk) -> Vec<(FdbKey, FdbValue)> {
    let mut entries: Vec<_> = desk.gateway.tables().fdb.iter().collect();
    entries.sort_by_key(|(key, _)| (key.bridge().0, key.mac()));
    entries
}

#[test]
fn bridges_that_stay_keep_indices_entries_and_counts() {
    let mut desk = Desk::new(config(&(bridge(100, 100, "") + &bridge(200, 200, "") + &bridge(300, 300, ""))));
    for (vni, place) in [(200, "trunk0"), (200, "10.0.0.3"), (300, "trunk1"), (300, "10.0.0.2")] {
        (0..10).for_each(|number| desk.hear(vni, mac(number + u64::from(place.len() as u32) * 100), place));
    }
    let (kept, places) = (entries(&desk), |desk: &Desk| {
        [200, 300].map(|vni| {
            (desk.bridge(vni), ["trunk0", "trunk1", "10.0.0.2", "10.0.0.3"].map(|place| desk.location(vni, place)))
        })
    });
    let before = places(&desk);
    desk.reload(config(&(bridge(50, 50, "") + &bridge(300, 300, "") + &bridge(60, 60, "") + &bridge(200, 200, ""))));
    assert_eq!(places(&desk), before);
    assert_eq!(entries(&desk), kept);
    assert_eq!((desk.bridge_entries(200), desk.bridge_entries(300), desk.bridge_entries(50)), (20, 20, 0));
    assert_eq!(desk.events(FdbEvent::Flushed), 0);
    desk.reload(config(&(bridge(100, 100, "") + &bridge(200, 200, "") + &bridge(300, 300, ""))));
    assert_eq!((places(&desk), entries(&desk)), (before, kept));
    assert_eq!(desk.bridge(100).0, 5, "the bridge that came back has no index that another had");
}

#[test]
fn entries_of_bridges_members_and_remotes_that_left_are_flushed_and_no_others() {
    let mut desk = Desk::new(config(&(bridge(100, 100, "") + &bridge(200, 200, ""))));
    for vni in [100, 200] {
        desk.hear(vni, mac(1), "trunk0");
        desk.hear(vni, mac(2), "trunk1");
        desk.hear(vni, mac(3), "10.0.0.2");
        desk.hear(vni, mac(4), "10.0.0.3");
    }
    let gone = FdbKey::new(desk.bridge(200), mac(1));
    let narrower = bridge(100, 100, "").replace("\"trunk0\", \"trunk1\"", "\"trunk1\"").replace("\"10.0.0.2\", ", "");
    let log = log_of(|| desk.reload(config(&narrower)));
    assert!(log.contains("entries=6"), "{log}");
    assert!(desk.is_at(100, mac(2), "trunk1") && desk.is_at(100, mac(4), "10.0.0.3"));
    assert_eq!((desk.find(100, mac(1)), desk.find(100, mac(3)), desk.find_key(gone)), (None, None, None));
    assert_eq!((desk.len(), desk.bridge_entries(100), desk.events(FdbEvent::Flushed)), (2, 2, 6));
    assert_eq!(desk.control.fdb.bridge_entries(gone.bridge()).get(), 0);
}

#[test]
fn a_vlan_that_moves_to_another_bridge_leaves_nobody_behind_in_the_old_one() {
    let mut desk = Desk::new(config(&(bridge(100, 10, "") + &bridge(200, 20, ""))));
    desk.hear(100, mac(1), "trunk0");
    desk.hear(100, mac(2), "10.0.0.2");
    desk.hear(200, mac(3), "trunk0");
    let late = desk.event(100, mac(4), "trunk0");
    desk.reload(config(&(bridge(100, 20, "") + &bridge(200, 10, ""))));
    assert_eq!((desk.find(100, mac(1)), desk.find(200, mac(1)), desk.find(200, mac(3))), (None, None, None));
    assert!(desk.is_at(100, mac(2), "10.0.0.2"), "who is behind a remote VTEP is where it was");
    assert!(desk.ring.send(late));
    desk.hear(200, mac(1), "trunk0");
    assert!(desk.is_at(200, mac(1), "trunk0"));
    assert_eq!((desk.find(100, mac(4)), desk.len()), (None, 2), "a report from before the reload is ignored");
}

#[test]
fn reports_from_before_a_reload_are_ignored_where_they_name_what_left() {
    let mut desk = Desk::new(config(&(bridge(100, 100, "") + &bridge(200, 200, ""))));
    let late = [
        desk.event(200, mac(1), "trunk0"),
        desk.event(200, mac(2), "10.0.0.2"),
        desk.event(100, mac(3), "trunk0"),
        desk.event(100, mac(4), "10.0.0.2"),
    ];
    let still = desk.event(100, mac(5), "trunk1");
    let narrower = bridge(100, 100, "").replace("\"trunk0\", \"trunk1\"", "\"trunk1\"").replace("\"10.0.0.2\", ", "");
    desk.reload(config(&narrower));
    assert!(late.iter().chain([&still]).all(|event| desk.ring.send(*event)));
    assert_eq!(desk.round(), 5);
    assert_eq!(entries(&desk).iter().map(|(key, _)| *key).collect::<Vec<_>>(), [still.key]);
    assert_eq!(desk.events(FdbEvent::Learned), 1);
}

#[test]
fn a_bridge_that_no_longer_learns_does_not_learn_from_a_late_report() {
    let mut desk = Desk::new(config(&bridge(100, 100, "")));
    desk.hear(100, mac(1), "trunk0");
    let late = desk.event(100, mac(2), "trunk0");
    desk.reload(config(&bridge(100, 100, "learning = false")));
    assert!(desk.ring.send(late));
    desk.round();
    assert!(desk.find(100, mac(2)).is_none() && desk.is_at(100, mac(1), "trunk0"));
}

#[test]
fn without_source_check_a_remote_that_left_the_config_is_flushed_too() {
    let four = "[[neighbour]]\naddress = \"10.0.0.4\"\nmac = \"02:00:00:bb:00:04\"\nport = \"uplink0\"\n";
    let open = bridge(100, 100, "source_check = false");
    let mut desk = Desk::new(config(&(open.clone() + four)));
    desk.hear(100, mac(1), "10.0.0.4");
    assert!(desk.is_at(100, mac(1), "10.0.0.4"), "a known remote VTEP off the flood list");
    desk.hear(100, mac(2), "10.0.0.2");
    let late = desk.event(100, mac(3), "10.0.0.4");
    desk.reload(config(&open));
    assert_eq!(desk.find(100, mac(1)), None, "frames to it would go nowhere");
    assert!(desk.ring.send(late));
    desk.round();
    assert_eq!(desk.find(100, mac(3)), None);
    assert!(desk.is_at(100, mac(2), "10.0.0.2"));
    desk.reload(config(&(open.clone() + four)));
    desk.hear(100, mac(1), "10.0.0.4");
    assert!(desk.is_at(100, mac(1), "10.0.0.4"));
    desk.reload(config(&(bridge(100, 100, "") + four)));
    assert_eq!(desk.find(100, mac(1)), None, "with source_check it may not send here");
}

#[test]
fn sections_that_need_a_restart_are_refused_and_everything_stays() {
    let rest = bridge(100, 100, "max_macs = 5") + &fixed(100, mac(9), "trunk0");
    let mut desk = Desk::new(config(&rest));
    desk.hear(100, mac(1), "trunk0");
    let with = |section: &str| config(&(bridge(200, 200, "") + section));
    let port = |passage, replacement| config_with(passage, replacement, &bridge(200, 200, ""));
    let refused: [(&str, Config); 8] = [
        ("[dpdk]", with("[dpdk]\nmemory_mib = 700\n")),
        ("[workers]", port("cores = [0]", "cores = [0, 1]")),
        ("[workers]", port("cores = [0]", "cores = [0]\nidle = \"adaptive\"")),
        ("[[port]]", port("device = \"net_null2\"", "device = \"net_null2\"\nmtu = 1500")),
        ("[[port]]", port("net_null2", "net_null3")),
        ("[fdb] max_entries", with("[fdb]\nmax_entries = 100\n")),
        ("[stats]", with("[stats]\nlisten = \"127.0.0.1:9999\"\n")),
        ("[api]", with("[api]\nsocket = \"/nonexistent/other.sock\"\n")),
    ];
    let (running, snapshot) = (desk.gateway.running().load_full(), desk.gateway.tables().snapshot.load_full());
    let before = entries(&desk);
    for (section, config) in refused {
        let error = desk.apply(config).expect_err(section);
        assert_eq!(error, ApplyError::NeedsRestart(section));
        assert!(error.to_string().contains(section) && error.to_string().contains("restart"), "{error}");
        assert!(Arc::ptr_eq(&running, &desk.gateway.running().load_full()), "{section}");
        assert!(Arc::ptr_eq(&snapshot, &desk.gateway.tables().snapshot.load_full()), "{section}");
        assert_eq!(entries(&desk), before, "{section}");
    }
    (2..=9).for_each(|number| desk.hear(100, mac(number), "trunk0"));
    assert_eq!(desk.bridge_entries(100), 6, "the limit is the old one");
}

#[test]
fn a_config_with_more_bridges_than_indices_is_refused_and_everything_stays() {
    let mut desk = Desk::new(config(&bridge(100, 100, "")));
    desk.hear(100, mac(1), "trunk0");
    let running = desk.gateway.running().load_full();
    let many = |first: u32| {
        let mut made = config(&bridge(100, 100, ""));
        let model = made.bridges[0].clone();
        let bridge = |number| {
            let vni = vtepd::wire::Vni::new(first + number).expect("a VNI");
            vtepd::config::model::Bridge { vni, ports: Vec::new(), ..model.clone() }
        };
        made.bridges.extend((0..40_000).map(bridge));
        made
    };
    desk.reload(many(1000));
    let running_40k = desk.gateway.running().load_full();
    assert!(!Arc::ptr_eq(&running, &running_40k));
    let error = desk.apply(many(100_000)).expect_err("40001 leave and 40000 come");
    assert!(matches!(error, ApplyError::Exhausted(_)));
    assert!(error.to_string().contains("65535 bridges"), "{error}");
    assert!(Arc::ptr_eq(&running_40k, &desk.gateway.running().load_full()));
    assert!(desk.is_at(100, mac(1), "trunk0"), "what runs is unchanged");
    desk.reload(config(&bridge(100, 100, "")));
    desk.reload(many(100_000));
    assert!(desk.is_at(100, mac(1), "trunk0"), "in two steps it goes, and nobody is forgotten");
}

#[test]
fn old_snapshots_live_as_long_as_a_worker_holds_them_and_are_freed_by_a_round() {
    let mut desk = Desk::new(config(&bridge(100, 100, "")));
    let tables = Arc::clone(desk.gateway.tables());
    let mut worker = arc_swap::Cache::new(&tables.snapshot);
    let first = Arc::downgrade(worker.load());
    desk.reload(config(&bridge(200, 200, "")));
    let second = Arc::downgrade(&tables.snapshot.load_full());
    desk.round();
    assert!(first.upgrade().is_some(), "the worker reads it");
    desk.reload(config(&bridge(300, 300, "")));
    assert!(second.upgrade().is_some(), "an apply frees nothing");
    desk.round();
    assert!(second.upgrade().is_none(), "nobody had it");
    assert!(first.upgrade().is_some());
    let now = Arc::downgrade(worker.load());
    assert!(first.upgrade().is_some(), "a worker that lets go of a snapshot does not free it");
    desk.round();
    assert!(first.upgrade().is_none() && now.upgrade().is_some());
}

#[test]
fn reloads_are_counted_and_dated() {
    let mut desk = Desk::new(config(&bridge(100, 100, "")));
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    desk.control.config_applied.set(0);
    desk.reload(config(&bridge(200, 200, "")));
    assert!(now() - desk.control.config_applied.get() < 100);
    desk.gateway.count_reload(true);
    desk.gateway.count_reload(false);
    desk.gateway.count_reload(true);
    assert_eq!((desk.control.reloads.get(), desk.control.reload_failures.get()), (2, 1));
}

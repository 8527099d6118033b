//! A reload that works by difference ends where a start with the same config ends.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use vtepd::config::Config;
use vtepd::control::learning::is_place_of;
use vtepd::wire::MacAddr;

use crate::desk::{Desk, config, fixed, mac};

const VNIS: [u32; 3] = [100, 200, 300];
const VLANS: [u16; 4] = [0, 10, 20, 30];
const REMOTES: [&str; 3] = ["10.0.0.2", "10.0.0.3", "10.0.0.4"];

/// A bridge: its VLAN, which of the two trunks and three remote VTEPs it has, and whether it checks sources.
#[derive(Clone, Debug)]
struct Bridge {
    vlan: usize,
    trunks: [bool; 2],
    remotes: [bool; 3],
    source_check: bool,
}

impl Bridge {
    fn places(&self) -> Vec<&'static str> {
        let trunks = ["trunk0", "trunk1"].into_iter().zip(self.trunks).filter(|(_, has)| *has).map(|(name, _)| name);
        trunks.chain(REMOTES).collect()
    }

    fn text(&self, vni: u32) -> String {
        let listed = |names: &[&str], has: &[bool]| {
            let names = names.iter().zip(has).filter(|(_, has)| **has).map(|(name, _)| format!("{name:?}"));
            names.collect::<Vec<_>>().join(", ")
        };
        let vlan = match VLANS[self.vlan] {
            0 => String::new(),
            vlan => format!("vlan = {vlan}\n"),
        };
        let (ports, remotes) = (listed(&["trunk0", "trunk1"], &self.trunks), listed(&REMOTES, &self.remotes));
        format!(
            "[[bridge]]\nvni = {vni}\n{vlan}ports = [{ports}]\nremotes = [{remotes}]\nsource_check = {}\n",
            self.source_check
        )
    }
}

/// What a file says: the bridges there are, and static entries by bridge and station, each in some place of its bridge.
#[derive(Clone, Debug)]
struct File {
    bridges: [Option<Bridge>; 3],
    fixed: BTreeMap<(usize, u64), usize>,
}

impl File {
    fn config(&self) -> Config {
        let mut text = "[fdb]\nmax_entries = 100\n".to_owned();
        let mut taken = BTreeSet::new();
        let mut places = BTreeMap::new();
        for (index, (vni, bridge)) in VNIS.into_iter().zip(&self.bridges).enumerate() {
            // No VLAN of a trunk is in two bridges.
            let Some(bridge) = bridge.as_ref().filter(|bridge| taken.insert(bridge.vlan)) else { continue };
            text += &bridge.text(vni);
            places.insert(index, bridge.places());
        }
        for ((bridge, station), place) in &self.fixed {
            if let Some(places) = places.get(bridge) {
                text += &fixed(VNIS[*bridge], mac(*station), places[place % places.len()]);
            }
        }
        config(&text)
    }
}

fn file() -> impl Strategy<Value = File> {
    let bridge = (0..4_usize, any::<[bool; 2]>(), any::<[bool; 3]>(), any::<bool>())
        .prop_map(|(vlan, trunks, remotes, source_check)| Bridge { vlan, trunks, remotes, source_check });
    let bridges = proptest::array::uniform3(proptest::option::weighted(0.8, bridge));
    let fixed = proptest::collection::btree_map((0..3_usize, 0..6_u64), 0..5_usize, 0..12);
    (bridges, fixed).prop_map(|(bridges, fixed)| File { bridges, fixed })
}

/// Files of which some share most of what they say with the one before.
fn files() -> impl Strategy<Value = Vec<File>> {
    let keeps = (any::<[bool; 3]>(), any::<bool>());
    proptest::collection::vec((file(), keeps), 2..12).prop_map(|drawn| {
        let mut files: Vec<File> = Vec::new();
        for (mut file, (keep_bridges, keep_fixed)) in drawn {
            if let Some(before) = files.last() {
                for (index, keep) in keep_bridges.into_iter().enumerate() {
                    if keep {
                        file.bridges[index].clone_from(&before.bridges[index]);
                    }
                }
                if keep_fixed {
                    file.fixed.clone_from(&before.fixed);
                }
            }
            files.push(file);
        }
        files
    })
}

/// The static entries of the FDB: bridge and station, and the name of the place.
fn static_entries(desk: &Desk, config: &Config) -> BTreeMap<(u32, MacAddr), String> {
    let mut found = BTreeMap::new();
    for bridge in &config.bridges {
        let vni = bridge.vni.get();
        let ports = bridge.ports.iter().map(|place| config.port_name(place.port).to_owned());
        let named = config.static_entries.iter().filter_map(|entry| match entry.place {
            vtepd::config::model::StaticPlace::Remote(address) => Some(address.to_string()),
            vtepd::config::model::StaticPlace::Port(_) => None,
        });
        let places: BTreeSet<String> = ports.chain(named).collect();
        let index = desk.bridge(vni);
        let entries =
            desk.gateway.tables().fdb.iter().filter(|(key, value)| key.bridge() == index && value.is_static());
        for (key, value) in entries {
            let at = places.iter().find(|place| desk.location(vni, place) == value.location());
            found.insert((vni, key.mac()), at.cloned().unwrap_or_else(|| format!("{value:?}")));
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_reloads_ends_where_a_start_ends(files in files()) {
        let mut desk = Desk::new(files[0].config());
        for file in &files {
            let config = file.config();
            desk.reload(config.clone());
            let fresh = Desk::new(config.clone());
            let (kept, expected) = (static_entries(&desk, &config), static_entries(&fresh, &config));
            prop_assert_eq!(expected.len(), config.static_entries.len());
            prop_assert_eq!(kept, expected);
            let snapshot = desk.gateway.tables().snapshot.load_full();
            for (key, value) in desk.gateway.tables().fdb.iter() {
                prop_assert!(is_place_of(key, value.location(), &snapshot), "{:?} {:?}", key, value);
            }
            let listed = config.bridges.iter().map(|bridge| (bridge.vni.get(), desk.bridge_entries(bridge.vni.get())));
            for (vni, count) in listed.collect::<Vec<_>>() {
                let index = desk.bridge(vni);
                let there = desk.gateway.tables().fdb.iter().filter(|(key, _)| key.bridge() == index).count();
                prop_assert_eq!(count, there as u64);
            }
            // Somebody talks in every place there is, to be forgotten by the next reload or not.
            for bridge in &config.bridges {
                let vni = bridge.vni.get();
                let ports = bridge.ports.iter().map(|place| config.port_name(place.port).to_owned());
                let places: Vec<String> = ports.chain(bridge.remotes.iter().map(ToString::to_string)).collect();
                for (number, place) in places.iter().enumerate() {
                    desk.hear(vni, mac(100 + number as u64), place);
                }
            }
        }
    }
}

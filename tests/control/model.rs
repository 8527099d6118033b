//! Any sequence of events, reloads and waiting gives the entries, limits and counts that a simple model gives.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use vtepd::config::Config;
use vtepd::telemetry::FdbEvent;

use crate::desk::{Desk, bridge, config, fixed, mac};

const VNIS: [u32; 3] = [100, 200, 300];
const PLACES: [&str; 4] = ["trunk0", "trunk1", "10.0.0.2", "10.0.0.3"];
const MAX_ENTRIES: usize = 20;
const AGEING: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
enum Step {
    Hear {
        bridge: usize,
        station: u64,
        place: usize,
    },
    /// Time to age everything that is learned.
    Wait,
    /// For each bridge whether it is there and its limit; for each station of the first bridge where it is fixed.
    Reload {
        bridges: [Option<u32>; 3],
        fixed: Vec<(u64, usize)>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let hear =
        (0..3_usize, 0..12_u64, 0..4_usize).prop_map(|(bridge, station, place)| Step::Hear { bridge, station, place });
    let limits = proptest::array::uniform3(proptest::option::weighted(0.8, 1..9_u32));
    let fixed = proptest::collection::btree_map(0..12_u64, 0..4_usize, 0..5);
    let reload =
        (limits, fixed).prop_map(|(bridges, fixed)| Step::Reload { bridges, fixed: fixed.into_iter().collect() });
    prop_oneof![40 => hear, 1 => Just(Step::Wait), 3 => reload]
}

fn text(bridges: &[Option<u32>; 3], statics: &[(u64, usize)]) -> Config {
    let mut text = format!("[fdb]\nmax_entries = {MAX_ENTRIES}\nageing = {}\nmax_moves = 0\n", AGEING.as_secs());
    for (vni, limit) in VNIS.into_iter().zip(bridges) {
        if let Some(limit) = limit {
            text += &bridge(vni, vni as u16, &format!("max_macs = {limit}"));
        }
    }
    if bridges[0].is_some() {
        text.extend(statics.iter().map(|(station, place)| fixed(VNIS[0], mac(*station), PLACES[*place])));
    }
    config(&text)
}

/// An entry of the model: its place, and whether it is fixed there.
type Entry = (usize, bool);

#[derive(Default)]
struct Model {
    entries: HashMap<(usize, u64), Entry>,
    limits: [Option<u32>; 3],
    learned: u64,
    moved: u64,
    refused: [u64; 2],
    flushed: u64,
    aged: u64,
}

impl Model {
    fn learned_in(&self, bridge: usize) -> usize {
        self.entries.iter().filter(|((in_bridge, _), (_, fixed))| *in_bridge == bridge && !fixed).count()
    }

    fn hear(&mut self, bridge: usize, station: u64, place: usize) {
        let Some(limit) = self.limits[bridge] else { return };
        let learned = self.learned_in(bridge);
        let all = self.entries.len();
        match self.entries.get_mut(&(bridge, station)) {
            Some((_, true)) => {}
            Some((at, false)) => {
                self.moved += u64::from(*at != place);
                *at = place;
            }
            None if learned >= limit as usize => self.refused[0] += 1,
            None if all >= MAX_ENTRIES => self.refused[1] += 1,
            None => {
                self.entries.insert((bridge, station), (place, false));
                self.learned += 1;
            }
        }
    }

    fn wait(&mut self) {
        let before = self.entries.len();
        self.entries.retain(|_, (_, fixed)| *fixed);
        self.aged += (before - self.entries.len()) as u64;
    }

    /// False where there would be no room for all static entries, which the model leaves aside.
    fn reload(&mut self, bridges: [Option<u32>; 3], fixed: &[(u64, usize)]) -> bool {
        let fixed = if bridges[0].is_some() { fixed } else { &[] };
        let mut entries = self.entries.clone();
        entries.retain(|(bridge, _), (_, fixed)| bridges[*bridge].is_some() && !*fixed);
        for (station, place) in fixed {
            entries.insert((0, *station), (*place, true));
        }
        if entries.len() > MAX_ENTRIES {
            return false;
        }
        let left = self.entries.iter().filter(|((bridge, _), (_, fixed))| bridges[*bridge].is_none() && !fixed);
        self.flushed += left.count() as u64;
        (self.entries, self.limits) = (entries, bridges);
        true
    }
}

fn agree(desk: &Desk, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(desk.len(), model.entries.len());
    for ((bridge, station), (place, fixed)) in &model.entries {
        let found = desk.find(VNIS[*bridge], mac(*station));
        let expected = (desk.location(VNIS[*bridge], PLACES[*place]), *fixed);
        prop_assert_eq!(found.map(|value| (value.location(), value.is_static())), Some(expected));
    }
    for (number, vni) in VNIS.into_iter().enumerate().filter(|(number, _)| model.limits[*number].is_some()) {
        let entries = model.entries.keys().filter(|(bridge, _)| *bridge == number).count();
        prop_assert_eq!(desk.bridge_entries(vni), entries as u64);
    }
    let counted = [
        (FdbEvent::Learned, model.learned),
        (FdbEvent::Moved, model.moved),
        (FdbEvent::RefusedByBridgeLimit, model.refused[0]),
        (FdbEvent::RefusedByGlobalLimit, model.refused[1]),
        (FdbEvent::Flushed, model.flushed),
        (FdbEvent::Aged, model.aged),
    ];
    for (event, count) in counted {
        prop_assert_eq!(desk.events(event), count, "{:?}", event);
    }
    prop_assert_eq!(desk.control.fdb.entries.get(), model.entries.len() as u64);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_events_reloads_and_waiting_agrees_with_the_model(
        steps in proptest::collection::vec(step(), 1..150)
    ) {
        let limits = [Some(5), Some(8), Some(20)];
        let mut desk = Desk::new(text(&limits, &[]));
        let mut model = Model { limits, ..Model::default() };
        for step in steps {
            match step {
                Step::Hear { bridge, station, place } => {
                    model.hear(bridge, station, place);
                    if model.limits[bridge].is_some() {
                        desk.hear(VNIS[bridge], mac(station), PLACES[place]);
                    }
                }
                Step::Wait => {
                    model.wait();
                    desk.now += AGEING * 2;
                    desk.round();
                    desk.now += AGEING * 2;
                    desk.round();
                }
                Step::Reload { bridges, fixed } => {
                    if model.reload(bridges, &fixed) {
                        desk.reload(text(&bridges, &fixed));
                        desk.round();
                    }
                }
            }
            agree(&desk, &model)?;
        }
    }
}

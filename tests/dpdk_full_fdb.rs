//! A full FDB: what is known is forwarded as before, what is not is flooded, and both are learned again when there is
//! room.

#![cfg(feature = "dpdk")]

#[path = "support/crew.rs"]
mod crew;
mod support;
#[path = "support/wired.rs"]
mod wired;

use std::time::Duration;

use crew::{bridge, frame, tagged};
use vtepd::telemetry::{Event, FdbEvent};
use wired::{TRUNK0, TRUNK1, Wired};

const PER_BRIDGE: usize = 4;
const IN_ALL: usize = 16;
/// Copies of a flood from one of the trunks: to the other one and to two remote VTEPs.
const COPIES: usize = 3;

/// Station `number` of a bridge, behind trunk0.
fn station(bridge: u16, number: usize) -> [u8; 6] {
    [2, 0, 0, bridge as u8, 7, number as u8]
}

const BROADCAST: [u8; 6] = [0xff; 6];

/// A broadcast of each of these stations.
fn greetings(bridge: u16, numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers.map(|number| tagged(&frame(BROADCAST, station(bridge, number), number, 80), bridge)).collect()
}

/// A frame to each of these stations, from one behind trunk1.
fn calls(bridge: u16, numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    let caller = [2, 0, 0, bridge as u8, 9, 9];
    numbers.map(|number| tagged(&frame(station(bridge, number), caller, number, 80), bridge)).collect()
}

fn refused(wired: &Wired) -> [u64; 2] {
    [FdbEvent::RefusedByBridgeLimit, FdbEvent::RefusedByGlobalLimit].map(|event| wired.fdb_events(event))
}

/// Feeds, lets control learn, and says how many packets left by each port.
fn exchange(wired: &mut Wired, port: usize, frames: &[Vec<u8>]) -> [usize; 3] {
    wired.feed(port, frames);
    wired.control();
    wired.take_counts()
}

#[test]
fn known_stations_are_forwarded_to_while_a_bridge_or_the_table_is_full_and_others_once_there_is_room() {
    let limits = format!("max_macs = {PER_BRIDGE}\n");
    let rest = bridge(100, "[\"trunk0\", \"trunk1\"]")
        + &limits
        + &bridge(200, "[\"trunk0\", \"trunk1\"]")
        + &format!("[fdb]\nmax_entries = {IN_ALL}\nageing = 10\n");
    let mut wired = Wired::new("full-fdb", &wired::config("cores = [0]", &rest), 4095, None);
    wired.start(false);

    // The bridge's own limit: ten speak, four are learned, all are heard.
    assert_eq!(exchange(&mut wired, TRUNK0, &greetings(100, 0..10)), [20, 0, 10]);
    assert_eq!((wired.fdb_events(FdbEvent::Learned), refused(&wired)), (4, [6, 0]));
    // To the four goes one frame each, although the caller is not learned either; to the other six it is flooded.
    assert_eq!(exchange(&mut wired, TRUNK1, &calls(100, 0..4)), [0, 4, 0]);
    assert_eq!(exchange(&mut wired, TRUNK1, &calls(100, 4..10)), [12, 6, 0]);
    // The caller was reported once in a while, not with every frame.
    let [by_bridge, by_table] = refused(&wired);
    assert_eq!((wired.fdb_events(FdbEvent::Learned), by_table), (4, 0));
    assert!((7..=16).contains(&by_bridge), "{by_bridge}");
    assert_eq!(by_bridge + wired.events(Event::LearnRepeated), 16);

    // The limit of the whole table, in another bridge.
    let room = IN_ALL - PER_BRIDGE;
    assert_eq!(exchange(&mut wired, TRUNK0, &greetings(200, 0..20)), [40, 0, 20]);
    assert_eq!((wired.fdb_events(FdbEvent::Learned), refused(&wired)), (IN_ALL as u64, [by_bridge, 20 - room as u64]));
    assert_eq!(exchange(&mut wired, TRUNK1, &calls(200, 0..room)), [0, room, 0]);
    assert_eq!(exchange(&mut wired, TRUNK1, &calls(200, room..20)), [2 * (20 - room), 20 - room, 0]);
    assert_eq!(exchange(&mut wired, TRUNK1, &calls(100, 0..4)), [0, 4, 0], "the other bridge keeps what it has");

    // Nobody speaks for long enough: there is room, and others are learned.
    wired.pass(Duration::from_secs(40));
    assert_eq!(wired.fdb_events(FdbEvent::Aged), IN_ALL as u64);
    let before = refused(&wired);
    assert_eq!(exchange(&mut wired, TRUNK0, &greetings(100, 6..10)), [8, 0, 4]);
    assert_eq!(exchange(&mut wired, TRUNK0, &greetings(200, 8..18)), [20, 0, 10]);
    assert_eq!(exchange(&mut wired, TRUNK1, &calls(200, 8..18)), [0, 10, 0]);
    assert_eq!(refused(&wired), before);
    assert_eq!(exchange(&mut wired, TRUNK1, &calls(100, 6..10)), [0, 4, 0]);

    // Every frame went to one place, or to all but its own.
    let floods = wired.events(Event::FloodedFrame);
    assert_eq!(wired.drops(), []);
    assert_eq!(wired.events(Event::FloodCopy), floods * COPIES as u64);
    assert_eq!(wired.sent(), wired.received() - floods + floods * COPIES as u64);
    assert_eq!(wired.events(Event::LearnLost), 0);
    wired.close();
}

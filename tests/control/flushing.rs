//! What an operator has flushed is gone when the answer comes, and nothing else is.

use crossbeam::channel::{Receiver, bounded};
use vtepd::config::Config;
use vtepd::control::FdbRequest;
use vtepd::control::flight_recorder::StationFilter;
use vtepd::control::learning::FlushOrder;
use vtepd::tables::{LocationKind, PortIndex};
use vtepd::telemetry::{FdbEvent, StationChange};

use crate::desk::{Desk, bridge, config, fixed, mac};

fn world(rest: &str) -> Config {
    config(&(bridge(100, 100, "") + &bridge(200, 200, "") + &fixed(100, mac(99), "trunk0") + rest))
}

/// An order, and the stations that it leaves in each bridge.
type Case = (fn(&Desk, FlushOrder) -> FlushOrder, [Vec<u64>; 2]);

/// In both bridges: stations 1 to 4 behind trunk0, trunk1 and both remote VTEPs.
fn desk() -> Desk {
    let mut desk = Desk::new(world(""));
    for vni in [100, 200] {
        for (number, place) in ["trunk0", "trunk1", "10.0.0.2", "10.0.0.3"].into_iter().enumerate() {
            desk.hear(vni, mac(number as u64 + 1), place);
        }
    }
    desk
}

fn order(desk: &mut Desk, order: FlushOrder) -> Receiver<Option<u64>> {
    let (answer, count) = bounded(1);
    desk.gateway.serve(FdbRequest::Flush(order, answer));
    count
}

fn flush(desk: &mut Desk, wanted: FlushOrder) -> u64 {
    let count = order(desk, wanted);
    (0..100)
        .find_map(|_| {
            desk.round();
            count.try_recv().ok()
        })
        .flatten()
        .expect("it comes to an end")
}

/// The stations that are left, by bridge.
fn left(desk: &Desk) -> [Vec<u64>; 2] {
    [100, 200].map(|vni| (1..=4).filter(|number| desk.find(vni, mac(*number)).is_some()).collect())
}

#[test]
fn a_flush_takes_the_entries_that_match_all_it_says_and_no_others() {
    let all = vec![1, 2, 3, 4];
    let remote = |desk: &Desk| match desk.location(100, "10.0.0.2").kind() {
        LocationKind::Tunnel(tunnel) => Some(tunnel),
        LocationKind::Access(_) => None,
    };
    let nothing = FlushOrder::default();
    let cases: [Case; 5] = [
        (|desk, order| FlushOrder { bridge: Some(desk.bridge(100)), ..order }, [vec![], all.clone()]),
        (|_, order| FlushOrder { port: Some(PortIndex(1)), ..order }, [vec![2, 3, 4], vec![2, 3, 4]]),
        (|_, order| FlushOrder { mac: Some(mac(4)), ..order }, [vec![1, 2, 3], vec![1, 2, 3]]),
        (
            |desk, order| FlushOrder { bridge: Some(desk.bridge(200)), mac: Some(mac(2)), ..order },
            [all.clone(), vec![1, 3, 4]],
        ),
        (|_, order| order, [vec![], vec![]]),
    ];
    for (make, expected) in cases {
        let mut desk = desk();
        let wanted = make(&desk, nothing);
        let gone = 8 - expected.iter().map(Vec::len).sum::<usize>() as u64;
        assert_eq!(flush(&mut desk, wanted), gone, "{wanted:?}");
        assert_eq!(left(&desk), expected, "{wanted:?}");
        assert_eq!(desk.events(FdbEvent::Flushed), gone);
        assert_eq!(desk.bridge_entries(100) + desk.bridge_entries(200), 9 - gone, "the static one stays");
    }
    let mut desk = desk();
    let wanted = FlushOrder { tunnel: remote(&desk), bridge: Some(desk.bridge(100)), ..nothing };
    assert_eq!(flush(&mut desk, wanted), 1);
    assert_eq!(left(&desk), [vec![1, 2, 4], all]);
    assert_eq!((desk.learned_behind("trunk0"), desk.learned_behind("trunk1")), (2, 2));
}

#[test]
fn an_answer_waits_for_workers_that_may_still_forward_by_what_is_gone() {
    let mut desk = desk();
    let mut worker = desk.gateway.tables().quiescence.register();
    let count = order(&mut desk, FlushOrder::default());
    (0..10).for_each(|_| {
        desk.round();
    });
    assert_eq!((left(&desk), count.try_recv().ok()), ([vec![], vec![]], None), "its burst may go on");
    worker.pass();
    desk.round();
    assert_eq!(count.try_recv().ok(), Some(Some(8)));
}

#[test]
fn a_flush_that_too_many_wait_before_is_refused_at_once_and_those_are_done() {
    let mut desk = desk();
    let counts: Vec<_> = (0..100).map(|_| order(&mut desk, FlushOrder::default())).collect();
    let refused = counts.iter().filter(|count| count.try_recv() == Ok(None)).count();
    assert_eq!(refused, 36, "64 may wait");
    (0..1000).for_each(|_| {
        desk.round();
    });
    let done: Vec<_> = counts.iter().filter_map(|count| count.try_recv().ok().flatten()).collect();
    assert_eq!((done.len(), done.iter().sum::<u64>()), (64, 8));
}

#[test]
fn flushes_are_done_one_after_the_other_and_on_record_once_for_each_bridge() {
    let mut desk = desk();
    let port = PortIndex(1);
    let first = order(&mut desk, FlushOrder { port: Some(port), ..FlushOrder::default() });
    let second = order(&mut desk, FlushOrder::default());
    (0..20).for_each(|_| {
        desk.round();
    });
    assert_eq!((first.try_recv().ok(), second.try_recv().ok()), (Some(Some(2)), Some(Some(6))));
    let (answer, records) = bounded(1);
    desk.gateway.serve(FdbRequest::History(StationFilter::default(), answer));
    let records = records.try_recv().expect("an answer");
    let flushed: Vec<_> = records.iter().filter(|record| record.change == StationChange::Flushed).collect();
    let mut entries: Vec<_> = flushed.iter().map(|record| (record.vni.get(), record.entries)).collect();
    entries.sort_unstable();
    assert_eq!(entries, [(100, 1), (100, 3), (200, 1), (200, 3)]);
}

#[test]
fn nobody_is_missed_whom_learning_moves_about_in_a_full_table_meanwhile() {
    let entries = 20_000;
    let mut desk = Desk::new(world(&format!("[fdb]\nmax_entries = {entries}\nageing = 0\n")));
    let mut sent = 0;
    for number in 1000..1000 + entries - 2000 {
        // Behind a remote VTEP: those to be flushed.
        assert!(desk.ring.send(desk.event(100, mac(number * 0x9_e377), "10.0.0.2")));
        sent += 1;
        if sent % 4000 == 0 {
            desk.round();
        }
    }
    desk.round();
    let tunnel = match desk.location(100, "10.0.0.2").kind() {
        LocationKind::Tunnel(tunnel) => Some(tunnel),
        LocationKind::Access(_) => None,
    };
    let count = order(&mut desk, FlushOrder { tunnel, ..FlushOrder::default() });
    let mut answer = None;
    for number in 0..200 {
        if number < 100 {
            for other in 0..19 {
                let station = mac(0x1_0000_0000 + number * 0x1_2345 + other * 0x77);
                assert!(desk.ring.send(desk.event(200, station, "trunk0")));
            }
        }
        desk.round();
        answer = answer.or(count.try_recv().ok());
    }
    assert_eq!(answer, Some(Some(entries - 2000)));
    assert!((1000..1000 + entries - 2000).all(|number| desk.find(100, mac(number * 0x9_e377)).is_none()));
    assert_eq!(desk.bridge_entries(200), 1900, "who was learned meanwhile stays");
}

//! What a worker has reported of late, so that it does not report the same with every frame.
//!
//! Control may refuse to learn a source: its bridge or port is full, or the table, or the control plane says something else.
//! Each of its frames would be reported again, and a station that sends a million frames a second would fill the ring on
//! behalf of nothing, where others wait to be learned. So a worker remembers its last reports in a small table, and repeats
//! one only after [`INTERVAL`]. A report says where a source was heard and where the FDB had it: if either has changed, it
//! is another report, and goes out at once. What the ring did not take is not remembered.
//!
//! Only sources that are to be reported come here, so that known traffic pays nothing. A source whose place in the table
//! another one takes is reported again: with many more refused sources than places, each frame is, as without a filter.

use std::time::Duration;

use crate::tables::Location;
use crate::tables::fdb::FdbValue;
use crate::tables::learning::{LearnEvent, LearnRing};
use crate::telemetry::Event;

/// How long a report is not repeated: much longer than control takes to learn, so that what is learned is reported once,
/// and short for who waits to be learned until there is room, or moves back and forth.
pub const INTERVAL: Duration = Duration::from_millis(10);

/// Places in the table: 24 KiB.
const PLACES: usize = 1024;

/// A report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Report {
    /// [`crate::tables::FdbKey::to_word`] of the source; 0 is of none.
    key: u64,
    location: Location,
    /// Where the FDB had it; where it was heard, if nowhere: then it would not have been reported.
    known: Location,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    report: Report,
    /// When that was, by the cycle counter.
    at: u64,
}

const _: () = assert!(size_of::<Place>() * PLACES == 24 * 1024);

/// A worker's last reports.
pub struct LearnFilter {
    places: Box<[Place; PLACES]>,
    /// [`INTERVAL`] in cycles.
    interval: u64,
}

impl LearnFilter {
    /// A filter whose clock runs at this many cycles a second.
    #[must_use]
    pub fn new(cycles_per_second: u64) -> Self {
        let nowhere = Location::from_bits(0);
        let report = Report { key: 0, location: nowhere, known: nowhere };
        let interval = u128::from(cycles_per_second) * INTERVAL.as_nanos() / 1_000_000_000;
        Self { places: Box::new([Place { report, at: 0 }; PLACES]), interval: interval as u64 }
    }

    /// Reports a source that the FDB knows to be elsewhere, or does not know, unless that has just been reported. Gives what
    /// became of the report.
    pub fn report(&mut self, event: LearnEvent, known: Option<FdbValue>, cycles: u64, ring: &LearnRing) -> Event {
        let key = event.key.to_word();
        let report = Report { key, location: event.location, known: known.map_or(event.location, FdbValue::location) };
        // Neighbouring addresses, which one vendor or one program gave, to different places.
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        let place = &mut self.places[hash as usize % PLACES];
        if place.report == report && cycles.wrapping_sub(place.at) < self.interval {
            return Event::LearnRepeated;
        }
        if !ring.send(event) {
            return Event::LearnLost;
        }
        *place = Place { report, at: cycles };
        Event::LearnSent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{AgeTick, BridgeIndex, FdbKey, MemberIndex};
    use crate::wire::MacAddr;

    /// A cycle is a microsecond.
    const HERTZ: u64 = 1_000_000;

    fn at(member: u32) -> Location {
        Location::access(MemberIndex(member))
    }

    fn heard(number: u64, member: u32) -> LearnEvent {
        let key = FdbKey::new(BridgeIndex(3), MacAddr::from_u64(0x0200_0000_0000 | number));
        LearnEvent { key, location: at(member) }
    }

    fn known(member: u32, tick: u16) -> Option<FdbValue> {
        Some(FdbValue::learned(at(member), AgeTick(tick)))
    }

    #[test]
    fn the_same_report_goes_out_once_in_an_interval() {
        let (mut filter, ring) = (LearnFilter::new(HERTZ), LearnRing::new());
        let sent = (0..100_000).filter(|cycles| filter.report(heard(1, 1), None, *cycles, &ring) == Event::LearnSent);
        assert_eq!(sent.collect::<Vec<_>>(), (0..10).map(|number| number * 10_000).collect::<Vec<_>>());
        assert_eq!(std::iter::from_fn(|| ring.take()).count(), 10);
    }

    #[test]
    fn what_says_something_else_goes_out_at_once() {
        let (mut filter, ring) = (LearnFilter::new(HERTZ), LearnRing::new());
        let reports = [
            (heard(1, 1), None),
            (heard(1, 2), None),
            (heard(1, 1), known(2, 0)),
            (heard(1, 2), known(1, 0)),
            (heard(2, 2), known(1, 0)),
        ];
        for (event, known) in reports {
            assert_eq!(filter.report(event, known, 5, &ring), Event::LearnSent, "{event:?}");
            assert_eq!(filter.report(event, known, 6, &ring), Event::LearnRepeated, "{event:?}");
        }
        // That the station was heard there in another tick is no news.
        assert_eq!(filter.report(heard(2, 2), known(1, 1), 7, &ring), Event::LearnRepeated);
    }

    #[test]
    fn what_the_ring_did_not_take_is_tried_again() {
        let (mut filter, ring) = (LearnFilter::new(HERTZ), LearnRing::new());
        while ring.send(heard(9, 9)) {}
        assert_eq!(filter.report(heard(1, 1), None, 0, &ring), Event::LearnLost);
        assert_eq!(filter.report(heard(1, 1), None, 0, &ring), Event::LearnLost);
        assert!(ring.take().is_some());
        assert_eq!(filter.report(heard(1, 1), None, 0, &ring), Event::LearnSent);
    }

    #[test]
    fn half_as_many_stations_as_places_mostly_have_one_each() {
        let (mut filter, ring) = (LearnFilter::new(HERTZ), LearnRing::new());
        for stations in [0..512_u64, 1 << 24..(1 << 24) + 512] {
            let mut round = |event| {
                stations.clone().filter(|number| filter.report(heard(*number, 1), None, 0, &ring) == event).count()
            };
            round(Event::LearnSent);
            let repeated = round(Event::LearnRepeated);
            assert!(repeated > 256, "{repeated} of {stations:?}");
        }
    }
}

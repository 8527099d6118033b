//! How well the flows to and from each remote VTEP can be spread by the underlay: by how many of them there are, and by
//! how many source ports they have.
//!
//! Routers and NICs tell the flows of one pair of VTEPs apart by the UDP source port alone (RFC 7348, 5). A VTEP that
//! gives all flows one port, or a few, sends all of its packets one way, and nothing else shows it: the traffic is
//! polarised. Of each remote VTEP and direction the last samples are kept; from how often two of them have the same
//! flow, or the same port, follows as how many equal ones they are spread (the inverse of Simpson's index).

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::flow_samples::{Direction, FlowSample};
use super::source::WorkerHandle;
use crate::tables::TunnelIndex;

/// The samples that are kept of a remote VTEP and direction.
const WINDOW: usize = 256;
/// Fewer say nothing.
const FEWEST: usize = 64;
/// The most remote VTEPs and directions that are watched at the same time: 8 MiB of samples.
const MOST: usize = 4096;
/// After so long without a sample, a remote VTEP is watched no more.
const IDLE: Duration = Duration::from_secs(60);
/// After so long it is said again that traffic is polarised.
const REMINDER: Duration = Duration::from_secs(3600);

/// As how many equal flows traffic must be spread before it can be called polarised.
const MANY_FLOWS: f64 = 8.0;
/// So many ports are enough for any underlay's ways, however many flows there are.
const ENOUGH_PORTS: f64 = 16.0;
/// With a port for so many flows or fewer, they are spread.
const FLOWS_PER_PORT: f64 = 4.0;

/// What is to be said of a remote VTEP's traffic in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// There are too few samples to say anything.
    TooFewSamples,
    /// It is so few flows that they cannot be spread.
    FewFlows,
    /// It is many flows on few ports.
    Polarised,
    /// It is many flows on many ports.
    Spread,
}

/// How a remote VTEP's traffic in one direction is spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// By how many samples.
    pub samples: usize,
    /// As over so many equal flows.
    pub flows: f64,
    /// As over so many equal source ports.
    pub source_ports: f64,
    /// What that means.
    pub verdict: Verdict,
}

/// Watches how traffic is spread. The stats thread asks it once a second to look, and others what it saw.
#[derive(Debug, Default)]
pub struct Entropy(Mutex<Watch>);

#[derive(Debug, Default)]
struct Watch {
    /// How many samples of each worker were read.
    read: Vec<u64>,
    windows: HashMap<(TunnelIndex, Direction), Window>,
}

/// The last samples: source port and flow. Once there are [`WINDOW`], the oldest is overwritten.
#[derive(Debug)]
struct Window {
    samples: Vec<(u16, u32)>,
    oldest: usize,
    last: Instant,
    /// When somebody was told that it is polarised.
    told: Option<Instant>,
}

impl Entropy {
    /// Takes in what workers have sampled. Gives those whose traffic is polarised, each once an hour.
    pub fn look(&self, workers: &[WorkerHandle], now: Instant) -> Vec<(TunnelIndex, Direction)> {
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watch.look(workers, now)
    }

    /// How the traffic with a remote VTEP is spread; none where there was none of late.
    #[must_use]
    pub fn spread(&self, remote: TunnelIndex, direction: Direction) -> Option<Spread> {
        let watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watch.windows.get(&(remote, direction)).map(Window::spread)
    }
}

impl Watch {
    fn look(&mut self, workers: &[WorkerHandle], now: Instant) -> Vec<(TunnelIndex, Direction)> {
        self.windows.retain(|_, window| now.saturating_duration_since(window.last) < IDLE);
        self.read.resize(workers.len(), 0);
        let mut touched = Vec::new();
        for (worker, read) in workers.iter().zip(&mut self.read) {
            let (written, samples) = worker.telemetry.flow_samples.since(*read);
            *read = written;
            for FlowSample { remote, direction, source_port, flow } in samples {
                let key = (remote, direction);
                if !self.windows.contains_key(&key) && self.windows.len() >= MOST {
                    continue;
                }
                let window = self.windows.entry(key).or_insert_with(|| Window::new(now));
                if window.last != now || window.samples.is_empty() {
                    touched.push(key);
                }
                window.add((source_port, flow), now);
            }
        }
        touched.retain(|key| self.windows.get_mut(key).is_some_and(|window| window.is_to_be_told(now)));
        touched
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { samples: Vec::new(), oldest: 0, last: now, told: None }
    }

    fn add(&mut self, sample: (u16, u32), now: Instant) {
        self.last = now;
        if self.samples.len() < WINDOW {
            self.samples.push(sample);
        } else if let Some(oldest) = self.samples.get_mut(self.oldest) {
            *oldest = sample;
            self.oldest = (self.oldest + 1) % WINDOW;
        }
    }

    fn spread(&self) -> Spread {
        let flows = equal_ones(self.samples.iter().map(|(_, flow)| *flow).collect());
        let source_ports = equal_ones(self.samples.iter().map(|(port, _)| u32::from(*port)).collect());
        let verdict = if self.samples.len() < FEWEST {
            Verdict::TooFewSamples
        } else if flows < MANY_FLOWS {
            Verdict::FewFlows
        } else if source_ports < ENOUGH_PORTS.min(flows / FLOWS_PER_PORT) {
            Verdict::Polarised
        } else {
            Verdict::Spread
        };
        Spread { samples: self.samples.len(), flows, source_ports, verdict }
    }

    /// It is polarised, and nobody was told so of late.
    fn is_to_be_told(&mut self, now: Instant) -> bool {
        let silent = self.told.is_none_or(|told| now.saturating_duration_since(told) >= REMINDER);
        let due = silent && self.spread().verdict == Verdict::Polarised;
        if due {
            self.told = Some(now);
        }
        due
    }
}

/// As over how many equal ones the values are spread: the pairs there are, by those that are alike. At most the number
/// of pairs.
fn equal_ones(mut values: Vec<u32>) -> f64 {
    let pairs = |count: usize| (count * count.saturating_sub(1) / 2) as f64;
    values.sort_unstable();
    let alike: f64 = values.chunk_by(|one, next| one == next).map(|same| pairs(same.len())).sum();
    pairs(values.len()) / alike.max(1.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::telemetry::WorkerTelemetry;
    use crate::telemetry::flow_samples::SAMPLES;

    const REMOTE: TunnelIndex = TunnelIndex(7);

    struct Bench {
        workers: Vec<WorkerHandle>,
        entropy: Entropy,
        now: Instant,
    }

    impl Bench {
        fn new(workers: usize) -> Self {
            let worker = |core| WorkerHandle { core, telemetry: Arc::new(WorkerTelemetry::new()) };
            let workers = (0..workers).map(worker).collect();
            Self { workers, entropy: Entropy::default(), now: Instant::now() }
        }

        /// So many packets of so many flows in turn from REMOTE, whose ports are so many, by all workers in turn.
        fn receive(&mut self, packets: u32, flows: u32, ports: u32) {
            for number in 0..packets {
                let flow = number % flows;
                let sample = FlowSample {
                    remote: REMOTE,
                    direction: Direction::Received,
                    source_port: 49152 + (flow % ports) as u16,
                    flow: flow.wrapping_mul(0x9e37_79b9),
                };
                self.workers[number as usize % self.workers.len()].telemetry.flow_samples.add(sample);
            }
        }

        fn look(&mut self) -> Vec<(TunnelIndex, Direction)> {
            self.now += Duration::from_secs(1);
            self.entropy.look(&self.workers, self.now)
        }

        fn spread(&self) -> Spread {
            self.entropy.spread(REMOTE, Direction::Received).expect("there was traffic")
        }
    }

    fn near(value: f64, wanted: f64) -> bool {
        (value / wanted - 1.0).abs() < 0.2
    }

    #[test]
    fn equal_ones_are_counted_and_unequal_ones_count_for_less() {
        assert!(near(equal_ones((0..256).map(|number| number % 10).collect()), 10.0));
        assert!(near(equal_ones(vec![7; 256]), 1.0));
        // Half of the packets are of one flow, the others of one each.
        assert!(near(equal_ones((0..256).map(|number| if number % 2 == 0 { 0 } else { number }).collect()), 4.0));
        assert_eq!(equal_ones(Vec::new()), 0.0);
    }

    #[test]
    fn many_flows_on_few_ports_are_polarised_and_that_is_told_once_an_hour() {
        let mut bench = Bench::new(2);
        bench.receive(256, 40, 1);
        assert_eq!(bench.look(), [(REMOTE, Direction::Received)]);
        let spread = bench.spread();
        assert_eq!((spread.samples, spread.verdict), (256, Verdict::Polarised));
        assert!(near(spread.flows, 40.0) && near(spread.source_ports, 1.0), "{spread:?}");
        for _ in 0..3 {
            bench.receive(256, 40, 1);
            assert_eq!(bench.look(), []);
        }
        bench.now += REMINDER;
        bench.receive(256, 40, 1);
        assert_eq!(bench.look(), [(REMOTE, Direction::Received)]);
    }

    #[test]
    fn what_cannot_or_need_not_be_spread_better_is_not_polarised() {
        for (packets, flows, ports, verdict) in [
            (63, 40, 1, Verdict::TooFewSamples),
            (256, 1, 1, Verdict::FewFlows),
            (256, 4, 1, Verdict::FewFlows),
            (256, 40, 40, Verdict::Spread),
            (256, 40, 20, Verdict::Spread),
            (256, 40, 4, Verdict::Polarised),
            // The ports of a range that is small but large enough.
            (256, 256, 32, Verdict::Spread),
            (256, 256, 8, Verdict::Polarised),
        ] {
            let mut bench = Bench::new(1);
            bench.receive(packets, flows, ports);
            bench.look();
            assert_eq!(bench.spread().verdict, verdict, "{packets} packets, {flows} flows, {ports} ports");
            assert_eq!(bench.entropy.spread(REMOTE, Direction::Sent), None);
        }
    }

    #[test]
    fn the_last_samples_count_and_none_that_are_old() {
        let mut bench = Bench::new(1);
        bench.receive(SAMPLES as u32, 40, 1);
        bench.look();
        bench.receive(WINDOW as u32, 40, 40);
        assert_eq!(bench.look(), []);
        assert_eq!(bench.spread().verdict, Verdict::Spread);
        bench.now += IDLE;
        bench.look();
        assert_eq!(bench.entropy.spread(REMOTE, Direction::Received), None);
    }

    #[test]
    fn no_more_are_watched_than_there_is_room_for() {
        let mut bench = Bench::new(1);
        for number in 0..=MOST as u16 {
            let (remote, direction) = (TunnelIndex(number), Direction::Sent);
            bench.workers[0].telemetry.flow_samples.add(FlowSample { remote, direction, source_port: 1, flow: 1 });
            if usize::from(number) % 512 == 0 {
                bench.look();
            }
        }
        bench.look();
        let watched = |number| bench.entropy.spread(TunnelIndex(number), Direction::Sent).is_some();
        assert!(watched(0) && watched(MOST as u16 - 1) && !watched(MOST as u16));
    }
}

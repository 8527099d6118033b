//! Samples of the flows to and from remote VTEPs that a worker takes now and then, for the stats thread to judge how
//! well the underlay can spread them.
//!
//! The worker writes each sample into one word of a ring, and then how many it has written. The stats thread reads the
//! number first and then words that were written before. A word that is overwritten meanwhile holds a later sample,
//! whole like the other; so a sample may be read twice, or lost where the stats thread is late, and that is all.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::tables::TunnelIndex;

/// The samples that are kept for the stats thread: what a worker takes in one second.
pub const SAMPLES: usize = 1024;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the remote VTEP.
    Received,
    /// To the remote VTEP.
    Sent,
}

impl Direction {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::Received, Self::Sent];
}

/// A packet as one of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSample {
    /// The remote VTEP.
    pub remote: TunnelIndex,
    /// Which way it went.
    pub direction: Direction,
    /// Its outer UDP source port.
    pub source_port: u16,
    /// A hash of the inner flow; its lower 31 bits.
    pub flow: u32,
}

const FLOW: u32 = u32::MAX >> 1;

impl FlowSample {
    const fn to_word(self) -> u64 {
        let sent = matches!(self.direction, Direction::Sent) as u64;
        (self.remote.0 as u64) << 48 | (self.source_port as u64) << 32 | sent << 31 | (self.flow & FLOW) as u64
    }

    const fn from_word(word: u64) -> Self {
        let direction = if word >> 31 & 1 == 1 { Direction::Sent } else { Direction::Received };
        let (remote, source_port) = (TunnelIndex((word >> 48) as u16), (word >> 32) as u16);
        Self { remote, direction, source_port, flow: word as u32 & FLOW }
    }
}

/// The ring.
#[derive(Debug)]
pub struct FlowSamples {
    written: AtomicU64,
    words: [AtomicU64; SAMPLES],
}

impl FlowSamples {
    /// Without a sample.
    pub(super) const fn new() -> Self {
        Self { written: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; SAMPLES] }
    }

    /// Adds a sample; the oldest one goes for it. For the one worker that writes.
    pub fn add(&self, sample: FlowSample) {
        let written = self.written.load(Ordering::Relaxed);
        self.words[written as usize % SAMPLES].store(sample.to_word(), Ordering::Relaxed);
        self.written.store(written.wrapping_add(1), Ordering::Release);
    }

    /// The samples that were added after the first `read`, as far as they are there still; and how many were added in
    /// all. For anybody.
    pub fn since(&self, read: u64) -> (u64, impl Iterator<Item = FlowSample> + '_) {
        let written = self.written.load(Ordering::Acquire);
        let first = read.max(written.saturating_sub(SAMPLES as u64));
        let words = (first..written).map(|place| self.words[place as usize % SAMPLES].load(Ordering::Relaxed));
        (written, words.map(FlowSample::from_word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(number: u32) -> FlowSample {
        let direction = Direction::ALL[number as usize % 2];
        FlowSample { remote: TunnelIndex(65535), direction, source_port: 49152 + number as u16, flow: FLOW - number }
    }

    #[test]
    fn samples_are_read_once_each_as_they_were_added() {
        let samples = FlowSamples::new();
        (0..3).for_each(|number| samples.add(sample(number)));
        let (read, first) = samples.since(0);
        assert_eq!(first.collect::<Vec<_>>(), [0, 1, 2].map(sample));
        samples.add(sample(3));
        let (read, second) = samples.since(read);
        assert_eq!((read, second.collect::<Vec<_>>()), (4, vec![sample(3)]));
        assert_eq!(samples.since(read).1.count(), 0);
    }

    #[test]
    fn who_is_late_gets_the_last_ones() {
        let samples = FlowSamples::new();
        let many = 3 * SAMPLES as u32 + 7;
        (0..many).for_each(|number| samples.add(sample(number)));
        let (read, last) = samples.since(5);
        assert_eq!(read, u64::from(many));
        assert_eq!(last.collect::<Vec<_>>(), (many - SAMPLES as u32..many).map(sample).collect::<Vec<_>>());
    }
}

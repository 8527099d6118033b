//! Frames on their way between a worker and the thread of the exception path: a bounded, wait-free ring of bytes with
//! one writer and one reader.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::tables::PortIndex;

/// What is in front of each frame in the ring: its port and its length, 16 bits each.
const HEADER: usize = 4;

/// The end that frames are put into.
#[derive(Debug)]
pub struct FrameSender(Producer<u8>);

/// The end that frames are taken from.
#[derive(Debug)]
pub struct FrameReceiver(Consumer<u8>);

/// A ring for `capacity` bytes, four of which each frame needs besides its own.
#[must_use]
pub fn frame_ring(capacity: usize) -> (FrameSender, FrameReceiver) {
    let (sender, receiver) = RingBuffer::new(capacity);
    (FrameSender(sender), FrameReceiver(receiver))
}

impl FrameSender {
    /// Copies a frame of this port into the ring. `segments` gives its pieces, the same at each call. False, and
    /// nothing copied, where there is no room or the frame is longer than 65535 bytes.
    #[must_use]
    pub fn push<'a, S: Iterator<Item = &'a [u8]>>(&mut self, port: PortIndex, segments: impl Fn() -> S) -> bool {
        let length = segments().map(<[u8]>::len).sum();
        let Ok(length_field) = u16::try_from(length) else { return false };
        if !self.has_room(length) {
            return false;
        }
        let ([p0, p1], [l0, l1]) = (port.0.to_ne_bytes(), length_field.to_ne_bytes());
        // There is room for all of it, so each piece goes in; the reader waits for the last one.
        let header = [p0, p1, l0, l1];
        self.0.push_entire_slice(&header).is_ok() && segments().all(|piece| self.0.push_entire_slice(piece).is_ok())
    }

    /// True where a frame of this length fits now.
    #[must_use]
    pub fn has_room(&self, length: usize) -> bool {
        self.0.slots() >= HEADER + length
    }
}

impl FrameReceiver {
    /// Gives the oldest frame to `take`, in two pieces, the second of which is nearly always empty; then it is gone.
    /// None where there is no frame.
    pub fn take<T>(&mut self, take: impl FnOnce(PortIndex, &[u8], &[u8]) -> T) -> Option<T> {
        let available = self.0.slots();
        if available < HEADER {
            return None;
        }
        let header = {
            let chunk = self.0.read_chunk(HEADER).ok()?;
            let mut bytes = chunk.as_slices().0.iter().chain(chunk.as_slices().1).copied();
            let mut next = || bytes.next().unwrap_or(0);
            [next(), next(), next(), next()]
        };
        let [p0, p1, l0, l1] = header;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        if available < HEADER + length {
            // It is being written.
            return None;
        }
        let chunk = self.0.read_chunk(HEADER + length).ok()?;
        let (first, second) = chunk.as_slices();
        let (first, second) = match first.get(HEADER..) {
            Some(first) => (first, second),
            None => (second.get(HEADER - first.len()..).unwrap_or_default(), &[][..]),
        };
        let taken = take(PortIndex(u16::from_ne_bytes([p0, p1])), first, second);
        chunk.commit_all();
        Some(taken)
    }

    /// True where no frame is in the ring.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.slots() < HEADER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take(receiver: &mut FrameReceiver) -> Option<(u16, Vec<u8>)> {
        receiver.take(|port, first, second| (port.0, [first, second].concat()))
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_and_none_that_had_no_room(
            frames in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..60), 0..3_usize), 1..100)
        ) {
            let (mut sender, mut receiver) = frame_ring(100);
            let mut inside = std::collections::VecDeque::new();
            let mut used = 0;
            for (port, frame, takes) in frames {
                let (front, back) = frame.split_at(frame.len() / 3);
                let fits = used + HEADER + frame.len() <= 100;
                prop_assert_eq!(sender.push(PortIndex(port), || [front, back].into_iter()), fits);
                if fits {
                    used += HEADER + frame.len();
                    inside.push_back((port, frame));
                }
                for _ in 0..takes {
                    let taken = take(&mut receiver);
                    used -= taken.as_ref().map_or(0, |(_, frame)| HEADER + frame.len());
                    prop_assert_eq!(taken, inside.pop_front());
                }
            }
        }
    }

    #[test]
    fn a_reader_beside_the_writer_sees_whole_frames_in_order() {
        let (mut sender, mut receiver) = frame_ring(1000);
        let frame = |number: usize| vec![number as u8; number % 300];
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..20_000 {
                    let frame = frame(number);
                    while !sender.push(PortIndex(number as u16), || frame.chunks(100)) {
                        std::thread::yield_now();
                    }
                }
            });
            let mut expected = 0;
            while expected < 20_000 {
                let Some(taken) = take(&mut receiver) else {
                    std::thread::yield_now();
                    continue;
                };
                assert_eq!(taken, (expected as u16, frame(expected)));
                expected += 1;
            }
        });
        assert!(receiver.is_empty());
    }
}

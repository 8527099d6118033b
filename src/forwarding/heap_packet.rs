//! A packet on the heap: the same forwarding code then runs in a test, under a fuzzer and on a capture file.

use std::ops::Range;
use std::sync::Arc;

use super::packet::{PacketBuffer, ReceiveChecksums};

/// Room in front of a packet's bytes, as DPDK's mbufs have it.
pub const HEADROOM: usize = 128;
/// Room behind them, as a 2 KiB mbuf leaves behind a short frame.
const TAILROOM: usize = 128;

/// A packet on the heap, of one or more segments.
#[derive(Clone, Debug, Default)]
pub struct HeapPacket {
    head: Segment,
    rest: Vec<Segment>,
    checksums: ReceiveChecksums,
}

#[derive(Clone, Debug, Default)]
struct Segment {
    memory: Arc<Vec<u8>>,
    data: Range<usize>,
}

impl Segment {
    fn new(bytes: &[u8]) -> Self {
        let mut memory = vec![0; HEADROOM + bytes.len() + TAILROOM];
        let data = HEADROOM..HEADROOM + bytes.len();
        memory[data.clone()].copy_from_slice(bytes);
        Self { memory: Arc::new(memory), data }
    }

    fn bytes(&self) -> &[u8] {
        self.memory.get(self.data.clone()).unwrap_or_default()
    }

    /// The bytes to rewrite; none where the memory is shared, which nobody may write.
    fn bytes_mut(&mut self) -> &mut [u8] {
        let data = self.data.clone();
        Arc::get_mut(&mut self.memory).and_then(|memory| memory.get_mut(data)).unwrap_or_default()
    }
}

impl HeapPacket {
    /// A packet of one segment.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { head: Segment::new(bytes), ..Self::default() }
    }

    /// A packet whose segments end at these offsets, as a driver scatters a jumbo frame. Offsets behind the end are
    /// ignored.
    #[must_use]
    pub fn segmented(bytes: &[u8], ends: &[usize]) -> Self {
        let (mut segments, mut start) = (Vec::new(), 0);
        for end in ends.iter().copied().filter(|end| *end < bytes.len()).chain([bytes.len()]) {
            segments.push(Segment::new(bytes.get(start..end).unwrap_or_default()));
            start = end.max(start);
        }
        let head = segments.remove(0);
        Self { head, rest: segments, checksums: ReceiveChecksums::default() }
    }

    /// The same packet with a NIC's verdicts on its checksums.
    #[must_use]
    pub fn with_receive_checksums(self, checksums: ReceiveChecksums) -> Self {
        Self { checksums, ..self }
    }

    /// All bytes, in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.segments().flatten().copied().collect()
    }

    /// The address of each segment's first byte: equal where packets share memory.
    #[must_use]
    pub fn segment_addresses(&self) -> Vec<usize> {
        self.segments().map(|bytes| bytes.as_ptr().addr()).collect()
    }
}

impl PacketBuffer for HeapPacket {
    fn head(&self) -> &[u8] {
        self.head.bytes()
    }

    fn head_mut(&mut self) -> &mut [u8] {
        self.head.bytes_mut()
    }

    fn len(&self) -> usize {
        self.segments().map(<[u8]>::len).sum()
    }

    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.head).chain(&self.rest).map(Segment::bytes)
    }

    fn replace_front<const PUT: usize>(&mut self, taken: usize) -> Option<&mut [u8; PUT]> {
        let Segment { memory, data } = &mut self.head;
        if taken > data.len() {
            return None;
        }
        let start = (data.start + taken).checked_sub(PUT)?;
        let front = Arc::get_mut(memory)?.get_mut(start..)?.first_chunk_mut()?;
        data.start = start;
        Some(front)
    }

    fn truncate(&mut self, length: usize) -> bool {
        let mut left = length;
        for segment in std::iter::once(&mut self.head).chain(&mut self.rest) {
            let kept = segment.data.len().min(left);
            segment.data.end = segment.data.start + kept;
            left -= kept;
        }
        self.rest.retain(|segment| !segment.data.is_empty());
        true
    }

    fn grow_back_zeroed(&mut self, count: usize) -> bool {
        let last = self.rest.last_mut().unwrap_or(&mut self.head);
        let end = last.data.end + count;
        if end > last.memory.len() {
            return false;
        }
        let old_end = std::mem::replace(&mut last.data.end, end);
        let new = old_end - last.data.start..;
        last.bytes_mut().get_mut(new).unwrap_or_default().fill(0);
        true
    }

    fn share(&mut self, payload: &Self) -> bool {
        if !self.rest.is_empty() {
            return false;
        }
        self.rest.push(payload.head.clone());
        self.rest.extend(payload.rest.iter().cloned());
        true
    }

    fn receive_checksums(&self) -> ReceiveChecksums {
        self.checksums
    }
}

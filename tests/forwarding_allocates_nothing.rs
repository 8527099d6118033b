//! A worker's steady state allocates nothing: bursts of every kind, under an allocator that counts.

#[path = "fixtures/frames.rs"]
#[allow(dead_code, reason = "the conformance tests use the rest")]
mod frames;
#[path = "fixtures/gateway.rs"]
#[allow(dead_code, reason = "the conformance tests use the rest")]
mod gateway;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use arrayvec::ArrayVec;
use vtepd::forwarding::{BURST, Egress, Forwarder, PacketBuffer, ReceiveChecksums, Surroundings};
use vtepd::tables::PortIndex;
use vtepd::tables::learning::LearnEvent;
use vtepd::telemetry::{DropReason, Event};

use frames::{
    FAMILIES, Family, Outer, UPLINK_MAC, UdpSum, arp_request, ipv4_udp, ipv6_udp, raw, remote_mac, station, tagged,
};
use gateway::{CYCLES_PER_SECOND, Gateway, TAG, TRUNK0, TRUNK1, UPLINK, VNI};

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static POOL: RefCell<Vec<Rc<Block>>> = const { RefCell::new(Vec::new()) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: every call is handed on to the system's allocator as it came; counting allocates nothing, for the counter is
// initialised by a constant and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is ours.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HEADROOM: usize = 128;
const BLOCK: usize = 2304;

/// A packet buffer of the pool, as an mbuf is one.
struct Block([u8; BLOCK]);

/// A part of a block. The last one to let go of a block gives it back to the pool.
struct Segment {
    block: Option<Rc<Block>>,
    data: Range<usize>,
}

impl Segment {
    fn take() -> Option<Self> {
        let block = POOL.with_borrow_mut(Vec::pop)?;
        Some(Self { block: Some(block), data: HEADROOM..HEADROOM })
    }

    fn shared(&self) -> Self {
        Self { block: self.block.clone(), data: self.data.clone() }
    }

    fn bytes(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |block| &block.0[self.data.clone()])
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let block = self.block.as_mut().and_then(Rc::get_mut).expect("nobody writes to a block that is shared");
        &mut block.0[self.data.clone()]
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Some(block) = self.block.take()
            && Rc::strong_count(&block) == 1
        {
            POOL.with_borrow_mut(|pool| pool.push(block));
        }
    }
}

/// A packet of blocks from the pool.
struct PoolPacket {
    head: Segment,
    rest: ArrayVec<Segment, 8>,
}

impl PoolPacket {
    fn copy_of(bytes: &[u8]) -> Option<Self> {
        let mut chunks = bytes.chunks(2048);
        let segment = |chunk: &[u8]| {
            let mut segment = Segment::take()?;
            segment.data.end += chunk.len();
            segment.bytes_mut().copy_from_slice(chunk);
            Some(segment)
        };
        let head = segment(chunks.next().unwrap_or_default())?;
        let rest = chunks.map(segment).collect::<Option<_>>()?;
        Some(Self { head, rest })
    }
}

impl PacketBuffer for PoolPacket {
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
        let data = &mut self.head.data;
        data.start = (data.start + taken).checked_sub(PUT).filter(|_| taken <= data.len())?;
        self.head.bytes_mut().first_chunk_mut()
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
        let fits = last.data.end + count <= BLOCK;
        if fits {
            let old = last.data.len();
            last.data.end += count;
            last.bytes_mut()[old..].fill(0);
        }
        fits
    }

    fn share(&mut self, payload: &Self) -> bool {
        self.rest.push(payload.head.shared());
        self.rest.extend(payload.rest.iter().map(Segment::shared));
        true
    }

    fn receive_checksums(&self) -> ReceiveChecksums {
        ReceiveChecksums::default()
    }
}

/// Ports that count what they are given and give it back to the pool.
#[derive(Default)]
struct Wire {
    sent: u64,
}

impl Egress<PoolPacket> for Wire {
    fn transmit(&mut self, _: PortIndex, packet: PoolPacket) {
        self.sent += u64::from(!packet.is_empty());
    }

    fn allocate(&mut self) -> Option<PoolPacket> {
        Some(PoolPacket { head: Segment::take()?, rest: ArrayVec::new() })
    }
}

/// Bursts of every kind: unicast both ways, local switching, floods, what is answered, what is dropped.
fn traffic(family: Family) -> Vec<(PortIndex, Vec<u8>)> {
    let to = |n| [ipv4_udp(station(n), station(9), 300, 2, true), ipv6_udp(station(n), station(8), 301, 1)];
    let broadcast = arp_request(station(9), [192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    let mut all = Vec::new();
    for frame in to(1).into_iter().chain(to(2)).chain(to(3)).chain([broadcast]) {
        all.push((TRUNK0, tagged(&frame, &[TAG])));
        all.push((TRUNK0, tagged(&frame, &[(0x8100, 5)])));
        let outer = Outer { sum: UdpSum::Right, traffic_class: 3, ..Outer::new(family, VNI, &frame) };
        all.push((UPLINK, outer.build()));
        all.push((UPLINK, Outer { sum: UdpSum::Wrong, ..outer.clone() }.build()));
        all.push((UPLINK, outer.sent_by(7).build()));
    }
    all.push((TRUNK0, tagged(&ipv4_udp(station(2), station(9), 1572, 0, true), &[TAG])));
    all.push((TRUNK0, tagged(&ipv6_udp(station(2), station(9), 1572, 0), &[TAG])));
    all.push((TRUNK0, tagged(&ipv4_udp(station(3), station(9), 4000, 0, true), &[TAG])));
    all.push((UPLINK, arp_request(remote_mac(1), [10, 0, 0, 2].into(), [10, 0, 0, 1].into())));
    all.push((UPLINK, raw(UPLINK_MAC, remote_mac(1), 0x88cc, &[0; 46])));
    all.push((UPLINK, vec![0; 9]));
    all
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    let vector = std::hint::black_box(Vec::<u8>::with_capacity(10));
    assert_eq!(ALLOCATIONS.get() - before, 1);
    drop(vector);
}

#[test]
fn forwarding_bursts_allocates_nothing() {
    POOL.set((0..4 * BURST).map(|_| Rc::new(Block([0; BLOCK]))).collect());
    for family in FAMILIES {
        let mut gateway = Gateway::on(family);
        let (near, far) = (gateway.member(VNI, TRUNK1), gateway.tunnel(family.remote(1)));
        gateway.know(VNI, station(1), near);
        gateway.know(VNI, station(2), far);
        let here = gateway.member(VNI, TRUNK0);
        gateway.know(VNI, station(8), here);
        let mut forwarder = Forwarder::new(CYCLES_PER_SECOND);
        let mut burst = ArrayVec::new();
        let mut wire = Wire::default();
        let traffic = traffic(family);
        let before = ALLOCATIONS.get();
        for round in 0..100u16 {
            // A stale tick now and then, time for more answers, and a learn ring that fills up in between.
            gateway.now.tick.0 += round % 2;
            gateway.now.cycles += CYCLES_PER_SECOND / 50;
            let other = LearnEvent { key: gateway.key(VNI, station(700)), location: here };
            while round % 10 == 9 && gateway.learn.send(other) {}
            while round % 10 == 0 && gateway.learn.take().is_some() {}
            let around = Surroundings {
                snapshot: &gateway.snapshot,
                fdb: &gateway.fdb,
                bindings: gateway.bindings.table(),
                telemetry: &gateway.telemetry,
                learn: &gateway.learn,
                now: gateway.now,
            };
            for (port, bytes) in &traffic {
                while burst.len() < 16 {
                    burst.push(PoolPacket::copy_of(bytes).expect("the pool is not used up"));
                }
                forwarder.forward(*port, &mut burst, &around, &mut wire);
            }
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{family:?}");

        let events = [
            Event::FloodCopy,
            Event::LearnSent,
            Event::LearnLost,
            Event::LearnRepeated,
            Event::AgeRefreshed,
            Event::Padded,
            Event::TooBigSent,
            Event::TooBigSuppressed,
        ];
        for event in events {
            assert!(gateway.telemetry.events(event) > 0, "{} is part of what was measured", event.name());
        }
        let reasons =
            [DropReason::UnknownVlan, DropReason::OuterUdpChecksum, DropReason::UnknownRemote, DropReason::Truncated];
        for reason in reasons {
            assert!(gateway.telemetry.dropped(reason) > 0, "{} is part of what was measured", reason.name());
        }
        assert!(wire.sent > 10_000, "{} sent", wire.sent);
        POOL.with_borrow(|pool| assert_eq!(pool.len(), 4 * BURST, "every buffer is back in the pool"));
    }
}

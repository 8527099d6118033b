//! The mbuf against a model, and the pool at its end.

#![cfg(feature = "dpdk")]

mod support;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use support::{bytes, packet, pattern};
use vtepd::dpdk::mempool::{DATA_ROOM, HEADROOM};
use vtepd::dpdk::{Burst, Mbuf, PacketPool, dpdk_sys};
use vtepd::forwarding::PacketBuffer;

#[test]
fn an_mbuf_is_what_the_headers_say_and_behaves_as_its_bytes_do() {
    the_layout_is_that_of_the_c_compiler();
    let eal = support::start("mbuf");
    let pool = PacketPool::create(&eal, 1023).expect("pool");
    a_fresh_packet_is_empty_with_head_and_tailroom(&pool);
    random_operations_do_what_they_do_to_a_vector(&pool);
    assert_eq!(pool.available(), 1023, "a buffer is lost");
    an_exhausted_pool_says_so_and_recovers(&pool);
    assert_eq!(pool.available(), 1023);
    memory_outlives_a_packet_that_is_still_held(pool, eal);
}

fn the_layout_is_that_of_the_c_compiler() {
    let mut compiled = [usize::MAX; 16];
    // SAFETY: an array of that length.
    let count = unsafe { dpdk_sys::vtepd_mbuf_layout(compiled.as_mut_ptr(), compiled.len()) };
    let used = [
        dpdk_sys::VTEPD_MBUF_SIZE,
        dpdk_sys::VTEPD_MBUF_BUF_ADDR,
        dpdk_sys::VTEPD_MBUF_DATA_OFF,
        dpdk_sys::VTEPD_MBUF_REFCNT,
        dpdk_sys::VTEPD_MBUF_NB_SEGS,
        dpdk_sys::VTEPD_MBUF_OL_FLAGS,
        dpdk_sys::VTEPD_MBUF_PACKET_TYPE,
        dpdk_sys::VTEPD_MBUF_PKT_LEN,
        dpdk_sys::VTEPD_MBUF_DATA_LEN,
        dpdk_sys::VTEPD_MBUF_BUF_LEN,
        dpdk_sys::VTEPD_MBUF_NEXT,
    ]
    .map(|offset| offset as usize);
    assert_eq!(used.as_slice(), &compiled[..count]);
    assert_eq!(size_of::<Option<Mbuf>>(), size_of::<*mut u8>(), "a burst is an array of pointers");
}

fn a_fresh_packet_is_empty_with_head_and_tailroom(pool: &PacketPool) {
    let packet = pool.allocate().expect("buffer");
    assert!(packet.is_empty() && packet.head().is_empty());
    assert_eq!((packet.headroom(), packet.tailroom(), packet.segment_count()), (HEADROOM, DATA_ROOM, 1));
}

#[derive(Clone, Debug)]
enum Operation {
    ReplaceFront { taken: usize, put: usize },
    Truncate(usize),
    GrowBackZeroed(usize),
    Append(usize),
    Rewrite(u8),
}

fn operation() -> impl Strategy<Value = Operation> {
    let small = || prop_oneof![0..200_usize, 0..3000_usize, Just(usize::MAX), Just(65536), Just(65536 + 8)];
    prop_oneof![
        (small(), select(vec![0, 4, 16, 62, 82])).prop_map(|(taken, put)| Operation::ReplaceFront { taken, put }),
        (0..130_usize, select(vec![4, 62])).prop_map(|(taken, put)| Operation::ReplaceFront { taken, put }),
        prop_oneof![0..200_usize, 0..9500_usize, Just(usize::MAX)].prop_map(Operation::Truncate),
        small().prop_map(Operation::GrowBackZeroed),
        (0..3000_usize).prop_map(Operation::Append),
        any::<u8>().prop_map(Operation::Rewrite),
    ]
}

/// The packet as bytes, with the lengths of its segments and the room that a buffer leaves.
struct Model {
    bytes: Vec<u8>,
    segments: Vec<usize>,
    headroom: usize,
    tailroom: usize,
}

impl Model {
    fn of(bytes: &[u8]) -> Self {
        let mut segments: Vec<usize> = bytes.chunks(2000).map(<[u8]>::len).collect();
        if segments.is_empty() {
            segments.push(0);
        }
        let tailroom = DATA_ROOM - segments.last().expect("one");
        Self { bytes: bytes.to_vec(), segments, headroom: HEADROOM, tailroom }
    }

    fn back(&mut self, added: &[u8]) -> bool {
        if added.len() > self.tailroom {
            return false;
        }
        self.bytes.extend(added);
        *self.segments.last_mut().expect("one") += added.len();
        self.tailroom -= added.len();
        true
    }

    fn truncate(&mut self, length: usize) {
        if length >= self.bytes.len() {
            return;
        }
        self.bytes.truncate(length);
        let mut left = length;
        for place in 0..self.segments.len() {
            if left <= self.segments[place] {
                // Only the head's data can begin elsewhere than behind the usual headroom.
                let room = if place == 0 { HEADROOM + DATA_ROOM - self.headroom } else { DATA_ROOM };
                self.tailroom = room - left;
                self.segments.truncate(place + 1);
                self.segments[place] = left;
                return;
            }
            left -= self.segments[place];
        }
    }
}

fn apply(operation: &Operation, packet: &mut Mbuf, model: &mut Model) -> (bool, bool) {
    match *operation {
        Operation::ReplaceFront { taken, put } => {
            let fits = taken <= model.segments[0] && put <= model.headroom + taken;
            let front: Option<&mut [u8]> = match put {
                0 => packet.replace_front::<0>(taken).map(|front| &mut front[..]),
                4 => packet.replace_front::<4>(taken).map(|front| &mut front[..]),
                16 => packet.replace_front::<16>(taken).map(|front| &mut front[..]),
                62 => packet.replace_front::<62>(taken).map(|front| &mut front[..]),
                82 => packet.replace_front::<82>(taken).map(|front| &mut front[..]),
                _ => unreachable!("no such operation is made"),
            };
            let replaced = front.is_some();
            if let Some(front) = front {
                front.fill(0xab);
            }
            if fits {
                model.bytes.splice(..taken, vec![0xab; put]);
                model.segments[0] = model.segments[0] - taken + put;
                model.headroom = model.headroom + taken - put;
            }
            (replaced, fits)
        }
        Operation::Truncate(length) => {
            model.truncate(length);
            (packet.truncate(length), true)
        }
        Operation::GrowBackZeroed(count) => {
            let fits = count <= model.tailroom && model.back(&vec![0; count]);
            (packet.grow_back_zeroed(count), fits)
        }
        Operation::Append(count) => {
            let added = pattern(count, count);
            (packet.append(&added), model.back(&added))
        }
        Operation::Rewrite(value) => {
            let head = model.segments[0];
            packet.head_mut().fill(value);
            model.bytes[..head].fill(value);
            (true, true)
        }
    }
}

fn random_operations_do_what_they_do_to_a_vector(pool: &PacketPool) {
    let start = prop_oneof![0..200_usize, 0..9100_usize];
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
    runner
        .run(&(start, prop::collection::vec(operation(), 0..40)), |(length, operations)| {
            let mut packet = packet(pool, &pattern(length, length));
            let mut model = Model::of(&pattern(length, length));
            for operation in &operations {
                let (did, should) = apply(operation, &mut packet, &mut model);
                prop_assert_eq!(did, should, "{:?}", operation);
                prop_assert_eq!(packet.len(), model.bytes.len());
                let segments: Vec<usize> = packet.segments().map(<[u8]>::len).collect();
                prop_assert_eq!(&segments, &model.segments);
                prop_assert_eq!(packet.head(), &model.bytes[..model.segments[0]]);
                prop_assert!(bytes(&packet) == model.bytes, "the bytes differ after {:?}", operation);
                prop_assert_eq!((packet.headroom(), packet.tailroom()), (model.headroom, model.tailroom));
            }
            Ok(())
        })
        .expect("the mbuf behaves as the model does");
}

fn an_exhausted_pool_says_so_and_recovers(pool: &PacketPool) {
    let mut held: Vec<Mbuf> = std::iter::from_fn(|| pool.allocate()).collect();
    assert_eq!((held.len(), pool.available()), (1023, 0));
    let mut burst = Burst::new();
    assert!(!pool.allocate_bulk(&mut burst, 2) && burst.is_empty());
    held.truncate(1013);
    assert!(!pool.allocate_bulk(&mut burst, 11) && burst.is_empty(), "all or none");
    assert!(pool.allocate_bulk(&mut burst, 10));
    assert_eq!(burst.len(), 10);
    assert!(pool.allocate().is_none());
    burst.clear();
    assert!(pool.allocate().is_some());
}

fn memory_outlives_a_packet_that_is_still_held(pool: PacketPool, eal: vtepd::dpdk::Eal) {
    let folder = support::run_folder("mbuf");
    let mut packet = packet(&pool, b"still here");
    drop((pool, eal));
    packet.head_mut()[0] = b'S';
    assert_eq!(packet.head(), b"Still here");
    assert!(!folder.exists());
}

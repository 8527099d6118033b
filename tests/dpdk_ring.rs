//! net_ring: what is sent comes back on the same port.

#![cfg(feature = "dpdk")]

mod support;

use support::{burst_of, bytes, packet, pattern};
use vtepd::dpdk::{Burst, Device, Mbuf, OpenPort, PacketPool, PortOptions, Unsent};
use vtepd::forwarding::{ChecksumVerdict, PacketBuffer};

#[test]
fn packets_and_shared_chains_come_back_intact_and_their_buffers_to_the_pool() {
    let eal = support::start("ring");
    let pool = PacketPool::create(&eal, 2047).expect("pool");
    let device = Device::probe(&eal, "ring0", "net_ring0").expect("probe");
    let mut ring = device.open(&PortOptions { mtu: None, ..PortOptions::default() }, &pool).expect("open");
    let free = pool.available();

    whole_bursts_return_in_order(&mut ring, &pool);
    assert_eq!(pool.available(), free);
    copies_of_a_flood_share_one_payload(&mut ring, &pool);
    assert_eq!(pool.available(), free);
    jumbo_chains_are_cut_and_grown(&mut ring, &pool);
    assert_eq!(pool.available(), free);
    a_full_ring_gives_up_the_rest_and_counts_it(&mut ring, &pool);
    assert_eq!(pool.available(), free);
}

fn loop_back(ring: &mut OpenPort, mut burst: Burst) -> Burst {
    let count = burst.len();
    assert_eq!(ring.transmit[0].transmit(&mut burst), Unsent::default());
    assert!(burst.is_empty());
    assert_eq!(ring.receive[0].receive(&mut burst), count);
    burst
}

fn whole_bursts_return_in_order(ring: &mut OpenPort, pool: &PacketPool) {
    for round in 0..40 {
        let mut burst = Burst::new();
        assert!(pool.allocate_bulk(&mut burst, 64));
        assert!(!pool.allocate_bulk(&mut burst, 1), "the burst is full");
        for (number, packet) in burst.iter_mut().enumerate() {
            assert!(packet.append(&pattern(round * 64 + number, 60 + number)));
        }
        for (number, packet) in loop_back(ring, burst).into_iter().enumerate() {
            assert_eq!(bytes(&packet), pattern(round * 64 + number, 60 + number));
            assert_eq!(packet.receive_checksums().ip, ChecksumVerdict::Unverified);
        }
    }
    assert_eq!(ring.receive[0].receive(&mut Burst::new()), 0);
}

fn header(pool: &PacketPool, seed: usize) -> Mbuf {
    packet(pool, &pattern(seed, 50))
}

fn copies_of_a_flood_share_one_payload(ring: &mut OpenPort, pool: &PacketPool) {
    // One segment and several.
    for length in [60, 1500, 9000] {
        let mut payload = packet(pool, &pattern(7, length));
        let used = pool.available();
        let mut copies = Burst::new();
        for number in 0..20 {
            let mut copy = header(pool, number);
            assert!(copy.chain_shared(&payload));
            assert_eq!((copy.len(), copy.segment_count()), (50 + length, 1 + payload.segment_count()));
            assert!(!copy.chain_shared(&payload), "a chain is not extended");
            copies.push(copy);
        }
        assert_eq!(used - pool.available(), 20, "one buffer for each copy");
        nothing_writes_what_is_shared(&mut payload, length);
        // The chain behind an unshared head cannot be cut inside a shared segment, but before it.
        assert!(!copies[0].truncate(50 + length / 2));
        assert_eq!(copies[0].len(), 50 + length);
        assert!(copies[0].truncate(50));
        assert_eq!((copies[0].len(), copies[0].segment_count()), (50, 1));
        assert!(!copies[1].grow_back_zeroed(1));
        assert!(copies[1].trim_front(3) && copies[1].replace_front::<3>(0).is_some());
        drop(payload);
        let returned = loop_back(ring, copies);
        for (number, copy) in returned.iter().enumerate() {
            let mut expected = pattern(number, 50);
            if number > 0 {
                expected.extend(pattern(7, length));
            }
            assert_eq!(bytes(copy), expected, "copy {number} of {length}");
        }
    }
    // The last holder may write again.
    let payload = packet(pool, &pattern(1, 80));
    let mut copy = header(pool, 2);
    assert!(copy.share(&payload) && !copy.share(&payload), "a chain is not extended");
    let mut payload = payload;
    assert!(payload.head_mut().is_empty());
    drop(copy);
    assert_eq!(payload.head_mut().len(), 80);
    assert!(payload.replace_front::<14>(0).is_some());
}

fn nothing_writes_what_is_shared(payload: &mut Mbuf, length: usize) {
    assert!(payload.head_mut().is_empty());
    assert!(
        payload.replace_front::<1>(0).is_none()
            && !payload.trim_front(1)
            && !payload.grow_back_zeroed(1)
            && !payload.append(b"x")
    );
    assert!(!payload.truncate(1) && payload.truncate(length));
    assert_eq!(bytes(payload), pattern(7, length));
}

fn jumbo_chains_are_cut_and_grown(ring: &mut OpenPort, pool: &PacketPool) {
    for length in [0, 1, 1999, 2000, 2001, 3999, 4000, 4001, 8999, 9000, 9001] {
        let mut burst = loop_back(ring, burst_of(packet(pool, &pattern(3, 9000))));
        let jumbo = &mut burst[0];
        assert_eq!(jumbo.segment_count(), 5);
        assert!(jumbo.replace_front::<100>(0).is_some());
        jumbo.head_mut()[..100].fill(0xee);
        assert!(jumbo.truncate(100 + length));
        let mut expected = vec![0xee; 100];
        expected.extend(&pattern(3, 9000)[..length.min(9000)]);
        assert_eq!((bytes(jumbo), jumbo.len()), (expected.clone(), expected.len()));
        assert_eq!(jumbo.segment_count(), length.clamp(1, 9000).div_ceil(2000), "{length}");
        assert!(jumbo.grow_back_zeroed(48));
        expected.extend([0; 48]);
        let burst = loop_back(ring, burst);
        assert_eq!(bytes(&burst[0]), expected);
    }
}

fn a_full_ring_gives_up_the_rest_and_counts_it(ring: &mut OpenPort, pool: &PacketPool) {
    let mut unsent = 0;
    let mut sent = 0;
    while unsent == 0 {
        let mut burst = Burst::new();
        assert!(pool.allocate_bulk(&mut burst, 64), "the ring is full before the pool is empty");
        assert!(burst.iter_mut().all(|packet| packet.append(&[0; 60])));
        let refused = ring.transmit[0].transmit(&mut burst);
        assert_eq!(refused.bytes, 60 * refused.packets);
        unsent = refused.packets;
        sent += 64 - unsent;
        assert!(burst.is_empty());
    }
    let mut burst = Burst::new();
    let mut received = 0;
    while ring.receive[0].receive(&mut burst) > 0 {
        received += burst.len();
        burst.clear();
    }
    assert_eq!(received, sent);
}

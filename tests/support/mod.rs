//! What the DPDK tests have in common.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use vtepd::dpdk::{Burst, Eal, EalOptions, Mbuf, PacketPool};
use vtepd::forwarding::PacketBuffer;

/// A name that no other process uses.
pub fn prefix(test: &str) -> String {
    format!("vtepd-test-{test}-{}", std::process::id())
}

/// Starts EAL without hugepages and PCI: it needs no privilege.
pub fn start(test: &str) -> Eal {
    let options = EalOptions { file_prefix: prefix(test), hugepages: false, memory_mib: 128, ..EalOptions::default() };
    Eal::start(&options).expect("EAL starts")
}

/// Where EAL keeps its files while this test runs.
pub fn run_folder(test: &str) -> PathBuf {
    let base = ["/var/run/dpdk", "/tmp/dpdk"].map(PathBuf::from);
    let user = std::env::var_os("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("dpdk"));
    base.into_iter()
        .chain(user)
        .map(|folder| folder.join(prefix(test)))
        .find(|folder| folder.exists())
        .expect("EAL's run-time folder")
}

/// The processors this thread may run on, as the kernel writes them.
pub fn allowed_cores() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("status");
    status.lines().find(|line| line.starts_with("Cpus_allowed_list")).expect("affinity").to_owned()
}

/// `length` bytes that differ from one `seed` and place to another.
pub fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| (place.wrapping_mul(31) ^ (place >> 8).wrapping_mul(7) ^ seed.wrapping_mul(131)) as u8)
        .collect()
}

/// All bytes of a packet.
pub fn bytes(packet: &impl PacketBuffer) -> Vec<u8> {
    packet.segments().flatten().copied().collect()
}

/// A packet of these bytes, in as many segments as they need.
pub fn packet(pool: &PacketPool, bytes: &[u8]) -> Mbuf {
    let mut built: Option<Mbuf> = None;
    for piece in bytes.chunks(2000).rev() {
        let mut segment = pool.allocate().expect("buffer");
        assert!(segment.append(piece));
        if let Some(behind) = built.take() {
            assert!(segment.chain_shared(&behind));
        }
        built = Some(segment);
    }
    built.unwrap_or_else(|| pool.allocate().expect("buffer"))
}

/// One packet as a burst.
pub fn burst_of(packet: Mbuf) -> Burst {
    let mut burst = Burst::new();
    burst.push(packet);
    burst
}

/// Writes frames as libpcap has them.
pub fn write_capture(path: &Path, frames: &[Vec<u8>]) {
    // The file's header: magic, version 2.4, zone, accuracy, snapshot length, Ethernet.
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65535, 1] {
        file.extend(word.to_ne_bytes());
    }
    for frame in frames {
        for word in [1, 0, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_ne_bytes());
        }
        file.extend(frame);
    }
    fs::write(path, file).expect("capture");
}

/// The frames of a file in libpcap's format.
pub fn read_capture(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::read(path).expect("capture");
    let mut rest = &file[24..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_ne_bytes(rest[8..12].try_into().expect("length")) as usize;
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    frames
}

//! What happens to a packet: pure decisions and rewrites over a packet-buffer trait. No I/O, no DPDK, no clock, no
//! logging, no allocation.

pub mod packet;

pub use packet::{ChecksumVerdict, PacketBuffer, ReceiveChecksums};

//! What happens to a packet: pure decisions and rewrites over a packet-buffer trait. No I/O, no DPDK, no clock, no
//! logging, no allocation.
//!
//! A burst of up to [`BURST`] packets that one port received goes through three stages, each over the whole burst, so
//! that the memory one stage asks for has arrived when the next one reads it:
//!
//! 1. **Admit** ([`uplink`], [`access`]): validate, find the bridge, take off what the side put around the frame
//!    (outer headers, access tag). What is left is a plain Ethernet frame, whichever side it came from.
//! 2. **Bridge** ([`bridging`]): look up source and destination, learn, and decide: the [`Verdict`](bridging::Verdict).
//! 3. **Emit** ([`emit`], [`flood`]): put around the frame what its destination asks for (access tag, outer headers)
//!    and give it to the [`Egress`].
//!
//! What is not VXLAN for the gateway leaves at the first stage: what it answers itself is answered ([`local`]), the rest
//! goes to the kernel, where the uplink has an interface there ([`exception`]).

pub mod access;
pub mod bridging;
pub mod classify;
pub mod egress;
pub mod emit;
pub mod encapsulate;
pub mod exception;
pub mod flood;
pub mod forwarder;
pub mod framing;
pub mod heap_packet;
pub mod local;
pub mod packet;
pub mod token_bucket;
pub mod too_big;
pub mod uplink;

pub use egress::Egress;
pub use forwarder::{Forwarder, Moment, Surroundings};
pub use heap_packet::HeapPacket;
pub use packet::{ChecksumVerdict, PacketBuffer, ReceiveChecksums};

/// The most packets of one burst.
pub const BURST: usize = 64;

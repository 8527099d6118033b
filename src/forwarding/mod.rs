//! What happens to a packet: pure decisions and rewrites over a packet-buffer trait. No I/O, no DPDK, no clock, no
//! logging, no allocation.
//!
//! A burst of up to [`BURST`] packets that one port received goes through four stages, each over the whole burst, so
//! that the memory one stage asks for has arrived when the next one reads it:
//!
//! 1. **Admit** ([`uplink`], [`access`]): validate, find the bridge, and where in the packet the frame is, behind what
//!    the side put around it (outer headers, access tag). From here on it is a plain Ethernet frame, whichever side it
//!    came from ([`framing`]).
//! 2. **Bridge** ([`bridging`]): look up source and destination, learn, and decide: the [`Verdict`](bridging::Verdict).
//!    Address resolution from an access port goes through both stages at once, and teaches who has which address
//!    ([`discovery`]).
//! 3. **Rewrite** ([`emit`]): exchange what is around a frame that goes to one place for what its destination asks for
//!    (access tag, outer headers), in place, and note the port.
//! 4. **Hand over** to the [`Egress`]: the burst as it is, where all of it goes out of one port. Else packet by packet, in
//!    their order: what has many destinations is flooded ([`flood`]); what is not VXLAN for the gateway is answered
//!    ([`local`]) or goes to the kernel, where the uplink has an interface there ([`exception`]); what a stage refused is
//!    counted under its reason.
//!
//! The first three stages have two ways each. The usual one is for valid packets between known stations, nearly all of
//! them, and asks only what these have to be asked. The unusual one is for any packet, and of a usual packet would say
//! the same: `forwarder/tests.rs` holds the two together.

pub mod access;
pub mod bridging;
pub mod classify;
pub mod common_port;
pub mod discovery;
pub mod egress;
pub mod emit;
pub mod encapsulate;
pub mod exception;
pub mod flood;
pub mod flow_sampler;
pub mod forwarder;
pub mod framing;
pub mod heap_packet;
pub mod learn_filter;
pub mod local;
pub mod packet;
pub mod path_mtu;
pub mod remark;
pub mod segment_size;
pub mod snooping;
pub mod storm_control;
pub mod token_bucket;
pub mod too_big;
pub mod uplink;

pub use egress::Egress;
pub use forwarder::{Forwarder, Moment, Surroundings};
pub use heap_packet::HeapPacket;
pub use packet::{ChecksumVerdict, PacketBuffer, ReceiveChecksums};

/// The most packets of one burst.
pub const BURST: usize = 64;

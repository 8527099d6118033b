//! The exception path: each uplink has an interface in the kernel, a TAP, through which the kernel's own network stack
//! and whatever runs on it (routing daemons, ping, ssh) use the uplink as if it were a NIC of theirs.
//!
//! An access port whose link's own protocols are the kernel's has such an interface, too. Nothing but frames to reserved
//! link-local group addresses crosses there: LLDP, LACP, STP (IEEE 802.1Q, 8.6.3).
//!
//! # The way of a packet
//!
//! A worker gives up a packet for the kernel by copying it into a ring of its own, one for each class
//! ([`FrameSender`]). One thread for all, `vtepd-exception`, empties the rings in the order of the classes and writes to
//! the TAPs; it reads what the kernel sends from the TAPs, and puts it into one ring that goes to the first worker, which
//! owns a transmit queue of every port. VXLAN crosses in neither direction: the kernel would terminate it, or send it, a
//! second time.
//!
//! # Why workers never wait
//!
//! The rings have one writer and one reader each, and are wait-free: a thread that the scheduler stops in the middle of
//! an access holds up nobody. The packet pool has no such promise, so this thread never touches it; bytes are copied,
//! and packets stay with the workers. Workers make no system call: the thread looks after its rings every
//! 50 µs while something moves, and every millisecond otherwise.
//!
//! # Why the thread seldom waits
//!
//! BGP and BFD go through it, so what is read of the kernel once a second, addresses and groups, is read by another thread,
//! `vtepd-survey`. It changes something of an interface itself, which waits while another process changes links: where the
//! port's MAC address, MTU or link has changed, a group of the underlay is joined or left, or an interface was removed.
//!
//! # At the bounds
//!
//! A class whose rate or whose ring is used up drops, counted, and takes nothing from another class. The ring from the
//! kernel to the worker does not overflow: while it is full, TAPs are not read, and the kernel's own queue grows, drops
//! and counts (`ip -s link`).
//!
//! # Groups
//!
//! The multicast groups of the underlay are joined by the kernel on the interfaces. On an uplink without one, this thread
//! is itself the host that reports them: workers give it the queries, and it sends its reports through the ring from the
//! kernel.
//!
//! # What stays
//!
//! TAPs are persistent: addresses, routes and sessions on them survive the gateway. While no gateway runs, their carrier
//! is off. An interface is recognised as the gateway's by its alias.

mod frame_ring;
mod link;
mod memberships;
mod port_interface;
mod speaker;
mod survey;
mod tap;
mod thread;
mod watch;

pub use frame_ring::{FrameReceiver, FrameSender, frame_ring};
pub use port_interface::{Groups, Nic, PortInterface, Traffic};
pub use tap::{ALIAS, TapError, TapFault};
pub use thread::{ExceptionThread, ThreadEnd, WorkerEnd, connect};
pub use watch::Watch;

//! The kernel's networking tables, mirrored: links, addresses, neighbours, next-hop objects and both halves of its
//! VXLAN FDB; questions to its routing; and orders to make links and entries.
//!
//! Four sockets, so that an answer of one kind never stands before one of another. Asking is another matter: the kernel
//! reads and changes links, and on kernels of 6.1 also lists them, only while nobody else changes them, so that whoever
//! asks waits as long as another process removes a thousand. A [`Listener`] is subscribed to what changes; its thread
//! does nothing but read and queue, for the kernel drops what a slow reader leaves lying. [`Dumps`] asks for everything
//! there is, and takes it in pieces: a [`Dumper`] has a thread of its own do that. [`Routing`] asks for one route at a
//! time, for which the kernel makes nobody wait, and has its answer when the request is sent. An [`Executor`] has a thread of its own carry out
//! [orders](Order), many at once. A [`Mirror`] takes in what the first two bring: it may come in any interleaving, for in
//! a [resync](Mirror::begin_resync) an event
//! outweighs a dump.
//!
//! Where a message may have been lost, the listener says so in its place in the queue ([`Told::Lost`]); a resync
//! that begins behind it makes up for it. Where the kernel had no room, it says so before what it kept, and tells nothing
//! new until that is read: the listener throws it away first, so that whatever changes from then on is told again.

mod abi;
mod dump;
mod dumper;
mod event;
mod executor;
mod followers;
mod link;
mod listener;
mod mirror;
mod nexthop;
mod order;
mod prefix;
mod routing;
mod socket;
mod written;

pub use dump::{Dumped, Dumps, Table};
pub use dumper::{Dumper, Piece};
pub use event::{Bridged, Destination, Event, Neighbour, NeighbourState, Origin};
pub use executor::{Executor, Outcome};
pub use followers::{Follower, followers};
pub use link::{Link, Vxlan};
pub use listener::{Listener, Received, Told};
pub use mirror::{Change, Entries, Mirror, Place, Resynced, Source};
pub use nexthop::NextHop;
pub use order::{Order, PROTOCOL};
pub use prefix::Prefix;
pub use routing::{Gateway, Route, Routing};
pub use socket::SocketError;
pub use written::{Written, written};

//! The kernel's tables and what follows from them, against the kernel itself: iproute2 changes them in a network
//! namespace, and the mirror, the underlay and the gateway have to say the same. Without root these tests skip.

#![cfg(not(vtepd_loom))]

mod adoption;
mod fdb;
mod followed;
mod gateway;
mod losses;
mod namespace;
mod publishing;
mod scale;
mod timing;
mod underlay;

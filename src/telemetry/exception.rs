//! What crosses between the uplinks and the kernel: classes, and what is counted of them.

use super::counter::Counter;
use super::label::labelled_enum;
use super::worker::MAX_PORTS;
use crate::tables::PortIndex;

labelled_enum! {
    /// What a packet for the kernel is, in the order in which the kernel is given them. Each class has a rate and a
    /// queue of its own, so that no other class can take them from it.
    PuntClass {
        /// TCP from or to port 179 (RFC 4271).
        Bgp = "bgp",
        /// UDP to one of the ports of BFD: 3784, 3785, 4784 and 6784 (RFC 5881, 5883, 7130).
        Bfd = "bfd",
        /// ARP (RFC 826) and IPv6 neighbour and router discovery (RFC 4861).
        ArpNd = "arp_nd",
        /// LLDP, LACP, STP and whatever else is to a reserved link-local group address (IEEE 802.1Q, 8.6.3).
        LinkLocal = "link_local",
        /// ICMP, and ICMPv6 but for neighbour discovery.
        Icmp = "icmp",
        /// Everything else.
        Other = "other",
    }
}

labelled_enum! {
    /// What became of a packet for the kernel at the worker that received it.
    Punt {
        /// It was handed over.
        Passed = "passed",
        /// It was dropped: the rate of its class was reached.
        Limited = "limited",
        /// It was dropped: the queue of its class was full.
        Full = "full",
    }
}

/// What one worker counts of packets for the kernel.
#[derive(Debug, Default)]
pub struct PuntCounters([[Counter; Punt::COUNT]; PuntClass::COUNT]);

impl PuntCounters {
    /// The counter of one class and outcome.
    #[inline]
    #[must_use]
    pub fn of(&self, class: PuntClass, outcome: Punt) -> &Counter {
        &self.0[class as usize][outcome as usize]
    }
}

/// What the thread between the kernel's interfaces and the workers counts of one port. That thread writes it.
#[derive(Debug, Default)]
pub struct KernelCounters {
    /// Packets the kernel's interface took.
    pub to_kernel: Counter,
    /// Packets the kernel's interface did not take: it is down, or has gone.
    pub not_taken: Counter,
    /// Packets of the kernel handed to the worker that sends them.
    pub from_kernel: Counter,
    /// Packets of the kernel not sent because they are VXLAN, or fragments that may be.
    pub vxlan_refused: Counter,
    /// Packets of the kernel not sent because they are longer than the port's MTU allows.
    pub too_long: Counter,
    /// Packets of the kernel not sent because the port is an access port, and they are not to a link-local group.
    pub not_link_local: Counter,
}

/// What that thread counts, by port.
#[derive(Debug)]
#[repr(align(128))]
pub struct ExceptionTelemetry {
    ports: [KernelCounters; MAX_PORTS],
}

impl ExceptionTelemetry {
    /// All counters at zero.
    #[must_use]
    pub fn new() -> Self {
        Self { ports: std::array::from_fn(|_| KernelCounters::default()) }
    }

    /// A port's counters. The config has at most [`MAX_PORTS`] ports; an index beyond that wraps.
    #[must_use]
    pub fn port(&self, port: PortIndex) -> &KernelCounters {
        &self.ports[usize::from(port.0) % MAX_PORTS]
    }
}

impl Default for ExceptionTelemetry {
    fn default() -> Self {
        Self::new()
    }
}

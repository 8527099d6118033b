//! What a port receives and the gateway does not bridge: who gets it, the gateway itself, the kernel, or nobody.
//!
//! Where the uplink has an interface in the kernel, the kernel gets what is not VXLAN: discovery, ICMP, BGP, whatever is
//! addressed to the port's MAC address or to a group. The gateway answers for each of its VTEP addresses itself as long
//! as the kernel has not that address; packets to the address that it does not answer then go to nobody, for a kernel that
//! forwards would send them back out.
//!
//! An access port may have such an interface too, for the protocols of its link alone: frames to reserved link-local
//! group addresses.
//!
//! The kernel is slow, and anyone can write to it. So each class of packets has a rate of its own, and a queue of its
//! own behind [`Egress::punt`]: a flood of one class takes nothing from another.

use std::net::IpAddr;

use super::classify::classify;
use super::egress::Egress;
use super::forwarder::Surroundings;
use super::local;
use super::packet::PacketBuffer;
use super::path_mtu;
use super::token_bucket::TokenBucket;
use super::uplink::Refusal;
use crate::tables::snapshot::{LinkLocal, Port};
use crate::tables::{PortIndex, Snapshot};
use crate::telemetry::{DropReason, Event, Punt, PuntClass};
use crate::wire::ethernet::{ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader};
use crate::wire::field::field;
use crate::wire::membership::{Multicast, recognise};

/// How many packets of a class a worker gives the kernel in one second. A tenth of it may come at once.
#[must_use]
pub const fn per_second(class: PuntClass) -> u64 {
    match class {
        PuntClass::Bgp | PuntClass::Bfd => 20_000,
        PuntClass::ArpNd => 2000,
        PuntClass::LinkLocal | PuntClass::Icmp => 1000,
        PuntClass::Other => 5000,
    }
}

/// One worker's share of the exception path.
#[derive(Debug)]
pub struct Exceptions {
    /// By class.
    buckets: [TokenBucket; PuntClass::COUNT],
    /// For what routers say of paths.
    path_mtus: TokenBucket,
}

/// How many messages about paths a worker heeds in one second; the others are ICMP as any other.
const PATH_MTUS_PER_SECOND: u64 = 100;

impl Exceptions {
    /// With full buckets, for a clock of this many cycles a second.
    #[must_use]
    pub fn new(cycles_per_second: u64) -> Self {
        let bucket = |class: usize| {
            let rate = PuntClass::ALL.get(class).map_or(1, |class| per_second(*class));
            TokenBucket::new(cycles_per_second, rate, rate / 10)
        };
        let path_mtus = TokenBucket::new(cycles_per_second, PATH_MTUS_PER_SECOND, PATH_MTUS_PER_SECOND);
        Self { buckets: std::array::from_fn(bucket), path_mtus }
    }

    /// Takes a packet that `ingress` received and that is not bridged: answers it, gives it to the kernel, or drops and
    /// counts it.
    #[cold]
    pub fn take<P: PacketBuffer>(
        &mut self,
        mut packet: P,
        refusal: Refusal,
        ingress: PortIndex,
        port: &Port,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) {
        if refusal == Refusal::Local && self.heed_path_mtu(&packet, around) {
            return;
        }
        let path = &around.snapshot.exception;
        if path.hears_queries(ingress) && is_query(refusal, &packet) {
            return self.punt(&packet, PuntClass::Other, ingress, around, egress);
        }
        let class = match path.has(ingress) {
            true => classify(packet.head(), packet.len(), &around.snapshot.vtep.udp_ports),
            false => None,
        };
        if refusal == Refusal::LinkLocal && port.link_local == LinkLocal::Punt && class.is_some() {
            return self.punt(&packet, PuntClass::LinkLocal, ingress, around, egress);
        }
        let owned = is_owned(packet.head(), around.snapshot);
        if let Some(class) = class.filter(|class| is_kernels(refusal, *class, owned, around.snapshot, ingress)) {
            return self.punt(&packet, class, ingress, around, egress);
        }
        let reason = match refusal {
            Refusal::Drop(reason) => reason,
            Refusal::LinkLocal => DropReason::LinkLocal,
            Refusal::Local | Refusal::Discovery => match local::answer(&mut packet, port, around) {
                Ok(()) => return egress.transmit(ingress, packet),
                Err(reason) => reason,
            },
        };
        let for_kernel = refusal == Refusal::Discovery || refusal == Refusal::Local && owned;
        match class {
            Some(class) if for_kernel && reason == DropReason::UplinkUnserved => {
                self.punt(&packet, class, ingress, around, egress);
            }
            _ => around.telemetry.count_drop(reason),
        }
    }

    /// True where the packet said what a path takes, and the control thread is told.
    fn heed_path_mtu<P: PacketBuffer>(&mut self, packet: &P, around: &Surroundings<'_>) -> bool {
        let Some(path) = path_mtu::told_by(packet, around.snapshot) else { return false };
        let heeded = self.path_mtus.take(around.now.cycles) && around.learn.send_path_mtu(path);
        if heeded {
            around.telemetry.event(Event::PathMtuTold);
        }
        heeded
    }

    fn punt<P: PacketBuffer>(
        &mut self,
        packet: &P,
        class: PuntClass,
        ingress: PortIndex,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) {
        let has_token = self.buckets[class as usize].take(around.now.cycles);
        let (outcome, drop) = if !has_token {
            (Punt::Limited, Some(DropReason::PuntLimited))
        } else if egress.punt(ingress, class, packet) {
            (Punt::Passed, None)
        } else {
            (Punt::Full, Some(DropReason::PuntFull))
        };
        around.telemetry.punts.of(class, outcome).increment();
        if let Some(reason) = drop {
            around.telemetry.count_drop(reason);
        }
    }
}

/// True for a question of a router which groups are wanted, by IGMP or MLD.
fn is_query<P: PacketBuffer>(refusal: Refusal, packet: &P) -> bool {
    matches!(refusal, Refusal::Drop(DropReason::UplinkForeignAddress) | Refusal::Discovery)
        && matches!(recognise(packet.head(), packet.len()), Some(Multicast::Query(_)))
}

/// True where the kernel has the address of the VTEP's that a packet is for; of a packet that is for none of them, where
/// it has them all.
fn is_owned(head: &[u8], snapshot: &Snapshot) -> bool {
    let (vtep, path) = (&snapshot.vtep, &snapshot.exception);
    let destination = outer_destination(head);
    match vtep.addresses().position(|address| Some(address) == destination) {
        Some(place) => path.owns(place),
        None => (0..vtep.addresses().count()).all(|place| path.owns(place)),
    }
}

/// The destination address of an IP packet.
fn outer_destination(head: &[u8]) -> Option<IpAddr> {
    match EthernetHeader::parse(head)?.ethertype {
        ETHERTYPE_IPV4 => Some(IpAddr::from(*field::<4>(head, ETHERNET_HEADER + 16)?)),
        ETHERTYPE_IPV6 => Some(IpAddr::from(*field::<16>(head, ETHERNET_HEADER + 24)?)),
        _ => None,
    }
}

/// True for what the kernel gets and the gateway need not look at first; `owned` as [`is_owned`] has it.
fn is_kernels(refusal: Refusal, class: PuntClass, owned: bool, snapshot: &Snapshot, ingress: PortIndex) -> bool {
    let path = &snapshot.exception;
    match refusal {
        // These are about addresses that are not the gateway's, or about none.
        Refusal::Drop(DropReason::UplinkForeignAddress | DropReason::UplinkEtherType) => true,
        // To the gateway's own address.
        Refusal::Drop(DropReason::UplinkUnserved) => owned,
        Refusal::Drop(_) | Refusal::LinkLocal => false,
        Refusal::Local | Refusal::Discovery => {
            let answers_discovery = snapshot.vtep.address.is_ipv4() || path.answers_nd(ingress);
            owned && (class != PuntClass::ArpNd || answers_discovery)
        }
    }
}

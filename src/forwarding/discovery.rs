//! Address resolution that access ports receive: what stations say of their addresses is reported, and who asks everyone
//! for a known address is answered in its owner's place (RFC 9161; conformance row B6).
//!
//! All ARP and ICMPv6 from access ports goes the unusual way of stage 1. Where its bridge learns from it, both stages are
//! done with it there: it is rare, and needs no memory asked for ahead.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use super::BURST;
use super::bridging::{Frame, Verdict, decide_unusual};
use super::egress::Egress;
use super::emit;
use super::forwarder::Surroundings;
use super::framing::{Addresses, FramePlace};
use super::learn_filter::LearnFilter;
use super::packet::PacketBuffer;
use super::remark::Marks;
use crate::tables::bindings::{Binding, BindingKey, BindingReport, BindingSource};
use crate::tables::fdb::{FdbKey, FdbValue};
use crate::tables::snapshot::Neighbours;
use crate::tables::{BridgeIndex, LocationKind};
use crate::telemetry::{DropReason, Event};
use crate::wire::discovery::{self, Claim, Discovery, Question};
use crate::wire::nd::{self, TargetFlags};
use crate::wire::{MacAddr, arp};

/// A binding that says the same again is reported again only when it was last heard so many age ticks ago.
const REFRESH_TICKS: u16 = 4;
/// One that says something else is reported again only so many milliseconds after its last report: until control has
/// taken that in.
const QUIET_MILLISECONDS: u64 = 250;
/// Reports that are remembered to be recent.
const RECENT: usize = 256;

/// The station in whose place a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Proxied {
    /// Its address.
    mac: MacAddr,
    /// What its advertisement says besides.
    flags: TargetFlags,
}

/// A report that was made not long ago.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    /// A hash of all of it.
    report: u64,
    /// When, in cycles.
    at: u64,
}

/// One worker's share of learning bindings.
#[derive(Debug)]
pub struct Discoveries {
    /// Each in the place that its hash says; another of that place takes it over.
    recent: Box<[Recent; RECENT]>,
    hash: RandomState,
    quiet: u64,
    /// In whose place the questions of the burst are answered, in their order. Stage 4 takes them in the same order, so
    /// that a verdict need not carry what hardly any frame has.
    answers: VecDeque<Proxied>,
}

impl Discoveries {
    /// With nothing reported, for a clock of this many cycles a second.
    #[must_use]
    pub fn new(cycles_per_second: u64) -> Self {
        Self {
            recent: Box::new([Recent::default(); RECENT]),
            hash: RandomState::new(),
            quiet: cycles_per_second / 1000 * QUIET_MILLISECONDS,
            answers: VecDeque::with_capacity(BURST),
        }
    }

    /// Takes a frame through stage 2 that an access port has admitted, if it is address resolution and its bridge wants to
    /// know; leaves any other undecided.
    pub(super) fn meet<P: PacketBuffer>(
        &mut self,
        packet: &P,
        frame: &mut Frame,
        learn_filter: &mut LearnFilter,
        around: &Surroundings<'_>,
    ) {
        let domain = around.snapshot.domains.get(usize::from(frame.bridge().0));
        let wanted = domain.map(|domain| domain.neighbours).unwrap_or_default();
        let Some(behind) = frame.place.behind_addresses(packet) else { return };
        if wanted == Neighbours::default() || !discovery::is_discovery(behind) {
            return;
        }
        decide_unusual(frame, packet.head(), Some(learn_filter), around);
        // What is refused teaches nothing, and what is in several segments is none.
        if matches!(frame.verdict, Verdict::Drop(_) | Verdict::Refuse(_)) || packet.head().len() != packet.len() {
            return;
        }
        let Discovery { claim, question } = read(frame.addresses(), behind);
        if let Some(claim) = claim.filter(|_| wanted.learning) {
            self.hear(&claim, frame, around);
        }
        if let Some(question) = question.filter(|_| wanted.suppression && frame.verdict == Verdict::Flood) {
            match proxied(&question, frame, around) {
                Some(proxied) => {
                    self.answers.push_back(proxied);
                    frame.verdict = Verdict::Answer;
                }
                None => around.telemetry.event(Event::SuppressionMissed),
            }
        }
    }

    /// Reports what a station says of itself, unless that is known or was reported just now.
    fn hear(&mut self, claim: &Claim, frame: &Frame, around: &Surroundings<'_>) {
        let mac = MacAddr::from_word(frame.addresses().source());
        let key = BindingKey { bridge: frame.bridge(), address: claim.address };
        if around.bindings.lookup(key).is_some_and(|known| is_no_news(&known, mac, claim.flags, around)) {
            return;
        }
        let flags = claim.flags.map(TargetFlags::to_bits);
        // Zero is in the places where nothing was reported yet.
        let report = self.hash.hash_one((key, mac, flags)) | 1;
        let Some(recent) = self.recent.get_mut((report >> 1) as usize % RECENT) else { return };
        if recent.report == report && around.now.cycles.saturating_sub(recent.at) < self.quiet {
            return around.telemetry.event(Event::BindingRepeated);
        }
        let sent = around.learn.report(BindingReport { key, mac, flags: claim.flags });
        if sent {
            *recent = Recent { report, at: around.now.cycles };
        }
        around.telemetry.event(if sent { Event::BindingReported } else { Event::BindingLost });
    }

    /// Turns a question into the answer of the station that is asked for, and sends it where the question came from.
    ///
    /// # Errors
    /// The reason why it is dropped.
    #[inline(never)]
    pub(super) fn answer<P: PacketBuffer>(
        &mut self,
        mut packet: P,
        frame: &Frame,
        around: &Surroundings<'_>,
        egress: &mut impl Egress<P>,
    ) -> Result<(), DropReason> {
        let proxied = self.answers.pop_front().ok_or(DropReason::NoMember)?;
        let addresses = frame.addresses();
        frame.place.extract(&mut packet, addresses).ok_or(DropReason::NoHeadroom)?;
        let behind = FramePlace::whole(&packet).behind_addresses(&packet).unwrap_or_default();
        let question = read(addresses, behind).question.ok_or(DropReason::Truncated)?;
        let (event, length) = write_answer(&mut packet, &question, proxied)?;
        if !packet.truncate(length) {
            return Err(DropReason::Truncated);
        }
        let LocationKind::Access(member) = frame.source.kind() else { return Err(DropReason::NoMember) };
        let addresses = packet.head().first_chunk().map(Addresses::of).ok_or(DropReason::Truncated)?;
        let place = FramePlace::whole(&packet);
        let port = emit::for_member(&mut packet, place, addresses, Marks::NONE, member, around)?;
        egress.transmit(port, packet);
        around.telemetry.event(event);
        Ok(())
    }
}

/// The table says as much of a station behind an access port, and said so not long ago or says so for good.
fn is_no_news(known: &Binding, mac: MacAddr, flags: Option<TargetFlags>, around: &Surroundings<'_>) -> bool {
    let is_fresh = || (flags.is_none() || flags == known.flags) && around.now.tick.since(known.heard) < REFRESH_TICKS;
    known.mac == mac
        && match known.source {
            BindingSource::Learned => is_fresh(),
            BindingSource::Kernel => false,
            BindingSource::Static => true,
        }
}

fn read(addresses: Addresses, behind_addresses: &[u8]) -> Discovery {
    let [destination, source] = [addresses.destination(), addresses.source()].map(MacAddr::from_word);
    discovery::read(destination, source, behind_addresses)
}

/// In whose place a question is answered: a known station's that is also known where it is. None where the asker has the
/// address itself, for everyone has to hear of that; and none where the station is where the asker is, for it hears the
/// question itself, and an answer in its place would show switches on the way its address where it is not. None either of
/// an IPv6 address that was never advertised: an answer says whether it is a router's, and where it says wrongly that it
/// is not, hosts give up their default router (RFC 4861, 7.2.5).
fn proxied(question: &Question, frame: &Frame, around: &Surroundings<'_>) -> Option<Proxied> {
    let bridge: BridgeIndex = frame.bridge();
    let known = around.bindings.lookup(BindingKey { bridge, address: question.address })?;
    let is_asker = known.mac == MacAddr::from_word(frame.addresses().source());
    let place = around.fdb.lookup(&around.fdb.probe(FdbKey::new(bridge, known.mac))).map(FdbValue::location)?;
    let flags = if question.address.is_ipv4() { known.flags.unwrap_or_default() } else { known.flags? };
    (!is_asker && place != frame.source).then_some(Proxied { mac: known.mac, flags })
}

/// Writes the answer over the question; gives what was answered, and the answer's length in bytes.
fn write_answer<P: PacketBuffer>(
    packet: &mut P,
    question: &Question,
    proxied: Proxied,
) -> Result<(Event, usize), DropReason> {
    match question.address {
        IpAddr::V4(address) => {
            let length = arp::reply_in_place(packet.head_mut(), proxied.mac, address).ok_or(DropReason::Truncated)?;
            Ok((if question.probe { Event::ArpProbeSuppressed } else { Event::ArpSuppressed }, length))
        }
        IpAddr::V6(address) => {
            let answer = nd::advertisement(packet.head(), proxied.mac, address, proxied.flags);
            let answer = answer.ok_or(DropReason::Truncated)?;
            let missing = answer.len().saturating_sub(packet.len());
            if missing > 0 && !packet.grow_back_zeroed(missing) {
                return Err(DropReason::NoHeadroom);
            }
            *packet.head_mut().first_chunk_mut().ok_or(DropReason::HeadersScattered)? = answer;
            Ok((if question.probe { Event::DadSuppressed } else { Event::SolicitationSuppressed }, answer.len()))
        }
    }
}

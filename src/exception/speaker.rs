//! Multicast groups of the underlay on an uplink without an interface in the kernel: the gateway itself is the host that
//! reports them by IGMPv3 (RFC 3376, 5) or MLDv2 (RFC 3810, 6), or their older versions to an older querier.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::wire::MacAddr;
use crate::wire::membership::{Change, LONGEST_REPORT, MOST_RECORDS, Query, Version, report};

/// How often a change is said: one report may be lost (RFC 3376, 8.1; RFC 3810, 9.1).
const ROBUSTNESS: u8 = 2;
/// Within which time it is said again (RFC 3376, 8.11; RFC 3810, 9.11).
const AGAIN: Duration = Duration::from_secs(1);
/// How long an older querier is thought to be there: two of its intervals and an answer's time (RFC 3376, 8.12;
/// RFC 3810, 9.12).
const OLDER_QUERIER: Duration = Duration::from_secs(260);

/// What the gateway says on one uplink.
#[derive(Debug)]
pub(super) struct Speaker {
    mac: MacAddr,
    /// The gateway's address, once it is known.
    source: Option<IpAddr>,
    joined: BTreeMap<IpAddr, Membership>,
    /// Groups that were left, and how often that is yet to be said.
    left: BTreeMap<IpAddr, Announcement>,
    /// Until when reports are of the older version.
    older_until: Option<Instant>,
    random: u64,
}

/// A change that is yet to be said.
#[derive(Clone, Copy, Debug)]
struct Announcement {
    times: u8,
    at: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Membership {
    announcement: Option<Announcement>,
    /// When a query is answered.
    answer: Option<Instant>,
}

impl Speaker {
    /// The speaker of a port with this MAC address.
    pub(super) fn new(mac: MacAddr) -> Self {
        // Stations whose reports are not to coincide differ in their addresses.
        let random = mac.to_u64().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { mac, source: None, joined: BTreeMap::new(), left: BTreeMap::new(), older_until: None, random }
    }

    /// True where nothing is joined, nor to be said.
    pub(super) fn is_silent(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }

    /// Joins what is wanted, and leaves all else; says so from then on with the gateway's address `source`.
    pub(super) fn follow(&mut self, wanted: &BTreeSet<IpAddr>, source: IpAddr, now: Instant) {
        self.source = Some(source);
        let news = Announcement { times: ROBUSTNESS, at: now };
        let unwanted: Vec<IpAddr> = self.joined.keys().filter(|group| !wanted.contains(group)).copied().collect();
        for group in unwanted {
            self.joined.remove(&group);
            self.left.insert(group, news);
        }
        for group in wanted {
            self.left.remove(group);
            let membership = || Membership { announcement: Some(news), answer: None };
            self.joined.entry(*group).or_insert_with(membership);
        }
    }

    /// The link has come up: whoever is there now knows nothing of the memberships.
    pub(super) fn link_up(&mut self, now: Instant) {
        for membership in self.joined.values_mut() {
            membership.announcement = Some(Announcement { times: ROBUSTNESS, at: now });
        }
    }

    /// A querier asks: answers come at some time within what it allows.
    pub(super) fn hear(&mut self, query: &Query, now: Instant) {
        if query.is_older {
            self.older_until = Some(now + OLDER_QUERIER);
        }
        let groups: Vec<IpAddr> =
            self.joined.keys().filter(|group| query.group.is_none_or(|asked| asked == **group)).copied().collect();
        for group in groups {
            let at = now + self.within(Duration::from_millis(query.response_ms.into()));
            if let Some(membership) = self.joined.get_mut(&group) {
                // One that is due earlier answers both (RFC 3376, 5.2).
                membership.answer = Some(membership.answer.map_or(at, |earlier| earlier.min(at)));
            }
        }
    }

    /// Gives `send` the reports that are due.
    pub(super) fn speak(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        let Some(source) = self.source.filter(|_| !self.is_silent()) else { return };
        let (mut joining, mut staying, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
        let again = self.within(AGAIN);
        for (group, membership) in &mut self.joined {
            if take_due(&mut membership.announcement, now, again) {
                joining.push(*group);
            }
            if membership.answer.take_if(|at| *at <= now).is_some() {
                staying.push(*group);
            }
        }
        self.left.retain(|group, announcement| {
            let mut announcement_left = Some(*announcement);
            if take_due(&mut announcement_left, now, again) {
                leaving.push(*group);
            }
            announcement_left.is_some_and(|left| {
                *announcement = left;
                true
            })
        });
        let is_older = self.older_until.is_some_and(|until| now < until);
        let (version, at_once) = if is_older { (Version::Older, 1) } else { (Version::Current, MOST_RECORDS) };
        for (groups, change) in [(joining, Change::Join), (staying, Change::Stay), (leaving, Change::Leave)] {
            for groups in groups.chunks(at_once) {
                let mut frame = [0; LONGEST_REPORT];
                let length = report(self.mac, source, groups, change, version, &mut frame);
                if let Some(frame) = length.and_then(|length| frame.get(..length)) {
                    send(frame);
                }
            }
        }
    }

    /// Some time that is not longer, by Marsaglia's xorshift.
    fn within(&mut self, longest: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        longest.mul_f64((self.random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// True where a change is due to be said; it is then due again after `again`, if it is to be.
fn take_due(announcement: &mut Option<Announcement>, now: Instant, again: Duration) -> bool {
    let Some(due) = announcement.filter(|announcement| announcement.at <= now) else { return false };
    let times = due.times.saturating_sub(1);
    *announcement = (times > 0).then_some(Announcement { times, at: now + again });
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::membership::{Multicast, recognise};

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn group(n: u8) -> IpAddr {
        [239, 0, 0, n].into()
    }

    fn groups(numbers: std::ops::Range<u8>) -> BTreeSet<IpAddr> {
        numbers.map(group).collect()
    }

    fn speaker() -> Speaker {
        Speaker::new(MacAddr([2, 0, 0, 0xaa, 0, 1]))
    }

    /// What is said until then, and the number of frames: each group with how often it was wanted and not.
    fn said(speaker: &mut Speaker, from: Instant, until: Duration) -> (BTreeMap<IpAddr, [u32; 2]>, usize) {
        let (mut said, mut frames) = (BTreeMap::<IpAddr, [u32; 2]>::new(), 0);
        for step in 0..=until.as_millis() / 10 {
            speaker.speak(from + Duration::from_millis(10 * step as u64), |frame| {
                frames += 1;
                let Some(Multicast::Report { records, .. }) = recognise(frame, frame.len()) else {
                    panic!("no report")
                };
                for record in records {
                    said.entry(record.group).or_default()[usize::from(!record.wanted)] += 1;
                }
            });
        }
        (said, frames)
    }

    fn query(group: Option<IpAddr>, response_ms: u32, is_older: bool) -> Query {
        Query { source: [10, 0, 0, 254].into(), group, response_ms, timing: None, of_sources: false, is_older }
    }

    #[test]
    fn joining_and_leaving_are_each_said_twice_within_a_second() {
        let (mut speaker, now) = (speaker(), Instant::now());
        speaker.follow(&groups(0..120), SOURCE, now);
        let (joined, frames) = said(&mut speaker, now, Duration::ZERO);
        assert_eq!((joined.len(), frames), (120, 3), "many in a report");
        let (again, _) = said(&mut speaker, now, Duration::from_secs(2));
        assert!(again.len() == 120 && again.values().all(|said| *said == [1, 0]), "{again:?}");
        let later = now + Duration::from_secs(10);
        speaker.follow(&groups(0..120), SOURCE, later);
        assert_eq!(said(&mut speaker, later, Duration::from_secs(2)).1, 0, "nothing is new");
        speaker.follow(&groups(100..130), SOURCE, later);
        let (changed, _) = said(&mut speaker, later, Duration::from_secs(2));
        let expected: BTreeMap<_, _> =
            (0..100).map(|n| (group(n), [0, 2])).chain((120..130).map(|n| (group(n), [2, 0]))).collect();
        assert_eq!(changed, expected);
        speaker.follow(&BTreeSet::new(), SOURCE, later);
        assert!(!speaker.is_silent());
        said(&mut speaker, later, Duration::from_secs(2));
        assert!(speaker.is_silent());
    }

    #[test]
    fn a_query_is_answered_once_within_its_time_and_only_for_what_it_asks() {
        let (mut speaker, start) = (speaker(), Instant::now());
        speaker.follow(&groups(0..3), SOURCE, start);
        said(&mut speaker, start, Duration::from_secs(2));
        let now = start + Duration::from_secs(10);
        speaker.hear(&query(None, 10_000, false), now);
        speaker.hear(&query(None, 10_000, false), now);
        let (answers, _) = said(&mut speaker, now, Duration::from_secs(10));
        assert_eq!(answers, (0..3).map(|n| (group(n), [1, 0])).collect());
        let now = now + Duration::from_secs(20);
        speaker.hear(&query(Some(group(1)), 1000, false), now);
        speaker.hear(&query(Some(group(9)), 1000, false), now);
        assert_eq!(said(&mut speaker, now, Duration::from_secs(1)).0, BTreeMap::from([(group(1), [1, 0])]));
    }

    #[test]
    fn an_older_querier_is_answered_in_its_version_until_it_has_gone() {
        let (mut speaker, start) = (speaker(), Instant::now());
        speaker.follow(&groups(0..3), SOURCE, start);
        said(&mut speaker, start, Duration::from_secs(2));
        let now = start + Duration::from_secs(10);
        speaker.hear(&query(None, 100, true), now);
        let (answers, frames) = said(&mut speaker, now, Duration::from_millis(100));
        assert_eq!((answers.len(), frames), (3, 3), "one group in each report");
        let now = now + OLDER_QUERIER;
        speaker.hear(&query(None, 0, false), now);
        assert_eq!(said(&mut speaker, now, Duration::from_millis(100)).1, 1);
    }

    #[test]
    fn a_report_comes_from_the_address_that_the_gateway_has_now() {
        let (mut speaker, start) = (speaker(), Instant::now());
        let sources = |speaker: &mut Speaker, now: Instant| {
            let mut sources = Vec::new();
            speaker.speak(now, |frame| sources.push(IpAddr::from(<[u8; 4]>::try_from(&frame[26..30]).expect("IPv4"))));
            sources
        };
        speaker.follow(&groups(0..1), SOURCE, start);
        assert_eq!(sources(&mut speaker, start), [SOURCE]);
        let (other, now) = (IpAddr::from([10, 0, 0, 9]), start + Duration::from_secs(10));
        speaker.follow(&groups(0..1), other, now);
        speaker.hear(&query(None, 0, false), now);
        assert!(sources(&mut speaker, now).iter().all(|source| *source == other));
        // A gateway of another family has groups of that family.
        let (ipv6, group) = ("2001:db8::9".parse().expect("an address"), "ff05::1:3".parse().expect("a group"));
        speaker.follow(&BTreeSet::from([group]), ipv6, now);
        let mut heard = BTreeSet::new();
        speaker.speak(now, |frame| {
            if let Some(Multicast::Report { records, .. }) = recognise(frame, frame.len()) {
                heard.extend(records.into_iter().map(|record| record.group));
            }
        });
        assert!(heard.contains(&group), "{heard:?}");
    }

    #[test]
    fn a_link_that_comes_up_is_told_all() {
        let (mut speaker, start) = (speaker(), Instant::now());
        speaker.follow(&groups(0..3), SOURCE, start);
        said(&mut speaker, start, Duration::from_secs(2));
        let now = start + Duration::from_secs(10);
        speaker.link_up(now);
        assert_eq!(said(&mut speaker, now, Duration::from_secs(2)).0, (0..3).map(|n| (group(n), [2, 0])).collect());
    }
}

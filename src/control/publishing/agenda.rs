//! What is to be looked at, and what waits for the kernel.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long after an order was carried out the kernel's message about it may be on its way. Where nothing has changed,
/// there is none.
const MESSAGE: Duration = Duration::from_millis(500);

/// How far an order about a key is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// It was carried out.
    done: bool,
    /// The kernel has told of a change meanwhile.
    told: bool,
}

/// Keys that are to be looked at. One about which an order is under way waits until the mirror shows what came of it:
/// by what it showed before, the order would be given again, perhaps over what somebody else has said since.
///
/// A key is in it once, however often it is added. Keys are what stations say of themselves, so they are hashed with a
/// secret.
#[derive(Debug)]
pub(super) struct Agenda<K> {
    due: VecDeque<K>,
    queued: HashSet<K>,
    under_way: HashMap<K, Progress>,
    /// Those done, and until when their message is waited for.
    late: VecDeque<(Instant, K)>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { due: VecDeque::new(), queued: HashSet::default(), under_way: HashMap::default(), late: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash> Agenda<K> {
    /// A key is to be looked at.
    pub(super) fn add(&mut self, key: K) {
        if self.queued.insert(key) && !self.under_way.contains_key(&key) {
            self.due.push_back(key);
        }
    }

    /// The next key that is to be looked at.
    pub(super) fn next(&mut self) -> Option<K> {
        let key = self.due.pop_front()?;
        self.queued.remove(&key);
        Some(key)
    }

    /// An order about it is under way.
    pub(super) fn sent(&mut self, key: K) {
        self.under_way.insert(key, Progress::default());
    }

    /// The kernel has told of a change.
    pub(super) fn told(&mut self, key: K) {
        match self.under_way.get_mut(&key) {
            Some(progress) if !progress.done => progress.told = true,
            Some(_) => self.over(key),
            None => {}
        }
        self.add(key);
    }

    /// The order has been carried out.
    pub(super) fn done(&mut self, key: K, now: Instant) {
        match self.under_way.get_mut(&key) {
            Some(progress) if !progress.told => {
                progress.done = true;
                self.late.push_back((now + MESSAGE, key));
            }
            Some(_) => self.over(key),
            None => {}
        }
    }

    /// The order was not carried out: the key is looked at again after this time.
    pub(super) fn failed(&mut self, key: K, now: Instant, again: bool) {
        if again && let Some(progress) = self.under_way.get_mut(&key) {
            progress.done = true;
            self.queued.insert(key);
            self.late.push_back((now + MESSAGE, key));
        } else {
            self.over(key);
        }
    }

    /// Waits no longer for messages that are late.
    pub(super) fn wait_no_longer(&mut self, now: Instant) {
        while let Some((_, key)) = self.late.front().copied().filter(|(end, _)| *end <= now) {
            self.late.pop_front();
            if self.under_way.get(&key).is_some_and(|progress| progress.done) {
                self.over(key);
            }
        }
    }

    /// Orders about such keys mean nothing any more.
    pub(super) fn forget_orders(&mut self, is_such: impl Fn(&K) -> bool) {
        let such: Vec<K> = self.under_way.keys().filter(|key| is_such(key)).copied().collect();
        such.into_iter().for_each(|key| self.over(key));
    }

    /// No order about a key is under way any more.
    fn over(&mut self, key: K) {
        if self.under_way.remove(&key).is_some() && self.queued.contains(&key) {
            self.due.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_an_order_under_way_waits_for_the_message_about_it() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.add(1);
        agenda.add(1);
        assert_eq!((agenda.next(), agenda.next()), (Some(1), None));
        agenda.sent(1);
        agenda.add(1);
        assert_eq!(agenda.next(), None, "the order is under way");
        agenda.done(1, now);
        assert_eq!(agenda.next(), None, "its message is");
        agenda.told(1);
        assert_eq!((agenda.next(), agenda.next()), (Some(1), None));
        // The message may be there first.
        agenda.sent(1);
        agenda.told(1);
        assert_eq!(agenda.next(), None);
        agenda.done(1, now);
        assert_eq!(agenda.next(), Some(1));
    }

    #[test]
    fn nobody_knows_where_in_the_tables_a_key_is() {
        let orders = || {
            let mut agenda = Agenda::default();
            (0..64).for_each(|key| agenda.add(key));
            (64..128).for_each(|key| agenda.sent(key));
            let queued = agenda.queued.iter().copied().collect::<Vec<_>>();
            (queued, agenda.under_way.keys().copied().collect::<Vec<_>>())
        };
        let (one, other) = (orders(), orders());
        assert!(one.0 != other.0 && one.1 != other.1);
    }

    #[test]
    fn a_message_that_does_not_come_is_waited_for_a_while() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.sent(1);
        agenda.done(1, now);
        agenda.add(1);
        agenda.wait_no_longer(now);
        assert_eq!(agenda.next(), None);
        agenda.wait_no_longer(now + MESSAGE);
        assert_eq!(agenda.next(), Some(1));
        agenda.sent(1);
        agenda.failed(1, now, true);
        assert_eq!(agenda.next(), None, "it is tried again, but not at once");
        agenda.wait_no_longer(now + MESSAGE);
        assert_eq!(agenda.next(), Some(1));
        agenda.sent(1);
        agenda.failed(1, now, false);
        agenda.wait_no_longer(now + MESSAGE);
        assert_eq!(agenda.next(), None);
    }
}

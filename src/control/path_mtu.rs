//! What is known of the paths to remote VTEPs behind their next hops: the largest IP packet that each takes.
//!
//! A worker that is told by a router reports it. It is believed for ten minutes from the
//! last time it was lowered, for paths change and routers tell of lower MTUs only (RFC 1191, 6.3; RFC 8201, 5.3). There is
//! one entry for each remote VTEP at the most.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::registry::Registry;
use crate::tables::Snapshot;

/// How long a path is believed to take no more.
pub const KEPT: Duration = Duration::from_secs(600);

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The largest IP packet it takes, in bytes.
    pub mtu: u16,
    /// Until when that is believed.
    pub until: Instant,
}

/// By remote VTEP.
pub type Paths = BTreeMap<IpAddr, Learned>;

/// The paths of which something is known.
#[derive(Debug, Default)]
pub struct PathMtus(Paths);

impl PathMtus {
    /// A router says that the path to a remote VTEP takes no more. True where that is news: one that takes less already
    /// stays as it is.
    pub fn note(&mut self, remote: IpAddr, mtu: u16, now: Instant) -> bool {
        let is_news = self.0.get(&remote).is_none_or(|known| mtu < known.mtu);
        if is_news {
            self.0.insert(remote, Learned { mtu, until: now + KEPT });
        }
        is_news
    }

    /// Forgets what is too old, and remote VTEPs that are not there any more. True where something was forgotten.
    pub fn forget(&mut self, registry: &Registry, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|remote, known| now < known.until && registry.tunnel(*remote).is_some());
        self.0.len() != before
    }

    /// Puts what is known into a snapshot that goes by this registry.
    pub fn apply(&self, snapshot: &mut Snapshot, registry: &Registry) {
        snapshot.next_hops.iter_mut().for_each(|way| way.limit(None));
        for (remote, known) in &self.0 {
            let place = registry.tunnel(*remote).and_then(|index| snapshot.next_hops.get_mut(usize::from(index.0)));
            if let Some(way) = place {
                way.limit(Some(known.mtu));
            }
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &Paths {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::registry::TunnelName;

    const NEAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));

    fn registry(remotes: &[IpAddr]) -> Registry {
        let mut registry = Registry::default();
        registry
            .assign(std::iter::empty(), std::iter::empty(), remotes.iter().copied().map(TunnelName::Remote))
            .expect("indices enough");
        registry
    }

    #[test]
    fn a_path_is_lowered_and_never_raised_but_by_time_rfc1191_6_3() {
        let (mut paths, registry, start) = (PathMtus::default(), registry(&[NEAR, FAR]), Instant::now());
        assert!(paths.note(NEAR, 1400, start));
        assert!(!paths.note(NEAR, 1400, start + KEPT / 2) && !paths.note(NEAR, 1450, start + KEPT / 2));
        assert!(!paths.forget(&registry, start + KEPT - Duration::from_millis(1)));
        assert!(paths.note(NEAR, 1300, start + KEPT / 2));
        assert!(!paths.forget(&registry, start + KEPT), "it was lowered since");
        assert_eq!(paths.all()[&NEAR].mtu, 1300);
        assert!(paths.forget(&registry, start + KEPT / 2 + KEPT));
        assert!(paths.all().is_empty() && paths.note(NEAR, 1450, start + 2 * KEPT));
    }

    #[test]
    fn a_remote_vtep_that_has_left_is_forgotten() {
        let (mut paths, now) = (PathMtus::default(), Instant::now());
        assert!(paths.note(NEAR, 1400, now) && paths.note(FAR, 1400, now));
        assert!(paths.forget(&registry(&[FAR]), now));
        assert_eq!(paths.all().keys().collect::<Vec<_>>(), [&FAR]);
    }
}

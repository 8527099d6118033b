//! The gateway heeds what routers say of the paths to remote VTEPs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::info;

use super::Gateway;
use crate::control::path_mtu::{PathMtus, Paths};
use crate::tables::Snapshot;

/// How often a snapshot is made for the sake of paths, at the most: what routers say of many comes in crowds.
const PACE: Duration = Duration::from_millis(100);
/// How often it is looked for what has become too old.
const LOOK: Duration = Duration::from_secs(1);

/// What is known of paths, and when something is to be done about it.
#[derive(Debug)]
pub(super) struct PathState {
    pub(super) mtus: PathMtus,
    /// What the stats thread sees.
    pub(super) seen: Arc<ArcSwap<Paths>>,
    changed: bool,
    published: Instant,
    looked: Instant,
}

impl PathState {
    pub(super) fn new(now: Instant) -> Self {
        Self { mtus: PathMtus::default(), seen: Arc::default(), changed: false, published: now, looked: now }
    }
}

impl Gateway {
    /// What is known of the paths to remote VTEPs, for the stats thread.
    #[must_use]
    pub fn paths(&self) -> &Arc<ArcSwap<Paths>> {
        &self.paths.seen
    }

    /// A round with what routers say.
    pub(super) fn follow_paths(&mut self, now: Instant) {
        let snapshot = self.tables.snapshot.load_full();
        while let Some(path) = self.learning.take_path_mtu() {
            let Some(tunnel) = snapshot.tunnels.get(usize::from(path.tunnel.0)) else { continue };
            if self.paths.mtus.note(tunnel.address, path.mtu, now) {
                info!(remote = %tunnel.address, mtu = path.mtu, "a router says that the path takes no larger packets");
                self.paths.changed = true;
            }
        }
        if now.saturating_duration_since(self.paths.looked) >= LOOK {
            self.paths.looked = now;
            self.paths.changed |= self.paths.mtus.forget(&self.running.load().registry, now);
        }
        if self.paths.changed && now.saturating_duration_since(self.paths.published) >= PACE {
            (self.paths.changed, self.paths.published) = (false, now);
            let mut limited = Snapshot::clone(&snapshot);
            self.paths.mtus.apply(&mut limited, &self.running.load().registry);
            self.paths.seen.store(Arc::new(self.paths.mtus.all().clone()));
            self.publish(limited);
        }
    }
}

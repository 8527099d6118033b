//! Ctrl-C ends a run between two measurements, so that everything is taken down and given back.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::testbed::Fallible;

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Takes the signals that end a process.
///
/// # Errors
/// Where the system gives no handler.
pub fn install() -> Fallible<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// Fails after a signal.
///
/// # Errors
/// After a signal.
pub fn check() -> Fallible<()> {
    if INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
        return Err("interrupted".into());
    }
    Ok(())
}

//! Puts the exception path together: an interface in the kernel for each port that is to have one.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::warn;

use super::ports::RunningPort;
use super::run::{DaemonError, KERNEL_WAIT};
use crate::config::Config;
use crate::config::model::{self, LinkLocal, PortRole, Underlay};
use crate::dpdk::Port;
use crate::exception::{ExceptionThread, Groups, Nic, PortInterface, TapError, ThreadEnd, Traffic, Watch};
use crate::tables::{ExceptionPath, PortIndex, Tables};
use crate::telemetry::{ExceptionTelemetry, ThreadHandle};
use crate::wire::MacAddr;

/// A port of DPDK as a NIC of the exception path.
struct PortNic {
    port: Port,
    /// The address of the config, which a software device need not have.
    mac: Option<MacAddr>,
}

impl Nic for PortNic {
    fn is_up(&self) -> Option<bool> {
        self.port.link().ok().map(|link| link.up)
    }

    fn mac(&self) -> Option<MacAddr> {
        self.mac.or_else(|| self.port.mac().ok())
    }

    fn mtu(&self) -> Option<u16> {
        self.port.mtu().ok()
    }

    fn receive_groups(&self, groups: &[MacAddr]) -> Groups {
        if self.port.receive_groups(groups) { Groups::Listed } else { Groups::All }
    }
}

/// The ports that have something to do with the kernel, or with groups of the underlay: uplinks, and access ports that
/// punt; with interfaces as the config wants them.
///
/// # Errors
/// [`DaemonError::Tap`] and [`DaemonError::AccessTap`], where one cannot be had and the config asks for it; where it does
/// not, that is a warning.
pub fn open(config: &Config, ports: &[RunningPort]) -> Result<Vec<PortInterface>, DaemonError> {
    let mut interfaces = Vec::new();
    for (index, (port, running)) in config.ports.iter().zip(ports).enumerate() {
        let index = PortIndex(index as u16);
        let alone = || {
            let nic = PortNic { port: running.port.clone(), mac: port.mac };
            PortInterface::without(index, &port.name, running.facts.mac, Box::new(nic))
        };
        let traffic = match port.role {
            PortRole::Uplink if config.vtep.underlay != Underlay::Static => Traffic::AllButVxlan,
            PortRole::Uplink => {
                interfaces.push(alone());
                continue;
            }
            PortRole::Access if port.link_local == Some(LinkLocal::Punt) => Traffic::LinkLocal,
            PortRole::Access => continue,
        };
        match open_one((index, traffic), port, running) {
            Ok(interface) => interfaces.push(interface),
            Err(error) if traffic == Traffic::LinkLocal => return Err(DaemonError::AccessTap(error)),
            Err(error) if config.vtep.underlay == Underlay::Kernel => return Err(error.into()),
            Err(error) => {
                warn!(
                    "{error}. The port works without, as with `underlay = \"static\"` in [vtep]: write that there if it is \
                     what you want"
                );
                interfaces.push(alone());
            }
        }
    }
    Ok(interfaces)
}

fn open_one(place: (PortIndex, Traffic), port: &model::Port, running: &RunningPort) -> Result<PortInterface, TapError> {
    let nic = PortNic { port: running.port.clone(), mac: port.mac };
    PortInterface::open(place, &port.name, port.interface(), (running.facts.mac, running.facts.mtu), Box::new(nic))
}

/// The exception path at work.
pub struct Exceptions {
    thread: ExceptionThread,
    published: Arc<ArcSwap<ExceptionPath>>,
    /// The heartbeat of the thread that asks for addresses.
    asking: Arc<AtomicU64>,
}

impl Exceptions {
    /// Starts the thread. None where no port has an interface.
    ///
    /// # Errors
    /// [`DaemonError::System`], where there is no thread to be had.
    pub fn start(
        mut interfaces: Vec<PortInterface>,
        ends: ThreadEnd,
        telemetry: &Arc<ExceptionTelemetry>,
        tables: &Arc<Tables>,
    ) -> Result<Option<Self>, DaemonError> {
        if interfaces.is_empty() {
            return Ok(None);
        }
        let no_thread = |source| DaemonError::System { what: "the thread of the exception path", source };
        let watch = Watch::new(&tables.snapshot.load(), &mut interfaces).map_err(no_thread)?;
        let (published, asking) = (watch.published(), watch.heartbeat());
        let thread = ExceptionThread::spawn(interfaces, watch, ends, Arc::clone(telemetry), Arc::clone(tables))
            .map_err(no_thread)?;
        Ok(Some(Self { thread, published, asking }))
    }

    /// The threads and their heartbeats.
    #[must_use]
    pub fn handles(&self) -> [ThreadHandle; 2] {
        let (heartbeat, asking) = (self.thread.heartbeat(), Arc::clone(&self.asking));
        [
            ThreadHandle { name: ExceptionThread::THREAD, heartbeat, longest_wait: Duration::ZERO },
            ThreadHandle { name: Watch::THREAD, heartbeat: asking, longest_wait: KERNEL_WAIT },
        ]
    }

    /// What the kernel gets now.
    #[must_use]
    pub fn path(&self) -> ExceptionPath {
        **self.published.load()
    }

    /// Stops the thread: what the kernel has given by then is with the workers.
    pub fn stop(self) {
        drop(self.thread);
    }
}

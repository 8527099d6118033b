//! An Ethernet port of DPDK.

use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::eal::{Eal, EalHold};
use super::port_error::{PortError, PortFault};
use super::{PacketPool, describe_status, dpdk_sys as sys, kernel_interface, log_capture};
use crate::wire::MacAddr;

/// The state of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Frames can pass.
    pub up: bool,
    /// The speed in Mbit/s, where it is known.
    pub speed_mbps: Option<u32>,
    /// Both directions at once.
    pub full_duplex: bool,
}

/// What a port has counted since it was opened (`rte_eth_stats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStatistics {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received, with or without the frame check sequence, as the driver counts.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets the hardware dropped because the receive queues were full: the workers are too slow.
    pub rx_missed: u64,
    /// Damaged packets received.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Receptions that found the packet pool empty.
    pub rx_no_buffer: u64,
}

/// A device that this process has claimed; dropping it stops, closes and detaches it.
pub(super) struct Attached {
    pub(super) name: String,
    pub(super) device: String,
    pub(super) id: u16,
    /// The name of a virtual device, which ends with its port.
    virtual_name: Option<CString>,
    /// Drivers need not take calls of several threads about one port.
    control: Mutex<()>,
    /// The MTU, where DPDK takes only a smaller one.
    mtu: OnceLock<u16>,
    /// Whether the interface that the device borrows was promiscuous before; it will be as it was.
    promiscuous_before: Option<bool>,
    /// The buffers in the receive queues are of this pool.
    pool: OnceLock<PacketPool>,
    eal: EalHold,
}

impl Attached {
    pub(super) fn claim(
        eal: &Eal,
        name: &str,
        device: &str,
        id: u16,
        virtual_name: Option<CString>,
    ) -> Result<Arc<Self>, PortError> {
        let eal = eal.hold();
        if !eal.open_ports().insert(id) {
            return Err(PortError::new(name, PortFault::InUse { device: device.to_owned() }));
        }
        Ok(Arc::new(Self {
            name: name.to_owned(),
            device: device.to_owned(),
            id,
            virtual_name,
            control: Mutex::new(()),
            mtu: OnceLock::new(),
            promiscuous_before: kernel_interface::borrowed(device).map(kernel_interface::is_promiscuous),
            pool: OnceLock::new(),
            eal,
        }))
    }

    pub(super) fn keep_pool(&self, pool: &PacketPool) {
        // A device is opened once: `Device::open` consumes it.
        let _kept = self.pool.set(pool.clone());
    }

    pub(super) fn keep_mtu(&self, mtu: u16) {
        // As above.
        let _kept = self.mtu.set(mtu);
    }

    pub(super) fn is_pci(&self) -> bool {
        self.virtual_name.is_none()
    }

    pub(super) fn control(&self) -> MutexGuard<'_, ()> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls DPDK about this port and words its refusal.
    pub(super) fn step(
        &self,
        step: &'static str,
        remedy: &'static str,
        call: impl FnOnce() -> i32,
    ) -> Result<(), PortError> {
        let held = self.control();
        let (status, said) = log_capture::during(call);
        drop(held);
        if status >= 0 {
            return Ok(());
        }
        let said = if said.is_empty() { "nothing".to_owned() } else { said };
        let (device, reason) = (self.device.clone(), describe_status(status));
        Err(PortError::new(&self.name, PortFault::Step { device, step, reason, remedy, said }))
    }

    /// As [`Attached::step`]; false where the driver knows no such thing.
    pub(super) fn step_or_unsupported(
        &self,
        step: &'static str,
        remedy: &'static str,
        call: impl FnOnce() -> i32,
    ) -> Result<bool, PortError> {
        let mut supported = true;
        self.step(step, remedy, || match call() {
            status if status.abs() == nix::libc::ENOTSUP => {
                supported = false;
                0
            }
            status => status,
        })?;
        Ok(supported)
    }

    pub(super) fn mac(&self) -> Result<MacAddr, PortError> {
        let mut address = sys::rte_ether_addr::default();
        // SAFETY: the port is attached; a place for an address.
        self.step("tell its MAC address", "see whether the device is still there", || unsafe {
            sys::rte_eth_macaddr_get(self.id, &raw mut address)
        })?;
        Ok(MacAddr(address.addr_bytes))
    }

    pub(super) fn mtu(&self) -> Result<u16, PortError> {
        if let Some(mtu) = self.mtu.get() {
            return Ok(*mtu);
        }
        let mut mtu = 0;
        // SAFETY: the port is attached; a place for a number.
        self.step("tell its MTU", "see what its driver says", || unsafe {
            sys::rte_eth_dev_get_mtu(self.id, &raw mut mtu)
        })?;
        Ok(mtu)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let name = &self.name;
        if let Some(before) = self.promiscuous_before {
            // SAFETY: the port is attached.
            let (restored, _said) = log_capture::during(|| unsafe {
                if before {
                    sys::rte_eth_promiscuous_enable(self.id)
                } else {
                    sys::rte_eth_promiscuous_disable(self.id)
                }
            });
            if restored < 0 {
                let reason = describe_status(restored);
                tracing::warn!("port `{name}`: its interface is not set back (promisc): {reason}");
            }
        }
        // SAFETY: every queue holds the port, so none is left that could be polled.
        let ((stopped, closed), _said) =
            log_capture::during(|| unsafe { (sys::rte_eth_dev_stop(self.id), sys::rte_eth_dev_close(self.id)) });
        if stopped < 0 || closed < 0 {
            tracing::warn!("port `{name}` did not close well: {}", describe_status(stopped.min(closed)));
        }
        if let Some(device) = &self.virtual_name {
            // SAFETY: two strings. The port is closed.
            let (detached, _said) =
                log_capture::during(|| unsafe { sys::rte_eal_hotplug_remove(c"vdev".as_ptr(), device.as_ptr()) });
            if detached < 0 {
                tracing::warn!("port `{name}`: its device stays: {}", describe_status(detached));
            }
        }
        self.eal.open_ports().remove(&self.id);
    }
}

/// An open port, from the control side; clones are handles to the same port. It is closed when the last handle and
/// the last queue are dropped.
#[derive(Clone)]
pub struct Port {
    pub(super) attached: Arc<Attached>,
    driver: String,
}

impl Port {
    pub(super) fn new(attached: Arc<Attached>, driver: String) -> Self {
        Self { attached, driver }
    }

    /// The port's name in the config.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.attached.name
    }

    /// The device string it was opened with.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.attached.device
    }

    /// DPDK's name of its driver.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Its MAC address.
    ///
    /// # Errors
    /// [`PortFault::Step`], where the device has gone.
    pub fn mac(&self) -> Result<MacAddr, PortError> {
        self.attached.mac()
    }

    /// Its MTU, in bytes.
    ///
    /// # Errors
    /// [`PortFault::Step`], where the device has gone.
    pub fn mtu(&self) -> Result<u16, PortError> {
        self.attached.mtu()
    }

    /// Its link, as the driver knows it now; does not wait for a negotiation. That of a TAP whose interface has been
    /// moved to another network namespace, where nobody can look, counts as up.
    ///
    /// # Errors
    /// [`PortFault::Step`], where the device has gone.
    pub fn link(&self) -> Result<Link, PortError> {
        let mut link = sys::vtepd_link::default();
        // SAFETY: the port is attached; a place for a link.
        self.attached.step("tell its link state", "see whether the device is still there", || unsafe {
            sys::vtepd_link_get(self.attached.id, &raw mut link)
        })?;
        // A TAP that was moved to another network namespace cannot be asked.
        if kernel_interface::of_tap(&self.attached.device).is_some_and(|name| !kernel_interface::exists(name)) {
            link.up = true;
        }
        let known = link.speed_mbps != 0 && link.speed_mbps != sys::VTEPD_LINK_SPEED_UNKNOWN;
        // The drivers of borrowed interfaces say that theirs is up, whatever became of it.
        let carrier = kernel_interface::borrowed(&self.attached.device).is_none_or(kernel_interface::is_running);
        Ok(Link { up: link.up && carrier, speed_mbps: known.then_some(link.speed_mbps), full_duplex: link.full_duplex })
    }

    /// Its counters. Some drivers ask the hardware: milliseconds, not for the fast path.
    ///
    /// # Errors
    /// [`PortFault::Step`], where the device has gone.
    pub fn statistics(&self) -> Result<PortStatistics, PortError> {
        let mut counted = sys::rte_eth_stats::default();
        // SAFETY: the port is attached; a place for the counters.
        self.attached.step("tell its statistics", "see whether the device is still there", || unsafe {
            sys::rte_eth_stats_get(self.attached.id, &raw mut counted)
        })?;
        Ok(PortStatistics {
            rx_packets: counted.ipackets,
            tx_packets: counted.opackets,
            rx_bytes: counted.ibytes,
            tx_bytes: counted.obytes,
            rx_missed: counted.imissed,
            rx_errors: counted.ierrors,
            tx_errors: counted.oerrors,
            rx_no_buffer: counted.rx_nombuf,
        })
    }

    /// Its extended counters: the driver's own names, such as `rx_q0_packets`, and their values.
    ///
    /// # Errors
    /// [`PortFault::Step`], where the device has gone.
    pub fn extended_statistics(&self) -> Result<Vec<(String, u64)>, PortError> {
        const STEP: &str = "tell its extended statistics";
        const REMEDY: &str = "see whether the device is still there";
        let port = &self.attached;
        let mut names: Vec<sys::rte_eth_xstat_name> = Vec::new();
        let mut values: Vec<sys::rte_eth_xstat> = Vec::new();
        port.step(STEP, REMEDY, || {
            // SAFETY: asks for the number only.
            let count = unsafe { sys::rte_eth_xstats_get_names(port.id, std::ptr::null_mut(), 0) };
            let Ok(room) = usize::try_from(count) else { return count };
            names.resize(room, sys::rte_eth_xstat_name::default());
            values.resize(room, sys::rte_eth_xstat::default());
            let asked = u32::try_from(room).unwrap_or(u32::MAX);
            // SAFETY: the arrays have room for as many as asked for.
            let (named, valued) = unsafe {
                (
                    sys::rte_eth_xstats_get_names(port.id, names.as_mut_ptr(), asked),
                    sys::rte_eth_xstats_get(port.id, values.as_mut_ptr(), asked),
                )
            };
            // More than there was room for: the set changed meanwhile, and nothing was filled in.
            let filled = |got: i32| usize::try_from(got).unwrap_or(0);
            names.truncate(if filled(named) > room { 0 } else { filled(named) });
            values.truncate(if filled(valued) > room { 0 } else { filled(valued) });
            named.min(valued)
        })?;
        let named = values.iter().filter_map(|value| {
            let name = names.get(usize::try_from(value.id).ok()?)?;
            // SAFETY: DPDK ends each name with a NUL inside its array.
            let name = unsafe { CStr::from_ptr(name.name.as_ptr()) };
            Some((name.to_string_lossy().into_owned(), value.value))
        });
        Ok(named.collect())
    }
}

//! From a device named in the config to an open port.

use std::ffi::{CStr, CString};
use std::fs;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use super::eal::Eal;
use super::mempool::DATA_ROOM;
use super::port::{Attached, Port};
use super::port_error::{PortError, PortFault};
use super::{
    PacketPool, ReceiveQueue, TransmitQueue, describe_status, dpdk_sys as sys, kernel_interface, log_capture,
    packet_mtu, tap_mtu,
};
use crate::wire::MacAddr;

/// The frame check sequence, in bytes.
const FCS: u32 = 4;

/// What a frame has around its MTU's worth: addresses and type, two VLAN tags, the frame check sequence.
const FRAME_OVERHEAD: u32 = 14 + 2 * 4 + FCS;

/// Drivers that take packets of several segments and, in 22.11, do not say so.
const CHAINS_UNANNOUNCED: [&str; 2] = ["net_null", "net_pcap"];

/// Drivers that want as many transmit as receive queues.
const QUEUES_IN_PAIRS: [&str; 2] = ["net_tap", "net_af_xdp"];

/// What the kernel keeps free in front of a frame in each buffer it fills for `net_af_xdp` (XDP_PACKET_HEADROOM).
const XDP_HEADROOM: u32 = 256;

/// What a device can do.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// DPDK's name of the driver, such as `net_tap`.
    pub driver: String,
    /// The most receive queues.
    pub max_rx_queues: u16,
    /// The most transmit queues.
    pub max_tx_queues: u16,
    /// The driver wants as many transmit as receive queues (`net_tap`, `net_af_xdp`).
    pub queues_in_pairs: bool,
    /// The device can spread flows over several receive queues by their IP addresses or ports.
    pub rss: bool,
    /// The smallest MTU, in bytes.
    pub min_mtu: u16,
    /// The largest MTU, in bytes.
    pub max_mtu: u16,
}

/// How a port is opened.
#[derive(Clone, Debug)]
pub struct PortOptions {
    /// Receive queues, 1 to [`Capabilities::max_rx_queues`].
    pub rx_queues: u16,
    /// Transmit queues, 1 to [`Capabilities::max_tx_queues`].
    pub tx_queues: u16,
    /// Descriptors of each queue; adjusted to what the device can have.
    pub descriptors: u16,
    /// The largest layer-3 packet, in bytes; the device's own where absent.
    pub mtu: Option<u16>,
    /// The MAC address; the device's own where absent.
    pub mac: Option<MacAddr>,
    /// Receive what is for other stations, as a bridge's port must.
    pub promiscuous: bool,
    /// Receive every group's frames: IPv6 neighbour discovery needs it.
    pub all_multicast: bool,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            descriptors: 1024,
            mtu: None,
            mac: None,
            promiscuous: false,
            all_multicast: true,
        }
    }
}

/// A port that runs, and its queues, each to be given to the one worker that will use it.
pub struct OpenPort {
    /// The port itself: its addresses, link and statistics.
    pub port: Port,
    /// The receive queues, by number.
    pub receive: Vec<ReceiveQueue>,
    /// The transmit queues, by number.
    pub transmit: Vec<TransmitQueue>,
}

/// A device that DPDK drives, not yet opened.
pub struct Device {
    attached: Arc<Attached>,
    info: sys::rte_eth_dev_info,
    capabilities: Capabilities,
}

/// The address in a PCI device string, `[domain:]bus:device.function[,arguments]`, or `None` for a virtual device.
pub(super) fn pci_address(device: &str) -> Option<&str> {
    let address = device.split(',').next()?;
    let address = address.strip_prefix("pci:").unwrap_or(address);
    let (place, function) = address.rsplit_once('.')?;
    let hexadecimal = |part: &str, longest: usize| {
        !part.is_empty() && part.len() <= longest && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let parts: Vec<&str> = place.split(':').collect();
    let place_fits = match parts.as_slice() {
        [bus, slot] => hexadecimal(bus, 2) && hexadecimal(slot, 2),
        [domain, bus, slot] => hexadecimal(domain, 8) && hexadecimal(bus, 2) && hexadecimal(slot, 2),
        _ => false,
    };
    (place_fits && function.len() == 1 && hexadecimal(function, 1)).then_some(address)
}

/// The kernel's form of a PCI address: all parts with all of their digits. DPDK names the device as it was given it.
fn full_pci_address(address: &str) -> String {
    let (place, function) = address.rsplit_once('.').unwrap_or((address, "0"));
    let mut parts = place.rsplit(':').map(|part| u32::from_str_radix(part, 16).unwrap_or(0));
    let [slot, bus, domain] = std::array::from_fn(|_| parts.next().unwrap_or(0));
    format!("{domain:04x}:{bus:02x}:{slot:02x}.{function}")
}

/// A device string as DPDK is given it: of a PCI device, with the name by which it is found again.
pub(super) fn dpdk_device(device: &str) -> String {
    let Some(address) = pci_address(device) else { return device.to_owned() };
    let arguments = device.split_once(',').map_or_else(String::new, |(_, arguments)| format!(",{arguments}"));
    full_pci_address(address) + &arguments
}

impl Device {
    /// Finds a device, and attaches it to DPDK where that is not done. `name` is the port's in the config, `device` a
    /// vdev string (`net_tap0,iface=up0`) or a PCI address, which [`EalOptions::devices`](super::EalOptions) named.
    ///
    /// # Errors
    /// [`PortError`], where there is no such device or DPDK cannot drive it.
    pub fn probe(eal: &Eal, name: &str, device: &str) -> Result<Self, PortError> {
        let pci = pci_address(device);
        let dpdk_name = match pci {
            Some(address) => full_pci_address(address),
            None => device.split(',').next().unwrap_or_default().to_owned(),
        };
        check_interface(name, device)?;
        let nul = |_| PortError::new(name, PortFault::Nul { device: device.to_owned() });
        let arguments = CString::new(dpdk_device(device)).map_err(nul)?;
        let dpdk_name = CString::new(dpdk_name).map_err(nul)?;
        // SAFETY: EAL runs, as `eal` shows; the string is copied.
        let (status, said) = log_capture::during(|| unsafe { sys::rte_dev_probe(arguments.as_ptr()) });
        let mut id = 0;
        // SAFETY: a string and a place for a number.
        let found = unsafe { sys::rte_eth_dev_get_port_by_name(dpdk_name.as_ptr(), &raw mut id) } == 0;
        if !found {
            return Err(PortError::new(name, absent(device, pci, status, said)));
        }
        let attached = Attached::claim(eal, name, device, id, pci.is_none().then_some(dpdk_name))?;
        let mut info = sys::rte_eth_dev_info::default();
        // SAFETY: the port exists, and the structure is DPDK's to fill in.
        attached.step("tell what it can do", "update its driver", || unsafe {
            sys::rte_eth_dev_info_get(id, &raw mut info)
        })?;
        let driver = if info.driver_name.is_null() {
            String::new()
        } else {
            // SAFETY: the driver's own constant string.
            unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned()
        };
        let capabilities = Capabilities {
            max_rx_queues: info.max_rx_queues,
            max_tx_queues: info.max_tx_queues,
            queues_in_pairs: QUEUES_IN_PAIRS.contains(&driver.as_str()),
            rss: info.flow_type_rss_offloads & sys::VTEPD_RSS_FLOWS != 0,
            min_mtu: info.min_mtu,
            max_mtu: match driver.as_str() {
                "net_tap" if tap_mtu::IS_KNOWN => tap_mtu::LARGEST,
                // The driver thinks of buffers of a page. A frame that these do not hold would be lost unseen.
                "net_af_xdp" => largest_mtu(&info).min((DATA_ROOM as u32 + FCS - XDP_HEADROOM - FRAME_OVERHEAD) as u16),
                _ if packet_mtu::is_known(&driver, device) => packet_mtu::LARGEST,
                _ => largest_mtu(&info),
            },
            driver,
        };
        Ok(Self { attached, info, capabilities })
    }

    /// What the device can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Configures and starts the port. What it receives is stored in buffers of `pool`.
    ///
    /// # Errors
    /// [`PortError`], naming the step that failed and what to do; the device is closed then.
    pub fn open(self, options: &PortOptions, pool: &PacketPool) -> Result<OpenPort, PortError> {
        let port = &self.attached;
        let id = port.id;
        let mtu = match options.mtu {
            Some(mtu) => mtu,
            None => port.mtu()?,
        };
        self.check(options, mtu)?;
        let (rx_offloads, tx_offloads) = self.offloads(mtu);
        port.keep_pool(pool);
        // What DPDK takes; `net_tap` and `net_af_packet` are given the rest once they run.
        let accepted = mtu.min(largest_mtu(&self.info));
        self.configure(options, accepted, rx_offloads, tx_offloads)?;
        self.set_up_queues(options, pool)?;
        if options.mtu.is_some() {
            self.set_mtu(accepted)?;
        }
        let deaf = match options.mac {
            Some(mac) => !self.set_mac(mac)?,
            None => false,
        };
        // SAFETY: the port is configured and has its queues.
        port.step("start", "see what its driver says", || unsafe { sys::rte_eth_dev_start(id) })?;
        if accepted < mtu && packet_mtu::is_known(&self.capabilities.driver, &port.device) {
            packet_mtu::set(port, mtu)?;
        } else if accepted < mtu && !tap_mtu::set(port, mtu, accepted) {
            let least = self.capabilities.min_mtu;
            return Err(PortError::new(&port.name, PortFault::MtuRange { mtu, least, most: accepted }));
        }
        self.widen_reception(options, deaf)?;
        let largest_frame = u32::from(port.mtu().unwrap_or(mtu)) + FRAME_OVERHEAD - FCS;
        let chains = tx_offloads & sys::VTEPD_TX_OFFLOAD_MULTI_SEGS != 0
            || CHAINS_UNANNOUNCED.contains(&self.capabilities.driver.as_str());
        Ok(OpenPort {
            receive: (0..options.rx_queues).map(|queue| ReceiveQueue::new(Arc::clone(port), queue)).collect(),
            transmit: (0..options.tx_queues)
                .map(|queue| TransmitQueue::new(Arc::clone(port), queue, chains, largest_frame))
                .collect(),
            port: Port::new(Arc::clone(port), self.capabilities.driver.clone()),
        })
    }

    fn check(&self, options: &PortOptions, mtu: u16) -> Result<(), PortError> {
        let can = &self.capabilities;
        let refuse = |fault| Err(PortError::new(&self.attached.name, fault));
        let driver = || can.driver.clone();
        for (kind, wanted, most) in
            [("receive", options.rx_queues, can.max_rx_queues), ("transmit", options.tx_queues, can.max_tx_queues)]
        {
            if wanted == 0 || wanted > most {
                return refuse(PortFault::Queues { driver: driver(), kind, wanted, most });
            }
        }
        let (rx, tx) = (options.rx_queues, options.tx_queues);
        if can.queues_in_pairs && rx != tx {
            return refuse(PortFault::QueuePairs { driver: driver(), rx, tx });
        }
        if options.mtu.is_some() && !(can.min_mtu..=can.max_mtu).contains(&mtu) {
            return refuse(PortFault::MtuRange { mtu, least: can.min_mtu, most: can.max_mtu });
        }
        Ok(())
    }

    /// The receive and transmit offloads to turn on.
    fn offloads(&self, mtu: u16) -> (u64, u64) {
        let offered = self.info.rx_offload_capa;
        let mut receive = 0;
        if u32::from(mtu) + FRAME_OVERHEAD > DATA_ROOM as u32 {
            receive |= offered & sys::VTEPD_RX_OFFLOAD_SCATTER;
            if receive == 0 && self.attached.is_pci() {
                tracing::warn!(
                    "port `{}`: its driver {} does not say that it can receive frames larger than {DATA_ROOM} bytes; \
                     its MTU is {mtu}",
                    self.attached.name,
                    self.capabilities.driver
                );
            }
        }
        // A verdict of hardware only. Software drivers would check every packet, needed or not; and virtio's "checked"
        // also means that the sums inside may be unfinished, which would travel on into the overlay.
        if self.attached.is_pci() && !self.capabilities.driver.contains("virtio") {
            receive |= offered & (sys::VTEPD_RX_OFFLOAD_IPV4_CKSUM | sys::VTEPD_RX_OFFLOAD_UDP_CKSUM);
        }
        (receive, self.info.tx_offload_capa & sys::VTEPD_TX_OFFLOAD_MULTI_SEGS)
    }

    fn configure(&self, options: &PortOptions, mtu: u16, receive: u64, transmit: u64) -> Result<(), PortError> {
        let id = self.attached.id;
        let mut config = sys::rte_eth_conf::default();
        config.rxmode.mtu = u32::from(mtu);
        config.rxmode.offloads = receive;
        config.txmode.offloads = transmit;
        let flows = self.info.flow_type_rss_offloads & sys::VTEPD_RSS_FLOWS;
        if options.rx_queues > 1 && flows != 0 {
            config.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            config.rx_adv_conf.rss_conf.rss_hf = flows;
        }
        // SAFETY: the port is stopped; DPDK copies the configuration.
        self.attached.step("be configured", "see what its driver says, and try fewer queues", || unsafe {
            sys::rte_eth_dev_configure(id, options.rx_queues, options.tx_queues, &raw const config)
        })
    }

    fn set_up_queues(&self, options: &PortOptions, pool: &PacketPool) -> Result<(), PortError> {
        let port = &self.attached;
        let (mut rx_descriptors, mut tx_descriptors) = (options.descriptors, options.descriptors);
        // SAFETY: two places for numbers.
        port.step("adjust its number of descriptors", "change `descriptors`", || unsafe {
            sys::rte_eth_dev_adjust_nb_rx_tx_desc(port.id, &raw mut rx_descriptors, &raw mut tx_descriptors)
        })?;
        if self.capabilities.driver == "net_af_xdp" {
            // The kernel's rings, which the driver does not say.
            rx_descriptors = rx_descriptors.checked_next_power_of_two().unwrap_or(rx_descriptors);
        }
        const ANY_SOCKET: u32 = u32::MAX;
        const MEMORY: &str = "lower `descriptors`, or raise `memory_mib` in [dpdk]";
        const XDP: &str = "see what libxdp and libbpf say above; no other XDP program may be on the interface (ip link \
                           set dev NAME xdp off), both ends of a veth need an MTU below 3500, `packet_buffers` must be \
                           enough, and the user needs CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK and CAP_SYS_ADMIN";
        let remedy = if self.capabilities.driver == "net_af_xdp" { XDP } else { MEMORY };
        for queue in 0..options.rx_queues {
            // SAFETY: the port is configured and stopped; `port` keeps the pool. Null is the driver's default.
            port.step("set up a receive queue", remedy, || unsafe {
                sys::rte_eth_rx_queue_setup(port.id, queue, rx_descriptors, ANY_SOCKET, ptr::null(), pool.raw())
            })?;
        }
        for queue in 0..options.tx_queues {
            // SAFETY: as above. The default never frees without counting holders.
            port.step("set up a transmit queue", MEMORY, || unsafe {
                sys::rte_eth_tx_queue_setup(port.id, queue, tx_descriptors, ANY_SOCKET, ptr::null())
            })?;
        }
        Ok(())
    }

    /// The driver knows the MTU since it was configured; some pass it on to the kernel's interface only here.
    fn set_mtu(&self, mtu: u16) -> Result<(), PortError> {
        let port = &self.attached;
        // SAFETY: the port is configured and stopped.
        port.step_or_unsupported("take its MTU", "lower `mtu`", || unsafe { sys::rte_eth_dev_set_mtu(port.id, mtu) })?;
        Ok(())
    }

    /// A software driver that keeps its address may still receive for another. False where its interface does not.
    fn set_mac(&self, mac: MacAddr) -> Result<bool, PortError> {
        let port = &self.attached;
        let mut address = sys::rte_ether_addr { addr_bytes: mac.0 };
        const STEP: &str = "take its MAC address";
        const REMEDY: &str = "leave `mac` out; for a VF, let its PF allow it (ip link set PF vf N mac ADDRESS)";
        // SAFETY: DPDK copies the address.
        let mut set = || unsafe { sys::rte_eth_dev_default_mac_addr_set(port.id, &raw mut address) };
        if port.is_pci() {
            port.step(STEP, REMEDY, set).map(|()| true)
        } else {
            let taken = port.step_or_unsupported(STEP, REMEDY, &mut set)?;
            Ok(taken || kernel_interface::borrowed(&port.device).is_none() || port.mac()? == mac)
        }
    }

    /// Software drivers that know no filters receive everything; a NIC that refuses would lose frames unseen. `deaf`:
    /// the interface does not receive what is for the port's own address.
    fn widen_reception(&self, options: &PortOptions, deaf: bool) -> Result<(), PortError> {
        let port = &self.attached;
        const TRUST: &str = "for a VF, let its PF trust it (ip link set PF vf N trust on), or use the PF itself";
        if options.promiscuous || deaf {
            // SAFETY: the port runs.
            let done = port.step_or_unsupported("receive for other stations", TRUST, || unsafe {
                sys::rte_eth_promiscuous_enable(port.id)
            })?;
            if !done && port.is_pci() {
                return Err(PortError::new(&port.name, PortFault::NotPromiscuous));
            }
        }
        if options.all_multicast {
            // SAFETY: the port runs.
            let done = port.step_or_unsupported("receive all multicast", TRUST, || unsafe {
                sys::rte_eth_allmulticast_enable(port.id)
            });
            // What arrives without is enough for IPv4: said, not refused.
            match done {
                Ok(true) => {}
                Ok(false) if !port.is_pci() => {}
                Ok(false) => tracing::warn!("port `{}`: its driver cannot receive all multicast", port.name),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        Ok(())
    }
}

/// Refuses an interface of the kernel's that the device names and cannot have.
fn check_interface(name: &str, device: &str) -> Result<(), PortError> {
    let refuse = |fault: fn(String, String) -> PortFault, interface: &str| {
        Err(PortError::new(name, fault(device.to_owned(), interface.to_owned())))
    };
    if let Some(interface) = kernel_interface::of_tap(device)
        && kernel_interface::is_running(interface)
    {
        // The kernel would give it to both, and each would get a part of the packets.
        return refuse(|device, interface| PortFault::InterfaceInUse { device, interface }, interface);
    }
    if let Some(interface) = kernel_interface::borrowed(device) {
        if !kernel_interface::exists(interface) {
            return refuse(|device, interface| PortFault::NoInterface { device, interface }, interface);
        }
        if !kernel_interface::is_up(interface) {
            tracing::warn!(
                "port `{name}`: the interface `{interface}` is down, and nothing passes until it is up: ip link set \
                 {interface} up"
            );
        }
    }
    Ok(())
}

/// The largest MTU DPDK accepts: the device's, or what its largest frame leaves of it.
fn largest_mtu(info: &sys::rte_eth_dev_info) -> u16 {
    if info.max_mtu != u16::MAX {
        return info.max_mtu;
    }
    // A driver that tells no largest MTU: DPDK counts addresses, type and frame check sequence.
    u16::try_from(info.max_rx_pktlen.saturating_sub(14 + FCS)).unwrap_or(u16::MAX)
}

/// Why DPDK has no such device, from what the kernel knows of it.
fn absent(device: &str, pci: Option<&str>, status: i32, said: String) -> PortFault {
    let device = device.to_owned();
    let Some(address) = pci else {
        let driver = device.split(',').next().unwrap_or_default().trim_end_matches(|last: char| last.is_ascii_digit());
        if said.contains("ermission denied") || said.contains("not permitted") {
            return PortFault::Permission { device, said };
        }
        if said.contains("failed to parse device") || said.is_empty() {
            let driver = driver.to_owned();
            return PortFault::NoDriver { device, driver };
        }
        return PortFault::NoVirtualDevice { device, reason: describe_status(status), said };
    };
    let address = full_pci_address(address);
    let folder = Path::new("/sys/bus/pci/devices").join(&address);
    if !folder.exists() {
        return PortFault::NoPciDevice { address, bound: bound_pci_devices() };
    }
    let driver = fs::read_link(folder.join("driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    match driver.as_deref() {
        Some("vfio-pci" | "uio_pci_generic" | "igb_uio") => {
            PortFault::PciRefused { address, reason: describe_status(status), said }
        }
        _ => PortFault::NotBound { address, driver: driver.unwrap_or_else(|| "no driver".to_owned()) },
    }
}

/// The PCI devices that DPDK could open.
fn bound_pci_devices() -> String {
    let mut bound: Vec<String> = fs::read_dir("/sys/bus/pci/drivers/vfio-pci")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| pci_address(name).is_some())
        .collect();
    bound.sort();
    if bound.is_empty() { "none".to_owned() } else { bound.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_is_named_with_all_of_its_digits() {
        for address in ["0000:01:10.0", "01:10.0", "1:10.0", "0:1:10.0", "pci:00000000:01:10.0"] {
            assert_eq!(pci_address(address).map(full_pci_address).as_deref(), Some("0000:01:10.0"), "{address}");
        }
        assert_eq!(full_pci_address("10001:A:1F.7"), "10001:0a:1f.7");
        assert_eq!(dpdk_device("1:10.0,max_burst=64,x=1"), "0000:01:10.0,max_burst=64,x=1");
        assert_eq!(dpdk_device("net_tap0,iface=up0"), "net_tap0,iface=up0");
    }
}

//! What can go wrong with a port, in sentences that say what to do.

use thiserror::Error;

/// Why a port could not be opened or asked.
#[derive(Debug, Error)]
#[error("port `{port}`: {fault}")]
pub struct PortError {
    /// The port's name in the config.
    pub port: String,
    /// What is wrong.
    pub fault: Box<PortFault>,
}

impl PortError {
    pub(super) fn new(port: &str, fault: PortFault) -> Self {
        Self { port: port.to_owned(), fault: Box::new(fault) }
    }
}

/// What can be wrong with a port. Each says what to do.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the fields are the values of the sentence above them")]
pub enum PortFault {
    /// A string with a NUL byte in it.
    #[error("device {device:?} holds a NUL byte: remove it")]
    Nul { device: String },
    /// Two ports are one device.
    #[error("device `{device}` is open as another port: give each port its own device")]
    InUse { device: String },
    /// The interface of a TAP device is another program's.
    #[error(
        "device `{device}`: there is an interface `{interface}` already, and it is in use; stop the program that has \
         it, perhaps another gateway, or choose another name behind `iface=`"
    )]
    InterfaceInUse { device: String, interface: String },
    /// The interface that the device would borrow is not there.
    #[error(
        "device `{device}`: there is no interface `{interface}` in this network namespace (ip link lists them): create \
         it first, or correct the name behind `iface=`"
    )]
    NoInterface { device: String, interface: String },
    /// No driver claims the virtual device's name.
    #[error(
        "device `{device}`: DPDK has no driver `{driver}`; use net_tap0,iface=NAME, \
         net_af_xdp0,iface=NAME, net_af_packet0,iface=NAME or a PCI address, or install that driver's package (apt-cache search librte-net)"
    )]
    NoDriver { device: String, driver: String },
    /// The driver of a virtual device would not make it.
    #[error("device `{device}` could not be made ({reason}): check its arguments; DPDK said: {said}")]
    NoVirtualDevice { device: String, reason: String, said: String },
    /// The process may not make the device.
    #[error(
        "device `{device}` may not be made by this user: run as root or with CAP_NET_ADMIN and \
             CAP_NET_RAW; DPDK said: {said}"
    )]
    Permission { device: String, said: String },
    /// The machine has no device at this PCI address.
    #[error(
        "there is no PCI device {address}; devices bound to vfio-pci: {bound} (all: dpdk-devbind.py \
         --status-dev net)"
    )]
    NoPciDevice { address: String, bound: String },
    /// The PCI device belongs to the kernel.
    #[error(
        "PCI device {address} is bound to {driver}: bind it to vfio-pci (dpdk-devbind.py \
         --bind=vfio-pci {address})"
    )]
    NotBound { address: String, driver: String },
    /// The PCI device is bound, but DPDK does not open it.
    #[error(
        "DPDK cannot open PCI device {address} ({reason}): check access to /dev/vfio, that the IOMMU is \
         on and all of its IOMMU group is bound to vfio-pci, and that a driver for this NIC is installed; DPDK said: \
         {said}"
    )]
    PciRefused { address: String, reason: String, said: String },
    /// More queues than the device has, or none.
    #[error("{wanted} {kind} queues asked of {driver}, which has 1 to {most}: use that many workers on it")]
    Queues { driver: String, kind: &'static str, wanted: u16, most: u16 },
    /// The driver wants its queues in pairs.
    #[error("{driver} needs as many transmit as receive queues: ask for {rx} and {rx}, not {rx} and {tx}")]
    QueuePairs { driver: String, rx: u16, tx: u16 },
    /// An MTU outside what the device can have.
    #[error("`mtu = {mtu}` is not possible on this device: choose {least} to {most}")]
    MtuRange { mtu: u16, least: u16, most: u16 },
    /// The device only receives for itself.
    #[error(
        "its driver cannot receive for other stations, which a port that bridges needs: use another \
         device, such as the PF instead of a VF"
    )]
    NotPromiscuous,
    /// A step on the way that DPDK refused.
    #[error("device `{device}` does not {step} ({reason}): {remedy}; DPDK said: {said}")]
    Step { device: String, step: &'static str, reason: String, remedy: &'static str, said: String },
}

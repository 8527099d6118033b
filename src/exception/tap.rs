//! A TAP of the kernel: taken over where the gateway made it before, else made.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use netlink_packet_route::link::LinkAttribute;
use nix::libc;
use thiserror::Error;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::link::{self, Interface};
use crate::wire::MacAddr;

/// By this alias an interface is known as the gateway's.
pub const ALIAS: &str = "vtepd exception path";

/// Where TAPs are made.
const CLONE_DEVICE: &str = "/dev/net/tun";

/// The longest name of an interface, in bytes.
const LONGEST_NAME: usize = libc::IFNAMSIZ - 1;

/// Why a port has no interface in the kernel.
#[derive(Debug, Error)]
#[error("port `{port}` gets no interface `{interface}` in the kernel: {fault}")]
pub struct TapError {
    /// The port.
    pub port: String,
    /// The interface's name.
    pub interface: String,
    /// What is wrong.
    pub fault: TapFault,
}

/// What can be wrong with an interface. Each says what to do.
#[derive(Debug, Error)]
pub enum TapFault {
    /// The name is too long.
    #[error("the name is longer than {LONGEST_NAME} characters; set `kernel_interface` in its [[port]]")]
    Name,
    /// The kernel has no TAPs, or this process cannot see where they are made.
    #[error(
        "there is no {CLONE_DEVICE}; load the kernel's module (modprobe tun), or let the container have the device"
    )]
    NoTun,
    /// The process may not make it.
    #[error("this user may not make it; run as root or with CAP_NET_ADMIN")]
    Permission,
    /// An interface of that name is not the gateway's.
    #[error(
        "an interface of that name exists that is not vtepd's (its alias is not \"{ALIAS}\"); set `kernel_interface` in \
         the [[port]] to another name, or remove it"
    )]
    Foreign,
    /// Another process has it open.
    #[error(
        "another process has it open, perhaps another gateway; stop that, or set `kernel_interface` to another name"
    )]
    InUse,
    /// Something else.
    #[error("it could not {step}: {source}")]
    System {
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// An open TAP. Dropping it leaves the interface, without carrier.
pub(super) struct Tap {
    device: SyncDevice,
    pub(super) index: u32,
}

impl Tap {
    /// Takes over or makes the interface. It gets this MAC address and MTU, and is brought up where it is new.
    pub(super) fn open(name: &str, mac: MacAddr, mtu: u16) -> Result<Self, TapFault> {
        if name.len() > LONGEST_NAME {
            return Err(TapFault::Name);
        }
        if !Path::new(CLONE_DEVICE).exists() {
            return Err(TapFault::NoTun);
        }
        let before = link::find(name).map_err(|source| system("be looked for", source))?;
        if before.as_ref().is_some_and(|found| !is_ours(found)) {
            return Err(TapFault::Foreign);
        }
        let device =
            DeviceBuilder::new().name(name).layer(Layer::L2).inherit_enable_state().build_sync().map_err(not_opened)?;
        device.set_nonblocking(true).map_err(|source| system("be made non-blocking", source))?;
        let found = link::find(name).map_err(|source| system("be looked for", source))?;
        // Made a moment ago; without it somebody has renamed it.
        let found = found.ok_or_else(|| system("be found", io::ErrorKind::NotFound.into()))?;
        let mut tap = Self { device, index: found.index };
        tap.adapt(&found, mac, mtu).map_err(|source| system("take its MAC address and MTU", source))?;
        if before.is_none() {
            let alias = vec![LinkAttribute::IfAlias(ALIAS.to_owned())];
            link::set(found.index, alias, true).map_err(|source| system("be brought up", source))?;
            // Only now, so that an interface that stays always has the alias.
            tap.device.persist().map_err(|source| system("be made persistent", source))?;
        }
        Ok(tap)
    }

    /// Gives the interface this MAC address and MTU, as far as it has not.
    fn adapt(&mut self, found: &Interface, mac: MacAddr, mtu: u16) -> io::Result<()> {
        let mut attributes = Vec::new();
        if found.mac != Some(mac) {
            attributes.push(LinkAttribute::Address(mac.0.to_vec()));
        }
        if found.mtu != u32::from(mtu) {
            attributes.push(LinkAttribute::Mtu(mtu.into()));
        }
        if attributes.is_empty() { Ok(()) } else { link::set(self.index, attributes, false) }
    }

    /// Sets the MAC address.
    pub(super) fn set_mac(&self, mac: MacAddr) -> io::Result<()> {
        link::set(self.index, vec![LinkAttribute::Address(mac.0.to_vec())], false)
    }

    /// Sets the MTU.
    pub(super) fn set_mtu(&self, mtu: u16) -> io::Result<()> {
        link::set(self.index, vec![LinkAttribute::Mtu(mtu.into())], false)
    }

    /// Says whether frames can pass.
    pub(super) fn set_carrier(&self, on: bool) -> io::Result<()> {
        link::set(self.index, vec![LinkAttribute::Carrier(on.into())], false)
    }

    /// Gives the kernel a frame in two pieces.
    pub(super) fn write(&self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        self.device.send_vectored(&[IoSlice::new(first), IoSlice::new(second)])
    }

    /// Takes a frame of the kernel, if there is one: its length.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.device.recv(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// For poll(2).
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// True where the error of a read or write means that the interface has been removed.
pub(super) fn has_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADFD | libc::ENODEV | libc::ENXIO))
}

fn is_ours(found: &Interface) -> bool {
    found.is_tun && found.alias.as_deref().is_some_and(|alias| alias == ALIAS)
}

fn system(step: &'static str, source: io::Error) -> TapFault {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => TapFault::Permission,
        _ => TapFault::System { step, source },
    }
}

fn not_opened(error: io::Error) -> TapFault {
    match error.raw_os_error() {
        Some(libc::EBUSY) => TapFault::InUse,
        _ => system("be opened", error),
    }
}

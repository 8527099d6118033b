//! The bridges that the kernel controls, as they travel over the control socket.

use serde::{Deserialize, Serialize};

/// One of `GET /v1/kernel`: a bridge with `control` "kernel".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelBridge {
    /// The VNI.
    pub vni: u32,
    /// The kernel's vxlan device that it goes by; absent where there is none.
    pub device: Option<String>,
    /// The gateway has made that device.
    pub made: bool,
    /// The kernel's bridge that the device is in; absent where it is in none.
    pub bridge: Option<String>,
    /// The port of that bridge that stands for the gateway's access ports; absent where there is none.
    pub port: Option<String>,
    /// Stations behind access ports.
    pub local_stations: usize,
    /// Those of them that the kernel's bridge has as it was told.
    pub published_stations: usize,
    /// IP addresses of stations that it has so.
    pub published_addresses: usize,
    /// Stations behind remote VTEPs that the kernel has.
    pub remote_stations: usize,
    /// Remote VTEPs that floods go to, as the kernel says.
    pub flood_list: usize,
}

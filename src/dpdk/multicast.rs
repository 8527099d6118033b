//! Which groups a port receives.

use super::port::Port;
use super::{dpdk_sys as sys, log_capture};
use crate::wire::MacAddr;

impl Port {
    /// Has the port receive the frames of these groups and of no others. False where its driver takes no list, or none
    /// that long: it then receives all groups' frames, if its driver can do that.
    #[must_use]
    pub fn receive_groups(&self, groups: &[MacAddr]) -> bool {
        let id = self.attached.id;
        let mut list: Vec<sys::rte_ether_addr> =
            groups.iter().map(|group| sys::rte_ether_addr { addr_bytes: group.0 }).collect();
        let _control = self.attached.control();
        let call = || {
            let Ok(count) = u32::try_from(list.len()) else { return false };
            // SAFETY: the port is attached; an array of so many addresses, which DPDK copies.
            let listed = unsafe { sys::rte_eth_dev_set_mc_addr_list(id, list.as_mut_ptr(), count) } == 0;
            // SAFETY: the port is attached.
            let _done = unsafe {
                // A software driver without filters may refuse either: it receives everything all the same.
                if listed { sys::rte_eth_allmulticast_disable(id) } else { sys::rte_eth_allmulticast_enable(id) }
            };
            listed
        };
        log_capture::during(call).0
    }
}

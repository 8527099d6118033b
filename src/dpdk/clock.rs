//! The cycle counter that workers measure themselves with.

use super::dpdk_sys;

/// The time-stamp counter: cheap, monotonic on one core, at [`cycles_per_second`] whatever the core's frequency.
#[inline]
#[must_use]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction, and Linux leaves it enabled.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: reads a counter register.
    unsafe {
        dpdk_sys::vtepd_cycles()
    }
}

/// How fast [`cycles`] counts, in Hz. EAL measures it when it starts; 0 before.
#[must_use]
pub fn cycles_per_second() -> u64 {
    // SAFETY: reads a variable that EAL writes once, when it starts.
    unsafe { dpdk_sys::rte_get_tsc_hz() }
}

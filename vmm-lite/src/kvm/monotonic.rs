//! The host's monotonic clock as a number, which the standard library keeps to itself, and what it goes by.

/// `CLOCK_MONOTONIC`, ns.
#[must_use]
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` of ours; the clock exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The time-stamp counter of the CPU that runs this.
#[must_use]
#[inline]
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: RDTSC touches nothing but EDX:EAX. Every x86-64 CPU has it; Linux lets processes use it unless one asks
    // for the opposite of itself (PR_SET_TSC).
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Whether the kernel's own clock goes by the time-stamp counters: then they go at one speed, whatever the CPU does,
/// and agree between CPUs (Documentation/virt/kvm/x86/timekeeping.rst, section 3).
#[must_use]
pub(crate) fn time_stamps_are_clock() -> bool {
    std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource")
        .is_ok_and(|name| name.trim() == "tsc")
}

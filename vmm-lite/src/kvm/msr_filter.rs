//! The MSRs whose accesses KVM forwards.

use kvm_ioctls::{MsrFilterRange, MsrFilterRangeFlags};

/// Where the local APIC is and in which mode (SDM vol. 3, 12.4.4).
pub(crate) const IA32_APIC_BASE: u32 = 0x1b;
/// When the local APIC's timer fires, in TSC ticks (SDM vol. 3, 12.5.4.1).
pub(crate) const IA32_TSC_DEADLINE: u32 = 0x6e0;
/// Segments that `SYSCALL` and `SYSRET` load.
pub(crate) const IA32_STAR: u32 = 0xc000_0081;
/// Where `SYSCALL` goes in 64-bit mode.
pub(crate) const IA32_LSTAR: u32 = 0xc000_0082;
/// The flags that `SYSCALL` clears.
pub(crate) const IA32_SFMASK: u32 = 0xc000_0084;
/// What `SWAPGS` exchanges with the base of GS.
pub(crate) const IA32_KERNEL_GS_BASE: u32 = 0xc000_0102;

/// One byte of zeros: the MSRs of a range of up to eight are denied to the guest, so their accesses exit.
const DENY: &[u8] = &[0];

/// The ranges that are denied: the local APIC's place, its deadline timer, and where system calls go. Everything else
/// is KVM's business.
pub(super) fn forwarded() -> [MsrFilterRange<'static>; 3] {
    let both = MsrFilterRangeFlags::READ | MsrFilterRangeFlags::WRITE;
    [(IA32_APIC_BASE, both), (IA32_TSC_DEADLINE, both), (IA32_LSTAR, MsrFilterRangeFlags::WRITE)]
        .map(|(base, flags)| MsrFilterRange { flags, base, msr_count: 1, bitmap: DENY })
}

/// The same where KVM plays the local APICs.
pub(super) fn forwarded_without_apic() -> [MsrFilterRange<'static>; 1] {
    [MsrFilterRange { flags: MsrFilterRangeFlags::WRITE, base: IA32_LSTAR, msr_count: 1, bitmap: DENY }]
}

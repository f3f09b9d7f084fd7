//! The MSRs whose accesses KVM forwards.

use kvm_ioctls::{MsrFilterRange, MsrFilterRangeFlags};

use crate::msr::{IA32_APIC_BASE, IA32_LSTAR, IA32_TSC_DEADLINE};

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

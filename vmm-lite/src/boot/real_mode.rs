//! Entry in 16-bit real mode, for flat images and for start-up IPIs.

use kvm_bindings::kvm_regs;

use crate::kvm::Vcpu;

/// Where a flat image is loaded and entered, as a PC's firmware does with a boot sector.
pub(crate) const FLAT_LOAD: u64 = 0x7c00;

/// Puts `vcpu` at `segment`:`offset` in real mode. What real mode does not define is left as reset made it.
pub(crate) fn enter_real_mode(vcpu: &mut Vcpu, segment: u16, offset: u16, rsp: u64) {
    let mut sregs = vcpu.sregs();
    sregs.cs.selector = segment;
    sregs.cs.base = u64::from(segment) << 4;
    vcpu.set_sregs(&sregs);
    vcpu.set_regs(&kvm_regs { rip: u64::from(offset), rsp, rflags: 2, ..kvm_regs::default() });
}

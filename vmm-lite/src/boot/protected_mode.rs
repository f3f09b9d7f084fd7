//! Entry in 32-bit protected mode without paging: Linux's 32-bit entry, multiboot, PVH.

use kvm_bindings::kvm_regs;

use super::entry::EntryRegisters;
use super::long_mode::{CODE, CR0_ET, CR0_PE, DATA, GDT};
use crate::error::Result;
use crate::kvm::{Vcpu, code_segment, data_segment};
use crate::memory::Memory;

/// Flat segments as the GDT has them: 4 GiB of 32-bit code, and of data (SDM vol. 3, 3.4.5).
const DESCRIPTORS: [u64; 4] = [0, 0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
const GDT_LIMIT: u16 = 8 * DESCRIPTORS.len() as u16 - 1;
/// Limit of the 32-bit task state segment that PVH asks for (Xen, docs/misc/pvh.pandoc).
const TSS_LIMIT: u32 = 0x67;
/// A busy 32-bit TSS.
const TSS_TYPE: u8 = 0xb;

/// Writes the GDT with the selectors that Linux names: code 0x10, data 0x18.
///
/// # Errors
/// When low memory is missing.
pub(super) fn write_gdt(memory: &Memory) -> Result<()> {
    (0..).zip(DESCRIPTORS).try_for_each(|(n, descriptor)| memory.write_value(GDT + 8 * n, descriptor))
}

/// Puts `vcpu` at `entry` (gpa) in protected mode, interrupts off.
pub(crate) fn enter_protected_mode(vcpu: &mut Vcpu, entry: u64, registers: EntryRegisters) {
    let mut sregs = vcpu.sregs();
    sregs.cs = code_segment(CODE, 0);
    (sregs.cs.l, sregs.cs.db) = (0, 1);
    let data = data_segment(DATA, 0);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.tr = data_segment(0, 0);
    (sregs.tr.type_, sregs.tr.s, sregs.tr.g, sregs.tr.db, sregs.tr.limit) = (TSS_TYPE, 0, 0, 0, TSS_LIMIT);
    (sregs.gdt.base, sregs.gdt.limit) = (GDT, GDT_LIMIT);
    (sregs.idt.base, sregs.idt.limit) = (0, 0);
    sregs.cr0 = CR0_PE | CR0_ET;
    sregs.cr3 = 0;
    sregs.cr4 = 0;
    sregs.efer = 0;
    vcpu.set_sregs(&sregs);
    let EntryRegisters { rax, rbx, rsi, rdi, rsp } = registers;
    vcpu.set_regs(&kvm_regs { rip: entry, rax, rbx, rsi, rdi, rsp, rflags: 2, ..kvm_regs::default() });
}

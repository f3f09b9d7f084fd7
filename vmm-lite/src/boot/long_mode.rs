//! Entry in 64-bit mode: ELF64 images and Linux's 64-bit entry.

use kvm_bindings::kvm_regs;

use super::entry::EntryRegisters;
use crate::error::Result;
use crate::kvm::{Vcpu, code_segment, data_segment};
use crate::memory::Memory;

/// gpa of the GDT.
pub(super) const GDT: u64 = 0x500;
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PAGE_DIRECTORIES: u64 = 0x3000;
/// Where the boot stack begins, growing down.
pub(crate) const BOOT_STACK_TOP: u64 = 0x8000;
/// Selectors as Linux names them, `__BOOT_CS` and `__BOOT_DS` (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol").
pub(super) const CODE: u16 = 0x10;
pub(super) const DATA: u16 = 0x18;

const PRESENT_WRITABLE: u64 = 3;
const LARGE_PAGE: u64 = 1 << 7;

pub(super) const CR0_PE: u64 = 1;
const CR0_MP: u64 = 1 << 1;
pub(super) const CR0_ET: u64 = 1 << 4;
const CR0_NE: u64 = 1 << 5;
const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;

/// Writes GDT and page tables: the first 4 GiB one to one in pages of 2 MiB (1 GiB pages are not on every host).
///
/// # Errors
/// When low memory is missing.
pub(crate) fn write_tables(memory: &Memory) -> Result<()> {
    for (n, descriptor) in [0, 0, 0x00af_9b00_0000_ffff_u64, 0x00cf_9300_0000_ffff].into_iter().enumerate() {
        memory.write_value(GDT + 8 * n as u64, descriptor)?;
    }
    memory.write_value(PML4, PDPT | PRESENT_WRITABLE)?;
    for gib in 0..4 {
        let directory = PAGE_DIRECTORIES + 0x1000 * gib;
        memory.write_value(PDPT + 8 * gib, directory | PRESENT_WRITABLE)?;
        for n in 0..512 {
            let page = gib << 30 | n << 21;
            memory.write_value(directory + 8 * n, page | LARGE_PAGE | PRESENT_WRITABLE)?;
        }
    }
    Ok(())
}

/// Puts `vcpu` at `entry` (gpa and gva) in 64-bit mode, interrupts off.
pub(crate) fn enter_long_mode(vcpu: &mut Vcpu, entry: u64, registers: EntryRegisters) {
    let mut sregs = vcpu.sregs();
    sregs.cs = code_segment(CODE, 0);
    let data = data_segment(DATA, 0);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.gdt.base = GDT;
    sregs.gdt.limit = 4 * 8 - 1;
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    sregs.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    sregs.cr3 = PML4;
    sregs.cr4 = CR4_PAE;
    sregs.efer = EFER_LME | EFER_LMA | EFER_NXE;
    vcpu.set_sregs(&sregs);
    let EntryRegisters { rax, rbx, rsi, rdi, rsp } = registers;
    vcpu.set_regs(&kvm_regs { rip: entry, rax, rbx, rsi, rdi, rsp, rflags: 2, ..kvm_regs::default() });
}

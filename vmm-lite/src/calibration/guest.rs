//! The machine that calibration tries things on: a page of code for each ring, a few handlers, nothing else.
//!
//! Every handler and every ending writes to a port of its own, so that the first port exit tells where the guest went
//! and its privilege level how.

use kvm_bindings::{kvm_regs, kvm_segment};

use crate::boot::{BOOT_STACK_TOP, EntryRegisters, enter_long_mode, write_tables};
use crate::error::Result;
use crate::kvm::{Vcpu, code_segment, data_segment};
use crate::memory::Memory;

/// Code that runs in ring 0, gpa and gva.
pub(super) const KERNEL_CODE: u64 = 0x10_0000;
/// Code that runs in ring 3.
pub(super) const USER_CODE: u64 = 0x20_0000;
/// Where handlers are, 32 bytes each.
const HANDLERS: u64 = 0x11_0000;
/// Where `SYSCALL` goes.
pub(super) const SYSCALL_HANDLER: u64 = HANDLERS + 32 * 32;
/// Data for watchpoints.
pub(super) const DATA: u64 = 0x12_0000;
/// Zeros that an instruction works on.
pub(super) const OPERAND: u64 = 0x12_8000;
const TSS: u64 = 0x13_0000;
const IDT: u64 = 0x14_0000;
const KERNEL_STACK: u64 = 0x15_0000;
const USER_STACK: u64 = 0x20_8000;
const GDT: u64 = 0x16_0000;
/// Enough for all of it.
pub(super) const MEMORY: u64 = 4 << 20;

/// Handler of vector `n` writes to port `HANDLER_PORT + n`, the system-call handler to `HANDLER_PORT + 32`.
pub(super) const HANDLER_PORT: u16 = 0x400;
/// Code that reaches its end writes here.
pub(super) const END_PORT: u16 = 0x500;

/// `mov dx, port; out dx, al; jmp $`: ends any piece of code.
pub(super) fn report(port: u16) -> [u8; 7] {
    let [low, high] = port.to_le_bytes();
    [0x66, 0xba, low, high, 0xee, 0xeb, 0xfe]
}

/// gva of the handler for `vector`.
pub(super) fn handler(vector: u8) -> u64 {
    HANDLERS + 32 * u64::from(vector)
}

/// Writes tables, handlers, and the two pieces of code that a trial brings.
pub(super) fn write(memory: &Memory, kernel: &[u8], user: &[u8]) -> Result<()> {
    write_tables(memory)?;
    make_user_pages(memory)?;
    for vector in 0..32_u8 {
        memory.write(handler(vector), &report(HANDLER_PORT + u16::from(vector)))?;
        write_gate(memory, vector)?;
    }
    memory.write(SYSCALL_HANDLER, &report(HANDLER_PORT + 32))?;
    memory.write_value(TSS + 4, KERNEL_STACK)?; // RSP0
    let descriptors = [0, KERNEL_CS, KERNEL_DS, USER_DS, USER_CS, TSS_LOW, 0];
    for (n, descriptor) in descriptors.into_iter().enumerate() {
        memory.write_value(GDT + 8 * n as u64, descriptor)?;
    }
    memory.write(KERNEL_CODE, kernel)?;
    memory.write(USER_CODE, user)
}

const KERNEL_CS: u64 = 0x00af_9b00_0000_ffff;
const KERNEL_DS: u64 = 0x00cf_9300_0000_ffff;
const USER_DS: u64 = 0x00cf_f300_0000_ffff;
const USER_CS: u64 = 0x00af_fb00_0000_ffff;
/// Busy 64-bit TSS at 0x130000, limit 0x67.
const TSS_LOW: u64 = 0x0000_8b13_0000_0067;

/// Selectors of the descriptors above; `SYSCALL` takes 8 and 16, `SYSRET` 0x1b and 0x23.
const USER_DS_SELECTOR: u16 = 0x1b;
const USER_CS_SELECTOR: u16 = 0x23;
const TSS_SELECTOR: u16 = 0x28;
pub(super) const STAR: u64 = 0x13 << 48 | 0x08 << 32;

/// The 2 MiB page from [`USER_CODE`] on is the user's; the levels above it must allow that too.
fn make_user_pages(memory: &Memory) -> Result<()> {
    const USER: u64 = 4;
    for entry in [0x1000, 0x2000, 0x3008] {
        let value: u64 = memory.read_value(entry)?;
        memory.write_value(entry, value | USER)?;
    }
    Ok(())
}

fn write_gate(memory: &Memory, vector: u8) -> Result<()> {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e << 40;
    const FROM_USER: u64 = 3 << 45;
    let offset = handler(vector);
    // Vectors 1 and 3 may come from `INT n` in ring 3 too.
    let dpl = if matches!(vector, 1 | 3) { FROM_USER } else { 0 };
    let low = offset & 0xffff | 8 << 16 | PRESENT_INTERRUPT_GATE | dpl | (offset >> 16 & 0xffff) << 48;
    memory.write_value(IDT + 16 * u64::from(vector), low)?;
    memory.write_value(IDT + 16 * u64::from(vector) + 8, offset >> 32)
}

/// Puts `vcpu` at the start of the kernel's or the user's code.
pub(super) fn enter(vcpu: &mut Vcpu, user: bool) {
    enter_long_mode(vcpu, KERNEL_CODE, EntryRegisters { rsp: BOOT_STACK_TOP, ..EntryRegisters::default() });
    let mut sregs = vcpu.sregs();
    sregs.gdt.base = GDT;
    sregs.gdt.limit = 7 * 8 - 1;
    sregs.idt.base = IDT;
    sregs.idt.limit = 32 * 16 - 1;
    sregs.tr = kvm_segment {
        base: TSS,
        limit: 0x67,
        selector: TSS_SELECTOR,
        type_: 11,
        present: 1,
        ..kvm_segment::default()
    };
    let mut regs = kvm_regs { rip: KERNEL_CODE, rsp: BOOT_STACK_TOP, rflags: 2, ..kvm_regs::default() };
    if user {
        sregs.cs = code_segment(USER_CS_SELECTOR, 3);
        let data = data_segment(USER_DS_SELECTOR, 3);
        (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
        regs.rip = USER_CODE;
        regs.rsp = USER_STACK;
        regs.rflags |= 3 << 12; // IOPL 3, so that the user's code can report too
    }
    vcpu.set_sregs(&sregs);
    vcpu.set_regs(&regs);
}

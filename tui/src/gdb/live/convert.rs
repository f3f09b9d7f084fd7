//! Registers of a vCPU as GDB gets them, and back.

use vmm_lite::{Registers, SystemRegisters};

use super::{Failure, Register, RegisterFile};

/// A 64-bit register in both worlds.
macro_rules! each_general {
    ($registers:expr, $do:ident) => {
        $do!(Rax, $registers.general.rax);
        $do!(Rbx, $registers.general.rbx);
        $do!(Rcx, $registers.general.rcx);
        $do!(Rdx, $registers.general.rdx);
        $do!(Rsi, $registers.general.rsi);
        $do!(Rdi, $registers.general.rdi);
        $do!(Rbp, $registers.general.rbp);
        $do!(Rsp, $registers.general.rsp);
        $do!(R8, $registers.general.r8);
        $do!(R9, $registers.general.r9);
        $do!(R10, $registers.general.r10);
        $do!(R11, $registers.general.r11);
        $do!(R12, $registers.general.r12);
        $do!(R13, $registers.general.r13);
        $do!(R14, $registers.general.r14);
        $do!(R15, $registers.general.r15);
        $do!(Rip, $registers.general.rip);
        $do!(Eflags, $registers.general.rflags);
        $do!(FsBase, $registers.system.fs.base);
        $do!(GsBase, $registers.system.gs.base);
        $do!(Cr0, $registers.system.cr0);
        $do!(Cr2, $registers.system.cr2);
        $do!(Cr3, $registers.system.cr3);
        $do!(Cr4, $registers.system.cr4);
        $do!(Cr8, $registers.system.cr8);
        $do!(Efer, $registers.system.efer);
        $do!(CsBase, $registers.system.cs.base);
        $do!(SsBase, $registers.system.ss.base);
        $do!(DsBase, $registers.system.ds.base);
        $do!(EsBase, $registers.system.es.base);
        $do!(LdtrBase, $registers.system.ldt.base);
        $do!(TrBase, $registers.system.tr.base);
        $do!(GdtrBase, $registers.system.gdt.base);
        $do!(IdtrBase, $registers.system.idt.base);
    };
}

/// What KVM's general and system registers tell.
pub(super) fn registers(from: &Registers) -> RegisterFile {
    let mut file = RegisterFile::new(false);
    macro_rules! read {
        ($register:ident, $value:expr) => {
            file.set(Register::$register, $value)
        };
    }
    each_general!(from, read);
    let system: &SystemRegisters = &from.system;
    let selectors = [
        (Register::Cs, system.cs),
        (Register::Ss, system.ss),
        (Register::Ds, system.ds),
        (Register::Es, system.es),
        (Register::Fs, system.fs),
        (Register::Gs, system.gs),
        (Register::Ldtr, system.ldt),
        (Register::Tr, system.tr),
    ];
    for (register, segment) in selectors {
        file.set(register, segment.selector);
    }
    for (register, segment) in [(Register::CsAttr, system.cs), (Register::SsAttr, system.ss)] {
        let bit = |value: u8, at: u32| u32::from(value & 1) << at;
        let value = u32::from(segment.type_ & 15)
            | bit(segment.s, 4)
            | u32::from(segment.dpl & 3) << 5
            | bit(segment.present, 7)
            | bit(segment.avl, 12)
            | bit(segment.l, 13)
            | bit(segment.db, 14)
            | bit(segment.g, 15)
            | bit(segment.unusable, 16);
        file.set(register, value);
    }
    file.set(Register::GdtrLimit, system.gdt.limit);
    file.set(Register::IdtrLimit, system.idt.limit);
    file.set(Register::ApicBase, system.apic_base);
    file.set(Register::OrigRax, u64::MAX);
    file
}

/// Changes `to`.
pub(super) fn apply(changed: &RegisterFile, to: &mut Registers) -> Result<(), Failure> {
    for (register, value) in changed.known() {
        let value = value as u64;
        macro_rules! write {
            ($register:ident, $place:expr) => {
                if register == Register::$register {
                    $place = value;
                    continue;
                }
            };
        }
        each_general!(to, write);
        return Err(Failure(format!("{} cannot be set", register.spec().name)));
    }
    Ok(())
}

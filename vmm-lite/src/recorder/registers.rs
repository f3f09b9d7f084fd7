//! When a vCPU's registers are recorded.

use std::str::FromStr;

use trace_format::event::Registers;

use crate::kvm::Vcpu;
use kvm_bindings::{kvm_regs, kvm_sregs};

/// When a vCPU's registers are recorded: `none`, at `traps`, or at `all` exits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordRegisters {
    /// Never.
    #[default]
    Never,
    /// Where a handler of the guest's is entered that is recorded.
    Traps,
    /// At every exit and after every step.
    All,
}

impl FromStr for RecordRegisters {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "none" => Ok(Self::Never),
            "traps" => Ok(Self::Traps),
            "all" => Ok(Self::All),
            other => Err(format!("expected none, traps or all, not {other:?}")),
        }
    }
}

/// What is in a vCPU's registers as of its last exit or write: from `kvm_run`, without a system call.
pub(crate) fn registers_of(vcpu: &mut Vcpu) -> Registers {
    let cr8 = vcpu.cr8() as u8;
    recorded(&vcpu.regs(), &vcpu.sregs(), cr8)
}

/// Registers as they are recorded.
pub(crate) fn recorded(regs: &kvm_regs, sregs: &kvm_sregs, cr8: u8) -> Registers {
    let [cs, ss, ds, es, fs, gs] = [sregs.cs, sregs.ss, sregs.ds, sregs.es, sregs.fs, sregs.gs];
    Registers {
        general: [
            regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rbp, regs.rsp, regs.r8, regs.r9,
            regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
        ],
        rip: regs.rip,
        bases: [fs.base, gs.base],
        cr2: sregs.cr2,
        cr3: sregs.cr3,
        cr4: sregs.cr4,
        rflags: regs.rflags as u32,
        cr0: sregs.cr0 as u32,
        efer: sregs.efer as u32,
        flat_bases: [cs, ss, ds, es].map(|segment| segment.base as u32),
        selectors: [cs, ss, ds, es, fs, gs].map(|segment| segment.selector),
        cr8,
        cpl: ss.dpl,
    }
}

//! SSE's control register: LDMXCSR, STMXCSR.

use iced_x86::{Instruction, Mnemonic};

use super::{Cpu, Step};
use crate::kvm::Exception;

const CR0_EM: u64 = 1 << 2;
const CR0_TS: u64 = 1 << 3;
const CR4_OSFXSR: u64 = 1 << 9;
/// What MXCSR may hold: the mask of every processor that has DAZ (SDM vol. 1, 11.6.6).
const MXCSR_MASK: u32 = 0xffff;

/// Whether it is one of those here.
pub(super) fn knows(mnemonic: Mnemonic) -> bool {
    matches!(mnemonic, Mnemonic::Ldmxcsr | Mnemonic::Stmxcsr)
}

impl Cpu<'_> {
    /// Carries out one of those that this module knows.
    pub(super) fn mxcsr(&mut self, instruction: &Instruction) -> Step {
        self.check_sse()?;
        let mut fpu = self.vcpu.fpu()?;
        if instruction.mnemonic() == Mnemonic::Ldmxcsr {
            let mxcsr = self.operands().read(instruction, 0)? as u32;
            if mxcsr & !MXCSR_MASK != 0 {
                return Err(Exception::general_protection(0).into());
            }
            fpu.mxcsr = mxcsr;
            self.vcpu.set_fpu(fpu)?;
        } else {
            let operands = self.operands();
            let gva = operands.address(instruction, 0, 4)?;
            operands.linear(instruction).write(gva, &fpu.mxcsr.to_le_bytes())?;
        }
        Ok(())
    }

    /// Whether the control registers permit it (SDM vol. 3, 2.5 and 14.1).
    fn check_sse(&self) -> Step {
        let cr0 = self.sregs.cr0;
        if cr0 & CR0_EM != 0 || self.sregs.cr4 & CR4_OSFXSR == 0 {
            return Err(Exception::invalid_opcode().into());
        }
        if cr0 & CR0_TS != 0 { Err(Exception::no_device().into()) } else { Ok(()) }
    }
}

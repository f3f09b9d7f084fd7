//! The few x87 and SSE control instructions: WAIT, EMMS, FLDCW, LDMXCSR, STMXCSR.

use iced_x86::{Instruction, Mnemonic};

use super::{Cpu, Step};
use crate::kvm::Exception;

const CR0_MP: u64 = 1 << 1;
const CR0_EM: u64 = 1 << 2;
const CR0_TS: u64 = 1 << 3;
const CR0_NE: u64 = 1 << 5;
const CR4_OSFXSR: u64 = 1 << 9;
/// x87 status word: an exception that is not masked waits (SDM vol. 1, 8.1.3).
const STATUS_ES: u16 = 1 << 7;
/// The control word's exception masks and the status word's exceptions.
const EXCEPTIONS: u16 = 0x3f;
/// What MXCSR may hold: the mask of every processor that has DAZ (SDM vol. 1, 11.6.6).
const MXCSR_MASK: u32 = 0xffff;

/// Whether it is one of those here.
pub(super) fn knows(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(mnemonic, M::Wait | M::Emms | M::Fldcw | M::Ldmxcsr | M::Stmxcsr)
}

impl Cpu<'_> {
    /// Carries out one of those that this module knows.
    pub(super) fn floating_point(&mut self, instruction: &Instruction) -> Step {
        let mnemonic = instruction.mnemonic();
        self.check_available(mnemonic)?;
        let mut fpu = self.vcpu.fpu_control()?;
        match mnemonic {
            Mnemonic::Fldcw => {
                self.check_pending(fpu.status)?;
                fpu.control = self.operands().read(instruction, 0)? as u16;
                // What waits depends on what is masked now.
                let waits = fpu.status & EXCEPTIONS & !fpu.control != 0;
                fpu.status = if waits { fpu.status | STATUS_ES } else { fpu.status & !STATUS_ES };
                self.vcpu.set_fpu_control(fpu)?;
            }
            Mnemonic::Ldmxcsr => {
                let mxcsr = self.operands().read(instruction, 0)? as u32;
                if mxcsr & !MXCSR_MASK != 0 {
                    return Err(Exception::general_protection(0).into());
                }
                fpu.mxcsr = mxcsr;
                self.vcpu.set_fpu_control(fpu)?;
            }
            Mnemonic::Stmxcsr => {
                let operands = self.operands();
                let gva = operands.address(instruction, 0, 4)?;
                operands.linear(instruction).write(gva, &fpu.mxcsr.to_le_bytes())?;
            }
            Mnemonic::Emms => {
                self.check_pending(fpu.status)?;
                fpu.in_use = 0;
                self.vcpu.set_fpu_control(fpu)?;
            }
            // WAIT
            _ => self.check_pending(fpu.status)?,
        }
        Ok(())
    }

    /// Which instruction the control registers permit (SDM vol. 3, 2.5, table 15-1).
    fn check_available(&self, mnemonic: Mnemonic) -> Step {
        let cr0 = self.sregs.cr0;
        let (emulated, switched) = match mnemonic {
            Mnemonic::Wait => (false, cr0 & CR0_MP != 0 && cr0 & CR0_TS != 0),
            Mnemonic::Fldcw => (false, cr0 & (CR0_EM | CR0_TS) != 0),
            Mnemonic::Emms => (cr0 & CR0_EM != 0, cr0 & CR0_TS != 0),
            _ => (cr0 & CR0_EM != 0 || self.sregs.cr4 & CR4_OSFXSR == 0, cr0 & CR0_TS != 0),
        };
        if emulated {
            return Err(Exception::invalid_opcode().into());
        }
        if switched {
            return Err(Exception::no_device().into());
        }
        Ok(())
    }

    fn check_pending(&self, status: u16) -> Step {
        if status & STATUS_ES != 0 && self.sregs.cr0 & CR0_NE != 0 {
            return Err(Exception::floating_point().into());
        }
        Ok(())
    }
}

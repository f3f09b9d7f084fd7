//! x87 instructions (SDM vol. 1, chapter 8): what a compiler makes of `float`, `double` and `long double`, which is
//! loads, stores, arithmetic, comparisons and control. The transcendental functions, decimal numbers, partial
//! remainders and the saving of state other than by `FXSAVE` are left out.
//!
//! Significands are computed exactly in 128-bit integers and rounded once, to the precision and in the direction that
//! the control word says; the crates for it know neither precision control nor the direction of the rounding (C1) nor
//! square roots. An exception that is not masked waits in the status word and is raised as #MF by the next instruction
//! that looks, as with CR0.NE; without CR0.NE nothing is raised.

mod arithmetic;
mod convert;
mod exception;
mod execute;
mod extended;
mod kind;
mod round;
mod stack;

use iced_x86::{Instruction, Mnemonic};

use super::{Cpu, Step};
use crate::kvm::Exception;
use execute::Execution;
use kind::Kind;
use stack::{ERROR_SUMMARY, Stack};

const CR0_MP: u64 = 1 << 1;
const CR0_EM: u64 = 1 << 2;
const CR0_TS: u64 = 1 << 3;
const CR0_NE: u64 = 1 << 5;

/// Whether it is one of those here.
pub(super) fn knows(mnemonic: Mnemonic) -> bool {
    Kind::of(mnemonic).is_some()
}

impl Cpu<'_> {
    /// Carries out one of those that this module knows.
    pub(super) fn x87(&mut self, instruction: &Instruction) -> Step {
        let mnemonic = instruction.mnemonic();
        self.check_x87(mnemonic)?;
        let mut fpu = self.vcpu.fpu()?;
        let waits =
            !matches!(mnemonic, Mnemonic::Fninit | Mnemonic::Fnclex | Mnemonic::Fnstsw | Mnemonic::Fnstcw);
        if waits && fpu.status & ERROR_SUMMARY != 0 && self.sregs.cr0 & CR0_NE != 0 {
            return Err(Exception::floating_point().into());
        }
        if mnemonic != Mnemonic::Wait {
            Execution { operands: self.operands(), stack: Stack { fpu: &mut fpu } }.execute(instruction)?;
            self.vcpu.set_fpu(fpu)?;
        }
        Ok(())
    }

    /// Whether the control registers permit it (SDM vol. 3, 2.5, table 2-2 and 12.1).
    fn check_x87(&self, mnemonic: Mnemonic) -> Step {
        let cr0 = self.sregs.cr0;
        let none = match mnemonic {
            Mnemonic::Wait => cr0 & CR0_MP != 0 && cr0 & CR0_TS != 0,
            Mnemonic::Emms if cr0 & CR0_EM != 0 => return Err(Exception::invalid_opcode().into()),
            _ => cr0 & (CR0_EM | CR0_TS) != 0,
        };
        if none { Err(Exception::no_device().into()) } else { Ok(()) }
    }
}

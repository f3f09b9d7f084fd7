//! The register stack and the status word (SDM vol. 1, 8.1.2 to 8.1.3 and 8.5).

use super::arithmetic::Outcome;
use super::exception::{ALL, DENORMAL, INVALID, STACK_FAULT, ZERO_DIVIDE};
use super::extended::Extended;
use crate::kvm::Fpu;

/// Condition codes.
pub(super) const C0: u16 = 1 << 8;
pub(super) const C1: u16 = 1 << 9;
pub(super) const C2: u16 = 1 << 10;
pub(super) const C3: u16 = 1 << 14;
/// An exception that is not masked waits, and its older name.
pub(super) const ERROR_SUMMARY: u16 = 1 << 7;
const BUSY: u16 = 1 << 15;
const TOP: u16 = 7 << 11;
/// These keep the operation from taking place if they are not masked.
const BEFORE: u16 = INVALID | DENORMAL | ZERO_DIVIDE;

/// The stack of registers.
#[derive(Debug)]
pub(super) struct Stack<'f> {
    pub(super) fpu: &'f mut Fpu,
}

impl Stack<'_> {
    /// What ST(`n`) holds, if it is in use.
    pub(super) fn get(&self, n: usize) -> Option<Extended> {
        (self.fpu.in_use & self.bit(n) != 0).then(|| self.raw(n))
    }

    /// What ST(`n`) holds, in use or not.
    pub(super) fn raw(&self, n: usize) -> Extended {
        let (significand, sign_exponent) = self.fpu.registers.get(n).copied().unwrap_or_default();
        Extended { significand, sign_exponent }
    }

    pub(super) fn set(&mut self, n: usize, value: Extended) {
        if let Some(register) = self.fpu.registers.get_mut(n) {
            *register = (value.significand, value.sign_exponent);
        }
        self.fpu.in_use |= self.bit(n);
    }

    /// Puts a value on the stack, or what a masked overflow of the stack leaves.
    pub(super) fn push(&mut self, outcome: Outcome) {
        if self.fpu.in_use & self.bit(7) != 0 {
            if self.raise(INVALID | STACK_FAULT, true) {
                self.push_anyway(Extended::INDEFINITE);
            }
        // A denormal number is loaded whether or not its exception is masked.
        } else if self.raise(outcome.raised, outcome.up) || outcome.raised & INVALID == 0 {
            self.push_anyway(outcome.value);
        }
    }

    /// Puts a value on the stack, and looks at nothing.
    pub(super) fn push_anyway(&mut self, value: Extended) {
        self.turn(7);
        self.set(0, value);
    }

    pub(super) fn pop(&mut self) {
        self.free(0);
        self.turn(1);
    }

    /// ST(`n`) is no longer in use.
    pub(super) fn free(&mut self, n: usize) {
        self.fpu.in_use &= !self.bit(n);
    }

    /// ST(`by`) becomes ST(0).
    pub(super) fn turn(&mut self, by: usize) {
        let top = (self.top() + by) % 8;
        self.fpu.registers.rotate_left(by % 8);
        self.fpu.status = self.fpu.status & !TOP | (top as u16) << 11;
    }

    /// ST(0) becomes the physical register 0.
    pub(super) fn turn_back(&mut self) {
        self.turn(8 - self.top());
    }

    /// A register was wanted that is not in use; whether the masked response is due.
    pub(super) fn underflow(&mut self) -> bool {
        self.raise(INVALID | STACK_FAULT, false)
    }

    /// Notes exceptions, and in C1 whether the result was rounded up; says whether there shall be a result.
    pub(super) fn raise(&mut self, raised: u16, up: bool) -> bool {
        let unmasked = raised & ALL & !self.fpu.control;
        // Digits are computed only after the operands are found good.
        let raised = if unmasked & BEFORE != 0 { raised & (BEFORE | STACK_FAULT) } else { raised };
        let unmasked = unmasked & raised;
        let good = unmasked & BEFORE == 0;
        self.fpu.status |= raised;
        // With a stack fault C1 says that it was an overflow, result or no result.
        let up = up && (good || raised & STACK_FAULT != 0);
        self.set_conditions(C1, if up { C1 } else { 0 });
        if unmasked != 0 {
            self.fpu.status |= ERROR_SUMMARY | BUSY;
        }
        good
    }

    /// Of the condition codes `which`, sets those in `set` and clears the others.
    pub(super) fn set_conditions(&mut self, which: u16, set: u16) {
        self.fpu.status = self.fpu.status & !which | set;
    }

    /// What waits depends on what is masked: after a new control word.
    pub(super) fn update_summary(&mut self) {
        let waits = self.fpu.status & ALL & !self.fpu.control != 0;
        self.fpu.status &= !(ERROR_SUMMARY | BUSY);
        if waits {
            self.fpu.status |= ERROR_SUMMARY | BUSY;
        }
    }

    pub(super) fn clear_exceptions(&mut self) {
        self.fpu.status &= !(ALL | STACK_FAULT | ERROR_SUMMARY | BUSY);
    }

    fn top(&self) -> usize {
        usize::from(self.fpu.status >> 11 & 7)
    }

    fn bit(&self, n: usize) -> u8 {
        1 << ((self.top() + n) % 8)
    }
}

//! Instructions, on a copy of the unit's state: a fault in the middle leaves nothing behind.

use std::cmp::Ordering;

use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind};

use super::arithmetic::{Operand, Operation, Outcome, compare, operate, round_to_integer, square_root};
use super::convert::{DOUBLE, SINGLE, to_integer};
use super::exception::{OVERFLOW, UNDERFLOW};
use super::extended::{Extended, Value};
use super::kind::Kind;
use super::round::Rounding;
use super::stack::{C0, C1, C2, C3, Stack};
use crate::emulate::operand::Operands;
use crate::emulate::{Step, Stop};

const RFLAGS_CF: u64 = 1 << 0;
const RFLAGS_PF: u64 = 1 << 2;
const RFLAGS_AF: u64 = 1 << 4;
const RFLAGS_ZF: u64 = 1 << 6;
const RFLAGS_SF: u64 = 1 << 7;
const RFLAGS_OF: u64 = 1 << 11;
/// The control word that `FNINIT` sets.
const INITIAL_CONTROL: u16 = 0x037f;
const UNKNOWN: Stop = Stop::Unknown("its operand is of a kind that is not carried out");

/// An instruction on its way.
pub(super) struct Execution<'a, 'f> {
    pub(super) operands: Operands<'a>,
    pub(super) stack: Stack<'f>,
}

impl Execution<'_, '_> {
    pub(super) fn execute(&mut self, instruction: &Instruction) -> Step {
        let kind = Kind::of(instruction.mnemonic()).ok_or(UNKNOWN)?;
        match kind {
            Kind::Control => return self.control(instruction),
            Kind::Load => self.load(instruction)?,
            Kind::Constant(constant) => {
                let value = constant.rounded(Rounding::of(self.stack.fpu.control));
                self.stack.push(Outcome::new(value, 0));
            }
            Kind::Store { pop } => self.store(instruction, pop)?,
            Kind::StoreInteger { pop, truncate } => self.store_integer(instruction, pop, truncate)?,
            Kind::Arithmetic { operation, backwards, pop } => {
                self.arithmetic(instruction, operation, backwards, pop)?;
            }
            Kind::Compare { quiet, pops, flags } => self.compare(instruction, quiet, pops, flags)?,
            Kind::MoveIf { below, equal, unordered, not } => {
                let rflags = self.operands.regs.rflags;
                let is = below && rflags & RFLAGS_CF != 0
                    || equal && rflags & RFLAGS_ZF != 0
                    || unordered && rflags & RFLAGS_PF != 0;
                self.move_if(is != not, register(instruction, 1));
            }
            Kind::Exchange => self.exchange(register(instruction, 1)),
            Kind::Unary => self.unary(instruction.mnemonic()),
        }
        self.note_addresses(instruction)
    }

    /// FIP and FDP, for a handler of #MF.
    fn note_addresses(&mut self, instruction: &Instruction) -> Step {
        self.stack.fpu.instruction = instruction.ip();
        if instruction.op0_kind() == OpKind::Memory {
            self.stack.fpu.operand = self.operands.address(instruction, 0, 1)?;
        }
        Ok(())
    }

    fn control(&mut self, instruction: &Instruction) -> Step {
        let fpu = &mut *self.stack.fpu;
        match instruction.mnemonic() {
            Mnemonic::Fninit => {
                (fpu.control, fpu.status, fpu.in_use) = (INITIAL_CONTROL, 0, 0);
                (fpu.instruction, fpu.operand) = (0, 0);
            }
            Mnemonic::Fldcw => {
                // Bit 6 reads as 1 always, and those above the rounding control but one as 0 (SDM vol. 1, 8.1.5).
                fpu.control = self.operands.read(instruction, 0)? as u16 & 0x1f7f | 1 << 6;
                self.stack.update_summary();
            }
            Mnemonic::Fnstcw => self.put(instruction, &self.stack.fpu.control.to_le_bytes())?,
            Mnemonic::Fnstsw => {
                let status = fpu.status;
                if instruction.op0_kind() == OpKind::Register {
                    self.operands.write(instruction, 0, u64::from(status))?;
                } else {
                    self.put(instruction, &status.to_le_bytes())?;
                }
            }
            Mnemonic::Fnclex => self.stack.clear_exceptions(),
            // TOP is 0 too: MMX registers are the physical ones (SDM vol. 3, 13.2).
            Mnemonic::Emms => {
                fpu.in_use = 0;
                self.stack.turn_back();
            }
            // The tags stay with the physical registers.
            Mnemonic::Fincstp | Mnemonic::Fdecstp => {
                self.stack.set_conditions(C1, 0);
                self.stack.turn(if instruction.mnemonic() == Mnemonic::Fincstp { 1 } else { 7 });
            }
            Mnemonic::Ffree => self.stack.free(register(instruction, 0)),
            _ => {}
        }
        Ok(())
    }

    fn load(&mut self, instruction: &Instruction) -> Step {
        let outcome = if instruction.op0_kind() == OpKind::Register {
            // That there is nothing to load comes before that there is no room for it.
            match self.stack.get(register(instruction, 0)) {
                Some(value) => Outcome::new(value, 0),
                None if self.stack.underflow() => {
                    self.stack.push_anyway(Extended::INDEFINITE);
                    return Ok(());
                }
                None => return Ok(()),
            }
        } else {
            let operand = self.operand_in_memory(instruction)?;
            match instruction.memory_size() {
                MemorySize::Float32 | MemorySize::Float64 => operand.loaded(),
                // Neither a copy nor an integer raises anything.
                _ => Outcome::new(operand.value, 0),
            }
        };
        self.stack.push(outcome);
        Ok(())
    }

    fn store(&mut self, instruction: &Instruction, pop: bool) -> Step {
        let value = self.stack.get(0);
        if instruction.op0_kind() == OpKind::Register {
            if value.is_some() || self.stack.underflow() {
                self.stack.set_conditions(C1, 0);
                self.stack.set(register(instruction, 0), value.unwrap_or(Extended::INDEFINITE));
                self.pop_if(pop);
            }
            return Ok(());
        }
        let real = match instruction.memory_size() {
            MemorySize::Float32 => SINGLE,
            MemorySize::Float64 => DOUBLE,
            MemorySize::Float80 => {
                if value.is_some() || self.stack.underflow() {
                    self.stack.set_conditions(C1, 0);
                    let value = value.unwrap_or(Extended::INDEFINITE);
                    let mut bytes = [0; 10];
                    let (low, high) = bytes.split_at_mut(8);
                    low.copy_from_slice(&value.significand.to_le_bytes());
                    high.copy_from_slice(&value.sign_exponent.to_le_bytes());
                    self.put(instruction, &bytes)?;
                    self.pop_if(pop);
                }
                return Ok(());
            }
            _ => return Err(UNKNOWN),
        };
        let outcome = match value {
            Some(value) => real.store(value, self.stack.fpu.control),
            None => real.store(Extended::INDEFINITE, self.stack.fpu.control),
        };
        // What is out of range is neither rounded nor stored if its exception is not masked.
        let kept = outcome.raised & !self.stack.fpu.control & (OVERFLOW | UNDERFLOW);
        let good = match value {
            Some(_) if kept != 0 => {
                self.stack.raise(kept, false);
                false
            }
            Some(_) => self.stack.raise(outcome.raised, outcome.up),
            None => self.stack.underflow(),
        };
        if good {
            let bytes = outcome.value.to_le_bytes();
            self.put(instruction, bytes.get(..real.bytes()).unwrap_or_default())?;
            self.pop_if(pop);
        }
        Ok(())
    }

    fn store_integer(&mut self, instruction: &Instruction, pop: bool, truncate: bool) -> Step {
        let bytes = instruction.memory_size().size();
        let mode = if truncate { Rounding::ToZero } else { Rounding::of(self.stack.fpu.control) };
        // Of a NaN there is no integer, as there is none of nothing.
        let value = self.stack.get(0);
        let outcome = to_integer(value.unwrap_or(Extended::INDEFINITE), bytes.clamp(2, 8), mode);
        let good = match value {
            Some(_) => self.stack.raise(outcome.raised, outcome.up),
            None => self.stack.underflow(),
        };
        if good {
            let integer = outcome.value.to_le_bytes();
            self.put(instruction, integer.get(..bytes).unwrap_or_default())?;
            self.pop_if(pop);
        }
        Ok(())
    }

    fn arithmetic(&mut self, instruction: &Instruction, op: Operation, backwards: bool, pop: bool) -> Step {
        let (to, from) = match instruction.op0_kind() {
            OpKind::Register => {
                (register(instruction, 0), self.stack.get(register(instruction, 1)).map(Operand::from))
            }
            _ => (0, Some(self.operand_in_memory(instruction)?)),
        };
        match (self.stack.get(to).map(Operand::from), from) {
            (Some(one), Some(two)) => {
                let (a, b) = if backwards { (two, one) } else { (one, two) };
                let outcome = operate(op, a, b, self.stack.fpu.control);
                if self.stack.raise(outcome.raised, outcome.up) {
                    self.stack.set(to, outcome.value);
                    self.pop_if(pop);
                }
            }
            _ => {
                if self.stack.underflow() {
                    self.stack.set(to, Extended::INDEFINITE);
                    self.pop_if(pop);
                }
            }
        }
        Ok(())
    }

    fn compare(&mut self, instruction: &Instruction, quiet: bool, pops: usize, flags: bool) -> Step {
        let other = match instruction.op_count() {
            0 => self.stack.get(1).map(Operand::from),
            _ if instruction.op0_kind() == OpKind::Memory => Some(self.operand_in_memory(instruction)?),
            _ => self.stack.get(register(instruction, 1)).map(Operand::from),
        };
        let (order, good) = match (self.stack.get(0).map(Operand::from), other) {
            (Some(a), Some(b)) => {
                let outcome = compare(a, b, quiet);
                (outcome.value, self.stack.raise(outcome.raised, false))
            }
            _ => (None, self.stack.underflow()),
        };
        if good {
            if flags {
                self.set_flags(order);
            } else {
                self.set_conditions(order);
            }
            for _ in 0..pops {
                self.stack.pop();
            }
        }
        Ok(())
    }

    fn set_conditions(&mut self, order: Option<Ordering>) {
        let set = match order {
            Some(Ordering::Greater) => 0,
            Some(Ordering::Less) => C0,
            Some(Ordering::Equal) => C3,
            None => C3 | C2 | C0,
        };
        self.stack.set_conditions(C3 | C2 | C0, set);
    }

    fn set_flags(&mut self, order: Option<Ordering>) {
        let set = match order {
            Some(Ordering::Greater) => 0,
            Some(Ordering::Less) => RFLAGS_CF,
            Some(Ordering::Equal) => RFLAGS_ZF,
            None => RFLAGS_ZF | RFLAGS_PF | RFLAGS_CF,
        };
        let all = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF;
        let rflags = &mut self.operands.regs.rflags;
        *rflags = *rflags & !all | set;
    }

    fn move_if(&mut self, condition: bool, from: usize) {
        match (self.stack.get(0), self.stack.get(from)) {
            (Some(_), Some(value)) if condition => self.stack.set(0, value),
            (Some(_), Some(_)) => {}
            // Whether or not the condition holds.
            _ => {
                if self.stack.underflow() {
                    self.stack.set(0, Extended::INDEFINITE);
                }
            }
        }
    }

    fn exchange(&mut self, with: usize) {
        let (one, two) = (self.stack.get(0), self.stack.get(with));
        self.stack.set_conditions(C1, 0);
        if (one.is_none() || two.is_none()) && !self.stack.underflow() {
            return;
        }
        self.stack.set(0, two.unwrap_or(Extended::INDEFINITE));
        self.stack.set(with, one.unwrap_or(Extended::INDEFINITE));
    }

    fn unary(&mut self, mnemonic: Mnemonic) {
        if mnemonic == Mnemonic::Fxam {
            self.examine();
            return;
        }
        let control = self.stack.fpu.control;
        let Some(value) = self.stack.get(0) else {
            if self.stack.underflow() {
                if mnemonic == Mnemonic::Ftst {
                    self.set_conditions(None);
                } else {
                    self.stack.set(0, Extended::INDEFINITE);
                }
            }
            return;
        };
        let outcome = match mnemonic {
            Mnemonic::Ftst => {
                let outcome = compare(value.into(), Extended::zero(false).into(), false);
                if self.stack.raise(outcome.raised, false) {
                    self.set_conditions(outcome.value);
                }
                return;
            }
            Mnemonic::Fabs => Outcome::new(value.with_sign(false), 0),
            Mnemonic::Fchs => Outcome::new(value.with_sign(!value.is_negative()), 0),
            Mnemonic::Fsqrt => square_root(value, control),
            _ => round_to_integer(value, control),
        };
        if self.stack.raise(outcome.raised, outcome.up) {
            self.stack.set(0, outcome.value);
        }
    }

    /// `FXAM`: SDM vol. 2, its table.
    fn examine(&mut self) {
        let value = self.stack.raw(0);
        let class = match value.value() {
            _ if self.stack.get(0).is_none() => C3 | C0,
            Value::Unsupported => 0,
            Value::Nan { .. } => C0,
            Value::Infinity => C2 | C0,
            Value::Zero => C3,
            Value::Finite(_) if value.is_denormal() => C3 | C2,
            Value::Finite(_) => C2,
        };
        let sign = if value.is_negative() { C1 } else { 0 };
        self.stack.set_conditions(C3 | C2 | C1 | C0, class | sign);
    }

    /// The operand in memory.
    fn operand_in_memory(&mut self, instruction: &Instruction) -> Step<Operand> {
        let mut bytes = [0; 10];
        let size = instruction.memory_size().size();
        self.operands.read_memory(instruction, 0, bytes.get_mut(..size).ok_or(UNKNOWN)?)?;
        let low = bytes.first_chunk().map_or(0, |low| u64::from_le_bytes(*low));
        Ok(match instruction.memory_size() {
            MemorySize::Float32 => SINGLE.load(low),
            MemorySize::Float64 => DOUBLE.load(low),
            MemorySize::Float80 => {
                let high = bytes.last_chunk().map_or(0, |high| u16::from_le_bytes(*high));
                Extended { significand: low, sign_exponent: high }.into()
            }
            MemorySize::Int16 => Extended::integer(i64::from(low as i16)).into(),
            MemorySize::Int32 => Extended::integer(i64::from(low as i32)).into(),
            MemorySize::Int64 => Extended::integer(low as i64).into(),
            _ => return Err(UNKNOWN),
        })
    }

    /// Writes the operand in memory.
    fn put(&self, instruction: &Instruction, bytes: &[u8]) -> Step {
        let gva = self.operands.address(instruction, 0, bytes.len())?;
        self.operands.linear(instruction).write(gva, bytes)
    }

    fn pop_if(&mut self, pop: bool) {
        if pop {
            self.stack.pop();
        }
    }
}

/// Number of the register that operand `n` is.
fn register(instruction: &Instruction, n: u32) -> usize {
    instruction.op_register(n).number()
}

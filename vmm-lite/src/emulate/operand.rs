//! Operands: registers, immediates, and effective addresses.

use iced_x86::{Instruction, OpKind, Register};
use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};

use super::access::Linear;
use super::{Step, Stop, bitness};
use crate::kvm::Exception;
use crate::memory::Memory;
use crate::walk::Paging;

/// Where an instruction's operands are.
pub(super) struct Operands<'c> {
    pub(super) regs: &'c mut kvm_regs,
    pub(super) sregs: &'c kvm_sregs,
    pub(super) memory: &'c Memory,
    pub(super) paging: Paging,
}

impl Operands<'_> {
    /// Operand `n`, zero-extended.
    pub(super) fn read(&self, instruction: &Instruction, n: u32) -> Step<u64> {
        match instruction.op_kind(n) {
            OpKind::Register => general(self.regs, instruction.op_register(n))
                .ok_or(Stop::Unknown("its register is not general")),
            OpKind::Memory => {
                let mut bytes = [0; 8];
                let size = self.size(instruction, n).min(8);
                let part = bytes.get_mut(..size).unwrap_or_default();
                self.read_memory(instruction, n, part)?;
                Ok(u64::from_le_bytes(bytes))
            }
            _ => Ok(instruction.immediate(n)),
        }
    }

    /// Writes operand `n`, a register.
    pub(super) fn write(&mut self, instruction: &Instruction, n: u32, value: u64) -> Step {
        set_general(self.regs, instruction.op_register(n), value)
            .ok_or(Stop::Unknown("its register is not general"))
    }

    /// How many bytes operand `n` has.
    pub(super) fn size(&self, instruction: &Instruction, n: u32) -> usize {
        match instruction.op_kind(n) {
            OpKind::Register => instruction.op_register(n).size(),
            _ => instruction.memory_size().size(),
        }
    }

    /// Fills `buffer` from operand `n`, which is in memory.
    pub(super) fn read_memory(&self, instruction: &Instruction, n: u32, buffer: &mut [u8]) -> Step {
        let gva = self.address(instruction, n, buffer.len())?;
        self.linear(instruction).read(gva, buffer)
    }

    /// Linear address of operand `n`, which has `length` bytes; outside 64-bit mode the segment's limit is checked.
    pub(super) fn address(&self, instruction: &Instruction, n: u32, length: usize) -> Step<u64> {
        let wide = bitness(self.sregs) == 64;
        let offset = instruction
            .try_virtual_address(n, 0, |register, _, _| {
                if register.is_segment_register() { Some(0) } else { general(self.regs, register) }
            })
            .ok_or(Stop::Unknown("its operand's address is of an unknown kind"))?;
        let segment = instruction.memory_segment();
        self.linear_address(segment, if wide { offset } else { offset & 0xffff_ffff }, length)
    }

    /// Linear address of `length` bytes at `offset` in `segment`.
    pub(super) fn linear_address(&self, segment: Register, offset: u64, length: usize) -> Step<u64> {
        let base = |s: &kvm_segment| s.base;
        let holder = match segment {
            Register::ES => &self.sregs.es,
            Register::CS => &self.sregs.cs,
            Register::SS => &self.sregs.ss,
            Register::FS => &self.sregs.fs,
            Register::GS => &self.sregs.gs,
            _ => &self.sregs.ds,
        };
        if bitness(self.sregs) == 64 {
            let base = if matches!(segment, Register::FS | Register::GS) { base(holder) } else { 0 };
            return Ok(base.wrapping_add(offset));
        }
        if !is_inside(holder, offset, length) {
            return Err(if segment == Register::SS {
                Exception::stack_fault(0).into()
            } else {
                Exception::general_protection(0).into()
            });
        }
        Ok(base(holder).wrapping_add(offset) & 0xffff_ffff)
    }

    /// Memory as this instruction's operand in memory reaches it.
    pub(super) fn linear(&self, instruction: &Instruction) -> Linear<'_> {
        Linear {
            memory: self.memory,
            paging: self.paging,
            cpl: self.cpl(),
            rflags: self.regs.rflags,
            stack: instruction.memory_segment() == Register::SS,
        }
    }

    pub(super) fn cpl(&self) -> u8 {
        self.sregs.ss.dpl
    }
}

/// Whether `length` bytes at `offset` are inside `segment` (SDM vol. 3, 6.3).
fn is_inside(segment: &kvm_segment, offset: u64, length: usize) -> bool {
    let Some(last) = (offset + length as u64).checked_sub(1) else { return true };
    let limit = u64::from(segment.limit);
    let expands_down = segment.s == 1 && segment.type_ & 0b1100 == 0b0100;
    let top = if segment.db == 1 { 0xffff_ffff } else { 0xffff };
    if segment.unusable == 1 {
        false
    } else if expands_down {
        offset > limit && last <= top
    } else {
        last <= limit
    }
}

/// The low `bits` bits.
pub(super) const fn mask(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// The value of a general register or a part of one, zero-extended; `None` for other registers.
pub(crate) fn general(regs: &kvm_regs, register: Register) -> Option<u64> {
    let mut regs = *regs;
    let full = *slot(&mut regs, register)?;
    let shift = if is_high_byte(register) { 8 } else { 0 };
    Some(full >> shift & mask(8 * register.size() as u32))
}

/// Writes a general register or a part of one: 32 bits clear the upper half, fewer leave the rest alone (SDM vol. 1,
/// 3.4.1.1). `None` for other registers.
fn set_general(regs: &mut kvm_regs, register: Register, value: u64) -> Option<()> {
    let full = slot(regs, register)?;
    let shift = if is_high_byte(register) { 8 } else { 0 };
    let bits = mask(8 * register.size() as u32);
    *full = match register.size() {
        4 | 8 => value & bits,
        _ => *full & !(bits << shift) | (value & bits) << shift,
    };
    Some(())
}

fn is_high_byte(register: Register) -> bool {
    matches!(register, Register::AH | Register::BH | Register::CH | Register::DH)
}

fn slot(regs: &mut kvm_regs, register: Register) -> Option<&mut u64> {
    if !register.is_gpr() {
        return None;
    }
    Some(match register.full_register() {
        Register::RAX => &mut regs.rax,
        Register::RBX => &mut regs.rbx,
        Register::RCX => &mut regs.rcx,
        Register::RDX => &mut regs.rdx,
        Register::RSI => &mut regs.rsi,
        Register::RDI => &mut regs.rdi,
        Register::RSP => &mut regs.rsp,
        Register::RBP => &mut regs.rbp,
        Register::R8 => &mut regs.r8,
        Register::R9 => &mut regs.r9,
        Register::R10 => &mut regs.r10,
        Register::R11 => &mut regs.r11,
        Register::R12 => &mut regs.r12,
        Register::R13 => &mut regs.r13,
        Register::R14 => &mut regs.r14,
        Register::R15 => &mut regs.r15,
        _ => return None,
    })
}

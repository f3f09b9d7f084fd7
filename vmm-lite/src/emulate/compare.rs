//! CMPXCHG16B.

use iced_x86::Instruction;

use super::Step;
use super::operand::Operands;
use crate::kvm::Exception;

const RFLAGS_ZF: u64 = 1 << 6;

/// Compares 16 bytes of memory with RDX:RAX, and replaces them by RCX:RBX or loads them (SDM vol. 2, "CMPXCHG16B").
/// The caller keeps other vCPUs out of the guest, so that it is atomic with or without `lock`.
pub(super) fn exchange_16_bytes(instruction: &Instruction, operands: &mut Operands<'_>) -> Step {
    let gva = operands.address(instruction, 0, 16)?;
    if !gva.is_multiple_of(16) {
        return Err(Exception::general_protection(0).into());
    }
    let mut bytes = [0; 16];
    let linear = operands.linear(instruction);
    // The processor writes in either case: a page that may only be read is a fault.
    linear.pieces(gva, bytes.len(), true)?;
    linear.read(gva, &mut bytes)?;
    let found = u128::from_le_bytes(bytes);
    let regs = &operands.regs;
    if found == join(regs.rdx, regs.rax) {
        linear.write(gva, &join(regs.rcx, regs.rbx).to_le_bytes())?;
        operands.regs.rflags |= RFLAGS_ZF;
    } else {
        operands.regs.rdx = (found >> 64) as u64;
        operands.regs.rax = found as u64;
        operands.regs.rflags &= !RFLAGS_ZF;
    }
    Ok(())
}

fn join(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

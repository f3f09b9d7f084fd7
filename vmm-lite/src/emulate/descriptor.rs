//! LAR, LSL, VERR and VERW: what a selector would give (SDM vol. 2).

use iced_x86::{Instruction, Mnemonic};

use super::Step;
use super::access::Linear;
use super::operand::{Operands, mask};
use crate::kvm::{Exception, segment_from_descriptor};

const CR0_PE: u64 = 1;
const RFLAGS_VM: u64 = 1 << 17;
const RFLAGS_ZF: u64 = 1 << 6;
const EFER_LMA: u64 = 1 << 10;
/// The bits of a descriptor's upper half that LAR gives.
const ACCESS_RIGHTS: u64 = 0x00ff_ff00;

/// Carries out LAR, LSL, VERR or VERW: ZF says whether the selector is good for it.
pub(super) fn examine(instruction: &Instruction, operands: &mut Operands<'_>) -> Step {
    if operands.sregs.cr0 & CR0_PE == 0 || operands.regs.rflags & RFLAGS_VM != 0 {
        return Err(Exception::invalid_opcode().into());
    }
    let mnemonic = instruction.mnemonic();
    let source = u32::from(matches!(mnemonic, Mnemonic::Lar | Mnemonic::Lsl));
    let selector = operands.read(instruction, source)? as u16;
    let result =
        descriptor(operands, selector)?.and_then(|descriptor| look(mnemonic, operands, selector, descriptor));
    match result {
        Some(value) => {
            operands.regs.rflags |= RFLAGS_ZF;
            if source == 1 {
                let width = 8 * operands.size(instruction, 0) as u32;
                operands.write(instruction, 0, value & mask(width))?;
            }
        }
        None => operands.regs.rflags &= !RFLAGS_ZF,
    }
    Ok(())
}

/// What the instruction loads, if the selector is good for it; VERR and VERW load nothing.
fn look(mnemonic: Mnemonic, operands: &Operands<'_>, selector: u16, descriptor: u64) -> Option<u64> {
    let segment = segment_from_descriptor(selector, descriptor);
    let is_code = segment.s == 1 && segment.type_ & 8 != 0;
    let is_conforming = is_code && segment.type_ & 4 != 0;
    let weakest = operands.cpl().max((selector & 3) as u8);
    if !is_conforming && segment.dpl < weakest {
        return None;
    }
    // Types of system segments that LAR and LSL know: TSS and LDT; LAR also gates outside long mode.
    let long = operands.sregs.efer & EFER_LMA != 0;
    let is_system_known = match (mnemonic, long) {
        (Mnemonic::Lar, false) => matches!(segment.type_, 1..=5 | 9 | 11 | 12),
        (Mnemonic::Lar, true) => matches!(segment.type_, 2 | 9 | 11 | 12),
        (Mnemonic::Lsl, false) => matches!(segment.type_, 1..=3 | 9 | 11),
        (Mnemonic::Lsl, true) => matches!(segment.type_, 2 | 9 | 11),
        _ => false,
    };
    if segment.s == 0 && !is_system_known {
        return None;
    }
    match mnemonic {
        Mnemonic::Lar => Some(descriptor >> 32 & ACCESS_RIGHTS),
        Mnemonic::Lsl => Some(segment.limit.into()),
        Mnemonic::Verr => (!is_code || segment.type_ & 2 != 0).then_some(0),
        // VERW
        _ => (!is_code && segment.type_ & 2 != 0).then_some(0),
    }
}

/// The eight bytes that `selector` names in its table; `None` for null and for what is beyond the table's end.
fn descriptor(operands: &Operands<'_>, selector: u16) -> Step<Option<u64>> {
    let offset = u64::from(selector & !7);
    let (base, limit) = if selector & 4 == 0 {
        (operands.sregs.gdt.base, u64::from(operands.sregs.gdt.limit))
    } else if operands.sregs.ldt.unusable == 0 {
        (operands.sregs.ldt.base, u64::from(operands.sregs.ldt.limit))
    } else {
        return Ok(None);
    };
    if selector & !3 == 0 || offset + 7 > limit {
        return Ok(None);
    }
    // The processor's own access, whoever asks: privileged, and stopped by SMAP whatever AC is.
    let table = Linear { memory: operands.memory, paging: operands.paging, cpl: 0, rflags: 0, stack: false };
    let mut bytes = [0; 8];
    table.read(base.wrapping_add(offset), &mut bytes)?;
    Ok(Some(u64::from_le_bytes(bytes)))
}

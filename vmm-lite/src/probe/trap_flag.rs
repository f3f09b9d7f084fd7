//! Whose the trap flag is: a step's, which must not be left anywhere that the guest looks, or the guest's own, which a
//! step must not take from it.
//!
//! KVM single-steps with TF in the CPU's RFLAGS. `PUSHF`, `SYSCALL` and everything that enters a handler save RFLAGS as
//! the CPU has them; and KVM, which hides the flag from the monitor while it steps, forgets that the guest had set it.

use iced_x86::{Code, Instruction, Mnemonic};
use kvm_bindings::{kvm_regs, kvm_sregs};
use trace_format::event::Trap;

use super::frame::Frame;
use super::idt::Idt;
use super::{Context, RFLAGS_TF, VECTOR_BP};
use crate::emulate;
use crate::error::Result;
use crate::kvm::Event;
use crate::memory::Memory;
use crate::msr::IA32_FMASK;
use crate::walk::Paging;

const EFER_LMA: u64 = 1 << 10;
/// DR6: a single step (SDM vol. 3, 18.2.3).
pub(super) const DR6_BS: u64 = 1 << 14;

/// What an instruction does with RFLAGS besides computing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Nothing.
    None,
    /// It pushes them.
    Pushes,
    /// `SYSCALL`: to R11.
    SavesInR11,
    /// It goes on at `rip` with a trap flag from memory or from R11.
    Loads { rip: u64, trap_flag: bool },
    /// It loads SS, after which nothing traps before the next instruction (SDM vol. 3, 7.8.3).
    Shields,
}

/// What is to be known of an instruction before it is stepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    /// The guest had set TF.
    own: bool,
    rip: u64,
    /// RIP of the instruction behind it.
    next: u64,
    cs: u16,
    is_call: bool,
    effect: Effect,
}

/// Guest memory as the stepped vCPU sees it.
pub(super) struct Stack<'c> {
    pub(super) memory: &'c Memory,
    pub(super) paging: &'c Paging,
}

impl Before {
    /// Looks at `instruction`, at which a vCPU with these registers stands.
    pub(super) fn look(
        instruction: &Instruction,
        regs: &kvm_regs,
        sregs: &kvm_sregs,
        stack: &Stack<'_>,
    ) -> Self {
        let mask = u64::MAX >> (64 - emulate::bitness(sregs));
        let top = |n, width| stack.word(stack.linear(regs.rsp, sregs, n * width), width);
        let pops = |n, width| top(n, width).is_some_and(|flags| flags & RFLAGS_TF != 0);
        let next = instruction.next_ip() & mask;
        let returns = |width| match top(0, width) {
            Some(rip) => Effect::Loads { rip, trap_flag: pops(2, width) },
            None => Effect::None,
        };
        let effect = match instruction.code() {
            Code::Pushfw | Code::Pushfd | Code::Pushfq => Effect::Pushes,
            Code::Popfw => Effect::Loads { rip: next, trap_flag: pops(0, 2) },
            Code::Popfd => Effect::Loads { rip: next, trap_flag: pops(0, 4) },
            Code::Popfq => Effect::Loads { rip: next, trap_flag: pops(0, 8) },
            Code::Iretw => returns(2),
            Code::Iretd => returns(4),
            Code::Iretq => returns(8),
            Code::Sysretd | Code::Sysretq => {
                Effect::Loads { rip: regs.rcx, trap_flag: regs.r11 & RFLAGS_TF != 0 }
            }
            Code::Syscall => Effect::SavesInR11,
            Code::Mov_Sreg_r32m16 | Code::Mov_Sreg_r64m16 | Code::Mov_Sreg_rm16
                if instruction.op0_register() == iced_x86::Register::SS =>
            {
                Effect::Shields
            }
            Code::Popw_SS | Code::Popd_SS => Effect::Shields,
            _ => Effect::None,
        };
        Self {
            own: regs.rflags & RFLAGS_TF != 0,
            rip: regs.rip,
            next,
            cs: sregs.cs.selector,
            is_call: instruction.mnemonic() == Mnemonic::Call,
            effect,
        }
    }

    /// Puts TF right after the step: takes the step's out of what the instruction, or the handler that was entered
    /// instead of it, has saved; gives the guest its own back, and the debug exception that is due to it.
    pub(super) fn settle(&self, idt: &Idt, cx: &mut Context<'_>, paging: &Paging) -> Result<()> {
        let (regs, sregs) = (cx.vcpu.regs(), cx.vcpu.sregs());
        let stack = Stack { memory: cx.memory, paging };
        if let Some(saved) = self.saved_by_handler(idt, &regs, &sregs, &stack) {
            stack.set_trap_flag(saved, self.own);
            // A handler runs without it; R11 is as `SYSCALL` has left it where that has faulted.
        } else if self.effect == Effect::Pushes && regs.rip == self.next {
            stack.set_trap_flag(stack.linear(regs.rsp, &sregs, 0), self.own);
            return self.give_back(self.own, cx);
        } else if self.effect != Effect::SavesInR11 {
            let on = match self.effect {
                Effect::Loads { rip, trap_flag } if regs.rip == rip => trap_flag,
                _ => self.own,
            };
            return self.give_back(on, cx);
        }
        // It leaves the address behind it in RCX (SDM vol. 2, "SYSCALL"), wherever the vCPU has got since.
        if self.effect != Effect::SavesInR11 || regs.rip == self.rip || regs.rcx != self.next {
            return Ok(());
        }
        let own = if self.own { RFLAGS_TF } else { 0 };
        cx.vcpu.set_regs(&kvm_regs { r11: regs.r11 & !RFLAGS_TF | own, ..regs });
        let masked = cx.vcpu.msr(IA32_FMASK)?.is_none_or(|mask| mask & RFLAGS_TF != 0);
        self.give_back(self.own && !masked, cx)
    }

    /// Sets the guest's own TF if it is `on` now. The exception is due by what it was before the instruction.
    fn give_back(&self, on: bool, cx: &mut Context<'_>) -> Result<()> {
        let regs = cx.vcpu.regs();
        if on {
            cx.vcpu.set_regs(&kvm_regs { rflags: regs.rflags | RFLAGS_TF, ..regs });
        }
        let due = match self.effect {
            Effect::Shields => false,
            Effect::SavesInR11 => on,
            _ => self.own && regs.rip != self.rip,
        };
        if due {
            let dr6 = cx.vcpu.debug_registers()?.dr6;
            cx.vcpu.set_dr6(dr6 | DR6_BS)?;
            cx.vcpu.deliver(Event::DEBUG)?;
        }
        Ok(())
    }

    /// Where the handler that the step has entered, if it has, finds the RFLAGS of what it interrupted, gva.
    fn saved_by_handler(
        &self,
        idt: &Idt,
        regs: &kvm_regs,
        sregs: &kvm_sregs,
        stack: &Stack<'_>,
    ) -> Option<u64> {
        if sregs.efer & EFER_LMA != 0 {
            return self.in_frame(idt, regs, stack);
        }
        if regs.rip == self.next || self.is_call {
            return None;
        }
        // By its looks: an address that was interrupted, and CS, above an error code or not.
        [2, 4].into_iter().flat_map(|width| [(0, width), (1, width)]).find_map(|(n, width)| {
            let rip = stack.word(stack.linear(regs.rsp, sregs, n * width), width)?;
            let cs = stack.word(stack.linear(regs.rsp, sregs, (n + 1) * width), 2)?;
            let interrupted = [self.rip, self.next].contains(&rip) && cs == u64::from(self.cs);
            interrupted.then(|| stack.linear(regs.rsp, sregs, (n + 2) * width))
        })
    }

    /// The same in long mode, where handlers are known.
    fn in_frame(&self, idt: &Idt, regs: &kvm_regs, stack: &Stack<'_>) -> Option<u64> {
        let (mut rip, mut rsp) = (regs.rip, regs.rsp);
        // Where a handler begins with a breakpoint that has bounced, its own frame is the second.
        for _ in 0..2 {
            let vector = (0..=u8::MAX).find(|vector| idt.handler(*vector) == Some(rip))?;
            let code = if Trap::pushes_error_code(vector) { 8 } else { 0 };
            let frame = Frame::read(stack.memory, stack.paging, rsp.wrapping_add(code))?;
            let bounced_from = frame.rip.wrapping_sub(1);
            let has_bounced =
                vector == VECTOR_BP && (0..=u8::MAX).any(|vector| idt.handler(vector) == Some(bounced_from));
            if !has_bounced {
                // Or the guest has only jumped there.
                let interrupted = [self.rip, self.next].contains(&frame.rip) || frame.rflags & RFLAGS_TF != 0;
                return interrupted.then(|| frame.rflags_at());
            }
            (rip, rsp) = (bounced_from, frame.rsp);
        }
        None
    }
}

impl Stack<'_> {
    /// The linear address `offset` bytes above `sp`.
    fn linear(&self, sp: u64, sregs: &kvm_sregs, offset: u64) -> u64 {
        let at = sp.wrapping_add(offset);
        match (emulate::bitness(sregs), sregs.ss.db) {
            (64, _) => at,
            (_, 0) => sregs.ss.base.wrapping_add(at & 0xffff) & 0xffff_ffff,
            _ => sregs.ss.base.wrapping_add(at & 0xffff_ffff) & 0xffff_ffff,
        }
    }

    /// The `width` bytes at gva `at`.
    fn word(&self, at: u64, width: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        let part = bytes.get_mut(..width as usize)?;
        (self.paging.read(self.memory.map(), at, part) == part.len()).then(|| u64::from_le_bytes(bytes))
    }

    /// Makes TF `on` in the RFLAGS that are saved at gva `at`, in as many bytes as they may have.
    fn set_trap_flag(&self, at: u64, on: bool) {
        const BYTE: u64 = 1;
        let Some(gpa) = self.paging.translate(self.memory.map(), at.wrapping_add(BYTE)) else { return };
        let Ok(byte) = self.memory.read_value::<u8>(gpa) else { return };
        let bit = (RFLAGS_TF >> (8 * BYTE)) as u8;
        let wanted = if on { byte | bit } else { byte & !bit };
        if wanted != byte {
            // It has been read from there.
            drop(self.memory.write(gpa, &[wanted]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kvm::{code_segment, data_segment};

    const STACK: u64 = 0x1000;

    /// 16-bit code at 0:0x7c00, or 32-bit code, with its stack at `STACK`.
    fn cpu(bits: u32) -> (kvm_regs, kvm_sregs) {
        let regs = kvm_regs { rip: 0x7c00, rsp: STACK, ..kvm_regs::default() };
        let mut sregs =
            kvm_sregs { cs: code_segment(0x18, 0), ss: data_segment(0x10, 0), ..kvm_sregs::default() };
        (sregs.cs.l, sregs.cs.db, sregs.ss.db) = (0, u8::from(bits == 32), u8::from(bits == 32));
        if bits == 64 {
            (sregs.efer, sregs.cs.l) = (EFER_LMA, 1);
        }
        (regs, sregs)
    }

    fn look(bits: u32, code: &[u8], memory: &Memory) -> Before {
        let (regs, sregs) = cpu(bits);
        let instruction = emulate::decode(code, regs.rip, &sregs);
        let stack = Stack { memory, paging: &Paging::default() };
        Before::look(&instruction, &regs, &sregs, &stack)
    }

    #[test]
    fn what_an_instruction_does_with_the_flag() {
        let memory = Memory::new(1 << 20).unwrap();
        memory.write_value::<u64>(STACK, 0x5100).unwrap();
        memory.write_value::<u64>(STACK + 16, 0x302).unwrap();
        let effect = |bits, code: &[u8]| look(bits, code, &memory).effect;
        assert_eq!([16, 32, 64].map(|bits| effect(bits, &[0x9c])), [Effect::Pushes; 3], "pushf");
        assert_eq!(effect(64, &[0x0f, 0x05]), Effect::SavesInR11);
        assert_eq!(effect(64, &[0x9d]), Effect::Loads { rip: 0x7c01, trap_flag: true }, "popfq");
        assert_eq!(effect(64, &[0x48, 0xcf]), Effect::Loads { rip: 0x5100, trap_flag: true }, "iretq");
        assert_eq!(effect(16, &[0xcf]), Effect::Loads { rip: 0x5100, trap_flag: false }, "iret");
        assert_eq!(effect(64, &[0x8e, 0xd0]), Effect::Shields, "mov ss, eax");
        assert_eq!(effect(64, &[0x8e, 0xd8]), Effect::None, "mov ds, eax");
        assert_eq!(effect(32, &[0x17]), Effect::Shields, "pop ss");
    }

    #[test]
    fn a_handlers_frame_is_known_in_16_and_32_bit_code() {
        let memory = Memory::new(1 << 20).unwrap();
        let stack = Stack { memory: &memory, paging: &Paging::default() };
        for (bits, width) in [(16, 2), (32, 4)] {
            for (code, returns_to) in [(&[0xcd, 0x10][..], 0x7c02), (&[0x0f, 0x0b][..], 0x7c00)] {
                let before = look(bits, code, &memory);
                let (mut regs, sregs) = cpu(bits);
                regs.rsp = STACK - 3 * width;
                for (n, word) in [returns_to, 0x18, 0x302_u32].into_iter().enumerate() {
                    memory.write(regs.rsp + n as u64 * width, &word.to_le_bytes()[..width as usize]).unwrap();
                }
                let saved = |rip| {
                    let regs = kvm_regs { rip, ..regs };
                    before.saved_by_handler(&Idt::default(), &regs, &sregs, &stack)
                };
                assert_eq!(saved(0x500), Some(STACK - width), "{bits} {code:x?}");
                assert_eq!(saved(0x7c02), None, "it has gone on behind it");
                stack.set_trap_flag(STACK - width, false);
                assert_eq!(memory.read_value::<u16>(STACK - width).unwrap(), 0x202);
            }
            let call = look(bits, &[0xe8, 0, 0, 0, 0], &memory);
            let (regs, sregs) = cpu(bits);
            let regs = kvm_regs { rip: 0x500, rsp: STACK - 3 * width, ..regs };
            assert_eq!(call.saved_by_handler(&Idt::default(), &regs, &sregs, &stack), None);
        }
    }
}

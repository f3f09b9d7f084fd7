//! Carrying out the instruction under a breakpoint, so that the breakpoint can stay where it is.
//!
//! Taking a breakpoint away to step over it lets other vCPUs run past it. Handlers nearly always begin with one of a
//! few simple instructions and end with `IRETQ` or `SYSRETQ`; those are done here, and the guest goes on behind them.
//! For anything else the engine stops the other vCPUs and steps.

use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};

use super::frame::Frame;
use super::{RFLAGS_IF, RFLAGS_RF, RFLAGS_TF};
use crate::emulate::{Linear, general};
use crate::error::Result;
use crate::kvm::{Vcpu, code_segment, data_segment, segment_from_descriptor};
use crate::memory::Memory;
use crate::msr::{IA32_FMASK, IA32_KERNEL_GS_BASE, IA32_STAR};
use crate::walk::{Paging, PhysicalMemory};

const RFLAGS_CF_TO_DF_AND_OF: u64 = 0xfd5;
const RFLAGS_DF: u64 = 1 << 10;
const RFLAGS_AC: u64 = 1 << 18;
const RFLAGS_FIXED: u64 = 2;
/// What `SYSRETQ` loads from R11 (SDM vol. 2, "SYSRET").
const RFLAGS_OF_SYSRET: u64 =
    RFLAGS_CF_TO_DF_AND_OF | RFLAGS_TF | RFLAGS_IF | 3 << 12 | 1 << 14 | RFLAGS_AC | 1 << 21;
/// What `IRETQ` to any ring loads from ring 0 (SDM vol. 2, "IRET"). A debugger in the guest goes on from a breakpoint
/// register with the resume flag.
const RFLAGS_OF_IRET: u64 = RFLAGS_OF_SYSRET | RFLAGS_RF;

/// Everything an instruction may touch.
pub(super) struct Executor<'m> {
    pub(super) vcpu: &'m mut Vcpu,
    pub(super) memory: &'m Memory,
    pub(super) paging: Paging,
}

impl Executor<'_> {
    /// Does `instruction`, which is at RIP and was decoded as 64-bit code. False, and nothing changed, if it is not one
    /// of those that can be done here, or the vCPU is not in ring 0 in 64-bit mode: a guest may jump to its handlers
    /// from anywhere.
    pub(super) fn carry_out(&mut self, instruction: &Instruction) -> Result<bool> {
        let sregs = self.vcpu.sregs();
        if sregs.cs.l == 0 || sregs.ss.dpl != 0 {
            return Ok(false);
        }
        let mut regs = self.vcpu.regs();
        // The trap that is due after it is the CPU's to raise.
        if regs.rflags & RFLAGS_TF != 0 {
            return Ok(false);
        }
        regs.rflags &= !RFLAGS_RF;
        regs.rip = instruction.next_ip();
        let done = match instruction.mnemonic() {
            Mnemonic::Nop | Mnemonic::Endbr64 => true,
            Mnemonic::Cld => {
                regs.rflags &= !RFLAGS_DF;
                true
            }
            Mnemonic::Cli => {
                regs.rflags &= !RFLAGS_IF;
                // The shadow of an STI before it goes: with interrupts off VMX does not enter a guest that has one.
                self.vcpu.end_shadow()?;
                true
            }
            Mnemonic::Clac => {
                regs.rflags &= !RFLAGS_AC;
                true
            }
            Mnemonic::Jmp if instruction.is_jmp_short_or_near() => {
                regs.rip = instruction.near_branch_target();
                true
            }
            Mnemonic::Push => self.push(instruction, &mut regs),
            Mnemonic::Swapgs => return self.swapgs(&regs),
            _ => match instruction.code() {
                Code::Iretq => return self.iretq(regs),
                Code::Sysretq => return self.sysretq(regs),
                _ => false,
            },
        };
        if done {
            self.vcpu.set_regs(&regs);
        }
        Ok(done)
    }

    fn push(&self, instruction: &Instruction, regs: &mut kvm_regs) -> bool {
        let value = match instruction.op0_kind() {
            OpKind::Register if instruction.op0_register().size() == 8 => {
                match general(regs, instruction.op0_register()) {
                    Some(value) => value,
                    None => return false,
                }
            }
            OpKind::Immediate8to64 => instruction.immediate8to64() as u64,
            OpKind::Immediate32to64 => instruction.immediate32to64() as u64,
            _ => return false,
        };
        let rsp = regs.rsp.wrapping_sub(8);
        let stack =
            Linear { memory: self.memory, paging: self.paging, cpl: 0, rflags: regs.rflags, stack: true };
        // All or nothing: a push that would fault is left to the CPU.
        if !stack.try_write(rsp, &value.to_le_bytes()) {
            return false;
        }
        regs.rsp = rsp;
        true
    }

    fn swapgs(&mut self, regs: &kvm_regs) -> Result<bool> {
        let Some(other) = self.vcpu.msr(IA32_KERNEL_GS_BASE)? else { return Ok(false) };
        let mut sregs = self.vcpu.sregs();
        if !self.vcpu.set_msr(IA32_KERNEL_GS_BASE, sregs.gs.base)? {
            return Ok(false);
        }
        sregs.gs.base = other;
        self.vcpu.set_sregs(&sregs);
        self.vcpu.set_regs(regs);
        Ok(true)
    }

    /// A return to 64-bit code in ring 0 or 3; anything else is left to the CPU.
    fn iretq(&mut self, regs: kvm_regs) -> Result<bool> {
        let Some(frame) = Frame::read(self.memory, &self.paging, regs.rsp) else { return Ok(false) };
        if !self.return_to(&frame)? {
            return Ok(false);
        }
        let mut events = self.vcpu.events()?;
        if events.nmi.masked != 0 {
            events.nmi.masked = 0;
            self.vcpu.set_events(&events)?;
        }
        Ok(true)
    }

    /// Puts the vCPU where `frame` was pushed. False, and nothing changed, if that is no ordinary 64-bit code.
    pub(super) fn return_to(&mut self, frame: &Frame) -> Result<bool> {
        let mut sregs = self.vcpu.sregs();
        let Some((code, stack)) = self.return_segments(&sregs, frame.cs, frame.ss) else { return Ok(false) };
        if !is_canonical(frame.rip) {
            return Ok(false);
        }
        if code.dpl == 3 {
            drop_kernel_segments(&mut sregs);
        }
        sregs.cs = code;
        sregs.ss = stack;
        self.vcpu.set_sregs(&sregs);
        let regs = self.vcpu.regs();
        self.vcpu.set_regs(&kvm_regs {
            rip: frame.rip,
            rsp: frame.rsp,
            rflags: frame.rflags & RFLAGS_OF_IRET | RFLAGS_FIXED,
            ..regs
        });
        Ok(true)
    }

    /// What `SYSCALL` does to everything but RCX and R11 (SDM vol. 2, "SYSCALL"), for a host that leaves that out.
    pub(super) fn finish_syscall(&mut self, frame: &Frame, lstar: u64) -> Result<bool> {
        let (Some(star), Some(mask)) = (self.vcpu.msr(IA32_STAR)?, self.vcpu.msr(IA32_FMASK)?) else {
            return Ok(false);
        };
        let selector = (star >> 32) as u16 & !3;
        let mut sregs = self.vcpu.sregs();
        sregs.cs = code_segment(selector, 0);
        sregs.ss = data_segment(selector.wrapping_add(8), 0);
        self.vcpu.set_sregs(&sregs);
        let regs = self.vcpu.regs();
        self.vcpu.set_regs(&kvm_regs {
            rip: lstar,
            rsp: frame.rsp,
            rflags: frame.rflags & RFLAGS_OF_SYSRET & !mask | RFLAGS_FIXED,
            ..regs
        });
        Ok(true)
    }

    /// The segments that an `IRETQ` from ring 0 with these selectors loads, if they are the ordinary ones.
    fn return_segments(&self, sregs: &kvm_sregs, cs: u16, ss: u16) -> Option<(kvm_segment, kvm_segment)> {
        let rpl = (cs & 3) as u8;
        if !matches!(rpl, 0 | 3) || (ss & 3) as u8 != rpl {
            return None;
        }
        let code = self.descriptor(sregs, cs)?;
        let is_ordinary_code =
            code.present == 1 && code.s == 1 && (code.l, code.db) == (1, 0) && code.type_ & 0b1100 == 0b1000;
        if !is_ordinary_code || code.dpl != rpl {
            return None;
        }
        // Ring 0 may return with a null stack segment.
        let stack = if ss & !3 == 0 && rpl == 0 {
            kvm_segment { unusable: 1, present: 0, dpl: 0, selector: ss, ..data_segment(ss, 0) }
        } else {
            self.descriptor(sregs, ss)
                .filter(|s| s.present == 1 && s.s == 1 && s.type_ & 0b1010 == 0b0010 && s.dpl == rpl)?
        };
        Some((code, stack))
    }

    fn descriptor(&self, sregs: &kvm_sregs, selector: u16) -> Option<kvm_segment> {
        let offset = selector & !7;
        // Null, in the LDT, or outside the GDT.
        if offset == 0 || selector & 4 != 0 || offset + 7 > sregs.gdt.limit {
            return None;
        }
        let gpa = self.paging.translate(self.memory.map(), sregs.gdt.base.wrapping_add(u64::from(offset)))?;
        let descriptor = PhysicalMemory::read_u64(self.memory.map(), gpa)?;
        let mut segment = segment_from_descriptor(selector, descriptor);
        segment.type_ |= 1; // accessed, as the load would set it
        Some(segment)
    }

    fn sysretq(&mut self, mut regs: kvm_regs) -> Result<bool> {
        let Some(star) = self.vcpu.msr(IA32_STAR)? else { return Ok(false) };
        if !is_canonical(regs.rcx) {
            return Ok(false);
        }
        let base = (star >> 48) as u16;
        let mut sregs = self.vcpu.sregs();
        sregs.cs = code_segment(base.wrapping_add(16) | 3, 3);
        sregs.ss = data_segment(base.wrapping_add(8) | 3, 3);
        regs.rip = regs.rcx;
        regs.rflags = regs.r11 & RFLAGS_OF_SYSRET | RFLAGS_FIXED;
        self.vcpu.set_sregs(&sregs);
        self.vcpu.set_regs(&regs);
        Ok(true)
    }
}

/// On a return to ring 3 data segments that ring 3 may not use become null (SDM vol. 2, "IRET").
fn drop_kernel_segments(sregs: &mut kvm_sregs) {
    for segment in [&mut sregs.ds, &mut sregs.es, &mut sregs.fs, &mut sregs.gs] {
        let conforming_code = segment.type_ & 0b1100 == 0b1100;
        if segment.unusable == 0 && segment.dpl < 3 && !conforming_code {
            segment.selector = 0;
            segment.base = 0;
            segment.unusable = 1;
            segment.present = 0;
        }
    }
}

fn is_canonical(address: u64) -> bool {
    (address as i64) << 16 >> 16 == address as i64
}

//! Instructions about the processor itself: traps, the time stamp counter, SMAP's switch, caches, MONITOR.

use iced_x86::{Instruction, Mnemonic};

use super::{Cpu, Step, Stop};
use crate::kvm::{Event, Exception};
use crate::msr::{IA32_TIME_STAMP_COUNTER, IA32_TSC_AUX};

const RFLAGS_AC: u64 = 1 << 18;
const CR4_TSD: u64 = 1 << 2;
const CR4_OSXSAVE: u64 = 1 << 18;

impl Cpu<'_> {
    pub(super) fn system(&mut self, instruction: &Instruction) -> Step {
        match instruction.mnemonic() {
            Mnemonic::Int3 => self.trap(Event::BREAKPOINT),
            // Ring 3 would need the gate's privilege level checked; KVMs that emulate ring 0 run ring 3 natively.
            Mnemonic::Int if self.cpl() == 0 => {
                self.trap(Event::Interrupt { vector: instruction.immediate8() })
            }
            Mnemonic::Stac => self.set_access(true),
            Mnemonic::Clac => self.set_access(false),
            Mnemonic::Rdtscp => self.read_counter(),
            Mnemonic::Xgetbv => self.read_extended_control(),
            Mnemonic::Invpcid => self.invalidate(instruction),
            Mnemonic::Clwb | Mnemonic::Clflushopt | Mnemonic::Clflush => {
                // There is one cache for all, and it is coherent; but the address must be one that may be read.
                self.touch(instruction)
            }
            Mnemonic::Monitor => self.monitor(instruction),
            Mnemonic::Mwait => self.wait(),
            _ => Err(Stop::Unknown("vmscope does not know it either")),
        }
    }

    /// Enters a handler behind the instruction.
    fn trap(&mut self, event: Event) -> Step {
        self.vcpu.deliver(event)?;
        Ok(())
    }

    /// STAC and CLAC.
    fn set_access(&mut self, allowed: bool) -> Step {
        self.privileged(Exception::invalid_opcode())?;
        self.regs.rflags = self.regs.rflags & !RFLAGS_AC | if allowed { RFLAGS_AC } else { 0 };
        Ok(())
    }

    /// RDTSCP.
    fn read_counter(&mut self) -> Step {
        if self.sregs.cr4 & CR4_TSD != 0 {
            self.privileged(Exception::general_protection(0))?;
        }
        let (Some(tsc), Some(aux)) = (self.vcpu.msr(IA32_TIME_STAMP_COUNTER)?, self.vcpu.msr(IA32_TSC_AUX)?)
        else {
            return Err(Stop::Unknown("this host has no IA32_TSC_AUX"));
        };
        self.regs.rax = tsc & 0xffff_ffff;
        self.regs.rdx = tsc >> 32;
        self.regs.rcx = aux & 0xffff_ffff;
        Ok(())
    }

    /// XGETBV. Register 1 (what is in use) is not offered.
    fn read_extended_control(&mut self) -> Step {
        if self.sregs.cr4 & CR4_OSXSAVE == 0 {
            return Err(Exception::invalid_opcode().into());
        }
        if self.regs.rcx as u32 != 0 {
            return Err(Exception::general_protection(0).into());
        }
        let xcr0 = self.vcpu.xcr0()?;
        self.regs.rax = xcr0 & 0xffff_ffff;
        self.regs.rdx = xcr0 >> 32;
        Ok(())
    }

    /// INVPCID: of whatever kind, all translations go. More than asked for is allowed (SDM vol. 3, 5.10.4.2).
    fn invalidate(&mut self, instruction: &Instruction) -> Step {
        const PCIDS: u64 = 4096;
        self.privileged(Exception::general_protection(0))?;
        let operands = self.operands();
        let kind = operands.read(instruction, 0)?;
        let mut bytes = [0; 16];
        operands.read_memory(instruction, 1, &mut bytes)?;
        let descriptor = u128::from_le_bytes(bytes);
        let (pcid, gva) = (descriptor as u64, (descriptor >> 64) as u64);
        let is_canonical = (gva as i64) << 16 >> 16 == gva as i64;
        let is_good = match kind {
            0 => pcid < PCIDS && is_canonical,
            1 => pcid < PCIDS,
            2 | 3 => true,
            _ => false,
        };
        if !is_good {
            return Err(Exception::general_protection(0).into());
        }
        self.vcpu.flush_tlb()?;
        Ok(())
    }

    fn touch(&mut self, instruction: &Instruction) -> Step {
        self.operands().read_memory(instruction, 0, &mut [0])
    }

    /// MONITOR: MWAIT does not wait, so that there is nothing to watch.
    fn monitor(&mut self, instruction: &Instruction) -> Step {
        self.privileged(Exception::invalid_opcode())?;
        if self.regs.rcx as u32 != 0 {
            return Err(Exception::general_protection(0).into());
        }
        let rax = self.regs.rax;
        let operands = self.operands();
        let gva = operands.linear_address(instruction.memory_segment(), rax, 1)?;
        operands.linear(instruction).read(gva, &mut [0])
    }

    /// MWAIT: it may go on at any time, for no reason (SDM vol. 2, "MWAIT").
    fn wait(&mut self) -> Step {
        const INTERRUPTS_WAKE: u32 = 1;
        self.privileged(Exception::invalid_opcode())?;
        if self.regs.rcx as u32 & !INTERRUPTS_WAKE != 0 {
            return Err(Exception::general_protection(0).into());
        }
        Ok(())
    }

    fn privileged(&self, otherwise: Exception) -> Step {
        if self.cpl() == 0 { Ok(()) } else { Err(otherwise.into()) }
    }
}

//! Instructions that this host's KVM lacks.
//!
//! A KVM that emulates guest kernel code stops with `KVM_EXIT_INTERNAL_ERROR` at an instruction that its emulator does
//! not know. The few that small kernels need are carried out here, as the processor would: operands go through the
//! guest's own page tables, with their permissions and their accessed and dirty bits; what faults there faults in the
//! guest. Anything else is reported as unknown, and nothing has changed.
//!
//! Atomicity: an instruction is carried out between two entries of its own vCPU. Memory is read and written piece by
//! piece, so the others could see half of a 16-byte exchange; they are held meanwhile ([`needs_quiet`]). Devices never
//! write guest memory on their own.

mod access;
mod bits;
mod compare;
mod descriptor;
mod mxcsr;
mod operand;
mod system;
mod x87;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use kvm_bindings::{kvm_regs, kvm_sregs};

pub(crate) use access::Linear;
pub(crate) use operand::general;

use crate::error::{Error, Result};
use crate::kvm::{Exception, Vcpu};
use crate::memory::Memory;
use crate::walk::Paging;
use operand::Operands;

/// Resume flag (SDM vol. 3, 18.3.1.1): what a fault pushes has it set.
const RFLAGS_RF: u64 = 1 << 16;
const EFER_LMA: u64 = 1 << 10;

/// What became of an instruction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done, or the guest has got the exception that it causes.
    Done,
    /// The guest shall try it again: its page tables changed meanwhile.
    Again,
    /// It cannot be carried out here, because of this.
    Unknown(&'static str),
}

/// Why an instruction is not done.
enum Stop {
    Raise(Exception),
    Again,
    Unknown(&'static str),
    Failed(Error),
}

type Step<T = ()> = std::result::Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Exception> for Stop {
    fn from(exception: Exception) -> Self {
        Self::Raise(exception)
    }
}

/// How many bits the code at RIP has its operands in: 16, 32 or 64.
pub(crate) fn bitness(sregs: &kvm_sregs) -> u32 {
    match (sregs.efer & EFER_LMA != 0 && sregs.cs.l != 0, sregs.cs.db != 0) {
        (true, _) => 64,
        (false, true) => 32,
        (false, false) => 16,
    }
}

/// The linear address of the instruction at `rip`.
pub(crate) fn linear_rip(rip: u64, sregs: &kvm_sregs) -> u64 {
    if bitness(sregs) == 64 { rip } else { sregs.cs.base.wrapping_add(rip) & 0xffff_ffff }
}

/// Decodes the instruction at RIP, whose bytes are `code`; it may be invalid.
pub(crate) fn decode(code: &[u8], rip: u64, sregs: &kvm_sregs) -> Instruction {
    Decoder::with_ip(bitness(sregs), code, rip, DecoderOptions::NONE).decode()
}

/// Whether the other vCPUs must be out of the guest while it is carried out.
pub(crate) fn needs_quiet(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Cmpxchg16b
}

/// Carries out `instruction`, which is at RIP of `vcpu`.
///
/// # Errors
/// When KVM fails.
pub(crate) fn carry_out(
    instruction: &Instruction,
    vcpu: &mut Vcpu,
    memory: &Memory,
    paging: Paging,
) -> Result<Outcome> {
    let (regs, sregs) = (vcpu.regs(), vcpu.sregs());
    let mut cpu = Cpu { regs, sregs, vcpu, memory, paging };
    let width = bitness(&cpu.sregs);
    cpu.regs.rflags &= !RFLAGS_RF;
    cpu.regs.rip =
        if width == 64 { instruction.next_ip() } else { instruction.next_ip() & operand::mask(width) };
    match cpu.execute(instruction) {
        Ok(()) => {
            let Cpu { regs, vcpu, .. } = cpu;
            vcpu.set_regs(&regs);
            Ok(Outcome::Done)
        }
        Err(Stop::Raise(exception)) => {
            // A fault: the guest's handler sees the instruction, and RF, so that it can come back.
            vcpu.set_regs(&kvm_regs { rflags: regs.rflags | RFLAGS_RF, ..regs });
            vcpu.raise(exception)?;
            Ok(Outcome::Done)
        }
        Err(Stop::Again) => Ok(Outcome::Again),
        Err(Stop::Unknown(why)) => Ok(Outcome::Unknown(why)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// A vCPU during one instruction.
struct Cpu<'c> {
    /// General registers as they will be; taken over if all goes well.
    regs: kvm_regs,
    /// Segment and control registers as they are.
    sregs: kvm_sregs,
    vcpu: &'c mut Vcpu,
    memory: &'c Memory,
    paging: Paging,
}

impl Cpu<'_> {
    fn execute(&mut self, instruction: &Instruction) -> Step {
        let mut operands =
            Operands { regs: &mut self.regs, sregs: &self.sregs, memory: self.memory, paging: self.paging };
        match instruction.mnemonic() {
            Mnemonic::Cmpxchg16b => compare::exchange_16_bytes(instruction, &mut operands),
            Mnemonic::Lar | Mnemonic::Lsl | Mnemonic::Verr | Mnemonic::Verw => {
                descriptor::examine(instruction, &mut operands)
            }
            _ if bits::knows(instruction.mnemonic()) => bits::compute(instruction, &mut operands),
            _ if mxcsr::knows(instruction.mnemonic()) => self.mxcsr(instruction),
            _ if x87::knows(instruction.mnemonic()) => self.x87(instruction),
            _ => self.system(instruction),
        }
    }

    fn cpl(&self) -> u8 {
        self.sregs.ss.dpl
    }

    fn operands(&mut self) -> Operands<'_> {
        Operands { regs: &mut self.regs, sregs: &self.sregs, memory: self.memory, paging: self.paging }
    }
}

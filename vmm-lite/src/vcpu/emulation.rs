//! Where KVM cannot go on: the instruction is carried out here, or the run ends and says at what.

use arrayvec::ArrayVec;
use iced_x86::{Formatter, Instruction, IntelFormatter};
use trace_format::event::{Fixup, FixupKind, Mnemonic, Payload};

use super::VcpuThread;
use crate::emulate::{self, Outcome};
use crate::error::{Error, Result, Stuck};
use crate::probe::read_code;

/// `KVM_INTERNAL_ERROR_EMULATION` (linux/kvm.h).
const EMULATION: u32 = 1;
/// `KVM_INTERNAL_ERROR_SIMUL_EX`.
const SIMULTANEOUS_EXCEPTIONS: u32 = 2;
/// `KVM_INTERNAL_ERROR_DELIVERY_EV`.
const DELIVERY: u32 = 3;
/// `KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON`.
const UNEXPECTED_EXIT: u32 = 4;

impl VcpuThread {
    /// Deals with `KVM_EXIT_INTERNAL_ERROR` at an instruction whose bytes are `code` if KVM gave them.
    pub(super) fn internal_error(&mut self, suberror: u32, code: &[u8], now: u64) -> Result<()> {
        let code = if code.is_empty() { self.code_at_rip() } else { code.iter().copied().collect() };
        let (rip, sregs) = (self.vcpu.rip(), self.vcpu.sregs());
        let instruction = emulate::decode(&code, rip, &sregs);
        let why = match suberror {
            EMULATION if code.is_empty() => "there is no memory behind it",
            EMULATION if instruction.is_invalid() => "it is no instruction",
            EMULATION => match self.carry_out(&instruction)? {
                Outcome::Done => {
                    let fixup = Fixup { kind: FixupKind::Instruction, rip, mnemonic: mnemonic(&instruction) };
                    self.lane.record_at(now, Payload::Fixup(fixup));
                    return Ok(());
                }
                Outcome::Again => return Ok(()),
                Outcome::Unknown(why) => why,
            },
            SIMULTANEOUS_EXCEPTIONS => "two exceptions came at once",
            DELIVERY => "an exit came in the middle of the delivery of an interrupt or exception",
            UNEXPECTED_EXIT => "the CPU left the guest for a reason that KVM did not expect",
            _ => "KVM does not say why",
        };
        let address = emulate::linear_rip(rip, &sregs);
        let stuck = Stuck {
            vcpu: self.number,
            suberror,
            instruction: text(&instruction, &code),
            address,
            symbol: self.machine.name_of(address),
            why,
        };
        self.machine.give_up(self.number, Error::InternalError(Box::new(stuck)));
        Ok(())
    }

    fn carry_out(&mut self, instruction: &Instruction) -> Result<Outcome> {
        let machine = std::sync::Arc::clone(&self.machine);
        let alone = emulate::needs_quiet(instruction);
        if alone && !machine.run.hold_others(self.number, || machine.notify_all()) {
            return Ok(Outcome::Again); // the run has ended
        }
        let paging = machine.probes.paging(&self.vcpu.sregs());
        let outcome = emulate::carry_out(instruction, &mut self.vcpu, &machine.memory, paging);
        if alone {
            machine.run.release_others();
            machine.notify_all();
        }
        outcome
    }

    /// Carries out the instruction at which the vCPU stands if it is a `HLT` that it may execute: some KVMs report a
    /// step over it late, in the middle of the handler that ends the halt, and others would sleep in it.
    pub(super) fn carry_out_hlt(&mut self) -> Result<bool> {
        const HLT: u8 = 0xf4;
        if self.vcpu.cpl() != 0 || self.code_at_rip().first() != Some(&HLT) {
            return Ok(false);
        }
        self.vcpu.pass_instruction(1)?;
        self.probes.passed();
        self.machine.local_apic.halt(self)?;
        Ok(true)
    }

    /// As many bytes of the instruction at RIP as can be had.
    fn code_at_rip(&mut self) -> ArrayVec<u8, 15> {
        let sregs = self.vcpu.sregs();
        let gva = emulate::linear_rip(self.vcpu.rip(), &sregs);
        let paging = self.machine.probes.paging(&sregs);
        let table = self.machine.probes.breakpoints.table();
        let mut bytes = [0; 15];
        let length = read_code(&self.machine.memory, &paging, &table, gva, &mut bytes);
        bytes.into_iter().take(length).collect()
    }
}

fn mnemonic(instruction: &Instruction) -> Mnemonic {
    let name = format!("{:?}", instruction.mnemonic()).to_ascii_lowercase();
    name.chars()
        .take(Mnemonic::new_const().capacity())
        .collect::<String>()
        .as_str()
        .try_into()
        .unwrap_or_default()
}

/// An instruction for people: its text, and its bytes if it has none.
fn text(instruction: &Instruction, code: &[u8]) -> String {
    let mut text = String::new();
    if !instruction.is_invalid() {
        IntelFormatter::new().format(instruction, &mut text);
    } else if code.is_empty() {
        text.push_str("the instruction");
    } else {
        text.push_str("the bytes");
        code.iter().for_each(|byte| text.push_str(&format!(" {byte:02x}")));
    }
    text
}

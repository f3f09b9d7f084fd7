//! What events tell of where a vCPU was.

use trace_format::Summary;
use trace_format::event::{Debugger, Event, ExitReason, Kind, Payload, Registers};

use crate::gdb::registers::{Register, RegisterFile};

/// Where a vCPU was at an event of its own: the address of its next instruction, if the event tells.
pub(super) fn pc(event: &Event) -> Option<u64> {
    match &event.payload {
        Payload::Registers(registers) => Some(registers.rip),
        Payload::Exit(exit) => Some(exit.rip),
        Payload::Trap(trap) => Some(trap.handler),
        Payload::Debugger(Debugger::Stepped { to, .. }) => Some(*to),
        Payload::Debugger(Debugger::BreakpointHit { address, .. }) => Some(*address),
        _ => None,
    }
}

/// Whether a block has events that tell where a vCPU was.
pub(super) fn has_pc(block: &Summary) -> bool {
    [Kind::Registers, Kind::Exit, Kind::Trap, Kind::Debugger].into_iter().any(|kind| block.has_kind(kind))
}

/// What is known of a vCPU's registers, gathered from its events backwards.
#[derive(Debug)]
pub(super) struct Known {
    /// When it is to hold, ns.
    at: u64,
    /// In the order in which they happened, the last first.
    facts: Vec<(Register, u64)>,
    /// RIP of the exit that ends the moment: as the guest left it, so that everything else in the moment came later.
    exit: Option<u64>,
    /// The vCPU has entered a handler.
    trapped: bool,
    /// Another event was looked at.
    begun: bool,
    /// The vCPU has slept in `HLT` since.
    slept: bool,
}

/// Whether an earlier event could tell more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It could.
    Further,
    /// This was all.
    Done,
}

impl Known {
    /// Nothing yet, of time `at`.
    pub(super) fn new(at: u64) -> Self {
        Self { at, facts: Vec::new(), exit: None, trapped: false, begun: false, slept: false }
    }

    /// Takes the event before those that it has had.
    ///
    /// An exit's event ends its moment: what comes before it in the same moment holds, and what came before an earlier
    /// exit does not, as the vCPU has been in the guest since. But one that has slept since its `HLT` has not, nor one
    /// whose exit was still being handled.
    pub(super) fn take(&mut self, event: &Event) -> Look {
        let first = !std::mem::replace(&mut self.begun, true);
        match &event.payload {
            Payload::Registers(registers) => {
                self.facts.extend(all(registers));
                return Look::Done;
            }
            Payload::Exit(exit) => {
                let slept = exit.reason == ExitReason::Halt && self.slept;
                let handled = event.time.saturating_add(exit.handling_ns) < self.at;
                if !slept && (!first || handled) {
                    return Look::Done;
                }
                self.slept = false;
                self.exit = Some(exit.rip);
            }
            Payload::Trap(trap) => {
                self.trapped = true;
                self.facts.push((Register::Rip, trap.handler));
                self.facts.extend(trap.cr2.map(|cr2| (Register::Cr2, cr2)));
            }
            // What was before a system call that the monitor carried out is not what its handler finds.
            Payload::Fixup(_) if self.trapped => return Look::Done,
            Payload::AddressSpace(change) => self.facts.push((Register::Cr3, change.new)),
            Payload::State(trace_format::event::VcpuState::Halted) => self.slept = true,
            Payload::State(trace_format::event::VcpuState::Running) => return Look::Done,
            Payload::Debugger(Debugger::Stepped { to, .. }) => {
                self.facts.push((Register::Rip, *to));
                // The registers of after the step are before this event, if they are recorded.
                return if first { Look::Further } else { Look::Done };
            }
            _ => {}
        }
        Look::Further
    }

    /// What is known now.
    pub(super) fn file(self) -> RegisterFile {
        let mut file = RegisterFile::new(false);
        if let Some(rip) = self.exit {
            file.set(Register::Rip, rip);
        }
        // What happened last counts.
        for (register, value) in self.facts.into_iter().rev() {
            file.set(register, value);
        }
        file
    }
}

fn all(registers: &Registers) -> Vec<(Register, u64)> {
    let general = Register::ALL.iter().copied().zip(registers.general);
    let selectors = [Register::Cs, Register::Ss, Register::Ds, Register::Es, Register::Fs, Register::Gs];
    let flat = [Register::CsBase, Register::SsBase, Register::DsBase, Register::EsBase];
    general
        .chain(selectors.into_iter().zip(registers.selectors.map(u64::from)))
        .chain(flat.into_iter().zip(registers.flat_bases.map(u64::from)))
        .chain([Register::FsBase, Register::GsBase].into_iter().zip(registers.bases))
        .chain([
            (Register::Rip, registers.rip),
            (Register::Eflags, registers.rflags.into()),
            (Register::Cr0, registers.cr0.into()),
            (Register::Cr2, registers.cr2),
            (Register::Cr3, registers.cr3),
            (Register::Cr4, registers.cr4),
            (Register::Cr8, registers.cr8.into()),
            (Register::Efer, registers.efer.into()),
        ])
        .collect()
}

#[cfg(test)]
mod tests {
    use trace_format::event::{Exit, Fixup, FixupKind, Mnemonic, Trap, TrapClass, VECTOR_SYSCALL, VcpuState};

    use super::*;

    fn event(payload: Payload) -> Event {
        Event { time: 1, vcpu: 0, payload }
    }

    fn exit(reason: ExitReason, rip: u64) -> Event {
        event(Payload::Exit(Exit { reason, rip, cpl: 0, guest_ns: 0, handling_ns: 0 }))
    }

    fn registers(rip: u64) -> Event {
        let mut registers = Registers { rip, cr3: 0x1000, ..Registers::default() };
        registers.general[7] = 0x8000;
        event(Payload::Registers(registers))
    }

    /// What is known at the last of these.
    fn known(events: &[Event]) -> RegisterFile {
        let mut known = Known::new(1);
        let _ = events.iter().rev().find(|event| known.take(event) == Look::Done);
        known.file()
    }

    #[test]
    fn registers_hold_to_the_end_of_their_exit() {
        let moment = [exit(ExitReason::Interrupted, 1), registers(5), exit(ExitReason::Interrupted, 5)];
        for upto in [2, 3] {
            let file = known(&moment[..upto]);
            assert_eq!((file.get(Register::Rsp), file.get(Register::Rip)), (Some(0x8000), Some(5)));
        }
        let later = [&moment[..], &[event(Payload::State(VcpuState::Created))]].concat();
        assert_eq!(known(&later).known().count(), 0, "it has been in the guest since");
    }

    #[test]
    fn an_exit_alone_tells_where_it_was() {
        let file = known(&[registers(1), exit(ExitReason::Interrupted, 1), exit(ExitReason::Interrupted, 5)]);
        assert_eq!(file.known().collect::<Vec<_>>(), [(Register::Rip, 5)]);
    }

    /// Where KVM takes system calls wrongly the exit is at a page fault's handler.
    #[test]
    fn a_trap_counts_for_more_than_the_exit_that_told_of_it() {
        let trap = Trap {
            id: 1,
            vector: VECTOR_SYSCALL,
            shared_by: 1,
            class: TrapClass::SystemCall,
            code: None,
            rip: 1,
            cs: 0x33,
            cpl: 3,
            rsp: 0,
            handler: 7,
            cr2: None,
        };
        let fixup = Fixup { kind: FixupKind::Syscall, rip: 1, mnemonic: Mnemonic::default() };
        let (fixup, trap) = (event(Payload::Fixup(fixup)), event(Payload::Trap(trap)));
        let exit = exit(ExitReason::Interrupted, 5);
        let after = known(&[fixup.clone(), registers(7), trap.clone(), exit.clone()]);
        assert_eq!((after.get(Register::Rip), after.get(Register::Rsp)), (Some(7), Some(0x8000)));
        let before = known(&[registers(5), fixup, trap, exit]);
        assert_eq!((before.get(Register::Rip), before.get(Register::Rsp)), (Some(7), None));
    }

    #[test]
    fn who_sleeps_keeps_its_registers() {
        let halted = event(Payload::State(VcpuState::Halted));
        let asleep = [registers(5), exit(ExitReason::Halt, 5), halted];
        assert_eq!(known(&asleep).get(Register::Rsp), Some(0x8000));
        let awake = [&asleep[..], &[event(Payload::State(VcpuState::Running))]].concat();
        assert_eq!(known(&awake).known().count(), 0);
    }

    #[test]
    fn gdb_gets_every_recorded_register_in_its_place() {
        let mut recorded =
            Registers { rip: 100, cr8: 3, selectors: [1, 2, 3, 4, 5, 6], ..Registers::default() };
        recorded.general = std::array::from_fn(|n| n as u64 + 1000);
        let file = known(&[event(Payload::Registers(recorded))]);
        let values =
            [Register::Rax, Register::Rsp, Register::R15, Register::Gs, Register::Cr8].map(|r| file.get(r));
        assert_eq!(values, [Some(1000), Some(1007), Some(1015), Some(6), Some(3)]);
        assert_eq!(file.get(Register::Xmm0), None);
        assert_eq!(file.known().count(), Registers::COUNT - 1, "all but the privilege level");
    }
}

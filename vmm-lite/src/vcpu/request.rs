//! What others ask a vCPU's thread to do.

use trace_format::event::{Actor, Debugger, Payload};

use super::{Activity, VcpuThread, cause_of, waited_for};
use crate::control::StepOutcome;
use crate::error::{Error, Result};
use crate::kvm::Exit;
use crate::machine::{Machine, MachineState, WatchAccess};
use crate::probe::{Context, Probes, Stepped, Watch};
use crate::recorder::Tripwire;

/// Something to do on a vCPU's own thread, out of the guest.
pub(crate) type Request = Box<dyn FnOnce(&mut VcpuThread) + Send>;

/// How many exits one step may take: a string instruction of a few pages, or a first touch that repeats it.
const MOST_EXITS: usize = 64;
/// How often a step may be interrupted before it has got anywhere. Nothing but impatience interrupts it while the guest
/// is paused.
const MOST_INTERRUPTIONS: usize = 3;

impl VcpuThread {
    pub(crate) fn vcpu(&mut self) -> &mut crate::kvm::Vcpu {
        &mut self.vcpu
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Takes over breakpoints that others have set.
    pub(crate) fn update_debug(&mut self) -> Result<()> {
        let (probes, mut cx) = self.probing(0);
        probes.update(&mut cx)
    }

    /// Has every event that this vCPU makes looked at from now on, if there is something to look for.
    pub(crate) fn set_tripwire(&mut self, tripwire: Box<Tripwire>) {
        self.lane.set_tripwire(tripwire);
    }

    /// Does `work` while the guest is paused and stays so: every other vCPU is out of the guest, whoever resumes it
    /// meanwhile, and this one's registers are not those of half an instruction.
    pub(crate) fn while_paused<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        // The answer to a read would go into the registers after `work`.
        self.settle()?;
        self.close_exit();
        let machine = std::sync::Arc::clone(&self.machine);
        if !machine.run.hold_others(self.number, || machine.notify_all()) {
            return Err(Error::WrongState { operation, state: "has ended" });
        }
        let result = match machine.run.state() {
            // The machine may have begun anew meanwhile.
            MachineState::Paused { .. } => self.keep_up_with_resets().and_then(|()| work(self)),
            _ => Err(Error::WrongState { operation, state: "is not paused" }),
        };
        machine.run.release_others();
        machine.notify_all();
        result
    }

    /// Executes one instruction; the other vCPUs are parked. With `interrupts` it takes one first that
    /// is due: then its handler's first instruction is next.
    pub(crate) fn step(&mut self, by: Actor, interrupts: bool) -> Result<StepOutcome> {
        if self.activity == Activity::WaitingForSipi {
            return Err(Error::WrongState { operation: "step the vCPU", state: "has not started it yet" });
        }
        if interrupts && self.activity == Activity::Running {
            self.inject()?;
        }
        let from = self.vcpu.rip();
        // A halted vCPU stays where it is until an interrupt wakes it.
        let entering = self.vcpu.has_event();
        if self.activity == Activity::Running && (entering || !self.carry_out_hlt()?) {
            self.step_through(from)?;
            self.machine.local_apic.after_step(self)?;
        }
        if !entering {
            // The handler's first instruction, which tells of it, is done.
            self.injected = None;
        }
        let (to, mut watched) = (self.vcpu.rip(), None);
        let timing = self.begin();
        self.record_registers(timing.time);
        // A step need not have had an exit that was handled: what the instruction has loaded is seen here.
        self.notice_changes(timing)?;
        self.record(Payload::Debugger(Debugger::Stepped { by, from, to }));
        if let Some(watch) = self.probes.take_watched() {
            let Watch { address, access, .. } = watch;
            let rip = to;
            let event = Debugger::WatchpointHit { by, address, any: access == WatchAccess::Any, rip };
            self.record(Payload::Debugger(event));
            watched = Some((address, access));
        }
        self.close_exit();
        // One stop for a step, and for who waits: what was met beside a watchpoint, or in a user's step, is told when the
        // vCPU is to go on.
        let tells = watched.is_none() && by == Actor::Gdb;
        let met =
            if tells { self.lane.met().filter(|met| waited_for(*met) == by).map(cause_of) } else { None };
        if met.is_some() {
            self.lane.forget_met();
            self.record(Payload::Debugger(Debugger::Matched { by }));
            self.close_exit();
        }
        Ok(StepOutcome { from, to, halted: self.activity == Activity::Halted, watched, met })
    }

    fn step_through(&mut self, from: u64) -> Result<()> {
        let mut interruptions = 0;
        for _ in 0..MOST_EXITS {
            let timing = self.begin();
            let now = timing.time;
            let Some(stepped) = self.interruptibly(now, Probes::step) else { return Ok(()) };
            match stepped? {
                Stepped::Done if self.vcpu.rip() != from => return Ok(()),
                // The first touch of a page repeats a step at the same place on some hosts; so does an instruction
                // that jumps to itself.
                Stepped::Done if self.lane.has_met() => return Ok(()),
                Stepped::Done => {}
                Stepped::Exit(Exit::Interrupted) if interruptions == MOST_INTERRUPTIONS => {
                    return Err(Error::HostCannot {
                        operation: "step the guest",
                        why: "KVM does not get past this instruction",
                    });
                }
                Stepped::Exit(exit) => {
                    interruptions += usize::from(exit == Exit::Interrupted);
                    let repeats = matches!(exit, Exit::Interrupted | Exit::InterruptWindow);
                    let handled = self.handle(&exit, timing).and_then(|()| self.settle());
                    self.end_step().and(handled)?;
                    let done = !repeats && self.vcpu.rip() != from;
                    if done || self.activity != Activity::Running {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends a step that was left open by an exit.
    pub(super) fn end_step(&mut self) -> Result<()> {
        let (probes, mut cx) = self.probing(0);
        probes.end_step(&mut cx).map(drop)
    }

    /// Steps with `how` in a way that others can interrupt: what was meant to be one instruction may run for ever. None
    /// if the run has ended.
    pub(super) fn interruptibly(
        &mut self,
        now: u64,
        how: impl FnOnce(&mut Probes, &mut Context<'_>) -> Result<Stepped>,
    ) -> Option<Result<Stepped>> {
        // Who ends the run insists once: before this look, or after it with a kick. Everybody else who waits for this
        // vCPU insists until it answers.
        if self.machine.run.is_stopped() {
            return None;
        }
        let (probes, mut cx) = self.probing(now);
        Some(how(probes, &mut cx))
    }
}

//! Exits that the breakpoint engine caused, and stops for those who wait for them.

use std::sync::Arc;

use trace_format::event::{Actor, Debugger, ExitReason, Payload};

use super::VcpuThread;
use crate::error::Result;
use crate::kvm::Exit;
use crate::machine::{StopCause, WatchAccess};
use crate::probe::{Probes, Stepped, Verdict, Watch};
use crate::recorder::Timing;

impl VcpuThread {
    /// A stop that the breakpoint engine caused, or the end of the run.
    pub(super) fn debug_or_error(&mut self, exit: &Exit, timing: Timing) -> Result<ExitReason> {
        let now = timing.time;
        let (probes, mut cx) = self.probing(now);
        let verdict = probes.examine(exit, &mut cx)?;
        self.look = true;
        Ok(match verdict {
            Verdict::Probe { pc } => ExitReason::Probe { pc },
            Verdict::StepOver { pc } => {
                self.step_alone(now, timing)?;
                ExitReason::Probe { pc }
            }
            Verdict::Breakpoint { pc, by } => {
                let event = Debugger::BreakpointHit { by, address: pc };
                if !self.report(by, event, StopCause::Breakpoint { address: pc }) {
                    self.probes.passed();
                }
                ExitReason::Probe { pc }
            }
            Verdict::Watchpoint(watch) => {
                if !self.report_watch(&watch) {
                    // The instruction is done: it will not be met again.
                    self.probes.keep_watched(watch);
                }
                self.not_ours(exit, now)?
            }
            Verdict::NotOurs => self.not_ours(exit, now)?,
        })
    }

    /// Stops everything for what this vCPU has met. False if the guest has been stopped for something else first: then
    /// it is as if this had not been met yet.
    pub(super) fn report(&mut self, by: Actor, event: Debugger, cause: StopCause) -> bool {
        let machine = Arc::clone(&self.machine);
        if !machine.claim(by) {
            return false;
        }
        self.record(Payload::Debugger(event));
        machine.tell(Some(self.number), cause);
        true
    }

    /// Stops everything because something that is watched was accessed.
    pub(super) fn report_watch(&mut self, watch: &Watch) -> bool {
        let (by, rip) = (self.probes.watcher(watch), self.vcpu.rip());
        let Watch { address, access, .. } = *watch;
        let event = Debugger::WatchpointHit { by, address, any: access == WatchAccess::Any, rip };
        self.report(by, event, StopCause::Watchpoint { address, access })
    }

    fn not_ours(&mut self, exit: &Exit, now: u64) -> Result<ExitReason> {
        Ok(match *exit {
            Exit::Debug { exception, pc, dr6, dr7 } => ExitReason::Debug { exception, pc, dr6, dr7 },
            Exit::InternalError { suberror, ref instruction } => {
                self.internal_error(suberror, instruction, now)?;
                ExitReason::InternalError { suberror, instruction: instruction.clone() }
            }
            // `debug_or_error` is called for these two only.
            _ => ExitReason::Unlisted { number: u32::MAX },
        })
    }

    /// Steps over a breakpoint whose instruction the engine cannot carry out itself.
    fn step_alone(&mut self, now: u64, timing: Timing) -> Result<()> {
        if self.carry_out_hlt()? {
            return Ok(());
        }
        let machine = Arc::clone(&self.machine);
        if !machine.run.hold_others(self.number, || machine.notify_all()) {
            return Ok(()); // the run has ended
        }
        if self.is_of_another_life() {
            // The machine has begun anew, and the instruction is gone.
            machine.run.release_others();
            machine.notify_all();
            return Ok(());
        }
        let from = self.vcpu.rip();
        let left = match self.interruptibly(now, Probes::step_natively) {
            Some(Ok(Stepped::Exit(exit))) => {
                let left = self.finish_step(exit, timing);
                self.end_step().and(left)
            }
            Some(Err(error)) => Err(error),
            Some(Ok(Stepped::Done)) | None => Ok(None),
        };
        machine.run.release_others();
        machine.notify_all();
        match left? {
            None => Ok(()),
            // The instruction faulted, and the next breakpoint is at the handler: the guest meets it again in an exit
            // of its own. Dealt with here, handlers that fault in a chain would nest as deep as the guest likes.
            Some(Exit::Debug { .. } | Exit::Interrupted) => Ok(()),
            Some(Exit::InternalError { .. }) if self.vcpu.rip() != from => Ok(()),
            Some(exit) => self.handle_own(&exit, timing),
        }
    }

    /// Does the monitor's part of an instruction that is being stepped, and has KVM do the rest. Returns an exit that is
    /// none of that.
    fn finish_step(&mut self, mut exit: Exit, timing: Timing) -> Result<Option<Exit>> {
        while exit.awaits_completion() {
            self.handle_own(&exit, timing)?;
            match self.complete()? {
                Some(next) => exit = next,
                None => return Ok(None),
            }
        }
        Ok(Some(exit))
    }

    /// Handles and records an exit of the instruction at a breakpoint; it was no time in the guest.
    fn handle_own(&mut self, exit: &Exit, timing: Timing) -> Result<()> {
        let (rip, cpl) = (self.vcpu.rip(), self.vcpu.cpl());
        self.dispatch(exit, timing)?;
        let reason = self.handled.reason.clone();
        let own = trace_format::event::Exit { reason, rip, cpl, guest_ns: 0, handling_ns: 0 };
        self.lane.record_at(timing.time, Payload::Exit(own));
        Ok(())
    }
}

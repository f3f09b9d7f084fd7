//! Stopping the guest and letting it go on.

use std::time::Duration;

use crossbeam_channel::Receiver;
use trace_format::event::{Actor, StopReason};

use super::{Control, ended};
use crate::error::{Error, Result};
use crate::machine::{MachineState, Stop, StopCause, VcpuShared, WatchAccess};
use crate::vcpu_set::VcpuSet;

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOutcome {
    /// RIP before.
    pub from: u64,
    /// RIP after.
    pub to: u64,
    /// The vCPU now sleeps in `HLT`, or did before: it stays where it is until an interrupt wakes it.
    pub halted: bool,
    /// The watchpoint that the instruction has met: its address, gva, and what it is for.
    pub watched: Option<(u64, WatchAccess)>,
    /// What the instruction has met that was waited for: [`StopCause::Matched`], or a system call.
    pub met: Option<StopCause>,
}

impl Control {
    /// Every stop of the guest from now on. The vCPUs need not all be out of the guest yet when one is received:
    /// [`Self::settle`] waits for that.
    #[must_use]
    pub fn stops(&self) -> Receiver<Stop> {
        self.machine.stops()
    }

    /// Stops every vCPU for now; returns when all are out of the guest and everything recorded is in the trace. Does
    /// nothing if the guest is paused already.
    ///
    /// # Errors
    /// When the run has ended.
    pub fn pause(&self, by: Actor) -> Result<()> {
        self.machine.begin_pause(by);
        self.settle();
        match self.state() {
            MachineState::Stopped { .. } => Err(ended("pause")),
            MachineState::Running | MachineState::Paused { .. } => Ok(()),
        }
    }

    /// Waits until a guest that has been stopped really is, every vCPU out of the guest, and everything that was
    /// recorded is in the trace.
    pub fn settle(&self) {
        self.machine.run.wait_parked();
        self.machine.record_screen();
        self.flush();
    }

    /// Lets a paused guest run again. Does nothing if it runs. While GDB is attached only GDB may; where the guest has
    /// come to its end, that ends the run.
    ///
    /// # Errors
    /// When the run has ended, or GDB holds the guest.
    pub fn resume(&self, by: Actor) -> Result<()> {
        self.machine.resume(by, self.machine.all())
    }

    /// The same for some vCPUs; the others stay where they are until the guest is paused and resumed.
    ///
    /// # Errors
    /// As [`Self::resume`].
    pub fn resume_some(&self, by: Actor, vcpus: VcpuSet) -> Result<()> {
        self.machine.resume(by, vcpus)
    }

    /// Lets `vcpus` of a paused guest run for `time`, or until something stops them, of which [`Self::stops`] tells as
    /// usual. To everybody else the guest is paused all the while. Returns whether they ran to the end, with all vCPUs
    /// out of the guest.
    ///
    /// # Errors
    /// When the guest is not paused.
    pub fn slice(&self, vcpus: VcpuSet, time: Duration) -> Result<bool> {
        let run = &self.machine.run;
        if !run.begin_slice(vcpus) {
            return Err(Error::WrongState { operation: "let run", state: "is not paused" });
        }
        self.machine.notify_all();
        self.machine.timekeeper.poke();
        run.wait_slice(time);
        let lasted = run.end_slice();
        self.machine.vcpus.iter().for_each(VcpuShared::insist);
        run.wait_parked();
        Ok(lasted)
    }

    /// Gives the guest to a debugger, and pauses it. From now on only the debugger lets it go on, and when the guest
    /// comes to its end it waits to be looked at: [`crate::StopCause::Ending`].
    ///
    /// # Errors
    /// When the run has ended, or another debugger has the guest.
    pub fn attach(&self, by: Actor) -> Result<()> {
        self.machine.attach(by)?;
        self.settle();
        Ok(())
    }

    /// Takes everything away that a debugger has set, and lets the guest go on if it ran before the debugger came. A
    /// guest that has come to its end ends.
    pub fn detach(&self, by: Actor) {
        // After the end of the run there is nothing left to take away.
        drop(self.remove_all(by));
        self.machine.detach(by);
    }

    /// Ends the run; [`crate::Vm::wait`] returns soon.
    pub fn stop(&self, by: Actor) {
        self.machine.stop(StopReason::Ended { by });
    }

    /// Ends the run because the time given to it is over.
    pub fn time_out(&self) {
        self.machine.stop(StopReason::Timeout);
    }

    /// Executes one instruction on `vcpu` while the guest is paused. An instruction that exits to the monitor is
    /// completed.
    ///
    /// # Errors
    /// When the guest is not paused, there is no such vCPU, or this host cannot step there.
    pub fn step(&self, vcpu: u8, by: Actor) -> Result<StepOutcome> {
        let outcome = self.step_on(vcpu, by, false)?;
        self.machine.record_screen();
        self.flush();
        Ok(outcome)
    }

    /// The same as one of many: what was recorded need not be in the trace yet when it returns. With `interrupts` an
    /// interrupt that is due comes first.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_on(&self, vcpu: u8, by: Actor, interrupts: bool) -> Result<StepOutcome> {
        let outcome = self.on_paused(vcpu, "step", move |thread| thread.step(by, interrupts))?;
        // It may have been the guest's last. Nobody is told of that while the guest is paused otherwise.
        if let Some(why) = self.machine.untold_end() {
            self.machine.tell(Some(vcpu), StopCause::Ending { why });
        }
        Ok(outcome)
    }
}

//! How threads move.

use gdbstub::common::{Signal, Tid};
use gdbstub::target::ext::base::multithread::{
    MultiThreadRangeStepping, MultiThreadRangeSteppingOps, MultiThreadResume, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::reverse_exec::{ReverseCont, ReverseContOps, ReverseStep, ReverseStepOps};

use super::{Target, complete, no_such};
use crate::gdb::debuggee::{Direction, Failure, Motion};

impl Target<'_> {
    fn set(&mut self, tid: Tid, motion: Motion) {
        let vcpus = self.debuggee.vcpus();
        match self.motions.get_mut(tid.get() - 1) {
            // The first that matches counts.
            Some(slot) => *slot = slot.take().or(Some(motion)),
            None => self.refused = Some(no_such(tid, vcpus)),
        }
    }
}

impl MultiThreadResume for Target<'_> {
    fn resume(&mut self) -> Result<(), Failure> {
        let motions = complete(&mut self.motions, self.locked);
        self.go(Direction::Forward, &motions);
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Failure> {
        self.motions = vec![None; usize::from(self.debuggee.vcpus())];
        self.locked = false;
        Ok(())
    }

    // Signals mean nothing to a machine.
    fn set_resume_action_continue(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), Failure> {
        self.set(tid, Motion::Continue);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<MultiThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }

    fn support_reverse_step(&mut self) -> Option<ReverseStepOps<'_, Tid, Self>> {
        if self.debuggee.abilities().reverse { Some(self) } else { None }
    }

    fn support_reverse_cont(&mut self) -> Option<ReverseContOps<'_, Tid, Self>> {
        if self.debuggee.abilities().reverse { Some(self) } else { None }
    }
}

impl MultiThreadSingleStep for Target<'_> {
    fn set_resume_action_step(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), Failure> {
        self.set(tid, Motion::Step);
        Ok(())
    }
}

impl MultiThreadRangeStepping for Target<'_> {
    fn set_resume_action_range_step(&mut self, tid: Tid, start: u64, end: u64) -> Result<(), Failure> {
        self.set(tid, if start < end { Motion::StepRange(start..end) } else { Motion::Step });
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Target<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Failure> {
        self.locked = true;
        Ok(())
    }
}

impl ReverseCont<Tid> for Target<'_> {
    fn reverse_cont(&mut self) -> Result<(), Failure> {
        let motions = vec![Motion::Continue; usize::from(self.debuggee.vcpus())];
        self.go(Direction::Backward, &motions);
        Ok(())
    }
}

impl ReverseStep<Tid> for Target<'_> {
    fn reverse_step(&mut self, tid: Tid) -> Result<(), Failure> {
        self.clear_resume_actions()?;
        self.set(tid, Motion::Step);
        let motions = complete(&mut self.motions, true);
        self.go(Direction::Backward, &motions);
        Ok(())
    }
}

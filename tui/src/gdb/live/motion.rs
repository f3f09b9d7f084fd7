//! How a running guest moves for GDB.
//!
//! Running is left to the engine. A step of one vCPU is the engine's, too, but while the others are not to stand still
//! they get a moment to run before each. A step onto `HLT` ends when the vCPU gets to the next instruction, which takes an
//! interrupt: everything runs until then.

use std::ops::Range;
use std::time::Duration;

use trace_format::event::Actor;
use vmm_lite::Activity;

use super::{BY, Live};
use crate::gdb::debuggee::{Cause, Failure, Motion, Point, PointKind, Progress, Stop};

/// How long the other vCPUs run before a step of one.
const MOMENT: Duration = Duration::from_micros(200);

/// What moves.
#[derive(Clone, Debug)]
pub(super) enum Moving {
    /// vCPUs run until something stops them.
    Running,
    /// One makes a step after another.
    Stepping(Steps),
    /// One sleeps in its step, and `vcpus` run until it wakes.
    #[allow(missing_docs)]
    Waking { steps: Steps, point: Option<Point> },
}

/// Steps of one vCPU.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    vcpu: u8,
    /// Go on within these.
    range: Option<Range<u64>>,
    /// The others that run in between, a bit each.
    others: u16,
}

impl Live {
    pub(super) fn begin(&mut self, motions: &[Motion]) -> Result<(), Failure> {
        let mut running = 0;
        let mut steps = None;
        for (vcpu, motion) in (0_u8..16).zip(motions) {
            match motion {
                Motion::Hold => {}
                Motion::Continue => running |= 1 << vcpu,
                Motion::Step => steps = steps.or(Some((vcpu, None))),
                Motion::StepRange(range) => steps = steps.or(Some((vcpu, Some(range.clone())))),
            }
        }
        let Some((vcpu, range)) = steps else {
            self.engine.resume(running)?;
            self.moving = Some(Moving::Running);
            return Ok(());
        };
        if self.activity(vcpu) == Some(Activity::WaitingForSipi) {
            return Err(Failure(format!(
                "cpu{vcpu} waits for a start-up IPI: it has no instruction to step"
            )));
        }
        let steps = Steps { vcpu, range, others: running };
        self.moving = Some(match self.activity(vcpu) {
            Some(Activity::Halted) => self.wake(steps)?,
            _ => Moving::Stepping(steps),
        });
        Ok(())
    }

    pub(super) fn advance(&mut self) -> Progress {
        let progress = match self.moving.take() {
            None => self.idle(),
            Some(Moving::Running) => {
                self.moving = Some(Moving::Running);
                self.running()
            }
            Some(Moving::Stepping(steps)) => self.stepping(steps).unwrap_or_else(failed),
            Some(Moving::Waking { steps, point }) => self.waking(steps, point).unwrap_or_else(failed),
        };
        if let Progress::Stopped(_) = progress {
            self.moving = None;
        }
        progress
    }

    /// Nothing moves; only the end of everything is told.
    fn idle(&mut self) -> Progress {
        match self.engine.take_stop() {
            Some(stop) if matches!(stop.cause, Cause::Ended { .. }) => Progress::Stopped(stop),
            _ => Progress::Waiting,
        }
    }

    fn running(&mut self) -> Progress {
        match self.engine.take_stop() {
            Some(stop) => Progress::Stopped(self.as_wanted(stop)),
            None => Progress::Waiting,
        }
    }

    fn as_wanted(&self, stop: Stop) -> Stop {
        match stop.cause {
            Cause::Paused { by: Actor::Gdb } => Stop { cause: Cause::Interrupted, ..stop },
            _ => stop,
        }
    }

    fn stepping(&mut self, steps: Steps) -> Result<Progress, Failure> {
        let vcpu = steps.vcpu;
        let stopped = |cause| Ok(Progress::Stopped(Stop { vcpu: Some(vcpu), cause }));
        if self.interrupted {
            return stopped(Cause::Interrupted);
        }
        if steps.others != 0
            && let Some(stop) = self.engine.slice(steps.others, MOMENT)?
        {
            return Ok(Progress::Stopped(self.as_wanted(stop)));
        }
        let outcome = self.control().step(vcpu, BY)?;
        if self.activity(vcpu) == Some(Activity::Halted) {
            self.moving = Some(self.wake(steps)?);
            return Ok(Progress::Waiting);
        }
        self.stepped(steps, outcome.to)
    }

    /// A step is done: goes on if it was one of several.
    fn stepped(&mut self, steps: Steps, to: u64) -> Result<Progress, Failure> {
        let stopped = |cause| Ok(Progress::Stopped(Stop { vcpu: Some(steps.vcpu), cause }));
        match &steps.range {
            Some(range) if range.contains(&to) => {
                if let Some(hardware) = self.stops_at(to) {
                    return stopped(Cause::Breakpoint { hardware });
                }
                self.moving = Some(Moving::Stepping(steps));
                Ok(Progress::Busy)
            }
            _ => stopped(Cause::Stepped),
        }
    }

    /// Lets everything that may run run until the vCPU does no longer sleep.
    fn wake(&mut self, steps: Steps) -> Result<Moving, Failure> {
        let point = Point { kind: PointKind::Software, address: self.rip(steps.vcpu)?, len: 1 };
        let own = self.stops_at(point.address).is_none();
        if own {
            self.engine.insert(steps.vcpu, point)?;
        }
        self.engine.resume(steps.others | 1 << steps.vcpu)?;
        Ok(Moving::Waking { steps, point: own.then_some(point) })
    }

    fn waking(&mut self, steps: Steps, point: Option<Point>) -> Result<Progress, Failure> {
        let Some(stop) = self.engine.take_stop() else {
            self.moving = Some(Moving::Waking { steps, point });
            return Ok(Progress::Waiting);
        };
        if let Some(point) = point {
            self.engine.remove(steps.vcpu, point)?;
        }
        let at_breakpoint = matches!(stop.cause, Cause::Breakpoint { .. });
        if !at_breakpoint || self.interrupted {
            return Ok(Progress::Stopped(self.as_wanted(stop)));
        }
        let to = self.rip(steps.vcpu)?;
        if stop.vcpu == Some(steps.vcpu) {
            return self.stepped(steps, to);
        }
        // Another vCPU came to the place where this one sleeps.
        match self.stops_at(to) {
            Some(_) => Ok(Progress::Stopped(stop)),
            None => {
                self.moving = Some(self.wake(steps)?);
                Ok(Progress::Waiting)
            }
        }
    }
}

fn failed(failure: Failure) -> Progress {
    Progress::Stopped(Stop { vcpu: None, cause: Cause::Failed(failure.0) })
}

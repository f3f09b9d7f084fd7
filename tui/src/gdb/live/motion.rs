//! How a running guest moves for GDB.
//!
//! Running is left to the engine. A step of one vCPU is the engine's, too, but while the others are not to stand still
//! they get a moment to run before each. A step onto `HLT` ends when the vCPU gets to the next instruction, which takes an
//! interrupt: everything runs until then.

use std::ops::Range;
use std::time::Duration;

use trace_format::event::{Actor, Kind};
use vmm_lite::{Activity, StopCause, VcpuSet, WatchAccess};

use super::{BY, Live, engine_point};
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
    /// One sleeps in its step, and everything that may runs until it wakes, which `point` tells if that is not one of
    /// GDB's own.
    #[allow(missing_docs)]
    Waking { steps: Steps, point: Option<Point> },
    /// Nothing: there is a stop already.
    Over(Stop),
}

/// Steps of one vCPU.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    vcpu: u8,
    /// Go on within these.
    range: Option<Range<u64>>,
    /// The others that run in between.
    others: VcpuSet,
}

impl Live {
    pub(super) fn begin(&mut self, motions: &[Motion]) -> Result<(), Failure> {
        let mut running = VcpuSet::NONE;
        let mut steps = None;
        for (vcpu, motion) in (0_u8..).zip(motions) {
            match motion {
                Motion::Hold => {}
                Motion::Continue => running = running.with(vcpu),
                Motion::Step => steps = steps.or(Some((vcpu, None))),
                Motion::StepRange(range) => steps = steps.or(Some((vcpu, Some(range.clone())))),
            }
        }
        let Some((vcpu, range)) = steps else {
            self.control.resume_some(BY, running)?;
            self.moving = Some(Moving::Running);
            return Ok(());
        };
        let steps = Steps { vcpu, range, others: running };
        self.moving = Some(match self.activity(vcpu) {
            Some(Activity::WaitingForSipi) => {
                let why = format!("cpu{vcpu} waits for a start-up IPI: it has no instruction to step");
                return Err(Failure(why));
            }
            Some(Activity::Halted) => self.wake(steps)?,
            _ => Moving::Stepping(steps),
        });
        Ok(())
    }

    pub(super) fn advance(&mut self) -> Progress {
        let mut progress = match self.moving.take() {
            None => {
                self.look_while_idle();
                return match &self.untold {
                    Some(stop) if matches!(stop.cause, Cause::Ended { .. }) => {
                        Progress::Stopped(stop.clone())
                    }
                    _ => Progress::Waiting,
                };
            }
            Some(Moving::Over(stop)) => Progress::Stopped(stop),
            Some(Moving::Running) => self.running(),
            Some(Moving::Stepping(steps)) => {
                self.stepping(steps).unwrap_or_else(|failure| self.failed(failure))
            }
            Some(Moving::Waking { steps, point }) => {
                self.waking(steps, point).unwrap_or_else(|failure| self.failed(failure))
            }
        };
        if let Progress::Stopped(stop) = &mut progress {
            self.moving = None;
            // The vCPU that met something has not waited for the others.
            self.control.settle();
            self.name_event(stop);
        }
        progress
    }

    /// Says which event it was that a stop was for, now that it can be read.
    fn name_event(&mut self, stop: &mut Stop) {
        let Some(vcpu) = stop.vcpu else { return };
        match &mut stop.cause {
            Cause::Event(text) => {
                let kind = Kind::ALL.into_iter().find(|kind| kind.name() == text);
                let line =
                    kind.and_then(|kind| self.recording.stopped_at(&self.control, vcpu, kind, &self.waits));
                if let Some(line) = line {
                    *text = format!("event {line}");
                }
            }
            // The end is told first, though it came of an event that was waited for.
            Cause::Ending { event, .. } => {
                let line = self.recording.last_exit(&self.control, vcpu, &self.waits);
                *event = line.map(|line| format!("event {line}"));
            }
            _ => {}
        }
    }

    /// Takes in what has become of the guest while nothing moves for GDB: somebody else may have ended it, or made its
    /// last step. Other stops are those of a motion that is over.
    pub(super) fn look_while_idle(&mut self) {
        while let Some(stop) = self.take_stop() {
            if matches!(stop.cause, Cause::Ended { .. } | Cause::Ending { .. }) {
                self.untold = Some(stop);
            }
        }
    }

    fn running(&mut self) -> Progress {
        match self.take_stop() {
            Some(stop) => Progress::Stopped(stop),
            None => {
                self.moving = Some(Moving::Running);
                Progress::Waiting
            }
        }
    }

    fn stepping(&mut self, steps: Steps) -> Result<Progress, Failure> {
        let vcpu = steps.vcpu;
        let stopped = |cause| Ok(Progress::Stopped(Stop { vcpu: Some(vcpu), cause }));
        if self.interrupted {
            return stopped(Cause::Interrupted);
        }
        if !steps.others.is_empty() {
            self.control.slice(steps.others, MOMENT)?;
        }
        if let Some(stop) = self.take_stop() {
            return Ok(Progress::Stopped(stop));
        }
        let outcome = self.control.step_on(vcpu, BY, self.step_interrupts)?;
        // The instruction may have been the guest's last, or made an event that is waited for.
        if let Some(stop) = self.take_stop() {
            return Ok(Progress::Stopped(stop));
        }
        if let Some((address, access)) = outcome.watched {
            return stopped(Cause::Watchpoint { kind: watched(access), address });
        }
        if let Some(met) = outcome.met {
            return stopped(self.cause(met));
        }
        if outcome.halted {
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

    /// Lets everything that may run until the vCPU does no longer sleep.
    fn wake(&mut self, steps: Steps) -> Result<Moving, Failure> {
        let point = Point { kind: PointKind::Software, address: self.rip(steps.vcpu)?, len: 1 };
        let own = self.stops_at(point.address).is_none();
        if own {
            self.control.insert(BY, steps.vcpu, &engine_point(point)?)?;
        }
        self.control.resume_some(BY, steps.others.with(steps.vcpu))?;
        Ok(Moving::Waking { steps, point: own.then_some(point) })
    }

    fn waking(&mut self, steps: Steps, point: Option<Point>) -> Result<Progress, Failure> {
        let Some(stop) = self.take_stop() else {
            self.moving = Some(Moving::Waking { steps, point });
            return Ok(Progress::Waiting);
        };
        self.control.settle();
        if let Some(point) = point {
            // After the end there is nothing to take away.
            let _ = self.control.remove(BY, steps.vcpu, &engine_point(point)?);
        }
        if !matches!(stop.cause, Cause::Breakpoint { .. }) || self.interrupted {
            return Ok(Progress::Stopped(stop));
        }
        if stop.vcpu == Some(steps.vcpu) {
            let to = self.rip(steps.vcpu)?;
            return self.stepped(steps, to);
        }
        // Another vCPU came to a breakpoint, or to the place where this one sleeps.
        match stop.vcpu.map(|vcpu| self.rip(vcpu)).transpose()? {
            Some(rip) if self.stops_at(rip).is_none() => {
                self.moving = Some(self.wake(steps)?);
                Ok(Progress::Waiting)
            }
            _ => Ok(Progress::Stopped(stop)),
        }
    }

    /// A step could not be made: because everything has ended, or for the reason given.
    fn failed(&mut self, failure: Failure) -> Progress {
        let stop = self.take_stop();
        Progress::Stopped(stop.unwrap_or(Stop { vcpu: None, cause: Cause::Failed(failure.0) }))
    }

    /// The next stop that the engine has told of.
    fn take_stop(&self) -> Option<Stop> {
        let vmm_lite::Stop { vcpu, cause } = self.stops.try_recv().ok()?;
        Some(Stop { vcpu, cause: self.cause(cause) })
    }

    fn cause(&self, cause: StopCause) -> Cause {
        match cause {
            StopCause::Paused { by: Actor::Gdb } => Cause::Interrupted,
            StopCause::Paused { by } => Cause::Paused { by },
            StopCause::Breakpoint { address } => {
                Cause::Breakpoint { hardware: self.stops_at(address).unwrap_or(false) }
            }
            StopCause::Watchpoint { address, access } => Cause::Watchpoint { kind: watched(access), address },
            StopCause::Matched { kind } => Cause::Event(kind.name().to_owned()),
            StopCause::SyscallEntry { number } => Cause::SyscallEntry { number },
            StopCause::SyscallReturn { number } => Cause::SyscallReturn { number },
            StopCause::Ending { why } => Cause::Ending { why, event: None },
            StopCause::Ended { why } => Cause::Ended { why },
        }
    }
}

const fn watched(access: WatchAccess) -> PointKind {
    match access {
        WatchAccess::Write => PointKind::Write,
        WatchAccess::Any => PointKind::Access,
    }
}

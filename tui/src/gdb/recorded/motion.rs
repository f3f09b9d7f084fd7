//! Going through a trace.

use std::collections::{BTreeMap, BTreeSet};

use trace_format::event::{Event, Payload, TrapClass, VECTOR_SYSCALL};

use super::place::{self, Look};
use super::{AT_ONCE, Cause, Direction, Failure, Motion, Point, PointKind, Recorded, Stop, unreadable};

/// So many system calls are remembered by the numbers of their traps; others are looked up again.
const MOST_KNOWN: usize = 4096;

/// A motion that is under way.
pub(super) struct Moving {
    direction: Direction,
    motions: Vec<Motion>,
    /// The last event that was looked at.
    pub(super) at: u64,
    /// When each vCPU was where it began.
    from: Vec<Option<u64>>,
    /// Backwards: a moment that is to be stopped at, of which earlier events may be part.
    found: Option<Found>,
}

#[derive(Clone)]
struct Found {
    number: u64,
    time: u64,
    stop: Stop,
}

/// What is stopped at.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) points: BTreeSet<Point>,
    /// System calls with these numbers, with any if there are none.
    pub(super) syscalls: Option<Vec<u64>>,
    /// Which system call a trap was; `None` for one whose beginning is not to be found.
    known: BTreeMap<u64, Option<u64>>,
}

/// What an event is to a motion.
enum Met {
    Nothing,
    Stop(Stop),
    /// The return of a system call, and it is not known of which.
    Return {
        trap: u64,
        vcpu: u8,
    },
}

impl Recorded {
    /// Begins to move.
    pub(super) fn set_out(&mut self, direction: Direction, motions: &[Motion]) -> Result<(), Failure> {
        let from = (0..self.reader.header().vcpus.max(1))
            .map(|vcpu| {
                let mut time = None;
                self.back_through(vcpu, |_, event| {
                    time = Some(event.time);
                    Look::Done
                })?;
                Ok(time)
            })
            .collect::<Result<_, Failure>>()?;
        let motions = motions.to_vec();
        self.moving = Some(Moving { direction, motions, at: self.cursor, from, found: None });
        Ok(())
    }

    /// Looks at some more events; the stop, if there is one.
    pub(super) fn advance(&mut self, moving: &mut Moving) -> Result<Option<Stop>, Failure> {
        match moving.direction {
            Direction::Forward => self.go_on(moving),
            Direction::Backward => self.go_back(moving),
        }
    }

    fn go_on(&mut self, moving: &mut Moving) -> Result<Option<Stop>, Failure> {
        let mut unknown = None;
        // Numbers do not tell where the end is: the last events may be lost.
        let mut events = 0;
        for found in self.reader.forward(moving.at.saturating_add(1)).take(AT_ONCE) {
            let (number, event) = found.map_err(|error| unreadable(&error))?;
            events += 1;
            match moving.meets(&event, &mut self.wanted) {
                Met::Nothing => moving.at = number,
                Met::Stop(stop) => {
                    self.cursor = number;
                    return Ok(Some(stop));
                }
                Met::Return { trap, vcpu } => {
                    unknown = Some((number, trap, vcpu));
                    break;
                }
            }
        }
        if let Some((number, trap, vcpu)) = unknown {
            // It is looked at again then.
            return self.look_up(number, trap, vcpu).map(|()| None);
        }
        if events == AT_ONCE {
            return Ok(None);
        }
        self.cursor = moving.at;
        Ok(Some(Stop { vcpu: None, cause: Cause::EndOfTrace(Direction::Forward) }))
    }

    fn go_back(&mut self, moving: &mut Moving) -> Result<Option<Stop>, Failure> {
        let mut unknown = None;
        let mut events = 0;
        let mut beginning_of_found = false;
        for found in self.reader.backward(moving.at).take(AT_ONCE) {
            let (number, event) = found.map_err(|error| unreadable(&error))?;
            events += 1;
            if let Some(Found { time, stop, .. }) = &moving.found {
                moving.at = number;
                // It begins with the first event of its moment that tells where the vCPU was.
                if event.time < *time {
                    beginning_of_found = true;
                    break;
                }
                let same = Some(event.vcpu) == stop.vcpu && event.time == *time;
                if same && place::pc(&event).is_some() {
                    moving.found = Some(Found { number, time: *time, stop: stop.clone() });
                }
                continue;
            }
            match moving.meets(&event, &mut self.wanted) {
                Met::Nothing => {}
                Met::Stop(stop) => moving.found = Some(Found { number, time: event.time, stop }),
                Met::Return { trap, vcpu } => {
                    unknown = Some((number, trap, vcpu));
                    break;
                }
            }
            moving.at = number;
        }
        if let Some((number, trap, vcpu)) = unknown {
            return self.look_up(number, trap, vcpu).map(|()| None);
        }
        let beginning = events < AT_ONCE;
        if let Some(found) = moving.found.take_if(|_| beginning || beginning_of_found) {
            self.cursor = found.number;
            return Ok(Some(found.stop));
        }
        if !beginning {
            return Ok(None);
        }
        self.cursor = moving.at;
        Ok(Some(Stop { vcpu: None, cause: Cause::EndOfTrace(Direction::Backward) }))
    }

    /// Finds out which system call of `vcpu` had this trap, which returns at event `number`.
    fn look_up(&mut self, number: u64, trap: u64, vcpu: u8) -> Result<(), Failure> {
        let mut syscall = None;
        self.back_from(number, vcpu, |_, event| match syscall_of(event) {
            Some((id, code)) if id == trap => {
                syscall = Some(code);
                Look::Done
            }
            _ => Look::Further,
        })?;
        self.wanted.remember(trap, syscall);
        Ok(())
    }
}

/// The system call that begins with this event: the number of its trap, and its own.
fn syscall_of(event: &Event) -> Option<(u64, u64)> {
    match &event.payload {
        Payload::Trap(trap) if trap.class == TrapClass::SystemCall => Some((trap.id, trap.code?)),
        _ => None,
    }
}

impl Wanted {
    fn remember(&mut self, trap: u64, syscall: Option<u64>) {
        while self.known.len() >= MOST_KNOWN {
            self.known.pop_first();
        }
        self.known.insert(trap, syscall);
    }

    /// What an event is to who waits for system calls.
    fn syscall(&mut self, event: &Event) -> Met {
        let Some(numbers) = &self.syscalls else { return Met::Nothing };
        let wanted = |number: &u64| numbers.is_empty() || numbers.contains(number);
        let vcpu = Some(event.vcpu);
        if let Some((id, number)) = syscall_of(event) {
            let met = match wanted(&number) {
                true => Met::Stop(Stop { vcpu, cause: Cause::SyscallEntry { number } }),
                false => Met::Nothing,
            };
            self.remember(id, Some(number));
            return met;
        }
        match &event.payload {
            Payload::TrapReturn(back) if back.vector == VECTOR_SYSCALL => match self.known.get(&back.id) {
                None => Met::Return { trap: back.id, vcpu: event.vcpu },
                Some(Some(number)) if wanted(number) => {
                    Met::Stop(Stop { vcpu, cause: Cause::SyscallReturn { number: *number } })
                }
                Some(_) => Met::Nothing,
            },
            _ => Met::Nothing,
        }
    }
}

impl Moving {
    /// Whether everything stops at `event`.
    fn meets(&self, event: &Event, wanted: &mut Wanted) -> Met {
        let vcpu = usize::from(event.vcpu);
        let Some(motion) = self.motions.get(vcpu).filter(|motion| **motion != Motion::Hold) else {
            return Met::Nothing;
        };
        // Where it began is no news.
        if self.from.get(vcpu).copied().flatten() == Some(event.time) {
            return Met::Nothing;
        }
        let Some(pc) = place::pc(event) else { return wanted.syscall(event) };
        let kind = |kind| wanted.points.iter().any(|point| point.kind == kind && point.address == pc);
        let cause = if kind(PointKind::Software) {
            Cause::Breakpoint { hardware: false }
        } else if kind(PointKind::Hardware) {
            Cause::Breakpoint { hardware: true }
        } else {
            match wanted.syscall(event) {
                Met::Nothing => {}
                met => return met,
            }
            match motion {
                Motion::Step => Cause::Stepped,
                Motion::StepRange(range) if !range.contains(&pc) => Cause::Stepped,
                _ => return Met::Nothing,
            }
        };
        Met::Stop(Stop { vcpu: Some(event.vcpu), cause })
    }
}

//! Going through a trace.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use trace_format::Summary;
use trace_format::event::{Event, Kind, Payload, TrapClass, VECTOR_SYSCALL};

use super::place::{self, Look};
use super::{AT_ONCE, Cause, Direction, Failure, Motion, Point, PointKind, Recorded, Stop, bit, unreadable};

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

/// Why going back breaks off.
enum Back {
    /// There is more.
    Further,
    /// It is behind what was found.
    Arrived,
    /// The return of a system call, and it is not known of which.
    Unknown { number: u64, trap: u64, vcpu: u8 },
}

/// Which blocks a motion cannot leave out.
#[derive(Clone, Copy)]
struct Concern {
    /// A bit for each vCPU that moves.
    vcpus: u64,
    /// Returns of system calls matter.
    syscalls: bool,
}

impl Concern {
    fn has(self, block: &Summary) -> bool {
        block.vcpus & self.vcpus != 0
            && (place::has_pc(block) || self.syscalls && block.has_kind(Kind::TrapReturn))
    }
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
        let from = self.places()?.iter().map(|place| place.map(|place| place.time)).collect();
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
        let Self { reader, wanted, .. } = self;
        let concern = moving.concern(wanted);
        let mut events = 0;
        let block = |block: &Summary| concern.has(block);
        let flow = reader.go_through(moving.at.saturating_add(1), block, |number, event| {
            let met = moving.meets(event, wanted);
            if matches!(met, Met::Nothing) {
                moving.at = number;
                events += 1;
                if events < AT_ONCE {
                    return ControlFlow::Continue(());
                }
            }
            ControlFlow::Break((number, met))
        });
        match flow.map_err(|error| unreadable(&error))? {
            ControlFlow::Break((_, Met::Nothing)) => Ok(None),
            ControlFlow::Break((number, Met::Stop(stop))) => {
                self.cursor = number;
                Ok(Some(stop))
            }
            // It is looked at again then.
            ControlFlow::Break((number, Met::Return { trap, vcpu })) => {
                self.look_up(number, trap, vcpu).map(|()| None)
            }
            ControlFlow::Continue(()) => {
                // Numbers do not tell where the end is: the last events may be lost.
                let last = self.reader.backward(u64::MAX).next().transpose();
                let last = last.map_err(|error| unreadable(&error))?;
                self.cursor = last.map_or(moving.at, |(number, _)| number);
                Ok(Some(Stop { vcpu: None, cause: Cause::EndOfTrace(Direction::Forward) }))
            }
        }
    }

    fn go_back(&mut self, moving: &mut Moving) -> Result<Option<Stop>, Failure> {
        let Self { reader, wanted, .. } = self;
        let concern = moving.concern(wanted);
        let mut events = 0;
        let block = |block: &Summary| concern.has(block);
        let flow = reader.back_through(moving.at, block, |number, event| {
            if let Some(found) = &mut moving.found {
                // It begins with the first event of its moment that tells where the vCPU was.
                if event.time < found.time {
                    return ControlFlow::Break(Back::Arrived);
                }
                let same = Some(event.vcpu) == found.stop.vcpu && event.time == found.time;
                if same && place::pc(event).is_some() {
                    found.number = number;
                }
            } else {
                match moving.meets(event, wanted) {
                    Met::Nothing => {}
                    Met::Stop(stop) => moving.found = Some(Found { number, time: event.time, stop }),
                    Met::Return { trap, vcpu } => {
                        return ControlFlow::Break(Back::Unknown { number, trap, vcpu });
                    }
                }
            }
            moving.at = number;
            events += 1;
            if events == AT_ONCE { ControlFlow::Break(Back::Further) } else { ControlFlow::Continue(()) }
        });
        match flow.map_err(|error| unreadable(&error))? {
            ControlFlow::Break(Back::Further) => return Ok(None),
            ControlFlow::Break(Back::Unknown { number, trap, vcpu }) => {
                return self.look_up(number, trap, vcpu).map(|()| None);
            }
            ControlFlow::Break(Back::Arrived) | ControlFlow::Continue(()) => {}
        }
        if let Some(found) = moving.found.take() {
            self.cursor = found.number;
            return Ok(Some(found.stop));
        }
        let first = self.reader.forward(0).next().transpose().map_err(|error| unreadable(&error))?;
        self.cursor = first.map_or(moving.at, |(number, _)| number);
        Ok(Some(Stop { vcpu: None, cause: Cause::EndOfTrace(Direction::Backward) }))
    }

    /// Finds out which system call of `vcpu` had this trap, which returns at event `number`.
    fn look_up(&mut self, number: u64, trap: u64, vcpu: u8) -> Result<(), Failure> {
        let mut syscall = None;
        let wanted = |block: &Summary| block.has_kind(Kind::Trap);
        self.back_from(number, vcpu, wanted, |_, event| match syscall_of(event) {
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
    fn concern(&self, wanted: &Wanted) -> Concern {
        let moves = |(_, motion): &(u8, &Motion)| **motion != Motion::Hold;
        let vcpus = (0_u8..).zip(&self.motions).filter(moves).fold(0, |all, (vcpu, _)| all | bit(vcpu));
        Concern { vcpus, syscalls: wanted.syscalls.is_some() }
    }

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
        let kind = |kind| wanted.points.contains(&Point { kind, address: pc, len: 1 });
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

//! GDB on a recorded trace.
//!
//! Everything stands at one event, under the cursor. A vCPU's registers are those that its events tell of that moment,
//! which is all of them only where registers were recorded and the vCPU was out of the guest; the others are unavailable.
//! Memory is what the guest's image has and the guest has no permission to write. A step goes to the vCPU's next
//! moment of which the trace tells where it was; a breakpoint is met where one of those is at its address.

mod monitor;
mod place;

use std::borrow::Cow;
use std::collections::BTreeSet;

use crossbeam_channel::{Receiver, Select, Sender, bounded};
use trace_format::Reader;
use trace_format::event::{Event, MACHINE};

use super::cursor::Cursor;
use super::debuggee::{
    Abilities, Cause, Debuggee, Direction, Failure, Motion, Point, PointKind, Progress, Region, Stop,
};
use super::monitor::Request;
use super::monitor::trace::unreadable;
use super::registers::RegisterFile;
use place::{Known, Look};

/// Events that are looked at in one go.
const AT_ONCE: usize = 20_000;
/// How far back a vCPU's last events are looked for. One of which there are none in so many is somewhere in the guest.
const FAR: usize = 200_000;

/// A trace that GDB looks at.
pub(crate) struct Recorded {
    reader: Reader,
    /// The guest's image, the one that was recorded.
    image: Option<Cow<'static, [u8]>>,
    /// The event at which everything stands.
    cursor: u64,
    /// The first that tells where a vCPU was.
    first: u64,
    /// Told to a UI beside, which says where to begin.
    shared: Cursor,
    points: BTreeSet<Point>,
    moving: Option<Moving>,
    interrupted: bool,
    /// Nothing happens without GDB; somebody must wait on something.
    _nothing: Sender<()>,
    never: Receiver<()>,
}

struct Moving {
    direction: Direction,
    motions: Vec<Motion>,
    /// The last event that was looked at.
    at: u64,
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

impl Recorded {
    /// At the first event that tells where a vCPU was, or each debugger at the UI's cursor if `shared` has one. `image`
    /// is the one that the trace is of.
    ///
    /// # Errors
    /// If the trace cannot be read.
    pub(crate) fn new(
        mut reader: Reader,
        image: Option<Cow<'static, [u8]>>,
        shared: Cursor,
    ) -> Result<Self, trace_format::Error> {
        let mut first = 0;
        for found in reader.forward(0).take(FAR) {
            let (number, event) = found?;
            if event.vcpu != MACHINE && place::pc(&event).is_some() {
                first = number;
                break;
            }
        }
        let (nothing, never) = bounded(0);
        Ok(Self {
            reader,
            image,
            cursor: first,
            first,
            shared,
            points: BTreeSet::new(),
            moving: None,
            interrupted: false,
            _nothing: nothing,
            never,
        })
    }

    fn current(&mut self) -> Result<Event, Failure> {
        match self.reader.event(self.cursor) {
            Ok(Some(event)) => Ok(event),
            Ok(None) => Err(Failure::new("the trace has no events")),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// A vCPU's events up to the cursor, the last first, while `look` wants more.
    fn back_through(&mut self, vcpu: u8, mut look: impl FnMut(u64, &Event) -> Look) -> Result<(), Failure> {
        for found in self.reader.backward(self.cursor.saturating_add(1)).take(FAR) {
            let (number, event) = found.map_err(|error| unreadable(&error))?;
            if event.vcpu == vcpu && look(number, &event) == Look::Done {
                break;
            }
        }
        Ok(())
    }

    /// Looks at some more events; the stop, if there is one.
    fn advance(&mut self, moving: &mut Moving) -> Result<Option<Stop>, Failure> {
        let Self { reader, points, .. } = self;
        let look =
            |found: Result<(u64, Event), trace_format::Error>| found.map_err(|error| unreadable(&error));
        match moving.direction {
            Direction::Forward => {
                for found in reader.forward(moving.at.saturating_add(1)).take(AT_ONCE) {
                    let (number, event) = look(found)?;
                    moving.at = number;
                    if let Some(stop) = moving.meets(&event, points) {
                        self.cursor = number;
                        return Ok(Some(stop));
                    }
                }
                let last = reader.len().saturating_sub(1);
                if moving.at < last {
                    return Ok(None);
                }
                self.cursor = last;
            }
            Direction::Backward => {
                for found in reader.backward(moving.at).take(AT_ONCE) {
                    let (number, event) = look(found)?;
                    moving.at = number;
                    if let Some(Found { time, stop, .. }) = &moving.found {
                        // It begins with the first event of its moment that tells where the vCPU was.
                        if event.time < *time {
                            break;
                        }
                        let same = Some(event.vcpu) == stop.vcpu && event.time == *time;
                        if same && place::pc(&event).is_some() {
                            moving.found = Some(Found { number, time: *time, stop: stop.clone() });
                        }
                    } else if let Some(stop) = moving.meets(&event, points) {
                        moving.found = Some(Found { number, time: event.time, stop });
                    }
                }
                let beginning = moving.at == 0;
                match moving.found.take() {
                    Some(found) if beginning || !self.may_begin_earlier(&found, moving.at) => {
                        self.cursor = found.number;
                        return Ok(Some(found.stop));
                    }
                    found => moving.found = found,
                }
                if !beginning {
                    return Ok(None);
                }
                self.cursor = 0;
            }
        }
        Ok(Some(Stop { vcpu: None, cause: Cause::EndOfTrace(moving.direction) }))
    }

    /// Whether events before number `at` may be part of what was found.
    fn may_begin_earlier(&mut self, found: &Found, at: u64) -> bool {
        matches!(self.reader.event(at), Ok(Some(event)) if event.time >= found.time)
    }
}

impl Moving {
    /// Whether everything stops at `event`.
    fn meets(&self, event: &Event, points: &BTreeSet<Point>) -> Option<Stop> {
        let vcpu = usize::from(event.vcpu);
        let motion = self.motions.get(vcpu)?;
        let pc = place::pc(event)?;
        // Where it began is no news.
        if *motion == Motion::Hold || self.from.get(vcpu).copied().flatten() == Some(event.time) {
            return None;
        }
        let kind = |kind| points.iter().any(|point| point.kind == kind && point.address == pc);
        let cause = if kind(PointKind::Software) {
            Cause::Breakpoint { hardware: false }
        } else if kind(PointKind::Hardware) {
            Cause::Breakpoint { hardware: true }
        } else {
            match motion {
                Motion::Step => Cause::Stepped,
                Motion::StepRange(range) if !range.contains(&pc) => Cause::Stepped,
                _ => return None,
            }
        };
        Some(Stop { vcpu: Some(event.vcpu), cause })
    }
}

impl Debuggee for Recorded {
    fn vcpus(&self) -> u8 {
        self.reader.header().vcpus.max(1)
    }

    fn abilities(&self) -> Abilities {
        Abilities { reverse: true, ..Abilities::default() }
    }

    fn memory(&self) -> Vec<Region> {
        Vec::new()
    }

    fn attach(&mut self) -> Result<u8, Failure> {
        if let Some(event) = self.shared.ui() {
            self.cursor = event.clamp(self.first, self.reader.len().saturating_sub(1).max(self.first));
        }
        let vcpu = self.current()?.vcpu;
        self.shared.stopped_at(self.cursor);
        Ok(if vcpu < self.vcpus() { vcpu } else { 0 })
    }

    fn detach(&mut self, _took_leave: bool) {
        self.points.clear();
        self.moving = None;
        self.shared.gone();
    }

    fn kill(&mut self) {
        self.detach(true);
    }

    fn describe(&mut self, vcpu: u8) -> String {
        let header = self.reader.header().clone();
        let mut last = None;
        let outcome = self.back_through(vcpu, |number, event| {
            last = Some(format!("#{number} {}: {}", event.payload.kind().label(), event.describe(&header)));
            Look::Done
        });
        match (outcome, last) {
            (Err(failure), _) => failure.0,
            (Ok(()), Some(last)) => last,
            (Ok(()), None) => "no events yet".to_owned(),
        }
    }

    fn registers(&mut self, vcpu: u8) -> Result<RegisterFile, Failure> {
        let mut known = Known::new(self.current()?.time);
        self.back_through(vcpu, |_, event| known.take(event))?;
        Ok(known.file())
    }

    fn set_registers(&mut self, _: u8, _: &RegisterFile) -> Result<(), Failure> {
        Err(unchangeable())
    }

    fn read(&mut self, _: u8, gva: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let facts = self.reader.header().image.as_ref();
        let (Some(facts), Some(image)) = (facts, &self.image) else {
            return Err(Failure::new(match facts {
                None => "the trace does not tell what is in memory",
                Some(_) => "what is in memory is known only from the guest's image: give it with --image",
            }));
        };
        let known = facts.at(image, gva).unwrap_or_default();
        let count = known.len().min(buffer.len());
        match (buffer.get_mut(..count), known.get(..count)) {
            (Some(buffer), Some(known)) if count > 0 || buffer.is_empty() => buffer.copy_from_slice(known),
            _ => {}
        }
        if count == 0 && !buffer.is_empty() {
            return Err(Failure(format!(
                "the trace does not tell what is at {gva:#x}: the guest could write it"
            )));
        }
        Ok(count)
    }

    fn write(&mut self, _: u8, _: u64, _: &[u8]) -> Result<(), Failure> {
        Err(unchangeable())
    }

    fn insert(&mut self, _: u8, point: Point) -> Result<(), Failure> {
        match point.kind {
            PointKind::Software | PointKind::Hardware => {
                self.points.insert(point);
                Ok(())
            }
            PointKind::Write | PointKind::Read | PointKind::Access => {
                Err(Failure::new("the trace does not tell of accesses to memory"))
            }
        }
    }

    fn remove(&mut self, _: u8, point: Point) -> Result<(), Failure> {
        self.points.remove(&point);
        Ok(())
    }

    fn catch_syscalls(&mut self, _: Option<Vec<u64>>) -> Result<(), Failure> {
        Err(Failure::new("system calls of a recorded trace cannot be caught: break at the kernel's entry"))
    }

    fn resume(&mut self, direction: Direction, motions: &[Motion]) -> Result<(), Failure> {
        let from = (0..self.vcpus())
            .map(|vcpu| {
                let mut time = None;
                self.back_through(vcpu, |_, event| {
                    time = Some(event.time);
                    Look::Done
                })?;
                Ok(time)
            })
            .collect::<Result<_, Failure>>()?;
        self.interrupted = false;
        let motions = motions.to_vec();
        self.moving = Some(Moving { direction, motions, at: self.cursor, from, found: None });
        Ok(())
    }

    fn interrupt(&mut self) {
        self.interrupted = true;
    }

    fn wait_on<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.never);
    }

    fn poll(&mut self) -> Progress {
        let Some(mut moving) = self.moving.take() else { return Progress::Waiting };
        let stop = if self.interrupted {
            self.cursor = moving.at;
            Stop { vcpu: None, cause: Cause::Interrupted }
        } else {
            match self.advance(&mut moving) {
                Ok(Some(stop)) => stop,
                Ok(None) => {
                    self.moving = Some(moving);
                    return Progress::Busy;
                }
                Err(Failure(why)) => Stop { vcpu: None, cause: Cause::Failed(why) },
            }
        };
        self.shared.stopped_at(self.cursor);
        Progress::Stopped(stop)
    }

    fn monitor(&mut self, vcpu: u8, request: Request) -> Result<String, Failure> {
        self.answer(vcpu, request)
    }
}

fn unchangeable() -> Failure {
    Failure::new("a recorded trace cannot be changed")
}

#[cfg(test)]
mod tests;

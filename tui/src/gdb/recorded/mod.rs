//! GDB on a recorded trace.
//!
//! Everything stands at one event, under the cursor. A vCPU's registers are those that its events tell of that moment,
//! which is all of them only where registers were recorded and the vCPU was out of the guest; the others are unavailable.
//! Memory is what the guest's image has and the guest has no permission to write, and what events of that moment tell of
//! it. A step goes to the vCPU's next moment of which the trace tells where it was; a breakpoint is met where one of those
//! is at its address, and system calls where their traps begin and return.

mod memory;
mod monitor;
mod motion;
mod place;

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Select, Sender, bounded};
use trace_format::event::{Event, MACHINE};
use trace_format::{Reader, Summary};

use super::cursor::Cursor;
use super::debuggee::{
    Abilities, Cause, Debuggee, Direction, Failure, Motion, Point, PointKind, Progress, Region, Stop,
};
use super::monitor::Request;
use super::monitor::trace::unreadable;
use super::registers::RegisterFile;
use memory::MOST_OF_A_MOMENT;
pub(crate) use memory::Moment;
use motion::{Moving, Wanted};
use place::{Known, Look};

/// Events that are looked at in one go.
const AT_ONCE: usize = 20_000;
/// How many of a vCPU's events are looked at for what only some of them tell.
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
    wanted: Wanted,
    /// The last event of each vCPU, as of an event.
    places: Option<(u64, Arc<[Option<Place>]>)>,
    /// What is known of memory, at an event and for a vCPU.
    moment: Option<((u64, u8), Moment)>,
    moving: Option<Moving>,
    interrupted: bool,
    /// Nothing happens without GDB; somebody must wait on something.
    _nothing: Sender<()>,
    never: Receiver<()>,
}

/// Where a vCPU was last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// The event.
    number: u64,
    /// Its time, ns.
    time: u64,
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
        let first = reader.go_through(0, place::has_pc, |number, event| {
            let tells = event.vcpu != MACHINE && place::pc(event).is_some();
            if tells { ControlFlow::Break(number) } else { ControlFlow::Continue(()) }
        })?;
        let first = first.break_value().unwrap_or(0);
        let (nothing, never) = bounded(0);
        Ok(Self {
            reader,
            image,
            cursor: first,
            first,
            shared,
            wanted: Wanted::default(),
            places: None,
            moment: None,
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

    /// The last event of each vCPU up to the cursor; of one that has none yet, none.
    fn places(&mut self) -> Result<Arc<[Option<Place>]>, Failure> {
        if let Some((_, places)) = self.places.as_ref().filter(|(of, _)| *of == self.cursor) {
            return Ok(Arc::clone(places));
        }
        let mut places = vec![None; usize::from(self.vcpus())];
        // A bit for each that is still to be found: blocks are left out that have none of these.
        let missing = Cell::new((0..self.vcpus()).fold(0_u64, |all, vcpu| all | bit(vcpu)));
        let wanted = |block: &Summary| block.vcpus & missing.get() != 0;
        let looked = self.reader.back_through(self.cursor.saturating_add(1), wanted, |number, event| {
            if let Some(place @ None) = places.get_mut(usize::from(event.vcpu)) {
                *place = Some(Place { number, time: event.time });
                missing.set(missing.get() & !bit(event.vcpu));
            }
            if missing.get() == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let _ = looked.map_err(|error| unreadable(&error))?;
        let places: Arc<[_]> = places.into();
        self.places = Some((self.cursor, Arc::clone(&places)));
        Ok(places)
    }

    /// A vCPU's events up to number `last` in blocks that are `wanted`, the last first, while `look` wants more.
    fn back_from(
        &mut self,
        last: u64,
        vcpu: u8,
        wanted: impl Fn(&Summary) -> bool,
        mut look: impl FnMut(u64, &Event) -> Look,
    ) -> Result<(), Failure> {
        let mut looked = 0;
        let wanted = |block: &Summary| block.has_vcpu(vcpu) && wanted(block);
        let flow = self.reader.back_through(last.saturating_add(1), wanted, |number, event| {
            if event.vcpu != vcpu {
                return ControlFlow::Continue(());
            }
            looked += 1;
            let done = look(number, event) == Look::Done || looked == FAR;
            if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        flow.map(drop).map_err(|error| unreadable(&error))
    }

    /// The number of the last event of the cursor's moment: of the same time.
    fn end_of_moment(&mut self) -> Result<u64, Failure> {
        let time = self.current()?.time;
        let mut end = self.cursor;
        for found in self.reader.forward(self.cursor.saturating_add(1)).take(MOST_OF_A_MOMENT) {
            let (number, event) = found.map_err(|error| unreadable(&error))?;
            if event.time > time {
                break;
            }
            end = number;
        }
        Ok(end)
    }

    /// What is known of memory in the cursor's moment, for a vCPU.
    fn moment(&mut self, vcpu: u8) -> Result<&Moment, Failure> {
        let key = (self.cursor, vcpu);
        let moment = match self.moment.take() {
            Some((of, moment)) if of == key => moment,
            _ => Moment::of(&mut self.reader, self.cursor, vcpu).map_err(|error| unreadable(&error))?,
        };
        let (_, moment) = self.moment.insert((key, moment));
        Ok(moment)
    }

    /// What the guest's image has at `gva`, and the guest cannot have written.
    fn constant(&self, gva: u64) -> &[u8] {
        let facts = self.reader.header().image.as_ref();
        facts.zip(self.image.as_ref()).and_then(|(facts, image)| facts.at(image, gva)).unwrap_or_default()
    }

    /// Why nothing is known of memory at `gva`.
    fn unknown(&self, gva: u64) -> Failure {
        match (&self.reader.header().image, &self.image) {
            (Some(_), None) => Failure(format!(
                "the trace alone does not tell what is at {gva:#x} now: give the guest's image with --image"
            )),
            (Some(_), Some(_)) => {
                Failure(format!("the trace does not tell what is at {gva:#x} now: the guest could write it"))
            }
            (None, _) => Failure(format!("the trace does not tell what is at {gva:#x} now")),
        }
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
            // The event itself may be lost.
            let before = self.reader.backward(event.saturating_add(1)).next();
            let readable = before.transpose().map_err(|error| unreadable(&error))?;
            self.cursor = readable.map_or(self.first, |(number, _)| number.max(self.first));
        }
        let vcpu = self.current()?.vcpu;
        self.shared.stopped_at(self.cursor);
        Ok(if vcpu < self.vcpus() { vcpu } else { 0 })
    }

    fn detach(&mut self, _took_leave: bool) {
        self.wanted = Wanted::default();
        self.moving = None;
        self.shared.gone();
    }

    fn kill(&mut self) {
        self.detach(true);
    }

    fn describe(&mut self, vcpu: u8) -> String {
        let last = match self.places() {
            Ok(places) => places.get(usize::from(vcpu)).copied().flatten(),
            Err(failure) => return failure.0,
        };
        let Some(Place { number, .. }) = last else { return "no events yet".to_owned() };
        match self.reader.event(number) {
            Ok(Some(event)) => {
                format!(
                    "#{number} {}: {}",
                    event.payload.kind().label(),
                    event.describe(self.reader.header())
                )
            }
            Ok(None) => format!("#{number}"),
            Err(error) => unreadable(&error).0,
        }
    }

    fn registers(&mut self, vcpu: u8) -> Result<RegisterFile, Failure> {
        // What comes after the cursor in the same moment tells of it, too.
        let (time, end) = (self.current()?.time, self.end_of_moment()?);
        let mut known = Known::new(time);
        self.back_from(end, vcpu, |_| true, |_, event| known.take(event))?;
        Ok(known.file())
    }

    fn set_registers(&mut self, _: u8, _: &RegisterFile) -> Result<(), Failure> {
        Err(unchangeable())
    }

    fn read(&mut self, vcpu: u8, gva: u64, buffer: &mut [u8]) -> Result<usize, Failure> {
        let mut count = 0;
        while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
            let at = gva.wrapping_add(count as u64);
            let constant = self.constant(at);
            let read = if constant.is_empty() {
                self.moment(vcpu)?.read(at, rest)
            } else {
                let both = rest.iter_mut().zip(constant);
                both.map(|(place, byte)| *place = *byte).count()
            };
            if read == 0 {
                break;
            }
            count += read;
        }
        if count == 0 && !buffer.is_empty() { Err(self.unknown(gva)) } else { Ok(count) }
    }

    fn write(&mut self, _: u8, _: u64, _: &[u8]) -> Result<(), Failure> {
        Err(unchangeable())
    }

    fn insert(&mut self, _: u8, point: Point) -> Result<(), Failure> {
        match point.kind {
            PointKind::Software | PointKind::Hardware => {
                self.wanted.points.insert(point);
                Ok(())
            }
            PointKind::Write | PointKind::Read | PointKind::Access => {
                Err(Failure::new("the trace does not tell of accesses to memory"))
            }
        }
    }

    fn remove(&mut self, _: u8, point: Point) -> Result<(), Failure> {
        self.wanted.points.remove(&point);
        Ok(())
    }

    fn catch_syscalls(&mut self, numbers: Option<Vec<u64>>) -> Result<(), Failure> {
        self.wanted.syscalls = numbers;
        Ok(())
    }

    fn resume(&mut self, direction: Direction, motions: &[Motion]) -> Result<(), Failure> {
        self.interrupted = false;
        self.set_out(direction, motions)
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

/// A bit for a vCPU, as in [`Summary::vcpus`]. A trace has no more than that has bits for.
fn bit(vcpu: u8) -> u64 {
    1_u64.checked_shl(vcpu.into()).unwrap_or(0)
}

fn unchangeable() -> Failure {
    Failure::new("a recorded trace cannot be changed")
}

#[cfg(test)]
mod tests;

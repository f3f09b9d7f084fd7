//! What a picture of a trace is made of: slices that begin and end, instants, flows from one to another, and counters,
//! each on a [`Track`]. What is drawn where is decided here once; formats are a [`Canvas`] each.
//!
//! - A vCPU's own track has its guest's handlers, from trap to return, and in them its exits, from when the exit
//!   happened until it was handled. Exits and handlers of one vCPU nest; where the trace says otherwise, the inner one is
//!   cut.
//! - Handlers do not always return where they were entered: a kernel switches tasks, and some returns are not seen. What is
//!   certain is that the vCPU has left a handler when an outer one returns, when a trap comes out of user mode, or when one
//!   comes from further up the same stack.
//! - IPIs and other interrupts overlap as they like, so they have lanes. A flow leads from an IPI's sending to each vCPU
//!   that takes it.
//! - Everything else is an instant.
//!
//! A filter chooses events; the slice of an event that is chosen ends where it ends, whether or not the event that ends it
//! is chosen.

mod lanes;
mod rate;
mod track;
mod vcpu;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

pub(super) use self::track::Track;
use self::vcpu::{Interrupt, Vcpu};
use crate::event::{
    DeliveryMode, Event, Ipi, IpiAccepted, MACHINE, Payload, VECTOR_SYSCALL, VcpuState, vector_name,
};
use crate::filter::Subject;

/// The most counters of a guest that have a track; further ones are instants.
const MAX_COUNTERS: usize = 256;

/// Draws.
pub(super) trait Canvas {
    /// Appends what an event says: [`Seen::said`]. It is made ahead, on all cores, if the canvas wants that.
    const SAY: Option<fn(&Subject<'_>, &mut Vec<u8>)> = None;

    /// There is a track; nothing was drawn on it yet.
    fn track(&mut self, track: Track, name: &str) -> io::Result<()>;
    /// A slice begins.
    fn begin(&mut self, mark: &Mark<'_>) -> io::Result<()>;
    /// The innermost open slice of a track ends at `time`, in ns. What is to be said about how is in `note`.
    fn end(&mut self, track: Track, time: u64, note: Option<&str>) -> io::Result<()>;
    /// Something without a duration.
    fn instant(&mut self, mark: &Mark<'_>) -> io::Result<()>;
    /// A counter's value from `time` on.
    fn count(&mut self, track: Track, time: u64, value: u64) -> io::Result<()>;
}

/// A slice or an instant.
#[derive(Clone, Debug)]
pub(super) struct Mark<'a> {
    pub(super) track: Track,
    pub(super) name: Cow<'a, str>,
    /// The event that it is of.
    pub(super) seen: Seen<'a>,
    pub(super) flow: Flow,
}

/// An event, and whether it was chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) shown: bool,
    /// What it says, made by [`Canvas::SAY`] if it was chosen.
    pub(super) said: &'a [u8],
}

/// What leads to a mark, or from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    None,
    /// The sending of an IPI, to these vCPUs, a bit each.
    From {
        ipi: u64,
        targets: u16,
    },
    /// The acceptance of an IPI by a vCPU.
    To {
        ipi: u64,
        target: u8,
    },
}

impl Flow {
    /// A number for each arrow: there is one for every target of every IPI.
    pub(super) fn ids(self) -> impl Iterator<Item = u64> {
        let (ipi, targets) = match self {
            Self::None => (0, 0),
            Self::From { ipi, targets } => (ipi, targets),
            Self::To { ipi, target } => (ipi, 1_u16.checked_shl(target.into()).unwrap_or(0)),
        };
        let vcpus = (0..16_u64).filter(move |vcpu| targets >> vcpu & 1 != 0);
        vcpus.map(move |vcpu| ipi.wrapping_shl(4) | vcpu)
    }
}

/// Draws a trace event by event. What it remembers is bounded, whatever the trace says.
pub(super) struct Picture<C> {
    canvas: Tracks<C>,
    vcpus: BTreeMap<u8, Vcpu>,
    counters: BTreeMap<String, u16>,
    /// Time of the last event, ns.
    last: u64,
    /// Exits are counted over so many ns.
    window: u64,
}

impl<C: Canvas> Picture<C> {
    /// For a trace of so many ns.
    pub(super) fn new(canvas: C, duration_ns: u64) -> Self {
        let window = rate::window(duration_ns);
        let canvas = Tracks { canvas, known: BTreeSet::new() };
        Self { canvas, vcpus: BTreeMap::new(), counters: BTreeMap::new(), last: 0, window }
    }

    /// Takes the next event.
    pub(super) fn add(&mut self, seen: Seen<'_>) -> io::Result<()> {
        let event = seen.subject.event;
        self.last = self.last.max(event.time);
        if event.vcpu == MACHINE {
            return self.note(seen, Track::Machine);
        }
        let window = self.window;
        let vcpu = self.vcpus.entry(event.vcpu).or_insert_with(|| Vcpu::new(event.vcpu, window));
        let canvas = &mut self.canvas;
        vcpu.settle(event.time, canvas)?;
        // Whether it is drawn as the end of something.
        let ended = match &event.payload {
            Payload::Exit(exit) => return vcpu.exit(exit, seen, canvas),
            Payload::Trap(trap) => return vcpu.trap(trap, seen, canvas),
            Payload::State(state) => return vcpu.state(state, seen, canvas),
            Payload::Ipi(ipi) => return vcpu.ipi(ipi, seen, canvas),
            Payload::IpiAccepted(accepted) => return self.accepted(accepted, seen),
            Payload::Irq(irq) => return vcpu.irq(irq, seen, canvas),
            Payload::TrapReturn(back) => vcpu.trap_return(back, event.time, canvas)?,
            Payload::IpiEoi(eoi) => {
                let ended = vcpu.acknowledged(Interrupt::Ipi(eoi.id), event.time, canvas)?;
                self.heard_of(eoi.sender, eoi.id, event, true)?;
                ended
            }
            Payload::IrqEoi(eoi) => {
                vcpu.acknowledged(Interrupt::Irq(eoi.source, eoi.vector), event.time, canvas)?
            }
            _ => false,
        };
        if ended { Ok(()) } else { self.note(seen, Track::Vcpu(event.vcpu)) }
    }

    /// Whether nothing that was shown is open, so that later events only matter if they are shown themselves.
    pub(super) fn is_complete(&self) -> bool {
        self.vcpus.values().all(Vcpu::is_complete)
    }

    /// Ends what is open, and hands back the canvas.
    pub(super) fn finish(mut self) -> io::Result<C> {
        for vcpu in self.vcpus.values_mut() {
            vcpu.finish(self.last, &mut self.canvas)?;
        }
        Ok(self.canvas.canvas)
    }

    fn accepted(&mut self, accepted: &IpiAccepted, seen: Seen<'_>) -> io::Result<()> {
        let event = seen.subject.event;
        let mode = self.vcpus.get_mut(&accepted.sender).and_then(|sender| sender.mode_of(accepted.id));
        let acknowledged = mode.is_none_or(is_acknowledged);
        self.heard_of(accepted.sender, accepted.id, event, !acknowledged)?;
        match self.vcpus.get_mut(&event.vcpu) {
            Some(vcpu) => vcpu.accepted(accepted, mode, seen, &mut self.canvas),
            None => Ok(()),
        }
    }

    /// An IPI reached the vCPU of `event`; `done` if nothing more is to be heard of it there.
    fn heard_of(&mut self, sender: u8, id: u64, event: &Event, done: bool) -> io::Result<()> {
        match self.vcpus.get_mut(&sender) {
            Some(sender) => sender.heard_of(id, event.vcpu, event.time, done, &mut self.canvas),
            None => Ok(()),
        }
    }

    /// A counter's value, or an instant.
    fn note(&mut self, seen: Seen<'_>, track: Track) -> io::Result<()> {
        let Seen { subject, shown, .. } = seen;
        if !shown {
            return Ok(());
        }
        if let Payload::Counter(counter) = &subject.event.payload
            && let Some(number) = self.counter(counter.name.as_str())
        {
            let track = Track::Counter(number);
            self.canvas.know(track, counter.name.as_str())?;
            return self.canvas.canvas.count(track, subject.event.time, counter.value);
        }
        self.canvas.instant(Mark { track, name: name(&subject.event.payload), seen, flow: Flow::None })
    }

    fn counter(&mut self, name: &str) -> Option<u16> {
        if let Some(number) = self.counters.get(name) {
            return Some(*number);
        }
        let number =
            u16::try_from(self.counters.len()).ok().filter(|_| self.counters.len() < MAX_COUNTERS)?;
        self.counters.insert(name.to_owned(), number);
        Some(number)
    }
}

/// A canvas that is told of each track before something is drawn on it.
struct Tracks<C> {
    canvas: C,
    known: BTreeSet<Track>,
}

impl<C: Canvas> Tracks<C> {
    fn know(&mut self, track: Track, name: &str) -> io::Result<()> {
        if self.known.contains(&track) {
            return Ok(());
        }
        if let Some(vcpu) = track.vcpu()
            && self.known.insert(Track::Vcpu(vcpu))
        {
            self.canvas.track(Track::Vcpu(vcpu), "")?;
        }
        if self.known.insert(track) { self.canvas.track(track, name) } else { Ok(()) }
    }

    fn begin(&mut self, mark: Mark<'_>) -> io::Result<()> {
        self.know(mark.track, "")?;
        self.canvas.begin(&mark)
    }

    fn instant(&mut self, mark: Mark<'_>) -> io::Result<()> {
        self.know(mark.track, "")?;
        self.canvas.instant(&mark)
    }

    fn end(&mut self, track: Track, time: u64, note: Option<&str>) -> io::Result<()> {
        self.canvas.end(track, time, note)
    }

    fn count(&mut self, track: Track, time: u64, value: u64) -> io::Result<()> {
        self.know(track, "")?;
        self.canvas.count(track, time, value)
    }
}

/// Whether a target says that it is done with such an IPI.
const fn is_acknowledged(mode: DeliveryMode) -> bool {
    matches!(mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority)
}

/// What an IPI is called.
fn ipi_name(ipi: &Ipi) -> String {
    if is_acknowledged(ipi.mode) {
        format!("ipi {:#x}", ipi.vector)
    } else {
        format!("ipi {}", ipi.mode.name())
    }
}

/// What an event is called: the same for all events that a picture's reader would count together.
fn name(payload: &Payload) -> Cow<'_, str> {
    match payload {
        Payload::Exit(exit) => exit.reason.name().into(),
        Payload::State(state @ (VcpuState::Paused { by } | VcpuState::Reset { by })) => {
            format!("{} by {}", state.name(), by.name()).into()
        }
        Payload::State(VcpuState::Stopped { why }) => format!("stopped: {why}").into(),
        Payload::State(state) => state.name().into(),
        Payload::Marker(marker) => marker.text.as_str().into(),
        Payload::Fixup(fixup) => format!("fixup {}", fixup.kind.name()).into(),
        other => other.kind().name().into(),
    }
}

/// What a trap is called: a system call has its number, an interrupt its handler's name.
fn trap_name(subject: Subject<'_>) -> Cow<'_, str> {
    let Payload::Trap(trap) = &subject.event.payload else { return "trap".into() };
    match (trap.vector, vector_name(trap.vector), trap.code) {
        (VECTOR_SYSCALL, Some(name), Some(number)) => format!("{name} {number}").into(),
        (_, Some(name), _) => name.into(),
        (vector, None, _) => match subject.header.symbolize(trap.handler) {
            Some((symbol, _)) => format!("{vector:#x} {symbol}").into(),
            None => format!("vector {vector:#x}").into(),
        },
    }
}

#[cfg(test)]
mod tests;

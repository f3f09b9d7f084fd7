//! What one vCPU is in the middle of.

use std::io;

use super::lanes::{Lanes, Open};
use super::rate::Rate;
use super::{Canvas, Flow, Mark, Seen, Track, Tracks, ipi_name, is_acknowledged, name, trap_name};
use crate::event::{DeliveryMode, Exit, Ipi, IpiAccepted, Irq, IrqSource, Trap, TrapReturn, VcpuState};

/// Handlers that interrupt each other more often than this have not really done so.
const MAX_NESTED: usize = 16;
/// The kernel stacks of Linux are so large, and aligned.
const STACK: u64 = 16 << 10;

/// How a slice ended that nothing ended.
const NO_RETURN: Option<&str> = Some("its return was not seen: the vCPU was elsewhere by then");
const NOT_ACKNOWLEDGED: Option<&str> = Some("nothing more was heard of it");
const END_OF_TRACE: Option<&str> = Some("open at the end of the trace");

/// Something that interrupts a vCPU and is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    Ipi(u64),
    Irq(IrqSource, u8),
}

/// An IPI that is on its way.
#[derive(Clone, Copy, Debug)]
struct Sending {
    id: u64,
    mode: DeliveryMode,
    shown: bool,
}

impl PartialEq for Sending {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

#[derive(Debug)]
pub(super) struct Vcpu {
    number: u8,
    /// The handlers that it is in, the innermost last.
    handlers: Vec<Handler>,
    /// When the exit that was drawn last has been handled, ns.
    handled: Option<u64>,
    /// A state is shown.
    in_state: bool,
    sent: Lanes<Sending>,
    taken: Lanes<Interrupt>,
    rate: Rate,
}

#[derive(Clone, Copy, Debug)]
struct Handler {
    id: u64,
    /// Where it came from.
    rsp: u64,
    cpl: u8,
    shown: bool,
}

impl Handler {
    /// Whether `trap` shows that this handler is not running any more.
    const fn is_left(&self, trap: &Trap) -> bool {
        let same_stack = self.cpl == trap.cpl && self.rsp / STACK == trap.rsp / STACK;
        trap.cpl == 3 || (same_stack && trap.rsp >= self.rsp)
    }
}

impl Vcpu {
    pub(super) fn new(number: u8, window: u64) -> Self {
        Self {
            number,
            handlers: Vec::new(),
            handled: None,
            in_state: false,
            sent: Lanes::default(),
            taken: Lanes::default(),
            rate: Rate::new(window),
        }
    }

    /// It is `time`: an exit may have been handled since.
    pub(super) fn settle<C: Canvas>(&mut self, time: u64, canvas: &mut Tracks<C>) -> io::Result<()> {
        match self.handled.take_if(|end| *end <= time) {
            Some(end) => canvas.end(Track::Vcpu(self.number), end, None),
            None => Ok(()),
        }
    }

    /// Something happens at `time` that cannot happen while an exit is handled, so that it must be over.
    fn cut<C: Canvas>(&mut self, time: u64, canvas: &mut Tracks<C>) -> io::Result<()> {
        match self.handled.take() {
            Some(end) => canvas.end(Track::Vcpu(self.number), end.min(time), None),
            None => Ok(()),
        }
    }

    pub(super) fn exit<C: Canvas>(
        &mut self,
        exit: &Exit,
        seen: Seen<'_>,
        canvas: &mut Tracks<C>,
    ) -> io::Result<()> {
        let Seen { subject, shown, .. } = seen;
        let time = subject.event.time;
        self.cut(time, canvas)?;
        if !shown {
            return Ok(());
        }
        for (time, rate) in self.rate.add(time) {
            canvas.count(Track::Rate(self.number), time, rate)?;
        }
        self.handled = Some(time.saturating_add(exit.handling_ns));
        canvas.begin(self.mark(seen))
    }

    pub(super) fn trap<C: Canvas>(
        &mut self,
        trap: &Trap,
        seen: Seen<'_>,
        canvas: &mut Tracks<C>,
    ) -> io::Result<()> {
        let Seen { subject, shown, .. } = seen;
        let time = subject.event.time;
        self.cut(time, canvas)?;
        // Whoever is left, so is what interrupted them.
        let left = self.handlers.iter().position(|handler| handler.is_left(trap));
        let full = (self.handlers.len() >= MAX_NESTED).then_some(0);
        if let Some(stay) = left.or(full) {
            self.leave(stay, time, NO_RETURN, canvas)?;
        }
        self.handlers.push(Handler { id: trap.id, rsp: trap.rsp, cpl: trap.cpl, shown });
        if !shown {
            return Ok(());
        }
        canvas.begin(Mark { name: trap_name(subject), ..self.mark(seen) })
    }

    /// Whether the return was that of a handler that is known to run.
    pub(super) fn trap_return<C: Canvas>(
        &mut self,
        back: &TrapReturn,
        time: u64,
        canvas: &mut Tracks<C>,
    ) -> io::Result<bool> {
        self.cut(time, canvas)?;
        let Some(place) = self.handlers.iter().position(|handler| handler.id == back.id) else {
            return Ok(false);
        };
        self.leave(place + 1, time, NO_RETURN, canvas)?;
        self.leave(place, time, None, canvas)?;
        Ok(true)
    }

    /// Ends all handlers but the `stay` outermost.
    fn leave<C: Canvas>(
        &mut self,
        stay: usize,
        time: u64,
        note: Option<&str>,
        canvas: &mut Tracks<C>,
    ) -> io::Result<()> {
        let track = Track::Vcpu(self.number);
        let left = self.handlers.drain(stay.min(self.handlers.len())..);
        left.rev().filter(|handler| handler.shown).try_for_each(|_| canvas.end(track, time, note))
    }

    pub(super) fn state<C: Canvas>(
        &mut self,
        state: &VcpuState,
        seen: Seen<'_>,
        canvas: &mut Tracks<C>,
    ) -> io::Result<()> {
        let Seen { subject, shown, .. } = seen;
        let track = Track::State(self.number);
        if matches!(state, VcpuState::Reset { .. }) {
            // Runs or is paused as before.
            let mark = Mark { track, ..self.mark(seen) };
            return if shown { canvas.instant(mark) } else { Ok(()) };
        }
        if std::mem::take(&mut self.in_state) {
            canvas.end(track, subject.event.time, None)?;
        }
        if !shown {
            return Ok(());
        }
        let mark = Mark { track, ..self.mark(seen) };
        if matches!(state, VcpuState::Stopped { .. }) {
            return canvas.instant(mark);
        }
        self.in_state = true;
        canvas.begin(mark)
    }

    pub(super) fn ipi<C: Canvas>(
        &mut self,
        ipi: &Ipi,
        seen: Seen<'_>,
        canvas: &mut Tracks<C>,
    ) -> io::Result<()> {
        let Seen { subject, shown, .. } = seen;
        let key = Sending { id: ipi.id, mode: ipi.mode, shown };
        let (lane, before) = self.sent.begin(key, subject.event.time, ipi.targets);
        let track = Track::Sent(self.number, lane);
        end_sending(before, track, canvas)?;
        if !shown {
            return Ok(());
        }
        let flow = Flow::From { ipi: ipi.id, targets: ipi.targets };
        canvas.begin(Mark { track, name: ipi_name(ipi).into(), seen, flow })?;
        if ipi.targets == 0 {
            self.heard_of(ipi.id, self.number, subject.event.time, true, canvas)?;
        }
        Ok(())
    }

    /// How IPI `id` of this vCPU is delivered, if it is not over.
    pub(super) fn mode_of(&mut self, id: u64) -> Option<DeliveryMode> {
        self.sent.find(&key(id)).map(|open| open.key.mode)
    }

    /// IPI `id` of this vCPU has reached `target`; `done` if nothing more is to be heard of it there.
    pub(super) fn heard_of<C: Canvas>(
        &mut self,
        id: u64,
        target: u8,
        time: u64,
        done: bool,
        canvas: &mut Tracks<C>,
    ) -> io::Result<()> {
        let Some(open) = self.sent.find(&key(id)) else { return Ok(()) };
        open.last = time;
        if done {
            open.waiting &= !1_u16.checked_shl(target.into()).unwrap_or(0);
        }
        let (over, shown) = (open.waiting == 0, open.key.shown);
        if over
            && let Some(lane) = self.sent.end(&key(id))
            && shown
        {
            canvas.end(Track::Sent(self.number, lane), time, None)?;
        }
        Ok(())
    }

    pub(super) fn accepted<C: Canvas>(
        &mut self,
        accepted: &IpiAccepted,
        mode: Option<DeliveryMode>,
        seen: Seen<'_>,
        canvas: &mut Tracks<C>,
    ) -> io::Result<()> {
        if !seen.shown {
            return Ok(());
        }
        let flow = Flow::To { ipi: accepted.id, target: self.number };
        if let Some(mode) = mode.filter(|mode| !is_acknowledged(*mode)) {
            let name = format!("ipi {}", mode.name()).into();
            return canvas.instant(Mark { name, flow, ..self.mark(seen) });
        }
        let name = format!("ipi {:#x} from cpu{}", accepted.vector, accepted.sender);
        self.interrupted(Interrupt::Ipi(accepted.id), name, flow, seen, canvas)
    }

    pub(super) fn irq<C: Canvas>(
        &mut self,
        irq: &Irq,
        seen: Seen<'_>,
        canvas: &mut Tracks<C>,
    ) -> io::Result<()> {
        if !seen.shown {
            return Ok(());
        }
        let name = format!("{} {:#x}", irq.source, irq.vector);
        self.interrupted(Interrupt::Irq(irq.source, irq.vector), name, Flow::None, seen, canvas)
    }

    fn interrupted<C: Canvas>(
        &mut self,
        key: Interrupt,
        name: String,
        flow: Flow,
        seen: Seen<'_>,
        canvas: &mut Tracks<C>,
    ) -> io::Result<()> {
        let (lane, before) = self.taken.begin(key, seen.subject.event.time, 0);
        let track = Track::Taken(self.number, lane);
        if let Some(open) = before {
            canvas.end(track, open.last, NOT_ACKNOWLEDGED)?;
        }
        canvas.begin(Mark { track, name: name.into(), seen, flow })
    }

    /// Whether the interrupt that is acknowledged was shown.
    pub(super) fn acknowledged<C: Canvas>(
        &mut self,
        key: Interrupt,
        time: u64,
        canvas: &mut Tracks<C>,
    ) -> io::Result<bool> {
        let Some(lane) = self.taken.end(&key) else { return Ok(false) };
        canvas.end(Track::Taken(self.number, lane), time, None)?;
        Ok(true)
    }

    /// Whether nothing that was shown is open.
    pub(super) fn is_complete(&self) -> bool {
        self.handled.is_none()
            && !self.in_state
            && !self.handlers.iter().any(|handler| handler.shown)
            && !self.sent.iter().any(|open| open.key.shown)
            && self.taken.iter().next().is_none()
    }

    /// The last event of the trace was at `time`.
    pub(super) fn finish<C: Canvas>(&mut self, time: u64, canvas: &mut Tracks<C>) -> io::Result<()> {
        // What encloses the last exit ends no sooner than that.
        let end = self.handled.unwrap_or(0).max(time);
        self.cut(end, canvas)?;
        self.leave(0, end, END_OF_TRACE, canvas)?;
        if std::mem::take(&mut self.in_state) {
            canvas.end(Track::State(self.number), time, END_OF_TRACE)?;
        }
        for (lane, open) in self.sent.drain() {
            end_sending(Some(open), Track::Sent(self.number, lane), canvas)?;
        }
        for (lane, open) in self.taken.drain() {
            canvas.end(Track::Taken(self.number, lane), open.last, NOT_ACKNOWLEDGED)?;
        }
        for (time, rate) in self.rate.finish() {
            canvas.count(Track::Rate(self.number), time, rate)?;
        }
        Ok(())
    }

    fn mark<'a>(&self, seen: Seen<'a>) -> Mark<'a> {
        let track = Track::Vcpu(self.number);
        Mark { track, name: name(&seen.subject.event.payload), seen, flow: Flow::None }
    }
}

/// What finds the sending of IPI `id`.
const fn key(id: u64) -> Sending {
    Sending { id, mode: DeliveryMode::Fixed, shown: false }
}

fn end_sending<C: Canvas>(
    open: Option<Open<Sending>>,
    track: Track,
    canvas: &mut Tracks<C>,
) -> io::Result<()> {
    match open {
        Some(open) if open.key.shown => canvas.end(track, open.last, NOT_ACKNOWLEDGED),
        _ => Ok(()),
    }
}

//! The ring from a thread that makes events to the recorder's.
//!
//! An event takes four cache lines, and writing them costs a vCPU as much as the rest of its recording. But nearly all
//! events are exits for a handful of reasons, which fit into one line. So the ring holds lines; an event that does not
//! fit is in a second ring, and a line without content keeps its place.

use rtrb::{PushError, RingBuffer};
use trace_format::event::{Event, Exit, ExitReason, MsrDirection, Payload};

/// Events that fit into a ring.
pub(super) const RING_EVENTS: usize = 8192;
/// Events among them that do not fit into a line.
const LONG_EVENTS: usize = RING_EVENTS / 4;

/// The end of the thread that makes events.
#[derive(Debug)]
pub(super) struct Producer {
    lines: rtrb::Producer<Line>,
    long: rtrb::Producer<Event>,
}

/// The recorder's end.
#[derive(Debug)]
pub(super) struct Consumer {
    lines: rtrb::Consumer<Line>,
    long: rtrb::Consumer<Event>,
}

/// What comes out of a ring: an event, packed.
#[derive(Debug)]
pub(super) enum Packed {
    Exit(ShortExit),
    /// On the heap, which is the recorder's thread's affair and keeps the common case small.
    Other(Box<Event>),
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
enum Line {
    Exit(ShortExit),
    /// The next event of the second ring.
    Long,
}

const _: () = assert!(size_of::<Line>() == 64, "a line of the ring is a cache line");

/// An exit's event, for most reasons.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortExit {
    time: u64,
    rip: u64,
    guest_ns: u64,
    handling_ns: u64,
    reason: ShortReason,
    vcpu: u8,
    cpl: u8,
}

/// [`ExitReason`], as far as it is short.
#[derive(Clone, Copy, Debug)]
enum ShortReason {
    Io { write: bool, size: u8, port: u16, count: u32, data: u64 },
    Mmio { write: bool, size: u8, gpa: u64, data: u64 },
    Msr { write: bool, failed: bool, index: u32, reason: u32, data: u64 },
    Probe { pc: u64 },
    Halt,
    InterruptWindow,
    Interrupted,
}

/// A ring's two ends.
pub(super) fn ring() -> (Producer, Consumer) {
    let (lines, lines_out) = RingBuffer::new(RING_EVENTS);
    let (long, long_out) = RingBuffer::new(LONG_EVENTS);
    (Producer { lines, long }, Consumer { lines: lines_out, long: long_out })
}

impl Producer {
    /// Appends an exit's event without a copy of it, unless it is long or there is no room: whether it did.
    #[inline]
    pub(super) fn push_exit(&mut self, time: u64, vcpu: u8, exit: &Exit) -> bool {
        ShortExit::new(time, vcpu, exit).is_some_and(|short| self.lines.push(Line::Exit(short)).is_ok())
    }

    /// Appends an event, or gives its payload back if there is no room.
    #[expect(clippy::result_large_err, reason = "who gets it back tries again with it")]
    pub(super) fn push(&mut self, time: u64, vcpu: u8, payload: Payload) -> Result<(), Payload> {
        if let Payload::Exit(exit) = &payload
            && self.push_exit(time, vcpu, exit)
        {
            return Ok(());
        }
        // The recorder that finds the line must find the event, which is there before it.
        if self.lines.is_full() {
            return Err(payload);
        }
        self.long.push(Event { time, vcpu, payload }).map_err(|PushError::Full(event)| event.payload)?;
        // There is room: nobody else pushes.
        let _ = self.lines.push(Line::Long);
        Ok(())
    }

    /// Whether the recorder is gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.lines.is_abandoned()
    }
}

impl Consumer {
    /// The next event, if there is one.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Packed> {
        match self.lines.pop().ok()? {
            Line::Exit(exit) => Some(Packed::Exit(exit)),
            Line::Long => self.long.pop().ok().map(|event| Packed::Other(Box::new(event))),
        }
    }
}

impl Packed {
    /// When it happened, ns.
    #[inline]
    pub(super) fn time(&self) -> u64 {
        match self {
            Self::Exit(exit) => exit.time,
            Self::Other(event) => event.time,
        }
    }

    /// Lets it happen at `time`, if it happened before. An exit then took that much less to handle: it is over when it
    /// was over.
    pub(super) fn delay_until(&mut self, time: u64) {
        let mut none = 0;
        let (at, handling_ns) = match self {
            Self::Exit(exit) => (&mut exit.time, &mut exit.handling_ns),
            Self::Other(event) => match &mut **event {
                Event { time, payload: Payload::Exit(exit), .. } => (time, &mut exit.handling_ns),
                Event { time, .. } => (time, &mut none),
            },
        };
        *handling_ns = handling_ns.saturating_sub(time.saturating_sub(*at));
        *at = time.max(*at);
    }

    #[inline]
    pub(super) fn unpack(self) -> Event {
        match self {
            Self::Exit(exit) => exit.unpack(),
            Self::Other(event) => *event,
        }
    }
}

impl ShortExit {
    #[inline]
    fn new(time: u64, vcpu: u8, exit: &Exit) -> Option<Self> {
        let &Exit { ref reason, rip, cpl, guest_ns, handling_ns } = exit;
        let reason = ShortReason::new(reason)?;
        Some(Self { time, rip, guest_ns, handling_ns, reason, vcpu, cpl })
    }

    #[inline]
    fn unpack(self) -> Event {
        let Self { time, rip, guest_ns, handling_ns, reason, vcpu, cpl } = self;
        let reason = reason.unpack();
        Event { time, vcpu, payload: Payload::Exit(Exit { reason, rip, cpl, guest_ns, handling_ns }) }
    }
}

impl ShortReason {
    #[inline]
    fn new(reason: &ExitReason) -> Option<Self> {
        Some(match *reason {
            ExitReason::IoIn { port, size, count, data } => {
                Self::Io { write: false, size, port, count, data }
            }
            ExitReason::IoOut { port, size, count, data } => {
                Self::Io { write: true, size, port, count, data }
            }
            ExitReason::MmioRead { gpa, size, data } => Self::Mmio { write: false, size, gpa, data },
            ExitReason::MmioWrite { gpa, size, data } => Self::Mmio { write: true, size, gpa, data },
            ExitReason::Msr { direction, index, data, reason, failed } => {
                Self::Msr { write: direction == MsrDirection::Write, failed, index, reason, data }
            }
            ExitReason::Probe { pc } => Self::Probe { pc },
            ExitReason::Halt => Self::Halt,
            ExitReason::InterruptWindow => Self::InterruptWindow,
            ExitReason::Interrupted => Self::Interrupted,
            _ => return None,
        })
    }

    #[inline]
    fn unpack(self) -> ExitReason {
        match self {
            Self::Io { write: false, size, port, count, data } => {
                ExitReason::IoIn { port, size, count, data }
            }
            Self::Io { write: true, size, port, count, data } => {
                ExitReason::IoOut { port, size, count, data }
            }
            Self::Mmio { write: false, size, gpa, data } => ExitReason::MmioRead { gpa, size, data },
            Self::Mmio { write: true, size, gpa, data } => ExitReason::MmioWrite { gpa, size, data },
            Self::Msr { write, failed, index, reason, data } => {
                let direction = if write { MsrDirection::Write } else { MsrDirection::Read };
                ExitReason::Msr { direction, index, data, reason, failed }
            }
            Self::Probe { pc } => ExitReason::Probe { pc },
            Self::Halt => ExitReason::Halt,
            Self::InterruptWindow => ExitReason::InterruptWindow,
            Self::Interrupted => ExitReason::Interrupted,
        }
    }
}

#[cfg(test)]
mod tests {
    use trace_format::event::{AddressSpace, VcpuState};

    use super::*;

    /// One of each short reason, each field different, and two long ones.
    fn payloads() -> Vec<Payload> {
        let msr =
            |direction, failed| ExitReason::Msr { direction, index: 0x10, data: 1 << 40, reason: 4, failed };
        let reasons = [
            ExitReason::IoIn { port: 0x3f8, size: 1, count: 2, data: 3 },
            ExitReason::IoOut { port: 0xe9, size: 4, count: 5, data: u64::MAX },
            ExitReason::MmioRead { gpa: 0xfee0_0000, size: 4, data: 6 },
            ExitReason::MmioWrite { gpa: u64::MAX, size: 8, data: 7 },
            msr(MsrDirection::Read, true),
            msr(MsrDirection::Write, false),
            ExitReason::Hypercall { number: 1, arguments: [2, 3, 4, 5, 6, 7], result: 8 },
            ExitReason::Probe { pc: 9 },
            ExitReason::Halt,
            ExitReason::Shutdown,
            ExitReason::InterruptWindow,
            ExitReason::Interrupted,
        ];
        let exits = (0_u8..).zip(reasons).map(|(n, reason)| {
            let [rip, guest_ns, handling_ns] = [1, 2, 3].map(|part| 10 * u64::from(n) + part);
            Payload::Exit(Exit { reason, rip, cpl: n % 4, guest_ns, handling_ns })
        });
        exits
            .chain([
                Payload::AddressSpace(AddressSpace { old: 1, new: 2 }),
                Payload::State(VcpuState::Halted),
            ])
            .collect()
    }

    #[test]
    fn what_comes_out_is_what_went_in_and_in_that_order() {
        let (mut producer, mut consumer) = ring();
        for (n, payload) in (0_u8..).zip(payloads()) {
            assert_eq!(producer.push(100 + u64::from(n), n, payload), Ok(()));
        }
        for (n, payload) in (0_u8..).zip(payloads()) {
            let packed = consumer.pop().unwrap();
            assert_eq!(packed.time(), 100 + u64::from(n));
            assert_eq!(packed.unpack(), Event { time: 100 + u64::from(n), vcpu: n, payload });
        }
        assert!(consumer.pop().is_none());
    }

    #[test]
    fn what_there_is_no_room_for_comes_back() {
        let (mut producer, mut consumer) = ring();
        let long = Payload::State(VcpuState::Halted);
        let exit =
            |rip| Payload::Exit(Exit { reason: ExitReason::Halt, rip, cpl: 0, guest_ns: 0, handling_ns: 0 });
        for _ in 0..LONG_EVENTS {
            assert_eq!(producer.push(0, 0, long.clone()), Ok(()));
        }
        assert_eq!(producer.push(0, 0, long.clone()), Err(long.clone()));
        for rip in LONG_EVENTS..RING_EVENTS {
            assert_eq!(producer.push(0, 0, exit(rip as u64)), Ok(()));
        }
        assert_eq!(producer.push(0, 0, exit(0)), Err(exit(0)));
        assert!(consumer.pop().is_some());
        // There is room again, and nothing of what was refused is in it.
        assert_eq!(producer.push(0, 0, long.clone()), Ok(()));
        assert_eq!(producer.push(0, 0, long.clone()), Err(long.clone()));
        let left: Vec<_> =
            std::iter::from_fn(|| consumer.pop()).map(|packed| packed.unpack().payload).collect();
        assert_eq!(left.len(), RING_EVENTS);
        assert_eq!(left.last(), Some(&long));
        assert_eq!(left.get(LONG_EVENTS - 1), Some(&exit(LONG_EVENTS as u64)));
        assert!(!producer.is_abandoned());
        drop(consumer);
        assert!(producer.is_abandoned());
    }
}

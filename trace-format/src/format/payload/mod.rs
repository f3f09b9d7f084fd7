//! Payloads: what happened, apart from when.
//!
//! Each kind of event, and each exit reason, has a tag that never changes. Behind it is a structure of this module's
//! own in postcard: the event model can be rearranged freely without touching the file. Fields may be appended to a
//! structure; readers ignore what follows the fields that they know.
//!
//! Addresses and counters are stored as differences from earlier events of the same vCPU in the same block. State that
//! such differences refer to belongs to the tags that this version knows: skipping an event with another tag leaves
//! it right.

/// Gives a structure a function that takes it from the front of bytes field by field, in their order, as postcard would
/// on its way through serde: for those that must be fast.
macro_rules! quick {
    ($($name:ident { $($field:ident: $take:ident),* })*) => {$(
        impl $name {
            #[inline(always)]
            fn take(bytes: &mut &[u8]) -> Result<Self, $crate::format::Malformed> {
                Ok(Self { $($field: $crate::format::payload::quick::$take(bytes)?),* })
            }
        }
    )*};
}

mod code;
mod exit;
mod interrupt;
mod memory;
#[cfg(test)]
mod older;
mod quick;
mod registers;
mod run;
mod screen;
mod trap;
mod walk;

use serde::{Deserialize, Serialize};

use super::Malformed;
use crate::event::Payload;

/// The longest encoded payload; the longest that is written takes a third of it.
const MAX_PAYLOAD: usize = 1024;

/// Tags. Below 64: an event with a time only. 64 to 127: with a duration. 128 to 191: an exit, see [`exit`].
mod tag {
    pub(super) const DATA: u8 = 1;
    pub(super) const TRAP: u8 = 2;
    pub(super) const WALK: u8 = 4;
    pub(super) const PAGE_TABLE_WRITE: u8 = 5;
    pub(super) const ADDRESS_SPACE: u8 = 6;
    pub(super) const IPI: u8 = 7;
    pub(super) const STATE: u8 = 12;
    pub(super) const CONSOLE: u8 = 15;
    pub(super) const MARKER: u8 = 16;
    pub(super) const COUNTER: u8 = 17;
    pub(super) const DEBUGGER: u8 = 18;
    pub(super) const FIXUP: u8 = 19;
    pub(super) const LOST: u8 = 20;
    pub(super) const SCREEN: u8 = 21;
    pub(super) const SLIDE: u8 = 22;
    pub(super) const REGISTERS: u8 = 23;

    pub(super) const TRAP_RETURN: u8 = TIMED + 3;
    pub(super) const IPI_ACCEPTED: u8 = TIMED + 8;
    pub(super) const IPI_EOI: u8 = TIMED + 9;
    pub(super) const IRQ: u8 = TIMED + 10;
    pub(super) const IRQ_EOI: u8 = TIMED + 11;
    pub(super) const RECLAIM: u8 = TIMED + 13;
    pub(super) const REFAULT: u8 = TIMED + 14;

    const TIMED: u8 = 64;
}

/// Which timing columns an event with a tag uses. It holds for tags that no version knows yet, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timing {
    /// Its time.
    Plain,
    /// Its time and a duration.
    Timed,
    /// Its time, the time in the guest before and the time it took to handle.
    Exit,
}

impl Timing {
    #[inline]
    pub(crate) const fn of(tag: u8) -> Self {
        match tag {
            64..128 => Self::Timed,
            128..192 => Self::Exit,
            _ => Self::Plain,
        }
    }
}

/// The values of an event that are in timing columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Of a [`Timing::Timed`] event: its duration, latency or cost, ns.
    pub(crate) duration: u64,
    /// Of an exit, ns.
    pub(crate) guest: u64,
    /// Of an exit, ns.
    pub(crate) handling: u64,
}

/// What the differences of a vCPU's payloads refer to. A block begins with zeros.
#[derive(Default)]
pub(crate) struct Deltas {
    exits: exit::Deltas,
    traps: trap::Deltas,
    walks: walk::Deltas,
    memory: memory::Deltas,
    registers: registers::Deltas,
    ipi: u64,
    /// What a debugger, a fix-up or data were last about.
    address: u64,
}

/// The tag of `payload` and its values for the timing columns.
pub(crate) fn tag_and_times(payload: &Payload) -> (u8, Times) {
    let timed = |duration| Times { duration, ..Times::default() };
    match payload {
        Payload::Exit(e) => (
            exit::tag_of(&e.reason),
            Times { guest: e.guest_ns, handling: e.handling_ns, ..Times::default() },
        ),
        Payload::Data(_) => (tag::DATA, Times::default()),
        Payload::Trap(_) => (tag::TRAP, Times::default()),
        Payload::TrapReturn(e) => (tag::TRAP_RETURN, timed(e.duration_ns)),
        Payload::Walk(_) => (tag::WALK, Times::default()),
        Payload::PageTableWrite(_) => (tag::PAGE_TABLE_WRITE, Times::default()),
        Payload::AddressSpace(_) => (tag::ADDRESS_SPACE, Times::default()),
        Payload::Ipi(_) => (tag::IPI, Times::default()),
        Payload::IpiAccepted(e) => (tag::IPI_ACCEPTED, timed(e.latency_ns)),
        Payload::IpiEoi(e) => (tag::IPI_EOI, timed(e.latency_ns)),
        Payload::Irq(e) => (tag::IRQ, timed(e.latency_ns)),
        Payload::IrqEoi(e) => (tag::IRQ_EOI, timed(e.latency_ns)),
        Payload::State(_) => (tag::STATE, Times::default()),
        Payload::Reclaim(e) => (tag::RECLAIM, timed(e.cost_ns)),
        Payload::Refault(e) => (tag::REFAULT, timed(e.cost_ns)),
        Payload::Console(_) => (tag::CONSOLE, Times::default()),
        Payload::Marker(_) => (tag::MARKER, Times::default()),
        Payload::Counter(_) => (tag::COUNTER, Times::default()),
        Payload::Debugger(_) => (tag::DEBUGGER, Times::default()),
        Payload::Fixup(_) => (tag::FIXUP, Times::default()),
        Payload::Lost(_) => (tag::LOST, Times::default()),
        Payload::Screen(_) => (tag::SCREEN, Times::default()),
        Payload::Slide(_) => (tag::SLIDE, Times::default()),
        Payload::Registers(_) => (tag::REGISTERS, Times::default()),
    }
}

/// Appends the length of `payload` and its structure to `out`.
pub(crate) fn encode(
    payload: &Payload,
    deltas: &mut Deltas,
    e: &mut Encoder,
    out: &mut Vec<u8>,
) -> Result<(), postcard::Error> {
    e.used = 0;
    match payload {
        Payload::Exit(v) => exit::encode(v, &mut deltas.exits, e),
        Payload::Trap(v) => trap::encode(v, &mut deltas.traps, e),
        Payload::TrapReturn(v) => trap::encode_return(v, &mut deltas.traps, e),
        Payload::Walk(v) => walk::encode(v, &mut deltas.walks, e),
        Payload::PageTableWrite(v) => memory::encode_write(v, &mut deltas.memory, e),
        Payload::AddressSpace(v) => memory::encode_space(v, &mut deltas.memory, e),
        Payload::Reclaim(v) => memory::encode_range(v.gpa, v.length, &mut deltas.memory, e),
        Payload::Refault(v) => memory::encode_range(v.gpa, v.length, &mut deltas.memory, e),
        Payload::Ipi(v) => interrupt::encode_ipi(v, &mut deltas.ipi, e),
        Payload::IpiAccepted(v) => interrupt::encode_accepted(v, &mut deltas.ipi, e),
        Payload::IpiEoi(v) => interrupt::encode_eoi(v, &mut deltas.ipi, e),
        Payload::Irq(v) => interrupt::encode_irq(v.source, v.vector, e),
        Payload::IrqEoi(v) => interrupt::encode_irq(v.source, v.vector, e),
        Payload::Data(v) => run::encode_data(v, e),
        Payload::State(v) => run::encode_state(v, e),
        Payload::Console(v) => run::encode_console(v, e),
        Payload::Marker(v) => run::encode_marker(v, e),
        Payload::Counter(v) => run::encode_counter(v, e),
        Payload::Debugger(v) => run::encode_debugger(v, &mut deltas.address, e),
        Payload::Fixup(v) => run::encode_fixup(v, &mut deltas.address, e),
        Payload::Lost(v) => run::encode_lost(v, e),
        Payload::Screen(v) => screen::encode(v, e),
        Payload::Slide(v) => run::encode_slide(v, e),
        Payload::Registers(v) => registers::encode(v, &mut deltas.registers, e),
    }?;
    super::varint::put(out, e.used as u64);
    out.extend_from_slice(&e.buffer[..e.used]);
    Ok(())
}

/// Decodes the structure in `bytes` into `out`. False, and `out` as it was, for an event that this version does not know,
/// by its tag or by a code within it.
#[inline]
pub(crate) fn decode(
    tag: u8,
    bytes: &[u8],
    times: Times,
    deltas: &mut Deltas,
    out: &mut Payload,
) -> Result<bool, Malformed> {
    #[cfg(test)]
    if older::does_not_know(tag) {
        return Ok(false);
    }
    if matches!(Timing::of(tag), Timing::Exit) {
        return exit::decode(tag, bytes, times, &mut deltas.exits, out);
    }
    let payload = match tag {
        tag::TRAP => return trap::decode(bytes, &mut deltas.traps, out),
        tag::TRAP_RETURN => {
            Some(Payload::TrapReturn(trap::decode_return(bytes, times.duration, &mut deltas.traps)?))
        }
        tag::WALK => return walk::decode(bytes, &mut deltas.walks, out),
        tag::PAGE_TABLE_WRITE => {
            Some(Payload::PageTableWrite(memory::decode_write(bytes, &mut deltas.memory)?))
        }
        tag::ADDRESS_SPACE => Some(Payload::AddressSpace(memory::decode_space(bytes, &mut deltas.memory)?)),
        tag::RECLAIM => {
            Some(Payload::Reclaim(memory::decode_reclaim(bytes, times.duration, &mut deltas.memory)?))
        }
        tag::REFAULT => {
            Some(Payload::Refault(memory::decode_refault(bytes, times.duration, &mut deltas.memory)?))
        }
        tag::IPI => interrupt::decode_ipi(bytes, &mut deltas.ipi)?.map(Payload::Ipi),
        tag::IPI_ACCEPTED => {
            Some(Payload::IpiAccepted(interrupt::decode_accepted(bytes, times.duration, &mut deltas.ipi)?))
        }
        tag::IPI_EOI => Some(Payload::IpiEoi(interrupt::decode_eoi(bytes, times.duration, &mut deltas.ipi)?)),
        tag::IRQ => interrupt::decode_irq(bytes, times.duration)?.map(Payload::Irq),
        tag::IRQ_EOI => interrupt::decode_irq_eoi(bytes, times.duration)?.map(Payload::IrqEoi),
        tag::DATA => run::decode_data(bytes)?.map(Payload::Data),
        tag::STATE => run::decode_state(bytes)?.map(Payload::State),
        tag::CONSOLE => run::decode_console(bytes)?.map(Payload::Console),
        tag::MARKER => run::decode_marker(bytes)?.map(Payload::Marker),
        tag::COUNTER => run::decode_counter(bytes)?.map(Payload::Counter),
        tag::DEBUGGER => run::decode_debugger(bytes, &mut deltas.address)?.map(Payload::Debugger),
        tag::FIXUP => run::decode_fixup(bytes, &mut deltas.address)?.map(Payload::Fixup),
        tag::LOST => run::decode_lost(bytes)?.map(Payload::Lost),
        tag::SCREEN => screen::decode(bytes)?.map(Payload::Screen),
        tag::SLIDE => Some(Payload::Slide(run::decode_slide(bytes)?)),
        tag::REGISTERS => registers::decode(bytes, &mut deltas.registers)?.map(Payload::Registers),
        _ => None,
    };
    let known = payload.is_some();
    if let Some(payload) = payload {
        *out = payload;
    }
    Ok(known)
}

/// Collects a payload's structures.
pub(crate) struct Encoder {
    buffer: [u8; MAX_PAYLOAD],
    used: usize,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { buffer: [0; MAX_PAYLOAD], used: 0 }
    }
}

type Encoded = Result<(), postcard::Error>;

impl Encoder {
    /// Appends a structure.
    #[inline]
    fn put<T: Serialize>(&mut self, value: &T) -> Encoded {
        self.used += postcard::to_slice(value, &mut self.buffer[self.used..])?.len();
        Ok(())
    }
}

/// Takes a structure from the front of `bytes`.
#[inline]
fn take<'a, T: Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, Malformed> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|_| Malformed("payload"))?;
    *bytes = rest;
    Ok(value)
}

/// The difference of `value` from `last`, which becomes `value`.
#[inline]
pub(crate) fn delta(value: u64, last: &mut u64) -> i64 {
    let difference = value.wrapping_sub(*last) as i64;
    *last = value;
    difference
}

/// The inverse of [`delta`].
#[inline]
pub(crate) fn undelta(difference: i64, last: &mut u64) -> u64 {
    *last = last.wrapping_add(difference as u64);
    *last
}

//! What events say, field by field: for JSON and for exports.

use std::fmt::Display;

use arrayvec::ArrayVec;

use super::text;
use crate::event::{
    Actor, Debugger, Event, Exit, ExitReason, Level, MACHINE, Payload, Registers, StopReason, Trap,
    VcpuState, Walk, WalkOutcome,
};
use crate::header::Header;
use crate::screen::character;

/// The value of a field.
#[derive(Clone, Copy)]
pub(crate) enum Said<'a> {
    /// There is the field, but this event has no value in it.
    Nothing,
    Truth(bool),
    Number(u64),
    /// A number whose bits or place count: an address, a register's content, data.
    Hex(u64),
    /// One of the program's own names.
    Name(&'static str),
    /// Text, which may come from a guest.
    Text(&'a str),
    /// Text that is made when it is wanted.
    Shown(&'a dyn Display),
    /// A function and how far within it.
    Symbol(&'a str, u64),
    /// Bytes, shown as digits.
    Bytes(&'a [u8]),
    Numbers(&'a [u8]),
    Hexes(&'a [u64]),
    Levels(&'a [Level]),
}

/// Takes fields one by one.
pub(crate) trait Visitor {
    type Error;
    fn field(&mut self, name: &'static str, said: Said<'_>) -> Result<(), Self::Error>;
}

/// Shows `visitor` where and when an event was, and what kind of event it is.
pub(super) fn when_and_where<V: Visitor>(event: &Event, visitor: &mut V) -> Result<(), V::Error> {
    let Event { time, vcpu, payload } = event;
    visitor.field("time", (*time).into())?;
    visitor.field("vcpu", (*vcpu != MACHINE).then_some(*vcpu).into())?;
    visitor.field("kind", payload.kind().name().into())
}

/// Shows `visitor` what an event says beyond that.
pub(crate) fn details<V: Visitor>(event: &Event, header: &Header, visitor: &mut V) -> Result<(), V::Error> {
    Fields { visitor, header }.payload(&event.payload)
}

/// Appends `number` in hexadecimal, as everywhere in JSON. An export does little else, so it does not go through `fmt`.
pub(crate) fn push_hex(out: &mut String, number: u64) {
    out.push_str("0x");
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|digit| hex_digit((number >> (4 * digit)) as u8)));
}

/// Appends each byte as two digits.
pub(crate) fn push_bytes(out: &mut String, bytes: &[u8]) {
    out.extend(bytes.iter().flat_map(|byte| [hex_digit(byte >> 4), hex_digit(*byte)]));
}

/// The digit for the low four bits.
fn hex_digit(bits: u8) -> char {
    char::from_digit(u32::from(bits & 0xf), 16).unwrap_or_default()
}

macro_rules! said_numbers {
    ($($of:ty),*) => {
        $(impl From<$of> for Said<'_> {
            fn from(number: $of) -> Self {
                Self::Number(number.into())
            }
        })*
    };
}
said_numbers!(u8, u16, u32, u64);

impl From<bool> for Said<'_> {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

impl From<&'static str> for Said<'_> {
    fn from(name: &'static str) -> Self {
        Self::Name(name)
    }
}

impl<'a, T: Into<Said<'a>>> From<Option<T>> for Said<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

struct Fields<'a, V> {
    visitor: &'a mut V,
    header: &'a Header,
}

impl<V: Visitor> Fields<'_, V> {
    fn put<'a>(&mut self, name: &'static str, value: impl Into<Said<'a>>) -> Result<(), V::Error> {
        self.visitor.field(name, value.into())
    }

    fn hex(&mut self, name: &'static str, value: u64) -> Result<(), V::Error> {
        self.visitor.field(name, Said::Hex(value))
    }

    fn text(&mut self, name: &'static str, value: impl Display) -> Result<(), V::Error> {
        self.visitor.field(name, Said::Shown(&value))
    }

    /// `rip`, and its symbol if it has one.
    fn rip(&mut self, rip: u64) -> Result<(), V::Error> {
        self.hex("rip", rip)?;
        match self.header.symbolize(rip) {
            Some((name, offset)) => self.put("symbol", Said::Symbol(name, offset)),
            None => Ok(()),
        }
    }

    fn by(&mut self, by: Actor) -> Result<(), V::Error> {
        self.put("by", by.name())
    }

    fn payload(&mut self, payload: &Payload) -> Result<(), V::Error> {
        match payload {
            Payload::Exit(e) => self.exit(e),
            Payload::Data(e) => {
                self.put("offset", e.offset)?;
                self.put("bytes", Said::Bytes(&e.bytes))
            }
            Payload::Trap(e) => self.trap(e),
            Payload::TrapReturn(e) => {
                self.put("id", e.id)?;
                self.put("vector", e.vector)?;
                self.text("name", text::vector(e.vector))?;
                self.put("duration_ns", e.duration_ns)?;
                self.rip(e.rip)
            }
            Payload::Walk(e) => self.walk(e),
            Payload::PageTableWrite(e) => {
                self.hex("table", e.table)?;
                self.put("level", e.level)?;
                self.hex("entry_gpa", e.entry_gpa)?;
                self.hex("old", e.old)?;
                self.hex("new", e.new)?;
                self.hex("gva", e.gva)
            }
            Payload::AddressSpace(e) => {
                self.hex("old", e.old)?;
                self.hex("new", e.new)
            }
            Payload::Ipi(e) => {
                self.put("id", e.id)?;
                self.hex("icr", e.icr)?;
                self.put("vector", e.vector)?;
                self.put("mode", e.mode.name())?;
                self.put("shorthand", e.shorthand.name())?;
                let targets: ArrayVec<u8, 16> = (0..16).filter(|vcpu| e.targets >> vcpu & 1 != 0).collect();
                self.put("targets", Said::Numbers(&targets))
            }
            Payload::IpiAccepted(e) => {
                self.ipi(e.id, e.sender, e.vector, e.latency_ns)?;
                self.put("merged", e.merged)
            }
            Payload::IpiEoi(e) => self.ipi(e.id, e.sender, e.vector, e.latency_ns),
            Payload::Irq(e) => {
                self.text("source", e.source)?;
                self.put("vector", e.vector)?;
                self.put("latency_ns", e.latency_ns)
            }
            Payload::IrqEoi(e) => {
                self.text("source", e.source)?;
                self.put("vector", e.vector)?;
                self.put("latency_ns", e.latency_ns)
            }
            Payload::State(e) => self.state(e),
            Payload::Reclaim(e) => self.range(e.gpa, e.length, e.cost_ns),
            Payload::Refault(e) => self.range(e.gpa, e.length, e.cost_ns),
            Payload::Console(e) => {
                self.hex(e.port_or_gpa(), e.port.into())?;
                self.put("bytes", Said::Bytes(&e.bytes))?;
                self.put("text", Said::Text(&String::from_utf8_lossy(&e.bytes)))
            }
            Payload::Marker(e) => {
                self.put("by_guest", e.by_guest)?;
                self.put("text", Said::Text(&e.text))?;
                self.hex("value", e.value)
            }
            Payload::Counter(e) => {
                self.put("name", Said::Text(&e.name))?;
                self.put("value", e.value)
            }
            Payload::Debugger(e) => self.debugger(e),
            Payload::Fixup(e) => {
                self.put("fixup", e.kind.name())?;
                self.put("mnemonic", (!e.mnemonic.is_empty()).then_some(Said::Text(&e.mnemonic)))?;
                self.rip(e.rip)
            }
            Payload::Lost(e) => {
                self.put("count", e.count)?;
                self.put("reason", e.reason.name())
            }
            Payload::Screen(e) => {
                self.put("columns", e.columns)?;
                self.put("row", e.row)?;
                self.put("first", e.first)?;
                let cursor = e.cursor.map(|(row, column)| [row, column]);
                self.put("cursor", cursor.as_ref().map(|cursor| Said::Numbers(cursor)))?;
                let text: String = e.cells.iter().map(|&cell| character(cell)).collect();
                self.put("text", Said::Text(&text))?;
                let attributes: Vec<u8> = e.cells.iter().map(|cell| cell.to_le_bytes()[1]).collect();
                self.put("attributes", Said::Bytes(&attributes))
            }
            Payload::Slide(e) => self.hex("slide", e.slide),
            Payload::Registers(e) => {
                let mut values = Registers::NAMES.into_iter().zip(e.values());
                values.try_for_each(
                    |(name, value)| if name == "rip" { self.rip(value) } else { self.hex(name, value) },
                )
            }
        }
    }

    fn exit(&mut self, exit: &Exit) -> Result<(), V::Error> {
        self.put("reason", exit.reason.name())?;
        self.reason(&exit.reason)?;
        self.rip(exit.rip)?;
        self.put("cpl", exit.cpl)?;
        self.put("guest_ns", exit.guest_ns)?;
        self.put("handling_ns", exit.handling_ns)
    }

    fn reason(&mut self, reason: &ExitReason) -> Result<(), V::Error> {
        match reason {
            ExitReason::IoIn { port, size, count, data } | ExitReason::IoOut { port, size, count, data } => {
                self.hex("port", (*port).into())?;
                self.put("size", *size)?;
                self.put("count", *count)?;
                self.hex("data", *data)
            }
            ExitReason::MmioRead { gpa, size, data } | ExitReason::MmioWrite { gpa, size, data } => {
                self.hex("gpa", *gpa)?;
                self.put("size", *size)?;
                self.hex("data", *data)
            }
            ExitReason::Msr { direction: _, index, data, reason, failed } => {
                self.hex("index", (*index).into())?;
                self.hex("data", *data)?;
                self.put("msr_reason", *reason)?;
                self.put("failed", *failed)
            }
            ExitReason::Hypercall { number, arguments, result } => {
                self.put("hypercall", *number)?;
                self.put("arguments", Said::Hexes(arguments))?;
                self.hex("result", *result)
            }
            ExitReason::InternalError { suberror, instruction } => {
                self.put("suberror", *suberror)?;
                self.put("instruction", Said::Bytes(instruction))
            }
            ExitReason::FailEntry { hardware_reason, cpu } => {
                self.hex("hardware_reason", *hardware_reason)?;
                self.put("cpu", *cpu)
            }
            ExitReason::Debug { exception, pc, dr6, dr7 } => {
                self.put("exception", *exception)?;
                self.hex("pc", *pc)?;
                self.hex("dr6", *dr6)?;
                self.hex("dr7", *dr7)
            }
            ExitReason::Probe { pc } => self.hex("pc", *pc),
            ExitReason::TprAccess { rip, write } => {
                self.hex("access_rip", *rip)?;
                self.put("write", *write)
            }
            ExitReason::IoapicEoi { vector } => self.put("vector", *vector),
            ExitReason::SystemEvent { kind, data } => {
                self.put("event", *kind)?;
                self.put("data", Said::Hexes(data))
            }
            ExitReason::MemoryFault { flags, gpa, size } => {
                self.hex("flags", *flags)?;
                self.hex("gpa", *gpa)?;
                self.put("size", *size)
            }
            ExitReason::Unknown { hardware_reason } => self.hex("hardware_reason", *hardware_reason),
            ExitReason::Exception { vector, error_code } => {
                self.put("vector", *vector)?;
                self.hex("error_code", (*error_code).into())
            }
            ExitReason::HyperV { kind } | ExitReason::Xen { kind } => self.put("event", *kind),
            ExitReason::Notify { flags } => self.hex("flags", (*flags).into()),
            ExitReason::Hardware(exit) => {
                self.put("isa", exit.isa.name())?;
                self.hex("code", exit.code.into())?;
                self.hex("info1", exit.info1)?;
                self.hex("info2", exit.info2)?;
                self.hex("interrupt", exit.interrupt.into())?;
                self.hex("error_code", exit.error_code.into())?;
                self.put("gpa", exit.gpa.map(Said::Hex))
            }
            ExitReason::Foreign { number } | ExitReason::Unlisted { number } => {
                self.put("exit_number", *number)
            }
            ExitReason::Halt
            | ExitReason::Shutdown
            | ExitReason::InterruptWindow
            | ExitReason::Interrupted
            | ExitReason::SetTpr
            | ExitReason::Nmi
            | ExitReason::DirtyRingFull
            | ExitReason::BusLock
            | ExitReason::Watchdog => Ok(()),
        }
    }

    fn trap(&mut self, trap: &Trap) -> Result<(), V::Error> {
        self.put("id", trap.id)?;
        self.put("vector", trap.vector)?;
        self.text("name", text::vector(trap.vector))?;
        self.put("shared_by", trap.shared_by)?;
        self.put("class", trap.class.name())?;
        self.put("code", trap.code.map(Said::Hex))?;
        self.rip(trap.rip)?;
        self.hex("cs", trap.cs.into())?;
        self.put("cpl", trap.cpl)?;
        self.hex("rsp", trap.rsp)?;
        self.hex("handler", trap.handler)?;
        self.put("cr2", trap.cr2.map(Said::Hex))
    }

    fn walk(&mut self, walk: &Walk) -> Result<(), V::Error> {
        self.put("cause", walk.cause.name())?;
        self.hex("cr3", walk.cr3)?;
        self.put("mode", walk.mode.name())?;
        self.hex("gva", walk.gva)?;
        self.put("write", walk.access.write)?;
        self.put("execute", walk.access.execute)?;
        self.put("user", walk.access.user)?;
        self.put("smap_exempt", walk.access.smap_exempt)?;
        self.put("levels", Said::Levels(&walk.levels))?;
        match &walk.outcome {
            WalkOutcome::Mapped { gpa, page_size, permissions, host } => {
                self.put("outcome", "mapped")?;
                self.hex("gpa", *gpa)?;
                self.put("page_size", *page_size)?;
                self.text("permissions", permissions)?;
                if let Some(host) = host {
                    self.hex("hva", host.hva)?;
                    self.put("resident", host.resident)?;
                    self.put("frame", host.frame.map(Said::Hex))?;
                }
                Ok(())
            }
            WalkOutcome::Fault { level, reason, error_code } => {
                self.put("outcome", "fault")?;
                self.put("level", *level)?;
                self.put("reason", reason.name())?;
                self.hex("error_code", (*error_code).into())
            }
        }
    }

    fn ipi(&mut self, id: u64, sender: u8, vector: u8, latency_ns: u64) -> Result<(), V::Error> {
        self.put("id", id)?;
        self.put("sender", sender)?;
        self.put("vector", vector)?;
        self.put("latency_ns", latency_ns)
    }

    fn range(&mut self, gpa: u64, length: u64, cost_ns: u64) -> Result<(), V::Error> {
        self.hex("gpa", gpa)?;
        self.put("length", length)?;
        self.put("cost_ns", cost_ns)
    }

    fn state(&mut self, state: &VcpuState) -> Result<(), V::Error> {
        self.put("state", state.name())?;
        match state {
            VcpuState::Paused { by } | VcpuState::Reset { by } => self.by(*by),
            VcpuState::Stopped { why } => {
                self.text("why", why)?;
                match why {
                    StopReason::GuestExit { status } => self.put("status", *status),
                    StopReason::Ended { by } => self.by(*by),
                    StopReason::Reset { by } => self.put("by", by.name()),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn debugger(&mut self, debugger: &Debugger) -> Result<(), V::Error> {
        match *debugger {
            Debugger::Attached { by } => {
                self.put("action", "attached")?;
                self.by(by)
            }
            Debugger::BreakpointHit { by, address } => {
                self.put("action", "breakpoint-hit")?;
                self.by(by)?;
                self.hex("address", address)
            }
            Debugger::Stepped { by, from, to } => {
                self.put("action", "stepped")?;
                self.by(by)?;
                self.hex("from", from)?;
                self.hex("to", to)
            }
            Debugger::WatchpointHit { by, address, any, rip } => {
                self.put("action", "watchpoint-hit")?;
                self.by(by)?;
                self.hex("address", address)?;
                self.put("access", if any { "any" } else { "write" })?;
                self.hex("rip", rip)
            }
            Debugger::Matched { by } => {
                self.put("action", "matched")?;
                self.by(by)
            }
            Debugger::Detached { by } => {
                self.put("action", "detached")?;
                self.by(by)
            }
        }
    }
}

//! Events as JSON.

use std::fmt::Display;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::text::{self, Hex as HexBytes};
use crate::event::{
    Actor, Debugger, Event, Exit, ExitReason, Level, MACHINE, Payload, StopReason, Trap, VcpuState, Walk,
    WalkOutcome,
};
use crate::header::Header;
use crate::screen::character;

/// An event as a JSON object with a stable form.
///
/// Every object has `number`, `time` (ns), `vcpu` (null for what no vCPU did) and `kind` ([`crate::Kind::name`]); then the
/// payload's fields under the names that they have in [`crate::event`], without nesting except for a walk's `levels`.
/// Addresses, register values and data are strings (`"0xfee00300"`), because JSON numbers end at 2^53; counts and
/// times in ns are numbers. `symbol` names the code at `rip` where the trace has a symbol for it. Bytes are
/// hexadecimal digits, console output has them as `text` besides, with invalid UTF-8 replaced.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a> {
    number: u64,
    event: &'a Event,
    header: &'a Header,
}

impl<'a> Json<'a> {
    pub(super) const fn new(number: u64, event: &'a Event, header: &'a Header) -> Self {
        Self { number, event, header }
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Event { time, vcpu, payload } = self.event;
        let mut o = Object { map: serializer.serialize_map(None)?, header: self.header };
        o.put("number", &self.number)?;
        o.put("time", time)?;
        o.put("vcpu", &(*vcpu != MACHINE).then_some(vcpu))?;
        o.put("kind", payload.kind().name())?;
        o.payload(payload)?;
        o.map.end()
    }
}

/// What an event says without when and where: `number` and the payload's fields, as in [`Json`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Details<'a> {
    pub(crate) number: u64,
    pub(crate) event: &'a Event,
    pub(crate) header: &'a Header,
}

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut o = Object { map: serializer.serialize_map(None)?, header: self.header };
        o.put("number", &self.number)?;
        o.payload(&self.event.payload)?;
        o.map.end()
    }
}

/// The object that is being written.
struct Object<'a, M> {
    map: M,
    header: &'a Header,
}

impl<M: SerializeMap> Object<'_, M> {
    fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), M::Error> {
        self.map.serialize_entry(name, value)
    }

    fn hex(&mut self, name: &str, value: u64) -> Result<(), M::Error> {
        self.put(name, &Hex(value))
    }

    fn text(&mut self, name: &str, value: impl Display) -> Result<(), M::Error> {
        self.put(name, &value.to_string())
    }

    /// `rip`, and its symbol if it has one.
    fn rip(&mut self, rip: u64) -> Result<(), M::Error> {
        self.hex("rip", rip)?;
        match self.header.symbolize(rip) {
            Some((name, offset)) => self.text("symbol", format_args!("{name}+{offset:#x}")),
            None => Ok(()),
        }
    }

    fn by(&mut self, by: Actor) -> Result<(), M::Error> {
        self.put("by", by.name())
    }

    fn payload(&mut self, payload: &Payload) -> Result<(), M::Error> {
        match payload {
            Payload::Exit(e) => self.exit(e),
            Payload::Data(e) => {
                self.put("offset", &e.offset)?;
                self.text("bytes", HexBytes(&e.bytes))
            }
            Payload::Trap(e) => self.trap(e),
            Payload::TrapReturn(e) => {
                self.put("id", &e.id)?;
                self.put("vector", &e.vector)?;
                self.put("name", &text::vector(e.vector))?;
                self.put("duration_ns", &e.duration_ns)?;
                self.rip(e.rip)
            }
            Payload::Walk(e) => self.walk(e),
            Payload::PageTableWrite(e) => {
                self.hex("table", e.table)?;
                self.put("level", &e.level)?;
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
                self.put("id", &e.id)?;
                self.hex("icr", e.icr)?;
                self.put("vector", &e.vector)?;
                self.put("mode", e.mode.name())?;
                self.put("shorthand", e.shorthand.name())?;
                let targets: Vec<u8> = (0..16).filter(|vcpu| e.targets >> vcpu & 1 != 0).collect();
                self.put("targets", &targets)
            }
            Payload::IpiAccepted(e) => {
                self.ipi(e.id, e.sender, e.vector, e.latency_ns)?;
                self.put("merged", &e.merged)
            }
            Payload::IpiEoi(e) => self.ipi(e.id, e.sender, e.vector, e.latency_ns),
            Payload::Irq(e) => {
                self.text("source", e.source)?;
                self.put("vector", &e.vector)?;
                self.put("latency_ns", &e.latency_ns)
            }
            Payload::IrqEoi(e) => {
                self.text("source", e.source)?;
                self.put("vector", &e.vector)?;
                self.put("latency_ns", &e.latency_ns)
            }
            Payload::State(e) => self.state(e),
            Payload::Reclaim(e) => self.range(e.gpa, e.length, e.cost_ns),
            Payload::Refault(e) => self.range(e.gpa, e.length, e.cost_ns),
            Payload::Console(e) => {
                self.hex(e.port_or_gpa(), e.port.into())?;
                self.text("bytes", HexBytes(&e.bytes))?;
                self.put("text", &String::from_utf8_lossy(&e.bytes))
            }
            Payload::Marker(e) => {
                self.put("by_guest", &e.by_guest)?;
                self.put("text", e.text.as_str())?;
                self.hex("value", e.value)
            }
            Payload::Counter(e) => {
                self.put("name", e.name.as_str())?;
                self.put("value", &e.value)
            }
            Payload::Debugger(e) => self.debugger(e),
            Payload::Fixup(e) => {
                self.put("fixup", e.kind.name())?;
                self.put("mnemonic", &(!e.mnemonic.is_empty()).then_some(e.mnemonic.as_str()))?;
                self.rip(e.rip)
            }
            Payload::Lost(e) => {
                self.put("count", &e.count)?;
                self.put("reason", e.reason.name())
            }
            Payload::Screen(e) => {
                self.put("columns", &e.columns)?;
                self.put("row", &e.row)?;
                self.put("first", &e.first)?;
                self.put("cursor", &e.cursor)?;
                self.put("text", &e.cells.iter().map(|&cell| character(cell)).collect::<String>())?;
                let attributes: Vec<u8> = e.cells.iter().map(|cell| cell.to_le_bytes()[1]).collect();
                self.text("attributes", HexBytes(&attributes))
            }
            Payload::Slide(e) => self.hex("slide", e.slide),
        }
    }

    fn exit(&mut self, exit: &Exit) -> Result<(), M::Error> {
        self.put("reason", exit.reason.name())?;
        self.reason(&exit.reason)?;
        self.rip(exit.rip)?;
        self.put("cpl", &exit.cpl)?;
        self.put("guest_ns", &exit.guest_ns)?;
        self.put("handling_ns", &exit.handling_ns)
    }

    fn reason(&mut self, reason: &ExitReason) -> Result<(), M::Error> {
        match reason {
            ExitReason::IoIn { port, size, count, data } | ExitReason::IoOut { port, size, count, data } => {
                self.hex("port", (*port).into())?;
                self.put("size", size)?;
                self.put("count", count)?;
                self.hex("data", *data)
            }
            ExitReason::MmioRead { gpa, size, data } | ExitReason::MmioWrite { gpa, size, data } => {
                self.hex("gpa", *gpa)?;
                self.put("size", size)?;
                self.hex("data", *data)
            }
            ExitReason::Msr { direction: _, index, data, reason, failed } => {
                self.hex("index", (*index).into())?;
                self.hex("data", *data)?;
                self.put("msr_reason", reason)?;
                self.put("failed", failed)
            }
            ExitReason::Hypercall { number, arguments, result } => {
                self.put("hypercall", number)?;
                self.put("arguments", &arguments.map(Hex))?;
                self.hex("result", *result)
            }
            ExitReason::InternalError { suberror, instruction } => {
                self.put("suberror", suberror)?;
                self.text("instruction", HexBytes(instruction))
            }
            ExitReason::FailEntry { hardware_reason, cpu } => {
                self.hex("hardware_reason", *hardware_reason)?;
                self.put("cpu", cpu)
            }
            ExitReason::Debug { exception, pc, dr6, dr7 } => {
                self.put("exception", exception)?;
                self.hex("pc", *pc)?;
                self.hex("dr6", *dr6)?;
                self.hex("dr7", *dr7)
            }
            ExitReason::Probe { pc } => self.hex("pc", *pc),
            ExitReason::TprAccess { rip, write } => {
                self.hex("access_rip", *rip)?;
                self.put("write", write)
            }
            ExitReason::IoapicEoi { vector } => self.put("vector", vector),
            ExitReason::SystemEvent { kind, data } => {
                self.put("event", kind)?;
                self.put("data", &data.map(Hex))
            }
            ExitReason::MemoryFault { flags, gpa, size } => {
                self.hex("flags", *flags)?;
                self.hex("gpa", *gpa)?;
                self.put("size", size)
            }
            ExitReason::Unknown { hardware_reason } => self.hex("hardware_reason", *hardware_reason),
            ExitReason::Exception { vector, error_code } => {
                self.put("vector", vector)?;
                self.hex("error_code", (*error_code).into())
            }
            ExitReason::HyperV { kind } | ExitReason::Xen { kind } => self.put("event", kind),
            ExitReason::Notify { flags } => self.hex("flags", (*flags).into()),
            ExitReason::Hardware(exit) => {
                self.put("isa", exit.isa.name())?;
                self.hex("code", exit.code.into())?;
                self.hex("info1", exit.info1)?;
                self.hex("info2", exit.info2)?;
                self.hex("interrupt", exit.interrupt.into())?;
                self.hex("error_code", exit.error_code.into())?;
                self.put("gpa", &exit.gpa.map(Hex))
            }
            ExitReason::Foreign { number } | ExitReason::Unlisted { number } => {
                self.put("exit_number", number)
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

    fn trap(&mut self, trap: &Trap) -> Result<(), M::Error> {
        self.put("id", &trap.id)?;
        self.put("vector", &trap.vector)?;
        self.put("name", &text::vector(trap.vector))?;
        self.put("shared_by", &trap.shared_by)?;
        self.put("class", trap.class.name())?;
        self.put("code", &trap.code.map(Hex))?;
        self.rip(trap.rip)?;
        self.hex("cs", trap.cs.into())?;
        self.put("cpl", &trap.cpl)?;
        self.hex("rsp", trap.rsp)?;
        self.hex("handler", trap.handler)?;
        self.put("cr2", &trap.cr2.map(Hex))
    }

    fn walk(&mut self, walk: &Walk) -> Result<(), M::Error> {
        self.put("cause", walk.cause.name())?;
        self.hex("cr3", walk.cr3)?;
        self.put("mode", walk.mode.name())?;
        self.hex("gva", walk.gva)?;
        self.put("write", &walk.access.write)?;
        self.put("execute", &walk.access.execute)?;
        self.put("user", &walk.access.user)?;
        self.put("smap_exempt", &walk.access.smap_exempt)?;
        self.put("levels", &Levels(&walk.levels))?;
        match &walk.outcome {
            WalkOutcome::Mapped { gpa, page_size, permissions, host } => {
                self.put("outcome", "mapped")?;
                self.hex("gpa", *gpa)?;
                self.put("page_size", page_size)?;
                self.text("permissions", permissions)?;
                if let Some(host) = host {
                    self.hex("hva", host.hva)?;
                    self.put("resident", &host.resident)?;
                    self.put("frame", &host.frame.map(Hex))?;
                }
                Ok(())
            }
            WalkOutcome::Fault { level, reason, error_code } => {
                self.put("outcome", "fault")?;
                self.put("level", level)?;
                self.put("reason", reason.name())?;
                self.hex("error_code", (*error_code).into())
            }
        }
    }

    fn ipi(&mut self, id: u64, sender: u8, vector: u8, latency_ns: u64) -> Result<(), M::Error> {
        self.put("id", &id)?;
        self.put("sender", &sender)?;
        self.put("vector", &vector)?;
        self.put("latency_ns", &latency_ns)
    }

    fn range(&mut self, gpa: u64, length: u64, cost_ns: u64) -> Result<(), M::Error> {
        self.hex("gpa", gpa)?;
        self.put("length", &length)?;
        self.put("cost_ns", &cost_ns)
    }

    fn state(&mut self, state: &VcpuState) -> Result<(), M::Error> {
        self.put("state", state.name())?;
        match state {
            VcpuState::Paused { by } => self.by(*by),
            VcpuState::Stopped { why } => {
                self.put("why", &why.to_string())?;
                match why {
                    StopReason::GuestExit { status } => self.put("status", status),
                    StopReason::Ended { by } => self.by(*by),
                    StopReason::Reset { by } => self.put("by", by.name()),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn debugger(&mut self, debugger: &Debugger) -> Result<(), M::Error> {
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

/// A number as a string in hexadecimal.
#[derive(Clone, Copy)]
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

struct Levels<'a>(&'a [Level]);

impl Serialize for Levels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut levels = serializer.serialize_seq(Some(self.0.len()))?;
        for &Level { level, entry_gpa, entry } in self.0 {
            levels.serialize_element(&OneLevel { level, entry_gpa: Hex(entry_gpa), entry: Hex(entry) })?;
        }
        levels.end()
    }
}

#[derive(serde::Serialize)]
struct OneLevel {
    level: u8,
    entry_gpa: Hex,
    entry: Hex,
}

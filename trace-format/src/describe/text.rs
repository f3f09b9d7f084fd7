//! What each kind of event says.

use std::fmt::{self, Formatter};

use super::{Code, Escaped, Span};
use crate::event::{
    Access, Debugger, DeliveryMode, Exit, ExitReason, FixupKind, Hardware, Ipi, IrqSource, LostReason,
    Marker, MsrDirection, Payload, Permissions, Screen, Shorthand, Trap, TrapReturn, VcpuState, Walk,
    WalkCause, WalkOutcome, vector_name,
};
use crate::header::Header;
use crate::screen::character;

pub(super) fn payload(payload: &Payload, header: &Header, f: &mut Formatter<'_>) -> fmt::Result {
    let code = |address| Code { address, header };
    match payload {
        Payload::Exit(e) => exit(e, header, f),
        Payload::Data(e) => write!(f, "bytes from {}: {}", e.offset, Hex(&e.bytes)),
        Payload::Trap(e) => trap(e, header, f),
        Payload::TrapReturn(e) => {
            let TrapReturn { id, duration_ns, rip, .. } = *e;
            write!(f, "{} #{id} to {} after {}", vector(e.vector), code(rip), Span(duration_ns))
        }
        Payload::Walk(e) => walk(e, f),
        Payload::PageTableWrite(e) => {
            write!(
                f,
                "level {} at {:#x} for {:#x}: {:#x} -> {:#x}",
                e.level, e.entry_gpa, e.gva, e.old, e.new
            )
        }
        Payload::AddressSpace(e) => write!(f, "{:#x} -> {:#x}", e.old, e.new),
        Payload::Ipi(e) => ipi(e, f),
        Payload::IpiAccepted(e) => {
            let merged = if e.merged { ", merged with an earlier one" } else { "" };
            write!(
                f,
                "#{} vector {:#x} from cpu{} after {}{merged}",
                e.id,
                e.vector,
                e.sender,
                Span(e.latency_ns)
            )
        }
        Payload::IpiEoi(e) => {
            write!(f, "#{} vector {:#x} from cpu{} after {}", e.id, e.vector, e.sender, Span(e.latency_ns))
        }
        Payload::Irq(e) => write!(f, "{} vector {:#x} after {}", e.source, e.vector, Span(e.latency_ns)),
        Payload::IrqEoi(e) => write!(f, "{} vector {:#x} after {}", e.source, e.vector, Span(e.latency_ns)),
        Payload::State(e) => state(e, f),
        Payload::Reclaim(e) => write!(f, "{:#x}, {} bytes, in {}", e.gpa, e.length, Span(e.cost_ns)),
        Payload::Refault(e) => write!(f, "{:#x}, {} bytes, in {}", e.gpa, e.length, Span(e.cost_ns)),
        Payload::Console(e) => write!(f, "{:#x} \"{}\"", e.port, Escaped(&e.bytes)),
        Payload::Marker(Marker { by_guest, text, value }) => {
            let by = if *by_guest { "guest" } else { "user" };
            write!(f, "{by}: {} ({value:#x})", Escaped(text.as_bytes()))
        }
        Payload::Counter(e) => write!(f, "{} = {}", Escaped(e.name.as_bytes()), e.value),
        Payload::Debugger(e) => match e {
            Debugger::Attached { by } => write!(f, "{} attached", by.name()),
            Debugger::BreakpointHit { by, address } => {
                write!(f, "breakpoint of {} at {}", by.name(), code(*address))
            }
            Debugger::Stepped { by, from, to } => {
                write!(f, "{} stepped from {} to {}", by.name(), code(*from), code(*to))
            }
            Debugger::WatchpointHit { by, address, any, rip } => {
                let access = if *any { "access" } else { "write" };
                write!(f, "watchpoint of {}: {access} to {address:#x} before {}", by.name(), code(*rip))
            }
            Debugger::Matched { by } => write!(f, "{} waited for the event before", by.name()),
            Debugger::Detached { by } => write!(f, "{} detached", by.name()),
        },
        Payload::Fixup(e) if e.mnemonic.is_empty() => write!(f, "{} at {}", e.kind.name(), code(e.rip)),
        Payload::Fixup(e) => {
            let mnemonic = Escaped(e.mnemonic.as_bytes());
            write!(f, "KVM cannot run {mnemonic} here: the monitor did, at {}", code(e.rip))
        }
        Payload::Lost(e) => write!(f, "{} events, {}", e.count, e.reason.name()),
        Payload::Screen(e) => screen(e, f),
        Payload::Slide(e) => write!(f, "the kernel runs {:#x} above its link address", e.slide),
        Payload::Registers(e) => {
            write!(
                f,
                "at {} cpl {} rsp {:#x} rflags {:#x} cr3 {:#x}",
                code(e.rip),
                e.cpl,
                e.rsp(),
                e.rflags,
                e.cr3
            )
        }
    }
}

fn exit(exit: &Exit, header: &Header, f: &mut Formatter<'_>) -> fmt::Result {
    reason(&exit.reason, header, f)?;
    write!(f, " at {}", Code { address: exit.rip, header })?;
    if exit.cpl != 0 {
        write!(f, " cpl {}", exit.cpl)?;
    }
    write!(f, ", {} in the guest, handled in {}", Span(exit.guest_ns), Span(exit.handling_ns))
}

fn reason(reason: &ExitReason, header: &Header, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(reason.name())?;
    match reason {
        ExitReason::IoIn { port, size, count, data } => {
            write!(f, " {port:#x} -> {}{}", Sized(*data, *size), Times(*count))
        }
        ExitReason::IoOut { port, size, count, data } => {
            write!(f, " {port:#x} <- {}{}", Sized(*data, *size), Times(*count))
        }
        ExitReason::MmioRead { gpa, size, data } => write!(f, " {gpa:#x} -> {}", Sized(*data, *size)),
        ExitReason::MmioWrite { gpa, size, data } => write!(f, " {gpa:#x} <- {}", Sized(*data, *size)),
        ExitReason::Msr { direction, index, data, failed, .. } => {
            let arrow = match direction {
                MsrDirection::Read => "->",
                MsrDirection::Write => "<-",
            };
            write!(f, " {index:#x} {arrow} {data:#x}{}", if *failed { " refused with #GP" } else { "" })
        }
        ExitReason::Hypercall { number, arguments, result } => {
            write!(f, " {number}(")?;
            let last = arguments.iter().rposition(|&argument| argument != 0).map_or(0, |n| n + 1);
            for (n, argument) in arguments[..last].iter().enumerate() {
                write!(f, "{}{argument:#x}", if n == 0 { "" } else { ", " })?;
            }
            write!(f, ") -> {result:#x}")
        }
        ExitReason::InternalError { suberror, instruction } => {
            write!(f, " {suberror}")?;
            if !instruction.is_empty() {
                write!(f, ", instruction {}", Hex(instruction))?;
            }
            Ok(())
        }
        ExitReason::FailEntry { hardware_reason, cpu } => {
            write!(f, " hardware reason {hardware_reason:#x} on host CPU {cpu}")
        }
        ExitReason::Debug { exception, pc, dr6, .. } => {
            write!(f, " exception {exception} pc {} dr6 {dr6:#x}", Code { address: *pc, header })
        }
        ExitReason::Probe { pc } => write!(f, " pc {}", Code { address: *pc, header }),
        ExitReason::TprAccess { rip, write } => {
            let access = if *write { "write" } else { "read" };
            write!(f, " {access} by {}", Code { address: *rip, header })
        }
        ExitReason::IoapicEoi { vector } => write!(f, " vector {vector:#x}"),
        ExitReason::SystemEvent { kind, data } => write!(f, " {kind} ({:#x}, {:#x})", data[0], data[1]),
        ExitReason::MemoryFault { flags, gpa, size } => {
            write!(f, " {gpa:#x}, {size} bytes, flags {flags:#x}")
        }
        ExitReason::Unknown { hardware_reason } => write!(f, " hardware reason {hardware_reason:#x}"),
        ExitReason::Exception { vector, error_code } => {
            write!(f, " vector {vector} error code {error_code:#x}")
        }
        ExitReason::HyperV { kind } | ExitReason::Xen { kind } => write!(f, " {kind}"),
        ExitReason::Notify { flags } => write!(f, " flags {flags:#x}"),
        ExitReason::Foreign { number } | ExitReason::Unlisted { number } => write!(f, " ({number})"),
        ExitReason::Hardware(exit) => hardware(exit, f),
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

fn hardware(exit: &Hardware, f: &mut Formatter<'_>) -> fmt::Result {
    if exit.name() == exit.isa.name() || exit.code != exit.basic() {
        write!(f, " {:#x}", exit.code)?;
    }
    if let Some(gpa) = exit.gpa {
        write!(f, " gpa {gpa:#x}")?;
    }
    if exit.info1 != 0 || exit.info2 != 0 {
        write!(f, " info {:#x} {:#x}", exit.info1, exit.info2)?;
    }
    if exit.interrupt != 0 {
        write!(f, " interrupt {:#x}", exit.interrupt)?;
    }
    if exit.error_code != 0 {
        write!(f, " error code {:#x}", exit.error_code)?;
    }
    Ok(())
}

fn trap(trap: &Trap, header: &Header, f: &mut Formatter<'_>) -> fmt::Result {
    let code = |address| Code { address, header };
    write!(f, "{} #{}", vector(trap.vector), trap.id)?;
    match (trap.vector, trap.code) {
        (crate::event::VECTOR_SYSCALL, Some(number)) => write!(f, " number {number}")?,
        (_, Some(error)) => write!(f, " error code {error:#x}")?,
        (_, None) => {}
    }
    if let Some(cr2) = trap.cr2 {
        write!(f, " cr2 {cr2:#x}")?;
    }
    write!(f, " at {} cpl {}, handler {}", code(trap.rip), trap.cpl, code(trap.handler))?;
    if trap.shared_by > 1 {
        write!(f, " shared by {} vectors", trap.shared_by)?;
    }
    Ok(())
}

fn walk(walk: &Walk, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{} {:#x} {}: ", walk.mode.name(), walk.gva, walk.access)?;
    match &walk.outcome {
        WalkOutcome::Mapped { gpa, page_size, permissions, host } => {
            write!(f, "gpa {gpa:#x} in a page of {} KiB {permissions}", page_size >> 10)?;
            if let Some(host) = host {
                write!(f, ", hva {:#x}", host.hva)?;
                match host.resident {
                    Some(true) => f.write_str(" resident")?,
                    Some(false) => f.write_str(" not resident")?,
                    None => {}
                }
            }
            Ok(())
        }
        WalkOutcome::Fault { level, reason, error_code } => {
            write!(f, "level {level} {}, error code {error_code:#x}", reason.name())
        }
    }
}

fn ipi(ipi: &Ipi, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "#{} {}", ipi.id, ipi.mode.name())?;
    match ipi.mode {
        DeliveryMode::StartUp => write!(f, " at {:#x}", u32::from(ipi.vector) << 12)?,
        DeliveryMode::Fixed | DeliveryMode::LowestPriority => write!(f, " vector {:#x}", ipi.vector)?,
        _ => {}
    }
    f.write_str(" to")?;
    if ipi.targets == 0 {
        f.write_str(" nobody")?;
    }
    for vcpu in (0..16).filter(|vcpu| ipi.targets >> vcpu & 1 != 0) {
        write!(f, " cpu{vcpu}")?;
    }
    match ipi.shorthand {
        Shorthand::None => Ok(()),
        shorthand => write!(f, " ({})", shorthand.name()),
    }
}

fn state(state: &VcpuState, f: &mut Formatter<'_>) -> fmt::Result {
    match state {
        VcpuState::Paused { by } => write!(f, "paused by {}", by.name()),
        VcpuState::Reset { by } => write!(f, "reset by {}", by.name()),
        VcpuState::Stopped { why } => write!(f, "stopped: {why}"),
        _ => f.write_str(state.name()),
    }
}

fn screen(screen: &Screen, f: &mut Formatter<'_>) -> fmt::Result {
    let Screen { row, first, cursor, ref cells, .. } = *screen;
    if !cells.is_empty() {
        let text: String = cells.iter().map(|&cell| character(cell)).collect();
        write!(f, "row {row} from column {first} \"{}\", ", text.trim_end())?;
    }
    match cursor {
        Some((row, column)) => write!(f, "cursor at row {row} column {column}"),
        None => f.write_str("no cursor"),
    }
}

/// The name of a vector, with its number where it has none.
pub(super) fn vector(vector: u16) -> String {
    vector_name(vector).map_or_else(|| format!("vector {vector:#x}"), str::to_owned)
}

/// A value of `.1` bytes.
struct Sized(u64, u8);

impl fmt::Display for Sized {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = 2 + 2 * usize::from(self.1.clamp(1, 8));
        write!(f, "{:#0digits$x}", self.0)
    }
}

/// How often a string instruction repeats, if it does.
struct Times(u32);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 == 1 { Ok(()) } else { write!(f, " x{}", self.0) }
    }
}

/// Bytes in hexadecimal.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl VcpuState {
    /// The name used in reports, filters and JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::WaitingForSipi => "waiting-for-sipi",
            Self::Running => "running",
            Self::Halted => "halted",
            Self::Paused { .. } => "paused",
            Self::Reset { .. } => "reset",
            Self::Stopped { .. } => "stopped",
        }
    }
}

impl WalkCause {
    /// The name used in reports, filters and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PageFault => "page-fault",
            Self::Probe => "probe",
            Self::Debugger => "debugger",
            Self::User => "user",
        }
    }
}

impl FixupKind {
    /// The name used in reports, filters and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Breakpoint => "breakpoint",
            Self::Instruction => "instruction",
        }
    }
}

impl LostReason {
    /// The name used in reports, filters and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring-full",
            Self::Damage => "damage",
        }
    }
}

impl fmt::Display for IrqSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::LapicTimer => f.write_str("lapic-timer"),
            Self::LapicError => f.write_str("lapic-error"),
            Self::LapicLint { pin } => write!(f, "lint{pin}"),
            Self::IoApic { pin } => write!(f, "ioapic-{pin}"),
            Self::Pic { line } => write!(f, "pic-{line}"),
            Self::SelfIpi => f.write_str("self-ipi"),
            Self::Nmi => f.write_str("nmi"),
            Self::Msi => f.write_str("msi"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.execute, self.write) {
            (true, _) => "fetch",
            (false, true) => "write",
            (false, false) => "read",
        })?;
        f.write_str(if self.user { " by user" } else { " by supervisor" })?;
        f.write_str(if self.smap_exempt { " exempt from SMAP" } else { "" })
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let flags = [
            (true, 'r'),
            (self.write, 'w'),
            (self.execute, 'x'),
            (self.user, 'u'),
            (self.global, 'g'),
            (self.accessed, 'a'),
            (self.dirty, 'd'),
        ];
        flags.iter().try_for_each(|&(set, name)| fmt::Write::write_char(f, if set { name } else { '-' }))
    }
}

//! The selected event: every field, with its unit.

use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use trace_format::event::{
    Debugger, Event, Exit, ExitReason, FixupKind, Ipi, IrqSource, LostReason, MACHINE, Payload, Registers,
    Trap, VECTOR_SYSCALL, VcpuState, vector_name,
};

use trace_format::screen::character;

use super::fields::{Fields, address};
use super::{text, walk};
use crate::app::App;
use crate::model::class::Class;

/// Lines of the pane's text.
#[must_use]
pub fn height(app: &App) -> u16 {
    u16::try_from(lines(app).len()).unwrap_or(u16::MAX)
}

pub(super) fn lines(app: &App) -> Vec<Line<'static>> {
    let theme = app.theme();
    let Some(event) = app.selected() else {
        let why = if app.known() == 0 {
            "no event yet"
        } else {
            "this event cannot be read: the file is damaged there"
        };
        return vec![Line::styled(why, theme.dim())];
    };
    let mut fields = Fields::new(theme, app.header());
    fields.line(Line::from(vec![
        Span::styled(
            event.payload.kind().name(),
            theme.class(Class::of(&event.payload)).add_modifier(Modifier::BOLD),
        ),
        Span::raw(format!("  #{}", text::count(app.cursor()))),
    ]));
    fields.field("time", format!("{} s", text::timestamp(event.time)));
    let vcpu = if event.vcpu == MACHINE { "none: of the machine".to_owned() } else { event.vcpu.to_string() };
    fields.field("vCPU", vcpu);
    payload(&mut fields, event);
    fields.lines()
}

fn payload(fields: &mut Fields<'_>, event: &Event) {
    match &event.payload {
        Payload::Exit(event) => exit(fields, event),
        Payload::Data(data) => {
            fields.field("offset", format!("{} bytes", data.offset));
            hex_lines(fields, &data.bytes);
        }
        Payload::Trap(event) => trap(fields, event),
        Payload::TrapReturn(back) => {
            fields.field("trap", format!("number {}", back.id));
            fields.field("vector", vector(back.vector));
            fields.time("in handler", back.duration_ns);
            fields.code("returns to", back.rip);
        }
        Payload::Walk(event) => walk::show(fields, event),
        Payload::PageTableWrite(write) => {
            fields.field("table", format!("{} (gpa), level {}", address(write.table), write.level));
            fields.field("entry", format!("{} (gpa)", address(write.entry_gpa)));
            fields.field("governs", format!("{} (gva)", address(write.gva)));
            fields.field("old", walk::entry(write.level, write.old));
            fields.field("new", walk::entry(write.level, write.new));
        }
        Payload::AddressSpace(switch) => {
            fields.field("old cr3", address(switch.old));
            fields.field("new cr3", address(switch.new));
        }
        Payload::Ipi(event) => ipi(fields, event),
        Payload::IpiAccepted(taken) => {
            fields.field("ipi", format!("number {}, vector {:#04x}", taken.id, taken.vector));
            fields.field("sender", format!("vCPU {}", taken.sender));
            fields.time("latency", taken.latency_ns);
            if taken.merged {
                fields.field("merged", "the vector was pending: taken as one with an earlier IPI");
            }
        }
        Payload::IpiEoi(eoi) => {
            fields.field("ipi", format!("number {}, vector {:#04x}", eoi.id, eoi.vector));
            fields.field("sender", format!("vCPU {}", eoi.sender));
            fields.time("since ICR", eoi.latency_ns);
        }
        Payload::Irq(irq) => {
            fields.field("source", irq_source(irq.source));
            fields.field("vector", format!("{:#04x}", irq.vector));
            fields.time("since raised", irq.latency_ns);
        }
        Payload::IrqEoi(eoi) => {
            fields.field("source", irq_source(eoi.source));
            fields.field("vector", format!("{:#04x}", eoi.vector));
            fields.time("since inject", eoi.latency_ns);
        }
        Payload::State(change) => fields.field("state", state(change)),
        Payload::Reclaim(taken) => {
            fields.field("range", format!("{} (gpa), {}", address(taken.gpa), text::bytes(taken.length)));
            fields.time("cost", taken.cost_ns);
        }
        Payload::Refault(back) => {
            fields.field("range", format!("{} (gpa), {}", address(back.gpa), text::bytes(back.length)));
            fields.time("cost", back.cost_ns);
        }
        Payload::Console(output) => {
            fields.field(output.port_or_gpa(), format!("{:#x}", output.port));
            fields.field("text", text::escape(&String::from_utf8_lossy(&output.bytes)));
            hex_lines(fields, &output.bytes);
        }
        Payload::Marker(marker) => {
            fields.field("made by", if marker.by_guest { "the guest" } else { "a user" });
            fields.field("text", text::escape(&marker.text));
            fields.field("value", format!("{} ({:#x})", marker.value, marker.value));
        }
        Payload::Counter(counter) => {
            fields.field("name", text::escape(&counter.name));
            fields.field("value", text::count(counter.value));
        }
        Payload::Debugger(event) => debugger(fields, event),
        Payload::Fixup(fixup) => {
            fields.field(
                "repaired",
                match fixup.kind {
                    FixupKind::Syscall => "SYSCALL left the privilege level at 3",
                    FixupKind::Breakpoint => "an INT3 of the guest that KVM could not carry out",
                    FixupKind::Instruction => "an instruction that KVM cannot emulate",
                },
            );
            if !fixup.mnemonic.is_empty() {
                fields.field("instruction", text::escape(&fixup.mnemonic));
            }
            fields.code("rip", fixup.rip);
        }
        Payload::Lost(lost) => {
            fields.styled("lost", format!("{} events", text::count(lost.count)), fields.theme().bad());
            fields.field(
                "because",
                match lost.reason {
                    LostReason::RingFull => "the ring was full (--on-full drop)",
                    LostReason::Damage => "a part of the file was damaged",
                },
            );
        }
        Payload::Screen(screen) => {
            fields.field("row", format!("{} of {} columns", screen.row, screen.columns));
            fields.field("from column", screen.first.to_string());
            fields.field("text", screen.cells.iter().map(|&cell| character(cell)).collect::<String>());
            if let Some((row, column)) = screen.cursor {
                fields.field("cursor", format!("row {row}, column {column}"));
            }
        }
        Payload::Registers(registers) => {
            for (name, value) in Registers::NAMES.into_iter().zip(registers.values()) {
                match name {
                    "rip" => fields.code(name, value),
                    _ => fields.hex(name, value),
                }
            }
        }
        Payload::Slide(slide) => {
            fields.hex("slide", slide.slide);
            fields.field("", "bytes that the kernel runs above its link address");
        }
    }
}

fn exit(fields: &mut Fields<'_>, exit: &Exit) {
    fields.field("reason", exit.reason.name());
    match &exit.reason {
        ExitReason::IoIn { port, size, count, data } | ExitReason::IoOut { port, size, count, data } => {
            let times = if *count == 1 { String::new() } else { format!(" × {count}") };
            fields.field("port", format!("{port:#06x}, {size} bytes{times}"));
            fields.hex("data", *data);
        }
        ExitReason::MmioRead { gpa, size, data } | ExitReason::MmioWrite { gpa, size, data } => {
            fields.field("address", format!("{} (gpa), {size} bytes", address(*gpa)));
            fields.hex("data", *data);
        }
        ExitReason::Msr { index, data, reason, failed, .. } => {
            fields.hex("msr", u64::from(*index));
            fields.hex("data", *data);
            fields.field("kvm reason", reason.to_string());
            if *failed {
                fields.styled("result", "#GP", fields.theme().bad());
            }
        }
        ExitReason::Hypercall { number, arguments, result } => {
            fields.hex("number", *number);
            for (n, argument) in arguments.iter().enumerate() {
                fields.hex(&format!("argument {n}"), *argument);
            }
            fields.hex("result", *result);
        }
        ExitReason::InternalError { suberror, instruction } => {
            fields.field("suberror", suberror.to_string());
            fields.field("instruction", text::hex(instruction));
        }
        ExitReason::FailEntry { hardware_reason, cpu } => {
            fields.hex("hw reason", *hardware_reason);
            fields.field("host cpu", cpu.to_string());
        }
        ExitReason::Debug { exception, pc, dr6, dr7 } => {
            fields.field("exception", vector(u16::try_from(*exception).unwrap_or(u16::MAX)));
            fields.code("pc", *pc);
            fields.hex("dr6", *dr6);
            fields.hex("dr7", *dr7);
        }
        ExitReason::Probe { pc } => fields.code("probe at", *pc),
        ExitReason::TprAccess { rip, write } => {
            fields.code("by", *rip);
            fields.field("access", if *write { "write" } else { "read" });
        }
        ExitReason::IoapicEoi { vector } => fields.field("vector", format!("{vector:#04x}")),
        ExitReason::SystemEvent { kind, data } => {
            fields.field("kind", kind.to_string());
            fields.field("data", format!("{:#x} {:#x}", data[0], data[1]));
        }
        ExitReason::MemoryFault { flags, gpa, size } => {
            fields.field("range", format!("{} (gpa), {}", address(*gpa), text::bytes(*size)));
            fields.hex("flags", *flags);
        }
        ExitReason::Unknown { hardware_reason } => fields.hex("hw reason", *hardware_reason),
        ExitReason::Exception { vector: number, error_code } => {
            fields.field("vector", vector(u16::try_from(*number).unwrap_or(u16::MAX)));
            fields.hex("error code", u64::from(*error_code));
        }
        ExitReason::HyperV { kind } | ExitReason::Xen { kind } => fields.field("kind", kind.to_string()),
        ExitReason::Notify { flags } => fields.hex("flags", u64::from(*flags)),
        ExitReason::Hardware(exit) => {
            fields.field("code", format!("{} {:#x}", exit.isa.name(), exit.code));
            if let Some(gpa) = exit.gpa {
                fields.field("address", format!("{} (gpa)", address(gpa)));
            }
            fields.hex("info 1", exit.info1);
            fields.hex("info 2", exit.info2);
            if exit.interrupt != 0 {
                fields.hex("interrupt", u64::from(exit.interrupt));
                fields.hex("error code", u64::from(exit.error_code));
            }
        }
        ExitReason::Foreign { number } | ExitReason::Unlisted { number } => {
            fields.field("number", number.to_string());
        }
        ExitReason::Halt
        | ExitReason::Shutdown
        | ExitReason::InterruptWindow
        | ExitReason::Interrupted
        | ExitReason::SetTpr
        | ExitReason::Nmi
        | ExitReason::DirtyRingFull
        | ExitReason::BusLock
        | ExitReason::Watchdog => {}
    }
    fields.code("rip", exit.rip);
    fields.field("cpl", exit.cpl.to_string());
    fields.time("in guest", exit.guest_ns);
    fields.time("handling", exit.handling_ns);
}

fn trap(fields: &mut Fields<'_>, trap: &Trap) {
    fields.field("vector", vector(trap.vector));
    fields.field("class", format!("{}, trap number {}", trap.class.name(), trap.id));
    if trap.shared_by > 1 {
        fields.field("handler of", format!("{} vectors: this one is a guess", trap.shared_by));
    }
    if let Some(code) = trap.code {
        fields.hex(if trap.vector == VECTOR_SYSCALL { "number (rax)" } else { "error code" }, code);
        if trap.vector == 14 {
            fields.field("", walk::error_code(code));
        }
    }
    if let Some(cr2) = trap.cr2 {
        fields.field("cr2", format!("{} (gva)", address(cr2)));
    }
    fields.code("from", trap.rip);
    fields.field("at", format!("cpl {}, cs {:#x}, rsp {}", trap.cpl, trap.cs, address(trap.rsp)));
    fields.code("handler", trap.handler);
}

fn ipi(fields: &mut Fields<'_>, ipi: &Ipi) {
    fields.field("ipi", format!("number {}", ipi.id));
    fields.field("vector", format!("{:#04x}", ipi.vector));
    fields.field("mode", ipi.mode.name());
    fields.field("shorthand", ipi.shorthand.name());
    let targets: Vec<String> =
        (0..16).filter(|n| ipi.targets >> n & 1 == 1).map(|n: u32| n.to_string()).collect();
    let targets = if targets.is_empty() { "none".to_owned() } else { format!("vCPU {}", targets.join(", ")) };
    fields.field("targets", targets);
    fields.field("icr", format!("{:#018x}", ipi.icr));
}

fn debugger(fields: &mut Fields<'_>, event: &Debugger) {
    let (what, by) = match event {
        Debugger::Attached { by } => ("attached", by),
        Debugger::BreakpointHit { by, .. } => ("breakpoint hit", by),
        Debugger::WatchpointHit { by, any: false, .. } => ("write to what is watched", by),
        Debugger::WatchpointHit { by, any: true, .. } => ("access to what is watched", by),
        Debugger::Matched { by } => ("waited for the event before", by),
        Debugger::Stepped { by, .. } => ("stepped", by),
        Debugger::Detached { by } => ("detached", by),
    };
    fields.field("what", what);
    fields.field("by", by.name());
    match event {
        Debugger::BreakpointHit { address, .. } => fields.code("address", *address),
        Debugger::Stepped { from, to, .. } => {
            fields.code("from", *from);
            fields.code("to", *to);
        }
        Debugger::WatchpointHit { address, rip, .. } => {
            fields.code("address", *address);
            fields.code("before", *rip);
        }
        Debugger::Attached { .. } | Debugger::Matched { .. } | Debugger::Detached { .. } => {}
    }
}

fn hex_lines(fields: &mut Fields<'_>, bytes: &[u8]) {
    for (n, line) in bytes.chunks(8).enumerate() {
        fields.field(if n == 0 { "bytes" } else { "" }, text::hex(line));
    }
}

/// A vector as hardware numbers it, with its name.
pub(crate) fn vector(vector: u16) -> String {
    match (vector, vector_name(vector)) {
        (VECTOR_SYSCALL, _) => "syscall".to_owned(),
        (_, Some(name)) => format!("{vector} {name}"),
        (_, None) => format!("{vector:#04x}"),
    }
}

fn state(state: &VcpuState) -> String {
    match state {
        VcpuState::Created => "created".into(),
        VcpuState::WaitingForSipi => "waits for a start-up IPI".into(),
        VcpuState::Running => "runs".into(),
        VcpuState::Halted => "halted: waits for an interrupt".into(),
        VcpuState::Paused { by } => format!("paused by {}", by.name()),
        VcpuState::Reset { by } => format!("reset by {}: begins anew", by.name()),
        VcpuState::Stopped { why } => format!("stopped: {why}"),
    }
}

fn irq_source(source: IrqSource) -> String {
    match source {
        IrqSource::LapicTimer => "local APIC timer".into(),
        IrqSource::LapicError => "local APIC error".into(),
        IrqSource::LapicLint { pin } => format!("local APIC LINT{pin}"),
        IrqSource::IoApic { pin } => format!("IOAPIC pin {pin}"),
        IrqSource::Pic { line } => format!("8259 line {line}"),
        IrqSource::SelfIpi => "self IPI".into(),
        IrqSource::Nmi => "NMI".into(),
        IrqSource::Msi => "MSI".into(),
        IrqSource::Unknown => "not known".into(),
    }
}

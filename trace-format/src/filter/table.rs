//! The table of fields: one entry each, for parser, evaluation, completion and documentation.

use std::borrow::Cow;

use super::Subject;
use super::field::{Field, Names};
use super::value::{Type, Value};
use crate::event::{
    Access, Actor, Debugger, Exit, ExitReason, Hardware, IrqSource, Kind, MACHINE, MsrDirection, PagingMode,
    Payload, StopReason, VcpuState, Walk, WalkCause, WalkFault, WalkOutcome,
};
use crate::screen::character;

const EVERY: &[Kind] = &Kind::ALL;
const EXIT: &[Kind] = &[Kind::Exit];
const TRAPS: &[Kind] = &[Kind::Trap, Kind::TrapReturn];
const TRAP: &[Kind] = &[Kind::Trap];
const WALK: &[Kind] = &[Kind::Walk];
const IPIS: &[Kind] = &[Kind::Ipi, Kind::IpiAccepted, Kind::IpiEoi];
const SENT: &[Kind] = &[Kind::Ipi];
const IRQS: &[Kind] = &[Kind::Irq, Kind::IrqEoi];

const KINDS: Names = Names::Choice(
    &[
        "exit",
        "data",
        "trap-entry",
        "trap-return",
        "walk",
        "page-table-write",
        "address-space",
        "ipi-sent",
        "ipi-accepted",
        "ipi-eoi",
        "irq-injected",
        "irq-eoi",
        "state",
        "reclaim",
        "refault",
        "console",
        "marker",
        "counter",
        "debugger",
        "fixup",
        "lost",
        "screen",
        "slide",
        "registers",
    ],
    &[
        ("trap", &["trap-entry", "trap-return"]),
        ("ipi", &["ipi-sent", "ipi-accepted", "ipi-eoi"]),
        ("irq", &["irq-injected", "irq-eoi"]),
    ],
);

/// A kind's name in filters. Three of [`Kind::name`] would say too little: there, `ipi` is all that belongs to one.
pub(crate) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Trap => "trap-entry",
        Kind::Ipi => "ipi-sent",
        Kind::Irq => "irq-injected",
        other => other.name(),
    }
}

const REASONS: Names = Names::Choice(
    &ExitReason::NAMES,
    &[("io", &["io-in", "io-out"]), ("mmio", &["mmio-read", "mmio-write"]), ("msr", &["rdmsr", "wrmsr"])],
);

/// An exit's reason; those of other architectures under one name.
fn reason_name(reason: &ExitReason) -> &'static str {
    match reason {
        ExitReason::Foreign { .. } => "foreign",
        other => other.name(),
    }
}

const CLASSES: Names = Names::Choice(
    &["fault", "trap", "abort", "software-interrupt", "system-call", "external-interrupt", "nmi"],
    &[],
);
const MODES: Names = Names::Choice(
    &["fixed", "lowest-priority", "smi", "nmi", "init", "init-deassert", "start-up", "reserved"],
    &[],
);
const SHORTHANDS: Names = Names::Choice(&["none", "self", "all", "others"], &[]);
const SOURCES: Names = Names::Choice(
    &["lapic-timer", "lapic-error", "lapic-lint", "ioapic", "pic", "self-ipi", "nmi", "msi", "unknown"],
    &[],
);
const CAUSES: Names = Names::Choice(&["page-fault", "probe", "debugger", "user"], &[]);
const OUTCOMES: Names = Names::Choice(
    &[
        "mapped",
        "not-present",
        "reserved-bit",
        "not-writable",
        "supervisor-only",
        "not-executable",
        "smep",
        "smap",
        "not-canonical",
        "no-memory",
    ],
    &[(
        "fault",
        &[
            "not-present",
            "reserved-bit",
            "not-writable",
            "supervisor-only",
            "not-executable",
            "smep",
            "smap",
            "not-canonical",
            "no-memory",
        ],
    )],
);
const ACCESSES: Names = Names::Choice(&["read", "write", "execute"], &[]);
const STATES: Names =
    Names::Choice(&["created", "waiting-for-sipi", "running", "halted", "paused", "reset", "stopped"], &[]);
const STOPS: Names = Names::Choice(
    &["guest-exit", "reset", "power-off", "triple-fault", "deadlock", "host-error", "timeout", "ended"],
    &[],
);
const ACTIONS: Names =
    Names::Choice(&["attached", "breakpoint-hit", "watchpoint-hit", "matched", "stepped", "detached"], &[]);
const ACTORS: Names = Names::Choice(&["user", "gdb", "command-line", "signal", "monitor"], &[]);
const BY: Names = Names::Choice(
    &[
        "user",
        "gdb",
        "command-line",
        "signal",
        "monitor",
        "unknown",
        "keyboard-controller",
        "fast-reset",
        "reset-control",
        "acpi",
        "hypervisor",
    ],
    &[],
);
const WATCHED: Names = Names::Choice(&["write", "any"], &[]);
const FIXUPS: Names = Names::Choice(&["syscall", "breakpoint", "instruction"], &[]);
const ISAS: Names = Names::Choice(&["vmx", "svm"], &[]);
const PAGING: Names = Names::Choice(&["off", "two-level", "pae", "four-level", "five-level"], &[]);
const LOSSES: Names = Names::Choice(&["ring-full", "damage"], &[]);
const VCPU: Names = Names::Numbers(&[("machine", MACHINE as u64)]);

/// An entry of the table.
macro_rules! field {
    ($name:literal, $of:ident, $kinds:expr, $names:expr, $documentation:literal, $get:expr) => {
        Field {
            name: $name,
            documentation: $documentation,
            of: Type::$of,
            kinds: $kinds,
            names: $names,
            get: $get,
        }
    };
}

/// A register, by its number in the file format.
macro_rules! register {
    ($name:literal, $number:literal, $documentation:literal) => {
        field!(
            $name,
            Address,
            &[Kind::Registers],
            Names::None,
            $documentation,
            of!(Payload::Registers(e) => num(e.values()[$number]))
        )
    };
}

/// Of what kind of event a field is, and its value there.
macro_rules! of {
    ($pattern:pat => $value:expr) => {
        |s| match &s.event.payload {
            $pattern => $value,
            _ => None,
        }
    };
}

pub(super) static TABLE: &[Field] = &[
    // Every event.
    field!("number", Number, EVERY, Names::None, "The event's number in the trace, from 0.", |s| num(
        s.number
    )),
    field!("time", Time, EVERY, Names::None, "When it happened, from the start of the run.", |s| num(s
        .event
        .time)),
    field!("vcpu", Number, EVERY, VCPU, "The vCPU's number; `machine` for what no vCPU did.", |s| num(s
        .event
        .vcpu)),
    field!(
        "kind",
        Name,
        EVERY,
        KINDS,
        "The kind of event. `ipi`, `irq` and `trap` are all events that belong to one: sent, accepted and EOI, say.",
        |s| Some(Value::Name(kind_name(s.event.payload.kind())))
    ),
    field!(
        "rip",
        Address,
        &[Kind::Exit, Kind::Trap, Kind::TrapReturn, Kind::Debugger, Kind::Fixup, Kind::Registers],
        Names::None,
        "Where the guest was, gva; of a trap's return, where it goes on.",
        |s| rip(s).and_then(num)
    ),
    field!(
        "symbol",
        Text,
        &[Kind::Exit, Kind::Trap, Kind::TrapReturn, Kind::Debugger, Kind::Fixup, Kind::Registers],
        Names::None,
        "The name of the function with `rip`, where the trace has symbols.",
        |s| symbol(s, rip(s)?)
    ),
    field!(
        "cpl",
        Number,
        &[Kind::Exit, Kind::Trap, Kind::Registers],
        Names::Numbers(&[("kernel", 0), ("user", 3)]),
        "The privilege level there, 0 to 3.",
        |s| match &s.event.payload {
            Payload::Exit(e) => num(e.cpl),
            Payload::Trap(e) => num(e.cpl),
            Payload::Registers(e) => num(e.cpl),
            _ => None,
        }
    ),
    field!(
        "latency",
        Time,
        &[
            Kind::Exit,
            Kind::TrapReturn,
            Kind::IpiAccepted,
            Kind::IpiEoi,
            Kind::Irq,
            Kind::IrqEoi,
            Kind::Reclaim,
            Kind::Refault
        ],
        Names::None,
        "How long it took: an exit to be handled, a handler until it returned, an IPI or interrupt from its request \
         until it was accepted or acknowledged, memory to be taken or given back.",
        |s| match &s.event.payload {
            Payload::Exit(e) => num(e.handling_ns),
            Payload::TrapReturn(e) => num(e.duration_ns),
            Payload::IpiAccepted(e) => num(e.latency_ns),
            Payload::IpiEoi(e) => num(e.latency_ns),
            Payload::Irq(e) => num(e.latency_ns),
            Payload::IrqEoi(e) => num(e.latency_ns),
            Payload::Reclaim(e) => num(e.cost_ns),
            Payload::Refault(e) => num(e.cost_ns),
            _ => None,
        }
    ),
    field!(
        "description",
        Text,
        EVERY,
        Names::None,
        "All that the event says, as the line that `vmscope events` prints of it.",
        |s| Some(Value::Text(Cow::Owned(s.event.describe(s.header).to_string())))
    ),
    // Exits.
    field!(
        "exit.reason",
        Name,
        EXIT,
        REASONS,
        "Why the guest was left. `io`, `mmio` and `msr` are both directions.",
        of!(Payload::Exit(e) => Some(Value::Name(reason_name(&e.reason))))
    ),
    field!(
        "exit.guest",
        Time,
        EXIT,
        Names::None,
        "Time in the guest before the exit.",
        of!(Payload::Exit(e) => num(e.guest_ns))
    ),
    field!(
        "exit.handling",
        Time,
        EXIT,
        Names::None,
        "Time that the monitor took to handle it.",
        of!(Payload::Exit(e) => num(e.handling_ns))
    ),
    field!(
        "exit.gpa",
        Address,
        EXIT,
        Names::None,
        "The guest physical address that it was about: of an access that nothing backs, a fault that the monitor must resolve, or one that the hardware tells.",
        |s| match &s.event.payload {
            Payload::Exit(e) => exit_gpa(&e.reason).and_then(num),
            _ => None,
        }
    ),
    field!(
        "exit.pc",
        Address,
        EXIT,
        Names::None,
        "Where a debug exit or a probe says that the guest was, gva.",
        of!(Payload::Exit(Exit { reason: ExitReason::Debug { pc, .. } | ExitReason::Probe { pc }, .. }) => num(*pc))
    ),
    field!(
        "exit.vector",
        Number,
        EXIT,
        Names::Vectors,
        "The vector of an exception, or of the interrupt that an EOI is for.",
        |s| match &s.event.payload {
            Payload::Exit(Exit { reason: ExitReason::Exception { vector, .. }, .. }) => num(*vector),
            Payload::Exit(Exit { reason: ExitReason::IoapicEoi { vector }, .. }) => num(*vector),
            _ => None,
        }
    ),
    field!(
        "exit.error-code",
        Address,
        EXIT,
        Names::None,
        "The error code of an exception, or the one that the hardware tells.",
        of!(Payload::Exit(Exit { reason: ExitReason::Exception { error_code, .. } | ExitReason::Hardware(Hardware { error_code, .. }), .. }) => num(*error_code))
    ),
    field!(
        "exit.exception",
        Number,
        EXIT,
        Names::Vectors,
        "The exception of a debug exit.",
        of!(Payload::Exit(Exit { reason: ExitReason::Debug { exception, .. }, .. }) => num(*exception))
    ),
    field!(
        "exit.dr6",
        Address,
        EXIT,
        Names::None,
        "DR6 of a debug exit.",
        of!(Payload::Exit(Exit { reason: ExitReason::Debug { dr6, .. }, .. }) => num(*dr6))
    ),
    field!(
        "exit.dr7",
        Address,
        EXIT,
        Names::None,
        "DR7 of a debug exit.",
        of!(Payload::Exit(Exit { reason: ExitReason::Debug { dr7, .. }, .. }) => num(*dr7))
    ),
    field!(
        "exit.event",
        Number,
        EXIT,
        Names::None,
        "The number of a system event, or of what a guest asks of Hyper-V's or Xen's interface.",
        of!(Payload::Exit(Exit { reason: ExitReason::SystemEvent { kind, .. } | ExitReason::HyperV { kind } | ExitReason::Xen { kind }, .. }) => num(*kind))
    ),
    field!(
        "exit.flags",
        Address,
        EXIT,
        Names::None,
        "KVM's flags of a memory fault or a notify exit.",
        |s| match &s.event.payload {
            Payload::Exit(Exit { reason: ExitReason::MemoryFault { flags, .. }, .. }) => num(*flags),
            Payload::Exit(Exit { reason: ExitReason::Notify { flags }, .. }) => num(*flags),
            _ => None,
        }
    ),
    field!(
        "exit.size",
        Number,
        EXIT,
        Names::None,
        "The bytes of a memory fault that the monitor must resolve.",
        of!(Payload::Exit(Exit { reason: ExitReason::MemoryFault { size, .. }, .. }) => num(*size))
    ),
    field!(
        "exit.suberror",
        Number,
        EXIT,
        Names::None,
        "What went wrong in KVM by an internal error: 1 is an emulation failure.",
        of!(Payload::Exit(Exit { reason: ExitReason::InternalError { suberror, .. }, .. }) => num(*suberror))
    ),
    field!(
        "exit.hardware-reason",
        Address,
        EXIT,
        Names::None,
        "The hardware's reason of a failed entry or an unknown exit.",
        of!(Payload::Exit(Exit { reason: ExitReason::FailEntry { hardware_reason, .. } | ExitReason::Unknown { hardware_reason }, .. }) => num(*hardware_reason))
    ),
    field!(
        "exit.cpu",
        Number,
        EXIT,
        Names::None,
        "The host's CPU of a failed entry.",
        of!(Payload::Exit(Exit { reason: ExitReason::FailEntry { cpu, .. }, .. }) => num(*cpu))
    ),
    field!(
        "exit.access-rip",
        Address,
        EXIT,
        Names::None,
        "The instruction of an access to the TPR, gva.",
        of!(Payload::Exit(Exit { reason: ExitReason::TprAccess { rip, .. }, .. }) => num(*rip))
    ),
    field!(
        "exit.write",
        Truth,
        EXIT,
        Names::None,
        "Whether an access to the TPR was a write.",
        of!(Payload::Exit(Exit { reason: ExitReason::TprAccess { write, .. }, .. }) => truth(*write))
    ),
    field!(
        "exit.number",
        Number,
        EXIT,
        Names::None,
        "KVM's number of an exit of another architecture, or that has no name.",
        of!(Payload::Exit(Exit { reason: ExitReason::Foreign { number } | ExitReason::Unlisted { number }, .. }) => num(*number))
    ),
    field!(
        "exit.isa",
        Name,
        EXIT,
        ISAS,
        "Whose numbers the exit has, where a host recorded it.",
        of!(Payload::Exit(Exit { reason: ExitReason::Hardware(hardware), .. }) => Some(Value::Name(hardware.isa.name())))
    ),
    field!(
        "exit.code",
        Address,
        EXIT,
        Names::None,
        "The hardware's exit code.",
        of!(Payload::Exit(Exit { reason: ExitReason::Hardware(hardware), .. }) => num(hardware.code))
    ),
    field!(
        "exit.info1",
        Address,
        EXIT,
        Names::None,
        "The exit qualification of VMX, EXITINFO1 of SVM.",
        of!(Payload::Exit(Exit { reason: ExitReason::Hardware(hardware), .. }) => num(hardware.info1))
    ),
    field!(
        "exit.info2",
        Address,
        EXIT,
        Names::None,
        "What was being delivered in VMX, EXITINFO2 of SVM.",
        of!(Payload::Exit(Exit { reason: ExitReason::Hardware(hardware), .. }) => num(hardware.info2))
    ),
    field!(
        "exit.interrupt",
        Address,
        EXIT,
        Names::None,
        "The interruption information of VMX, EXITINTINFO of SVM.",
        of!(Payload::Exit(Exit { reason: ExitReason::Hardware(hardware), .. }) => num(hardware.interrupt))
    ),
    field!(
        "io.port",
        Number,
        &[Kind::Exit, Kind::Console],
        Names::None,
        "The port of port I/O, or of a console.",
        |s| match &s.event.payload {
            Payload::Exit(Exit {
                reason: ExitReason::IoIn { port, .. } | ExitReason::IoOut { port, .. },
                ..
            }) => {
                num(*port)
            }
            Payload::Console(e) if e.port < crate::event::Output::FIRST_GPA => num(e.port),
            _ => None,
        }
    ),
    field!(
        "io.size",
        Number,
        EXIT,
        Names::None,
        "Bytes of one element of port I/O.",
        of!(Payload::Exit(Exit { reason: ExitReason::IoIn { size, .. } | ExitReason::IoOut { size, .. }, .. }) => num(*size))
    ),
    field!(
        "io.count",
        Number,
        EXIT,
        Names::None,
        "Elements of port I/O: more than one of a string instruction.",
        of!(Payload::Exit(Exit { reason: ExitReason::IoIn { count, .. } | ExitReason::IoOut { count, .. }, .. }) => num(*count))
    ),
    field!(
        "io.data",
        Address,
        EXIT,
        Names::None,
        "What went through the port: the first 8 bytes.",
        of!(Payload::Exit(Exit { reason: ExitReason::IoIn { data, .. } | ExitReason::IoOut { data, .. }, .. }) => num(*data))
    ),
    field!(
        "mmio.gpa",
        Address,
        EXIT,
        Names::None,
        "The address of a memory access that nothing backs.",
        of!(Payload::Exit(Exit { reason: ExitReason::MmioRead { gpa, .. } | ExitReason::MmioWrite { gpa, .. }, .. }) => num(*gpa))
    ),
    field!(
        "mmio.size",
        Number,
        EXIT,
        Names::None,
        "Its bytes.",
        of!(Payload::Exit(Exit { reason: ExitReason::MmioRead { size, .. } | ExitReason::MmioWrite { size, .. }, .. }) => num(*size))
    ),
    field!(
        "mmio.data",
        Address,
        EXIT,
        Names::None,
        "What was read or written.",
        of!(Payload::Exit(Exit { reason: ExitReason::MmioRead { data, .. } | ExitReason::MmioWrite { data, .. }, .. }) => num(*data))
    ),
    field!(
        "msr.index",
        Address,
        EXIT,
        Names::None,
        "The number of an MSR.",
        of!(Payload::Exit(Exit { reason: ExitReason::Msr { index, .. }, .. }) => num(*index))
    ),
    field!(
        "msr.data",
        Address,
        EXIT,
        Names::None,
        "What was read or written.",
        of!(Payload::Exit(Exit { reason: ExitReason::Msr { data, .. }, .. }) => num(*data))
    ),
    field!(
        "msr.write",
        Truth,
        EXIT,
        Names::None,
        "Whether it was written.",
        of!(Payload::Exit(Exit { reason: ExitReason::Msr { direction, .. }, .. }) => truth(*direction == MsrDirection::Write))
    ),
    field!(
        "msr.failed",
        Truth,
        EXIT,
        Names::None,
        "Whether the guest got #GP for it.",
        of!(Payload::Exit(Exit { reason: ExitReason::Msr { failed, .. }, .. }) => truth(*failed))
    ),
    field!(
        "msr.reason",
        Number,
        EXIT,
        Names::None,
        "Why KVM left it to the monitor: 1 invalid, 2 unknown, 4 filtered.",
        of!(Payload::Exit(Exit { reason: ExitReason::Msr { reason, .. }, .. }) => num(*reason))
    ),
    field!(
        "hypercall.number",
        Number,
        EXIT,
        Names::None,
        "The number of a hypercall.",
        of!(Payload::Exit(Exit { reason: ExitReason::Hypercall { number, .. }, .. }) => num(*number))
    ),
    field!(
        "hypercall.result",
        Address,
        EXIT,
        Names::None,
        "What the guest got for it.",
        of!(Payload::Exit(Exit { reason: ExitReason::Hypercall { result, .. }, .. }) => num(*result))
    ),
    field!(
        "data.offset",
        Number,
        &[Kind::Data],
        Names::None,
        "Where in the data of string I/O these bytes belong.",
        of!(Payload::Data(e) => num(e.offset))
    ),
    // Traps.
    field!(
        "trap.vector",
        Number,
        TRAPS,
        Names::Vectors,
        "The vector; 256 or `syscall` for a system call.",
        |s| match &s.event.payload {
            Payload::Trap(e) => num(e.vector),
            Payload::TrapReturn(e) => num(e.vector),
            _ => None,
        }
    ),
    field!(
        "trap.id",
        Number,
        TRAPS,
        Names::None,
        "The trap's number: its return has the same.",
        |s| match &s.event.payload {
            Payload::Trap(e) => num(e.id),
            Payload::TrapReturn(e) => num(e.id),
            _ => None,
        }
    ),
    field!(
        "trap.class",
        Name,
        TRAP,
        CLASSES,
        "What kind of trap.",
        of!(Payload::Trap(e) => Some(Value::Name(e.class.name())))
    ),
    field!(
        "trap.code",
        Address,
        TRAP,
        Names::None,
        "The error code, or the number of the system call.",
        of!(Payload::Trap(e) => num(e.code?))
    ),
    field!(
        "trap.shared-by",
        Number,
        TRAP,
        Names::None,
        "How many vectors have the same handler: the vector is then one of them.",
        of!(Payload::Trap(e) => num(e.shared_by))
    ),
    field!(
        "trap.cs",
        Address,
        TRAP,
        Names::None,
        "The code segment there.",
        of!(Payload::Trap(e) => num(e.cs))
    ),
    field!(
        "trap.cr2",
        Address,
        TRAP,
        Names::None,
        "The address of a page fault, gva.",
        of!(Payload::Trap(e) => num(e.cr2?))
    ),
    field!(
        "trap.page",
        Address,
        TRAP,
        Names::None,
        "The page of 4 KiB with that address, gva.",
        of!(Payload::Trap(e) => num(e.cr2? & !0xfff))
    ),
    field!(
        "trap.rsp",
        Address,
        TRAP,
        Names::None,
        "The stack pointer, gva.",
        of!(Payload::Trap(e) => num(e.rsp))
    ),
    field!(
        "trap.handler",
        Address,
        TRAP,
        Names::None,
        "The handler's address, gva.",
        of!(Payload::Trap(e) => num(e.handler))
    ),
    field!(
        "trap.handler.symbol",
        Text,
        TRAP,
        Names::None,
        "The handler's name.",
        |s| match &s.event.payload {
            Payload::Trap(e) => symbol(s, e.handler),
            _ => None,
        }
    ),
    field!(
        "trap.duration",
        Time,
        &[Kind::TrapReturn],
        Names::None,
        "From the handler's entry to its return.",
        of!(Payload::TrapReturn(e) => num(e.duration_ns))
    ),
    // Walks and memory.
    field!(
        "walk.gva",
        Address,
        WALK,
        Names::None,
        "The address walked for, gva.",
        of!(Payload::Walk(e) => num(e.gva))
    ),
    field!(
        "walk.gpa",
        Address,
        WALK,
        Names::None,
        "Where it leads, gpa, if it is mapped.",
        of!(Payload::Walk(e) => match e.outcome {
            WalkOutcome::Mapped { gpa, .. } => num(gpa),
            WalkOutcome::Fault { .. } => None,
        })
    ),
    field!(
        "walk.outcome",
        Name,
        WALK,
        OUTCOMES,
        "`mapped`, or why not; `fault` is any reason.",
        of!(Payload::Walk(e) => Some(Value::Name(outcome(&e.outcome))))
    ),
    field!(
        "walk.level",
        Number,
        WALK,
        Names::None,
        "The level whose entry is at fault, 1 for pages; 0 for an address that is not canonical.",
        of!(Payload::Walk(Walk { outcome: WalkOutcome::Fault { level, .. }, .. }) => num(*level))
    ),
    field!(
        "walk.error-code",
        Address,
        WALK,
        Names::None,
        "The error code of the page fault that the guest gets, or would.",
        of!(Payload::Walk(Walk { outcome: WalkOutcome::Fault { error_code, .. }, .. }) => num(*error_code))
    ),
    field!(
        "walk.depth",
        Number,
        WALK,
        Names::None,
        "How many entries were read.",
        of!(Payload::Walk(e) => num(e.levels.len() as u64))
    ),
    field!(
        "walk.cause",
        Name,
        WALK,
        CAUSES,
        "Who walked.",
        of!(Payload::Walk(e) => Some(Value::Name(cause(e.cause))))
    ),
    field!(
        "walk.access",
        Name,
        WALK,
        ACCESSES,
        "What the access was.",
        of!(Payload::Walk(e) => Some(Value::Name(access(e.access))))
    ),
    field!(
        "walk.user",
        Truth,
        WALK,
        Names::None,
        "Whether the access was of user mode.",
        of!(Payload::Walk(e) => truth(e.access.user))
    ),
    field!(
        "walk.smap-exempt",
        Truth,
        WALK,
        Names::None,
        "Whether SMAP does not stop the access, because RFLAGS.AC is set.",
        of!(Payload::Walk(e) => truth(e.access.smap_exempt))
    ),
    field!(
        "walk.mode",
        Name,
        WALK,
        PAGING,
        "How the guest translates.",
        of!(Payload::Walk(e) => Some(Value::Name(paging(e.mode))))
    ),
    field!(
        "walk.page-size",
        Number,
        WALK,
        Names::None,
        "Bytes of the page, if it is mapped.",
        of!(Payload::Walk(e) => match e.outcome {
            WalkOutcome::Mapped { page_size, .. } => num(page_size),
            WalkOutcome::Fault { .. } => None,
        })
    ),
    field!(
        "walk.permissions",
        Text,
        WALK,
        Names::None,
        "What all levels together permit, if it is mapped: some of the letters of `rwxugad`.",
        of!(Payload::Walk(Walk { outcome: WalkOutcome::Mapped { permissions, .. }, .. }) => Some(Value::Text(permissions.to_string().into())))
    ),
    field!(
        "walk.hva",
        Address,
        WALK,
        Names::None,
        "Where that is in the monitor's memory, hva.",
        of!(Payload::Walk(Walk { outcome: WalkOutcome::Mapped { host: Some(host), .. }, .. }) => num(host.hva))
    ),
    field!(
        "walk.resident",
        Truth,
        WALK,
        Names::None,
        "Whether the host has a page there.",
        of!(Payload::Walk(Walk { outcome: WalkOutcome::Mapped { host: Some(host), .. }, .. }) => truth(host.resident?))
    ),
    field!(
        "walk.frame",
        Address,
        WALK,
        Names::None,
        "The host's page frame number.",
        of!(Payload::Walk(Walk { outcome: WalkOutcome::Mapped { host: Some(host), .. }, .. }) => num(host.frame?))
    ),
    field!(
        "cr3",
        Address,
        &[Kind::Walk, Kind::AddressSpace, Kind::Registers],
        Names::None,
        "CR3 of a walk, or in registers; the new one of a change of address space.",
        |s| match &s.event.payload {
            Payload::Registers(e) => num(e.cr3),
            Payload::Walk(e) => num(e.cr3),
            Payload::AddressSpace(e) => num(e.new),
            _ => None,
        }
    ),
    field!(
        "cr3.old",
        Address,
        &[Kind::AddressSpace],
        Names::None,
        "CR3 before a change of address space.",
        of!(Payload::AddressSpace(e) => num(e.old))
    ),
    field!(
        "pt.gva",
        Address,
        &[Kind::PageTableWrite],
        Names::None,
        "The first address that a changed entry governs, gva.",
        of!(Payload::PageTableWrite(e) => num(e.gva))
    ),
    field!(
        "pt.level",
        Number,
        &[Kind::PageTableWrite],
        Names::None,
        "The changed entry's level, 1 for pages.",
        of!(Payload::PageTableWrite(e) => num(e.level))
    ),
    field!(
        "pt.table",
        Address,
        &[Kind::PageTableWrite],
        Names::None,
        "The table, gpa.",
        of!(Payload::PageTableWrite(e) => num(e.table))
    ),
    field!(
        "pt.entry",
        Address,
        &[Kind::PageTableWrite],
        Names::None,
        "The changed entry, gpa.",
        of!(Payload::PageTableWrite(e) => num(e.entry_gpa))
    ),
    field!(
        "pt.old",
        Address,
        &[Kind::PageTableWrite],
        Names::None,
        "The entry before.",
        of!(Payload::PageTableWrite(e) => num(e.old))
    ),
    field!(
        "pt.new",
        Address,
        &[Kind::PageTableWrite],
        Names::None,
        "The entry after.",
        of!(Payload::PageTableWrite(e) => num(e.new))
    ),
    field!(
        "page.gpa",
        Address,
        &[Kind::Reclaim, Kind::Refault],
        Names::None,
        "The page that was taken or given back, gpa.",
        |s| match &s.event.payload {
            Payload::Reclaim(e) => num(e.gpa),
            Payload::Refault(e) => num(e.gpa),
            _ => None,
        }
    ),
    field!(
        "page.length",
        Number,
        &[Kind::Reclaim, Kind::Refault],
        Names::None,
        "Bytes from there on.",
        |s| match &s.event.payload {
            Payload::Reclaim(e) => num(e.length),
            Payload::Refault(e) => num(e.length),
            _ => None,
        }
    ),
    // Registers.
    register!("registers.rax", 0, "RAX."),
    register!("registers.rbx", 1, "RBX."),
    register!("registers.rcx", 2, "RCX."),
    register!("registers.rdx", 3, "RDX."),
    register!("registers.rsi", 4, "RSI."),
    register!("registers.rdi", 5, "RDI."),
    register!("registers.rbp", 6, "RBP."),
    register!("registers.rsp", 7, "RSP, the stack pointer, gva."),
    register!("registers.r8", 8, "R8."),
    register!("registers.r9", 9, "R9."),
    register!("registers.r10", 10, "R10."),
    register!("registers.r11", 11, "R11."),
    register!("registers.r12", 12, "R12."),
    register!("registers.r13", 13, "R13."),
    register!("registers.r14", 14, "R14."),
    register!("registers.r15", 15, "R15."),
    register!("registers.rflags", 17, "RFLAGS."),
    register!("registers.cs", 18, "The selector in CS."),
    register!("registers.ss", 19, "The selector in SS."),
    register!("registers.ds", 20, "The selector in DS."),
    register!("registers.es", 21, "The selector in ES."),
    register!("registers.fs", 22, "The selector in FS."),
    register!("registers.gs", 23, "The selector in GS."),
    register!("registers.cs.base", 24, "The base of CS."),
    register!("registers.ss.base", 25, "The base of SS."),
    register!("registers.ds.base", 26, "The base of DS."),
    register!("registers.es.base", 27, "The base of ES."),
    register!("registers.fs.base", 28, "The base of FS."),
    register!("registers.gs.base", 29, "The base of GS."),
    register!("registers.cr0", 30, "CR0."),
    register!("registers.cr2", 31, "CR2."),
    register!("registers.cr4", 33, "CR4."),
    register!("registers.cr8", 34, "CR8, the task priority."),
    register!("registers.efer", 35, "EFER."),
    // Interrupts.
    field!("ipi.id", Number, IPIS, Names::None, "The IPI's number: all its events have the same.", |s| {
        match &s.event.payload {
            Payload::Ipi(e) => num(e.id),
            Payload::IpiAccepted(e) => num(e.id),
            Payload::IpiEoi(e) => num(e.id),
            _ => None,
        }
    }),
    field!("ipi.vector", Number, IPIS, Names::None, "Its vector.", |s| match &s.event.payload {
        Payload::Ipi(e) => num(e.vector),
        Payload::IpiAccepted(e) => num(e.vector),
        Payload::IpiEoi(e) => num(e.vector),
        _ => None,
    }),
    field!("ipi.sender", Number, IPIS, Names::None, "The vCPU that sent it.", |s| match &s.event.payload {
        Payload::Ipi(_) => num(s.event.vcpu),
        Payload::IpiAccepted(e) => num(e.sender),
        Payload::IpiEoi(e) => num(e.sender),
        _ => None,
    }),
    field!(
        "ipi.target",
        Vcpus,
        IPIS,
        Names::None,
        "The vCPUs that it goes to; of acceptance and EOI, the one that did.",
        |s| match &s.event.payload {
            Payload::Ipi(e) => Some(Value::Vcpus(e.targets)),
            Payload::IpiAccepted(_) | Payload::IpiEoi(_) => {
                Some(Value::Vcpus(1_u16.checked_shl(s.event.vcpu.into()).unwrap_or(0)))
            }
            _ => None,
        }
    ),
    field!(
        "ipi.mode",
        Name,
        SENT,
        MODES,
        "How it is delivered.",
        of!(Payload::Ipi(e) => Some(Value::Name(e.mode.name())))
    ),
    field!(
        "ipi.shorthand",
        Name,
        SENT,
        SHORTHANDS,
        "To whom, by a shorthand.",
        of!(Payload::Ipi(e) => Some(Value::Name(e.shorthand.name())))
    ),
    field!(
        "ipi.icr",
        Address,
        SENT,
        Names::None,
        "The ICR as it was written.",
        of!(Payload::Ipi(e) => num(e.icr))
    ),
    field!(
        "ipi.merged",
        Truth,
        &[Kind::IpiAccepted],
        Names::None,
        "Whether an earlier one with this vector was still waiting.",
        of!(Payload::IpiAccepted(e) => truth(e.merged))
    ),
    field!("irq.source", Name, IRQS, SOURCES, "Where an interrupt that is no IPI comes from.", |s| {
        match &s.event.payload {
            Payload::Irq(e) => Some(Value::Name(e.source.class())),
            Payload::IrqEoi(e) => Some(Value::Name(e.source.class())),
            _ => None,
        }
    }),
    field!(
        "irq.pin",
        Number,
        IRQS,
        Names::None,
        "The pin of the I/O APIC or the local APIC, or the line of the PIC.",
        |s| match &s.event.payload {
            Payload::Irq(e) => pin(e.source),
            Payload::IrqEoi(e) => pin(e.source),
            _ => None,
        }
    ),
    field!("irq.vector", Number, IRQS, Names::None, "Its vector.", |s| match &s.event.payload {
        Payload::Irq(e) => num(e.vector),
        Payload::IrqEoi(e) => num(e.vector),
        _ => None,
    }),
    // The run.
    field!(
        "state",
        Name,
        &[Kind::State],
        STATES,
        "What became of a vCPU, or of the machine.",
        of!(Payload::State(e) => Some(Value::Name(state(e))))
    ),
    field!(
        "stop.reason",
        Name,
        &[Kind::State],
        STOPS,
        "Why the run ended.",
        of!(Payload::State(VcpuState::Stopped { why }) => Some(Value::Name(stop(why))))
    ),
    field!(
        "stop.status",
        Number,
        &[Kind::State],
        Names::None,
        "The guest's exit status.",
        of!(Payload::State(VcpuState::Stopped { why: StopReason::GuestExit { status } }) => num(*status))
    ),
    field!(
        "state.by",
        Name,
        &[Kind::State],
        BY,
        "Who paused, reset or ended the run, or how the guest asked for a reset.",
        of!(Payload::State(e) => state_by(e).map(Value::Name))
    ),
    field!(
        "text",
        Text,
        &[Kind::Console, Kind::Marker, Kind::Screen],
        Names::None,
        "Console output, of which an event has 64 bytes at most; a marker's text; what changed in a row of the text screen. \
         `vmscope console` and `vmscope screen` show the whole.",
        |s| {
            match &s.event.payload {
                Payload::Console(e) => Some(Value::Text(String::from_utf8_lossy(&e.bytes))),
                Payload::Marker(e) => Some(Value::Text(Cow::Borrowed(e.text.as_str()))),
                Payload::Screen(e) => {
                    Some(Value::Text(e.cells.iter().map(|&cell| character(cell)).collect::<String>().into()))
                }
                _ => None,
            }
        }
    ),
    field!(
        "marker.guest",
        Truth,
        &[Kind::Marker],
        Names::None,
        "Whether the guest made the mark.",
        of!(Payload::Marker(e) => truth(e.by_guest))
    ),
    field!(
        "marker.value",
        Address,
        &[Kind::Marker],
        Names::None,
        "The number that belongs to a marker.",
        of!(Payload::Marker(e) => num(e.value))
    ),
    field!(
        "counter.name",
        Text,
        &[Kind::Counter],
        Names::None,
        "The name of a count of the guest's own.",
        of!(Payload::Counter(e) => Some(Value::Text(Cow::Borrowed(e.name.as_str()))))
    ),
    field!(
        "counter.value",
        Number,
        &[Kind::Counter],
        Names::None,
        "The count.",
        of!(Payload::Counter(e) => num(e.value))
    ),
    field!(
        "debugger.action",
        Name,
        &[Kind::Debugger],
        ACTIONS,
        "What a debugger did.",
        of!(Payload::Debugger(e) => Some(Value::Name(action(e))))
    ),
    field!(
        "debugger.by",
        Name,
        &[Kind::Debugger],
        ACTORS,
        "Whose debugger.",
        of!(Payload::Debugger(e) => Some(Value::Name(debugger_by(e))))
    ),
    field!(
        "debugger.address",
        Address,
        &[Kind::Debugger],
        Names::None,
        "The address of a breakpoint or watchpoint that was hit, gva.",
        of!(Payload::Debugger(
            Debugger::BreakpointHit { address, .. } | Debugger::WatchpointHit { address, .. }
        ) => num(*address))
    ),
    field!(
        "debugger.access",
        Name,
        &[Kind::Debugger],
        WATCHED,
        "What a watchpoint that was hit waits for.",
        of!(Payload::Debugger(Debugger::WatchpointHit { any, .. }) => {
            Some(Value::Name(if *any { "any" } else { "write" }))
        })
    ),
    field!(
        "debugger.from",
        Address,
        &[Kind::Debugger],
        Names::None,
        "Where a step began, gva; `rip` is where it led.",
        of!(Payload::Debugger(Debugger::Stepped { from, .. }) => num(*from))
    ),
    field!(
        "fixup.kind",
        Name,
        &[Kind::Fixup],
        FIXUPS,
        "What the monitor did for the guest in place of KVM.",
        of!(Payload::Fixup(e) => Some(Value::Name(e.kind.name())))
    ),
    field!(
        "fixup.mnemonic",
        Text,
        &[Kind::Fixup],
        Names::None,
        "The instruction that the monitor carried out for KVM.",
        of!(Payload::Fixup(e) => (!e.mnemonic.is_empty()).then(|| Value::Text(Cow::Borrowed(e.mnemonic.as_str()))))
    ),
    field!(
        "lost.count",
        Number,
        &[Kind::Lost],
        Names::None,
        "How many events were lost.",
        of!(Payload::Lost(e) => num(e.count))
    ),
    field!(
        "lost.reason",
        Name,
        &[Kind::Lost],
        LOSSES,
        "Why.",
        of!(Payload::Lost(e) => Some(Value::Name(e.reason.name())))
    ),
    field!(
        "console.gpa",
        Address,
        &[Kind::Console],
        Names::None,
        "The registers of a console that has no port, gpa.",
        of!(Payload::Console(e) => if e.port < crate::event::Output::FIRST_GPA { None } else { num(e.port) })
    ),
    field!(
        "screen.row",
        Number,
        &[Kind::Screen],
        Names::None,
        "The row of the text screen that changed, from 0.",
        of!(Payload::Screen(e) => num(e.row))
    ),
    field!(
        "screen.column",
        Number,
        &[Kind::Screen],
        Names::None,
        "The first column that changed, from 0.",
        of!(Payload::Screen(e) => num(e.first))
    ),
    field!(
        "screen.columns",
        Number,
        &[Kind::Screen],
        Names::None,
        "The columns of a row.",
        of!(Payload::Screen(e) => num(e.columns))
    ),
    field!(
        "slide",
        Address,
        &[Kind::Slide],
        Names::None,
        "How far above its link addresses the guest's kernel runs.",
        of!(Payload::Slide(e) => num(e.slide))
    ),
];

fn num(value: impl Into<u64>) -> Option<Value<'static>> {
    Some(Value::Number(value.into()))
}

fn truth(value: bool) -> Option<Value<'static>> {
    Some(Value::Truth(value))
}

fn rip(subject: &Subject<'_>) -> Option<u64> {
    match &subject.event.payload {
        Payload::Exit(e) => Some(e.rip),
        Payload::Trap(e) => Some(e.rip),
        Payload::TrapReturn(e) => Some(e.rip),
        Payload::Fixup(e) => Some(e.rip),
        Payload::Registers(e) => Some(e.rip),
        Payload::Debugger(Debugger::BreakpointHit { address, .. }) => Some(*address),
        Payload::Debugger(Debugger::Stepped { to: rip, .. } | Debugger::WatchpointHit { rip, .. }) => {
            Some(*rip)
        }
        _ => None,
    }
}

fn symbol<'a>(subject: &Subject<'a>, address: u64) -> Option<Value<'a>> {
    subject.header.symbolize(address).map(|(name, _)| Value::Text(Cow::Borrowed(name)))
}

const fn outcome(outcome: &WalkOutcome) -> &'static str {
    match outcome {
        WalkOutcome::Mapped { .. } => "mapped",
        WalkOutcome::Fault { reason, .. } => match reason {
            WalkFault::NotPresent => "not-present",
            WalkFault::ReservedBit => "reserved-bit",
            WalkFault::Write => "not-writable",
            WalkFault::User => "supervisor-only",
            WalkFault::Execute => "not-executable",
            WalkFault::Smep => "smep",
            WalkFault::Smap => "smap",
            WalkFault::NotCanonical => "not-canonical",
            WalkFault::NoMemory => "no-memory",
        },
    }
}

const fn cause(cause: WalkCause) -> &'static str {
    match cause {
        WalkCause::PageFault => "page-fault",
        WalkCause::Probe => "probe",
        WalkCause::Debugger => "debugger",
        WalkCause::User => "user",
    }
}

const fn access(access: Access) -> &'static str {
    match access {
        Access { execute: true, .. } => "execute",
        Access { write: true, .. } => "write",
        Access { .. } => "read",
    }
}

const fn state(state: &VcpuState) -> &'static str {
    match state {
        VcpuState::Created => "created",
        VcpuState::WaitingForSipi => "waiting-for-sipi",
        VcpuState::Running => "running",
        VcpuState::Halted => "halted",
        VcpuState::Paused { .. } => "paused",
        VcpuState::Reset { .. } => "reset",
        VcpuState::Stopped { .. } => "stopped",
    }
}

const fn stop(why: &StopReason) -> &'static str {
    match why {
        StopReason::GuestExit { .. } => "guest-exit",
        StopReason::Reset { .. } => "reset",
        StopReason::PowerOff => "power-off",
        StopReason::TripleFault => "triple-fault",
        StopReason::Deadlock => "deadlock",
        StopReason::HostError => "host-error",
        StopReason::Timeout => "timeout",
        StopReason::Ended { .. } => "ended",
    }
}

const fn action(debugger: &Debugger) -> &'static str {
    match debugger {
        Debugger::Attached { .. } => "attached",
        Debugger::BreakpointHit { .. } => "breakpoint-hit",
        Debugger::Stepped { .. } => "stepped",
        Debugger::WatchpointHit { .. } => "watchpoint-hit",
        Debugger::Matched { .. } => "matched",
        Debugger::Detached { .. } => "detached",
    }
}

fn exit_gpa(reason: &ExitReason) -> Option<u64> {
    match reason {
        ExitReason::MmioRead { gpa, .. }
        | ExitReason::MmioWrite { gpa, .. }
        | ExitReason::MemoryFault { gpa, .. } => Some(*gpa),
        ExitReason::Hardware(hardware) => hardware.gpa,
        _ => None,
    }
}

const fn paging(mode: PagingMode) -> &'static str {
    match mode {
        PagingMode::Off => "off",
        PagingMode::Bits32 => "two-level",
        PagingMode::Pae => "pae",
        PagingMode::FourLevel => "four-level",
        PagingMode::FiveLevel => "five-level",
    }
}

fn pin(source: IrqSource) -> Option<Value<'static>> {
    match source {
        IrqSource::LapicLint { pin } | IrqSource::IoApic { pin } | IrqSource::Pic { line: pin } => num(pin),
        _ => None,
    }
}

const fn actor(by: Actor) -> &'static str {
    match by {
        Actor::CommandLine => "command-line",
        other => other.name(),
    }
}

const fn state_by(state: &VcpuState) -> Option<&'static str> {
    match state {
        VcpuState::Paused { by }
        | VcpuState::Reset { by }
        | VcpuState::Stopped { why: StopReason::Ended { by } } => Some(actor(*by)),
        VcpuState::Stopped { why: StopReason::Reset { by } } => Some(by.name()),
        _ => None,
    }
}

const fn debugger_by(debugger: &Debugger) -> &'static str {
    match debugger {
        Debugger::Attached { by }
        | Debugger::BreakpointHit { by, .. }
        | Debugger::WatchpointHit { by, .. }
        | Debugger::Matched { by }
        | Debugger::Stepped { by, .. }
        | Debugger::Detached { by } => actor(*by),
    }
}

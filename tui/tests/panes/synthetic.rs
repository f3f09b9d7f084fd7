//! A trace made by hand: four vCPUs, one of which shoots down the others' TLB entries, and an event of most kinds.

use arrayvec::ArrayVec;
use trace_format::event::{
    Access, Actor, Counter, Debugger, DeliveryMode, Exit, ExitReason, HostMapping, Ipi, IpiAccepted, IpiEoi,
    Level, MACHINE, Marker, MsrDirection, Output, PagingMode, Permissions, Screen, Shorthand, StopReason,
    Text, Trap, TrapClass, TrapReturn, VECTOR_SYSCALL, VcpuState, Walk, WalkCause, WalkFault, WalkOutcome,
};
use trace_format::header::{Fact, Symbol};
use trace_format::{Error, Event, Header, Payload, Reader, Writer};

const KERNEL: u64 = 0xffff_8000_0010_0000;
const USER: u64 = 0x40_1000;

/// Where a page fault's walk ends.
const UNMAPPED: u64 = 0x7f00_0000_2000;

/// Shootdowns.
const ROUNDS: u64 = 12;

/// The trace, finished.
pub(crate) fn trace() -> Result<Reader, Error> {
    finished(&header())
}

/// The same, of a run that did not see everything.
pub(crate) fn not_all_seen() -> Result<Reader, Error> {
    let not_seen = vec![
        "accesses to local APICs, EOIs, and when a vCPU takes an interrupt: KVM plays the local APICs".into(),
        "IPIs: tracefs\u{1b} is not mounted".into(),
    ];
    finished(&Header { not_seen, ..header() })
}

fn finished(header: &Header) -> Result<Reader, Error> {
    let events = events();
    let mut writer = Writer::new(Vec::new(), header)?;
    for event in &events {
        writer.append(event)?;
    }
    Reader::from_bytes(writer.finish()?)
}

/// The first so many events, of a recording that still goes on.
pub(crate) fn unfinished(count: usize) -> Result<Vec<u8>, Error> {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, &header())?;
    for event in events().iter().take(count) {
        writer.append(event)?;
    }
    writer.flush()?;
    drop(writer);
    Ok(file)
}

/// One that a debugger has stopped at a breakpoint of vCPU 1, while the others came out of the guest.
pub(crate) fn stopped() -> Result<Vec<u8>, Error> {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, &header())?;
    let mut builder = Builder { events: Vec::new(), ids: 0 };
    builder.exit(1_000, 1, ExitReason::Interrupted, 120);
    let hit = Debugger::BreakpointHit { by: Actor::Gdb, address: 0x1234 };
    builder.at(1_000, 1, Payload::Debugger(hit));
    for vcpu in [0, 2] {
        builder.exit(2_000, vcpu, ExitReason::Interrupted, 120);
    }
    for event in &builder.events {
        writer.append(event)?;
    }
    writer.flush()?;
    drop(writer);
    Ok(file)
}

/// A recording that cannot see everything.
pub(crate) fn that_does_not_see() -> Result<Vec<u8>, Error> {
    let not_seen = vec!["IPIs, because KVM plays the local APICs.".into()];
    Writer::new(Vec::new(), &Header { not_seen, ..header() })?.finish()
}

/// A memory test on the text screen, after a line on the serial console.
pub(crate) fn with_screen() -> Result<Reader, Error> {
    let mut writer = Writer::new(Vec::new(), &Header { guest: "memory-test".into(), vcpus: 1, ..header() })?;
    let mut builder = Builder { events: Vec::new(), ids: 0 };
    builder.at(0, 0, Payload::State(VcpuState::Running));
    let bytes: ArrayVec<u8, 64> = b"memory test: look at the screen\n".iter().copied().collect();
    builder.at(1_000, 0, Payload::Console(Output { port: 0x3f8, bytes }));
    builder.exit(2_000, 0, ExitReason::IoOut { port: 0x3f8, size: 1, count: 1, data: 0x0a }, 120);
    let mut row = |time, row, first, attribute: u8, text: &str| {
        // Code page 437 has the frame at these places.
        let byte = |c: char| match c {
            '─' => 0xc4,
            '│' => 0xb3,
            '☺' => 0x01,
            c => u8::try_from(c).unwrap_or(b'?'),
        };
        let cells = text.chars().map(|c| u16::from_le_bytes([byte(c), attribute])).collect();
        let cursor = Some((6, 20));
        builder.at(time, MACHINE, Payload::Screen(Screen { columns: 80, row, first, cursor, cells }));
    };
    let later = 2_000_000_000;
    row(later, 0, 0, 0x1f, &format!("{:<80}", "   Memory test ☺"));
    for line in 1..25 {
        row(later, line, 0, 0x17, &format!("{:<80}", format!("{line:>2}")));
    }
    row(later, 1, 0, 0x17, &"─".repeat(80));
    row(
        later + 5,
        2,
        4,
        0x17,
        "CPU: 1 at 2000 MHz │ Memory: 64 MiB │ everything to the right of here: nothing",
    );
    row(later + 10, 24, 50, 0x70, "(ESC) exit  (SPACE) go on ");
    for percent in [0, 50, 100] {
        row(later + 20 + percent, 6, 4, 0x1e, &format!("Pass {percent:>3}%"));
    }
    builder.exit(2 * later, 0, ExitReason::Halt, 300);
    for event in &builder.events {
        writer.append(event)?;
    }
    Reader::from_bytes(writer.finish()?)
}

fn header() -> Header {
    let fact = |name: &str, value: &str| Fact { name: name.into(), value: value.into() };
    let symbol = |address, size, name: &str| Symbol { address, size, name: name.into() };
    Header {
        guest: "tlb-shootdown".into(),
        command: vec!["vmscope".into(), "record".into(), "tlb-shootdown".into()],
        vcpus: 4,
        memory_bytes: 64 << 20,
        tsc_khz: 2_000_000,
        host: vec![fact("kernel", "6.1.0")],
        calibration: vec![fact("breakpoints", "direct")],
        recorder: "0.1.0".into(),
        symbols: vec![
            symbol(USER, 0x100, "user_main"),
            symbol(KERNEL, 0x80, "page_fault_entry"),
            symbol(KERNEL + 0x80, 0x80, "syscall_entry"),
            symbol(KERNEL + 0x100, 0x200, "shoot_down"),
        ]
        .into(),
        ..Header::default()
    }
}

struct Builder {
    events: Vec<Event>,
    ids: u64,
}

impl Builder {
    fn at(&mut self, time: u64, vcpu: u8, payload: Payload) {
        self.events.push(Event { time, vcpu, payload });
    }

    fn exit(&mut self, time: u64, vcpu: u8, reason: ExitReason, handling_ns: u64) {
        let rip = KERNEL + 0x100 + time % 0x100;
        let exit = Exit { reason, rip, cpl: 0, guest_ns: 2_000 + time % 977, handling_ns };
        self.at(time, vcpu, Payload::Exit(exit));
    }

    /// A handler's run, from `time` on.
    fn trap(
        &mut self,
        time: u64,
        vcpu: u8,
        vector: u16,
        code: Option<u64>,
        cr2: Option<u64>,
        duration_ns: u64,
    ) {
        self.ids += 1;
        let id = self.ids;
        let (class, handler) = match vector {
            VECTOR_SYSCALL => (TrapClass::SystemCall, KERNEL + 0x80),
            14 => (TrapClass::Fault, KERNEL),
            _ => (TrapClass::ExternalInterrupt, KERNEL + 0x100),
        };
        let trap = Trap {
            id,
            vector,
            shared_by: 1,
            class,
            code,
            rip: USER + 0x24,
            cs: 0x1b,
            cpl: 3,
            rsp: 0x7ffe_f000,
            handler,
            cr2,
        };
        self.at(time, vcpu, Payload::Trap(trap));
        let back = TrapReturn { id, vector, duration_ns, rip: USER + 0x24 };
        self.at(time + duration_ns, vcpu, Payload::TrapReturn(back));
    }

    fn round(&mut self, n: u64) {
        let start = 40_000 + n * 100_000;
        self.trap(start, 0, VECTOR_SYSCALL, Some(n), None, 70_000);
        let id = n + 1;
        let icr = 0x000c_40f0;
        let written = ExitReason::MmioWrite { gpa: 0xfee0_0300, size: 4, data: icr };
        let ipi = Ipi {
            id,
            icr,
            vector: 0xf0,
            mode: DeliveryMode::Fixed,
            shorthand: Shorthand::AllExcludingSelf,
            targets: 0b1110,
        };
        self.at(start + 10_000, 0, Payload::Ipi(ipi));
        self.exit(start + 10_000, 0, written, 1_500);
        for target in 1..4_u8 {
            let taken = 6_000 + u64::from(target) * (4_000 + n * 150);
            let accepted = IpiAccepted { id, sender: 0, vector: 0xf0, latency_ns: taken, merged: false };
            self.at(start + 10_000 + taken, target, Payload::IpiAccepted(accepted));
            self.trap(start + 10_500 + taken, target, 0xf0, None, None, 9_000);
            let latency_ns = taken + 8_000;
            let eoi = ExitReason::MmioWrite { gpa: 0xfee0_00b0, size: 4, data: 0 };
            self.exit(start + 10_000 + latency_ns, target, eoi, 700);
            let eoi = IpiEoi { id, sender: 0, vector: 0xf0, latency_ns };
            self.at(start + 10_000 + latency_ns, target, Payload::IpiEoi(eoi));
        }
        if n.is_multiple_of(3) {
            self.trap(start + 80_000, 1, 14, Some(6), Some(UNMAPPED), 6_000);
            self.at(start + 80_000, 1, Payload::Walk(walk(n.is_multiple_of(2))));
        }
        if n.is_multiple_of(4) {
            self.exit(start + 85_000, 2, ExitReason::Halt, 300);
            self.at(start + 85_300, 2, Payload::State(VcpuState::Halted));
            self.at(start + 99_000, 2, Payload::State(VcpuState::Running));
        }
        let msr = ExitReason::Msr {
            direction: MsrDirection::Write,
            index: 0x6e0,
            data: start,
            reason: 4,
            failed: false,
        };
        self.exit(start + 90_000, 3, msr, 900);
    }
}

fn events() -> Vec<Event> {
    let mut builder = Builder { events: Vec::new(), ids: 0 };
    for vcpu in 0..4 {
        builder.at(u64::from(vcpu) * 100, vcpu, Payload::State(VcpuState::Created));
    }
    builder.at(1_000, 0, Payload::State(VcpuState::Running));
    for (line, time) in [("tlb-shootdown: 4 vCPUs, 12 rounds\n", 5_000), ("started: 1 2 3\n", 30_000)] {
        for (n, byte) in line.bytes().enumerate() {
            let data = u64::from(byte);
            let time = time + n as u64 * 200;
            builder.exit(time, 0, ExitReason::IoOut { port: 0x3f8, size: 1, count: 1, data }, 120);
        }
        let bytes: ArrayVec<u8, 64> = line.bytes().collect();
        builder.at(time + 8_000, 0, Payload::Console(Output { port: 0x3f8, bytes }));
    }
    for vcpu in 1..4 {
        builder.at(20_000 + u64::from(vcpu) * 1_000, vcpu, Payload::State(VcpuState::Running));
    }
    for n in 0..ROUNDS {
        builder.round(n);
    }
    let end = 40_000 + ROUNDS * 100_000;
    let text = |text: &str| Text::from(text).unwrap_or_default();
    builder.at(
        end,
        0,
        Payload::Marker(Marker { by_guest: true, text: text("verified\x1b[31m"), value: ROUNDS }),
    );
    for (name, value) in [("shootdowns", ROUNDS), ("ipis", ROUNDS)] {
        builder.at(end + 100, 0, Payload::Counter(Counter { name: text(name), value }));
    }
    let bytes: ArrayVec<u8, 64> = b"\x1b[32mok\x1b[0m: no stale entry was read\n".iter().copied().collect();
    builder.at(end + 200, 0, Payload::Console(Output { port: 0xe9, bytes }));
    builder.exit(end + 300, 0, ExitReason::IoOut { port: 0xf4, size: 4, count: 1, data: 0 }, 200);
    builder.at(end + 400, MACHINE, Payload::State(VcpuState::Paused { by: Actor::User }));
    let why = StopReason::GuestExit { status: 0 };
    builder.at(end + 500, MACHINE, Payload::State(VcpuState::Stopped { why }));
    builder.events.sort_by_key(|event| event.time);
    builder.events
}

fn walk(mapped: bool) -> Walk {
    let entries = [(4, 0x1000 + 8 * 254, 0x2027), (3, 0x2000, 0x3027), (2, 0x3000, 0x4027)];
    let mut levels: ArrayVec<Level, 5> = entries
        .iter()
        .map(|(level, entry_gpa, entry)| Level { level: *level, entry_gpa: *entry_gpa, entry: *entry })
        .collect();
    let last = if mapped { 0x8000_0000_0123_4067 } else { 0x0123_4000 };
    levels.push(Level { level: 1, entry_gpa: 0x4010, entry: last });
    let outcome = if mapped {
        WalkOutcome::Mapped {
            gpa: 0x0123_4000,
            page_size: 4096,
            permissions: Permissions {
                write: true,
                user: true,
                accessed: true,
                dirty: true,
                ..Permissions::default()
            },
            host: Some(HostMapping { hva: 0x7f12_3412_3000, resident: Some(true), frame: None }),
        }
    } else {
        WalkOutcome::Fault { level: 1, reason: WalkFault::NotPresent, error_code: 6 }
    };
    let access = Access { write: true, user: true, ..Access::default() };
    let (cause, mode) = (WalkCause::PageFault, PagingMode::FourLevel);
    Walk { cause, cr3: 0x1000, mode, gva: UNMAPPED, access, levels, outcome }
}

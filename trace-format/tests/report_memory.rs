//! What a report takes, whatever a trace names.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::BufWriter;

use peak_alloc::PeakAlloc;
use trace_format::analysis::{Groups, Plan, grouped};
use trace_format::event::{
    DeliveryMode, Exit, ExitReason, Hardware, Ipi, IpiAccepted, IpiEoi, Irq, IrqEoi, IrqSource, Isa,
    Shorthand, Trap, TrapClass, TrapReturn,
};
use trace_format::filter::{Selection, field};
use trace_format::header::Symbol;
use trace_format::{Event, Header, Payload, Reader, Report, Writer};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What a report may take beyond what its reader holds, bytes.
const MEMORY: usize = 64 << 20;
/// More functions, pages and handlers than are told apart.
const NAMES: u64 = 15_000;

/// As many as a trace can have.
const MOST_VCPUS: u8 = 63;

/// The shortest time and the longest.
const TIMES: [u64; 2] = [0, u64::MAX];

fn exit(reason: ExitReason, rip: u64, ns: u64) -> Payload {
    Payload::Exit(Exit { reason, rip, cpl: 0, guest_ns: ns, handling_ns: ns })
}

fn hardware(isa: Isa, code: u32) -> ExitReason {
    ExitReason::Hardware(Hardware { isa, code, info1: 0, info2: 0, interrupt: 0, error_code: 0, gpa: None })
}

fn trap(id: u64, vector: u16, handler: u64) -> Payload {
    Payload::Trap(Trap {
        id,
        vector,
        shared_by: 1,
        class: TrapClass::Fault,
        code: None,
        rip: 0,
        cs: 8,
        cpl: (id % 4) as u8,
        rsp: 0,
        handler,
        cr2: Some(id << 12),
    })
}

/// Everything that has a distribution, with times that make it as large as it can be.
fn payloads(round: usize, ns: u64, mut each: impl FnMut(u8, Payload)) {
    for code in 0..0x410 {
        each(0, exit(hardware(Isa::Svm, code), code.into(), ns));
        each(0, exit(hardware(Isa::Vmx, code), code.into(), ns));
    }
    for vcpu in 0..MOST_VCPUS {
        each(vcpu, exit(ExitReason::Halt, 0, ns));
    }
    // Some of them often.
    for n in 0..if round < 2 { NAMES } else { 500 } {
        each(1, exit(ExitReason::Halt, 0x10_0000 + 16 * n, ns));
        each(1, exit(ExitReason::Halt, n << 40, ns));
        each(1, trap(n, (n % 257) as u16, 0x10_0000 + 16 * n));
        let back = TrapReturn { id: n, vector: (n % 257) as u16, duration_ns: ns, rip: 0 };
        each(1, Payload::TrapReturn(back));
    }
    for pin in 0..=255 {
        for source in [IrqSource::IoApic { pin }, IrqSource::Pic { line: pin }, IrqSource::LapicLint { pin }]
        {
            each(2, Payload::Irq(Irq { source, vector: pin, latency_ns: ns }));
            each(2, Payload::IrqEoi(IrqEoi { source, vector: pin, latency_ns: ns }));
        }
    }
    for vector in 0..=255 {
        let id = u64::from(vector);
        let (mode, shorthand) = (DeliveryMode::Fixed, Shorthand::None);
        each(3, Payload::Ipi(Ipi { id, icr: 0, vector, mode, shorthand, targets: 0b10 }));
        each(1, Payload::IpiAccepted(IpiAccepted { id, sender: 3, vector, latency_ns: ns, merged: false }));
        each(1, Payload::IpiEoi(IpiEoi { id, sender: 3, vector, latency_ns: ns }));
    }
    // Such as nobody answers.
    for id in 0..if round == 0 { 20_000_u64 } else { 0 } {
        let (mode, shorthand) = (DeliveryMode::Fixed, Shorthand::None);
        let (vcpu, vector) = ((id % u64::from(MOST_VCPUS)) as u8, (id % 256) as u8);
        each(vcpu, Payload::Ipi(Ipi { id: 1000 + id, icr: 0, vector, mode, shorthand, targets: u16::MAX }));
    }
}

#[test]
fn a_report_on_a_trace_that_names_everything_takes_little_memory() {
    let symbols: Vec<Symbol> = (0..NAMES)
        .map(|n| Symbol { address: 0x10_0000 + 16 * n, size: 16, name: format!("{n:0>256}") })
        .collect();
    let header = Header { vcpus: MOST_VCPUS, symbols: symbols.into(), ..Header::default() };
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::new(BufWriter::new(file.as_file()), &header).unwrap();
    drop(header);
    let mut time = 0;
    // More than are kept one by one.
    for (round, ns) in TIMES.into_iter().cycle().take(66).enumerate() {
        payloads(round, ns, |vcpu, payload| {
            time += 1;
            writer.append(&Event { time, vcpu, payload }).unwrap();
        });
    }
    writer.finish().unwrap();
    let mut reader = Reader::open(file.path()).unwrap();
    // Few threads, and so few decoded blocks, whatever the machine.
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let plan = Plan { top: 20, ..Plan::default() };
    let report = Report::of_plan(&mut reader, &plan).unwrap();
    let taken = HEAP.peak_usage() - before;
    assert!(taken < MEMORY, "{taken} bytes of memory");

    // All of it is there, less exactly; and what is not shown is counted.
    assert_eq!(report.events, time);
    assert_eq!(report.traps.len(), 257);
    assert!(report.traps.iter().all(|trap| trap.duration_ns.is_some() && trap.returned == trap.count));
    assert!(report.exits.len() > 150);
    assert_eq!(report.details.shootdowns.len(), 256);
    assert!(report.details.shootdowns.iter().all(|vector| vector.stall_ns.is_some()));
    assert_eq!(report.details.quantile_error, 0.1);
    let others = report.details.symbols.last().unwrap();
    assert_eq!(others.value, None);
    assert!(others.count > NAMES && report.details.symbols[0].p50_ns.is_some());

    for by in ["rip", "symbol", "trap.page", "ipi.id", "description"] {
        HEAP.reset_peak_usage();
        let before = HEAP.current_usage();
        let groups = grouped(&mut reader, &Selection::default(), Groups::new(field(by).unwrap())).unwrap();
        assert!(!groups.largest(20).is_empty());
        let taken = HEAP.peak_usage() - before;
        assert!(taken < MEMORY, "{taken} bytes of memory by {by}");
    }
}

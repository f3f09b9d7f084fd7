//! Every kind of event, with any values, comes back as it was, and any order that is sorted by time is kept.
#![allow(clippy::unwrap_used, reason = "tests")]

use arrayvec::{ArrayString, ArrayVec};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use trace_format::event::{
    Access, Actor, AddressSpace, Counter, Data, Debugger, DeliveryMode, Exit, ExitReason, Fixup, FixupKind,
    Hardware, HostMapping, Ipi, IpiAccepted, IpiEoi, Irq, IrqEoi, IrqSource, Isa, Level, Lost, LostReason,
    MACHINE, Marker, MsrDirection, Output, PageTableWrite, PagingMode, Permissions, Reclaim, Refault,
    Registers, ResetBy, Screen, Shorthand, Slide, StopReason, Trap, TrapClass, TrapReturn, VcpuState, Walk,
    WalkCause, WalkFault, WalkOutcome,
};
use trace_format::filter::{Subject, Value, fields};
use trace_format::{Event, Header, Kind, Payload, Reader, Writer};

/// Numbers as they come: small ones, addresses of kernels, anything.
fn number() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![
        0_u64..300,
        Just(u64::MAX),
        any::<u64>(),
        (0_u64..1 << 30).prop_map(|n| 0xffff_ffff_8000_0000 + n)
    ]
}

fn bytes<const N: usize>() -> impl Strategy<Value = ArrayVec<u8, N>> {
    vec(any::<u8>(), 0..=N).prop_map(|bytes| bytes.into_iter().collect())
}

fn text() -> impl Strategy<Value = ArrayString<48>> {
    "[ -~]{0,48}".prop_map(|text| ArrayString::from(&text).unwrap())
}

fn reason() -> impl Strategy<Value = ExitReason> {
    let io = (any::<u16>(), 1_u8..=4, any::<u32>(), number());
    let mmio = (number(), 1_u8..=8, number());
    let msr = (any::<bool>(), any::<u32>(), number(), 0_u32..8, any::<bool>());
    let simple = prop_oneof![
        Just(ExitReason::Halt),
        Just(ExitReason::Shutdown),
        Just(ExitReason::InterruptWindow),
        Just(ExitReason::Interrupted),
        Just(ExitReason::SetTpr),
        Just(ExitReason::Nmi),
        Just(ExitReason::DirtyRingFull),
        Just(ExitReason::BusLock),
        Just(ExitReason::Watchdog),
    ];
    let rare = prop_oneof![
        (number(), any::<[u64; 6]>(), number())
            .prop_map(|(number, arguments, result)| ExitReason::Hypercall { number, arguments, result }),
        (any::<u32>(), bytes())
            .prop_map(|(suberror, instruction)| ExitReason::InternalError { suberror, instruction }),
        (number(), any::<u32>())
            .prop_map(|(hardware_reason, cpu)| ExitReason::FailEntry { hardware_reason, cpu }),
        (any::<u32>(), number(), number(), number())
            .prop_map(|(exception, pc, dr6, dr7)| ExitReason::Debug { exception, pc, dr6, dr7 }),
        number().prop_map(|pc| ExitReason::Probe { pc }),
        (number(), any::<bool>()).prop_map(|(rip, write)| ExitReason::TprAccess { rip, write }),
        any::<u8>().prop_map(|vector| ExitReason::IoapicEoi { vector }),
        (any::<u32>(), any::<[u64; 2]>()).prop_map(|(kind, data)| ExitReason::SystemEvent { kind, data }),
        (number(), number(), number()).prop_map(|(flags, gpa, size)| ExitReason::MemoryFault {
            flags,
            gpa,
            size
        }),
        number().prop_map(|hardware_reason| ExitReason::Unknown { hardware_reason }),
        (any::<u32>(), any::<u32>())
            .prop_map(|(vector, error_code)| ExitReason::Exception { vector, error_code }),
        any::<u32>().prop_map(|kind| ExitReason::HyperV { kind }),
        any::<u32>().prop_map(|kind| ExitReason::Xen { kind }),
        any::<u32>().prop_map(|flags| ExitReason::Notify { flags }),
        any::<u32>().prop_map(|number| ExitReason::Foreign { number }),
        any::<u32>().prop_map(|number| ExitReason::Unlisted { number }),
        (any::<bool>(), any::<[u32; 3]>(), any::<[u64; 2]>(), option::of(number())).prop_map(
            |(intel, [code, interrupt, error_code], [info1, info2], gpa)| {
                let isa = if intel { Isa::Vmx } else { Isa::Svm };
                ExitReason::Hardware(Hardware { isa, code, info1, info2, interrupt, error_code, gpa })
            }
        ),
    ];
    prop_oneof![
        io.clone().prop_map(|(port, size, count, data)| ExitReason::IoIn { port, size, count, data }),
        io.prop_map(|(port, size, count, data)| ExitReason::IoOut { port, size, count, data }),
        mmio.clone().prop_map(|(gpa, size, data)| ExitReason::MmioRead { gpa, size, data }),
        mmio.prop_map(|(gpa, size, data)| ExitReason::MmioWrite { gpa, size, data }),
        msr.prop_map(|(read, index, data, reason, failed)| ExitReason::Msr {
            direction: if read { MsrDirection::Read } else { MsrDirection::Write },
            index,
            data,
            reason,
            failed,
        }),
        simple,
        rare,
    ]
}

fn exit() -> impl Strategy<Value = Payload> {
    (reason(), number(), 0_u8..4, number(), number()).prop_map(|(reason, rip, cpl, guest_ns, handling_ns)| {
        Payload::Exit(Exit { reason, rip, cpl, guest_ns, handling_ns })
    })
}

fn trap() -> impl Strategy<Value = Payload> {
    let class = prop::sample::select(vec![
        TrapClass::Fault,
        TrapClass::Trap,
        TrapClass::Abort,
        TrapClass::SoftwareInterrupt,
        TrapClass::SystemCall,
        TrapClass::ExternalInterrupt,
        TrapClass::Nmi,
    ]);
    let origin = (number(), any::<u16>(), 0_u8..4, number());
    (number(), 0_u16..=256, any::<u16>(), class, option::of(number()), origin, number(), option::of(number()))
        .prop_map(|(id, vector, shared_by, class, code, (rip, cs, cpl, rsp), handler, cr2)| {
            Payload::Trap(Trap { id, vector, shared_by, class, code, rip, cs, cpl, rsp, handler, cr2 })
        })
}

fn walk() -> impl Strategy<Value = Payload> {
    let cause = prop::sample::select(vec![
        WalkCause::PageFault,
        WalkCause::Probe,
        WalkCause::Debugger,
        WalkCause::User,
    ]);
    let mode = prop::sample::select(vec![
        PagingMode::Off,
        PagingMode::Bits32,
        PagingMode::Pae,
        PagingMode::FourLevel,
        PagingMode::FiveLevel,
    ]);
    let access = any::<[bool; 4]>().prop_map(|[write, execute, user, smap_exempt]| Access {
        write,
        execute,
        user,
        smap_exempt,
    });
    let level = (1_u8..=5, number(), number()).prop_map(|(level, entry_gpa, entry)| Level {
        level,
        entry_gpa,
        entry,
    });
    let fault = prop::sample::select(vec![
        WalkFault::NotPresent,
        WalkFault::ReservedBit,
        WalkFault::Write,
        WalkFault::User,
        WalkFault::Execute,
        WalkFault::Smep,
        WalkFault::Smap,
        WalkFault::NotCanonical,
        WalkFault::NoMemory,
    ]);
    let permissions = any::<[bool; 6]>().prop_map(|[write, user, execute, accessed, dirty, global]| {
        Permissions { write, user, execute, accessed, dirty, global }
    });
    let host = (number(), option::of(any::<bool>()), option::of(number()))
        .prop_map(|(hva, resident, frame)| HostMapping { hva, resident, frame });
    let outcome = prop_oneof![
        (number(), number(), permissions, option::of(host)).prop_map(
            |(gpa, page_size, permissions, host)| {
                WalkOutcome::Mapped { gpa, page_size, permissions, host }
            }
        ),
        (0_u8..=5, fault, any::<u32>()).prop_map(|(level, reason, error_code)| WalkOutcome::Fault {
            level,
            reason,
            error_code
        }),
    ];
    (cause, number(), mode, number(), access, vec(level, 0..=5), outcome).prop_map(
        |(cause, cr3, mode, gva, access, levels, outcome)| {
            let levels = levels.into_iter().collect();
            Payload::Walk(Walk { cause, cr3, mode, gva, access, levels, outcome })
        },
    )
}

fn interrupt() -> impl Strategy<Value = Payload> {
    let mode = prop::sample::select(vec![
        DeliveryMode::Fixed,
        DeliveryMode::LowestPriority,
        DeliveryMode::Smi,
        DeliveryMode::Nmi,
        DeliveryMode::Init,
        DeliveryMode::InitDeassert,
        DeliveryMode::StartUp,
        DeliveryMode::Reserved,
    ]);
    let shorthand = prop::sample::select(vec![
        Shorthand::None,
        Shorthand::SelfOnly,
        Shorthand::AllIncludingSelf,
        Shorthand::AllExcludingSelf,
    ]);
    let source = prop_oneof![
        Just(IrqSource::LapicTimer),
        Just(IrqSource::LapicError),
        any::<u8>().prop_map(|pin| IrqSource::LapicLint { pin }),
        any::<u8>().prop_map(|pin| IrqSource::IoApic { pin }),
        any::<u8>().prop_map(|line| IrqSource::Pic { line }),
        Just(IrqSource::SelfIpi),
        Just(IrqSource::Nmi),
        Just(IrqSource::Msi),
        Just(IrqSource::Unknown),
    ];
    prop_oneof![
        (number(), number(), any::<u8>(), mode, shorthand, any::<u16>()).prop_map(
            |(id, icr, vector, mode, shorthand, targets)| Payload::Ipi(Ipi {
                id,
                icr,
                vector,
                mode,
                shorthand,
                targets
            })
        ),
        (number(), any::<u8>(), any::<u8>(), number(), any::<bool>()).prop_map(
            |(id, sender, vector, latency_ns, merged)| {
                Payload::IpiAccepted(IpiAccepted { id, sender, vector, latency_ns, merged })
            }
        ),
        (number(), any::<u8>(), any::<u8>(), number()).prop_map(|(id, sender, vector, latency_ns)| {
            Payload::IpiEoi(IpiEoi { id, sender, vector, latency_ns })
        }),
        (source.clone(), any::<u8>(), number()).prop_map(|(source, vector, latency_ns)| Payload::Irq(Irq {
            source,
            vector,
            latency_ns
        })),
        (source, any::<u8>(), number()).prop_map(|(source, vector, latency_ns)| Payload::IrqEoi(IrqEoi {
            source,
            vector,
            latency_ns
        })),
    ]
}

fn memory() -> impl Strategy<Value = Payload> {
    prop_oneof![
        (number(), number()).prop_map(|(old, new)| Payload::AddressSpace(AddressSpace { old, new })),
        (number(), 1_u8..=5, number(), number(), number(), number()).prop_map(
            |(table, level, entry_gpa, old, new, gva)| {
                Payload::PageTableWrite(PageTableWrite { table, level, entry_gpa, old, new, gva })
            }
        ),
        (number(), number(), number()).prop_map(|(gpa, length, cost_ns)| Payload::Reclaim(Reclaim {
            gpa,
            length,
            cost_ns
        })),
        (number(), number(), number()).prop_map(|(gpa, length, cost_ns)| Payload::Refault(Refault {
            gpa,
            length,
            cost_ns
        })),
    ]
}

fn run() -> impl Strategy<Value = Payload> {
    let actor = prop::sample::select(vec![
        Actor::User,
        Actor::Gdb,
        Actor::CommandLine,
        Actor::Signal,
        Actor::Monitor,
    ]);
    let reset = prop::sample::select(vec![
        ResetBy::Unknown,
        ResetBy::KeyboardController,
        ResetBy::FastReset,
        ResetBy::ResetControl,
        ResetBy::Acpi,
        ResetBy::Hypervisor,
    ]);
    let why = prop_oneof![
        any::<u32>().prop_map(|status| StopReason::GuestExit { status }),
        reset.prop_map(|by| StopReason::Reset { by }),
        Just(StopReason::PowerOff),
        Just(StopReason::TripleFault),
        Just(StopReason::Deadlock),
        Just(StopReason::HostError),
        Just(StopReason::Timeout),
        actor.clone().prop_map(|by| StopReason::Ended { by }),
    ];
    let state = prop_oneof![
        Just(VcpuState::Created),
        Just(VcpuState::WaitingForSipi),
        Just(VcpuState::Running),
        Just(VcpuState::Halted),
        actor.clone().prop_map(|by| VcpuState::Paused { by }),
        actor.clone().prop_map(|by| VcpuState::Reset { by }),
        why.prop_map(|why| VcpuState::Stopped { why }),
    ];
    let debugger = prop_oneof![
        actor.clone().prop_map(|by| Debugger::Attached { by }),
        (actor.clone(), number()).prop_map(|(by, address)| Debugger::BreakpointHit { by, address }),
        (actor.clone(), number(), number()).prop_map(|(by, from, to)| Debugger::Stepped { by, from, to }),
        (actor.clone(), number(), any::<bool>(), number())
            .prop_map(|(by, address, any, rip)| Debugger::WatchpointHit { by, address, any, rip }),
        actor.clone().prop_map(|by| Debugger::Matched { by }),
        actor.prop_map(|by| Debugger::Detached { by }),
    ];
    let fixup = prop::sample::select(vec![FixupKind::Syscall, FixupKind::Breakpoint, FixupKind::Instruction]);
    let reason = prop::sample::select(vec![LostReason::RingFull, LostReason::Damage]);
    prop_oneof![
        state.prop_map(Payload::State),
        debugger.prop_map(Payload::Debugger),
        (fixup, number(), "[a-z0-9]{0,16}").prop_map(|(kind, rip, mnemonic)| {
            Payload::Fixup(Fixup { kind, rip, mnemonic: ArrayString::from(&mnemonic).unwrap() })
        }),
        screen(),
        registers(),
        number().prop_map(|slide| Payload::Slide(Slide { slide })),
        (number(), reason).prop_map(|(count, reason)| Payload::Lost(Lost { count, reason })),
        (any::<u32>(), bytes()).prop_map(|(offset, bytes)| Payload::Data(Data { offset, bytes })),
        (any::<u32>(), bytes()).prop_map(|(port, bytes)| Payload::Console(Output { port, bytes })),
        (any::<bool>(), text(), number()).prop_map(|(by_guest, text, value)| Payload::Marker(Marker {
            by_guest,
            text,
            value
        })),
        (text(), number()).prop_map(|(name, value)| Payload::Counter(Counter { name, value })),
        (number(), 0_u16..=256, number(), number()).prop_map(|(id, vector, duration_ns, rip)| {
            Payload::TrapReturn(TrapReturn { id, vector, duration_ns, rip })
        }),
    ]
}

fn registers() -> impl Strategy<Value = Payload> {
    let addresses = (any::<[u64; 16]>(), number(), any::<[u64; 2]>(), any::<[u64; 3]>());
    let words = (any::<[u32; 3]>(), any::<[u32; 4]>(), any::<[u16; 6]>(), any::<[u8; 2]>());
    (addresses, words).prop_map(
        |((general, rip, bases, [cr2, cr3, cr4]), (words, flat_bases, selectors, bytes))| {
            let ([rflags, cr0, efer], [cr8, cpl]) = (words, bytes);
            Payload::Registers(Registers {
                general,
                rip,
                bases,
                cr2,
                cr3,
                cr4,
                rflags,
                cr0,
                efer,
                flat_bases,
                selectors,
                cr8,
                cpl,
            })
        },
    )
}

fn screen() -> impl Strategy<Value = Payload> {
    let cells = vec(any::<u16>(), 0..=80);
    (any::<[u8; 3]>(), option::of(any::<(u8, u8)>()), cells).prop_map(
        |([columns, row, first], cursor, cells)| {
            let cells = cells.into_iter().collect();
            Payload::Screen(Screen { columns, row, first, cursor, cells })
        },
    )
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![3 => exit(), 1 => trap(), 1 => walk(), 2 => interrupt(), 1 => memory(), 3 => run()]
}

/// Events in time order; several at one time, and the last possible time, are among them.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let vcpu = prop_oneof![8 => 0_u8..16, 1 => Just(MACHINE)];
    let step = prop_oneof![Just(0_u64), 0_u64..10_000, 0_u64..1 << 40];
    vec((step, vcpu, payload()), 0..120).prop_map(|events| {
        let mut time = 0_u64;
        events
            .into_iter()
            .map(|(step, vcpu, payload)| {
                time += step;
                Event { time, vcpu, payload }
            })
            .collect()
    })
}

fn write(events: &[Event], flush_every: usize) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &Header { vcpus: 16, ..Header::default() }).unwrap();
    for (n, event) in events.iter().enumerate() {
        writer.append(event).unwrap();
        if n % flush_every == flush_every - 1 {
            writer.flush().unwrap();
        }
    }
    writer.finish().unwrap()
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(events in events(), flush_every in 1_usize..200) {
        let mut reader = Reader::from_bytes(write(&events, flush_every)).unwrap();
        let forward: Vec<Event> = reader.forward(0).map(|e| e.unwrap().1).collect();
        prop_assert_eq!(&forward, &events);
        let end = reader.len();
        let mut backward: Vec<Event> = reader.backward(end).map(|e| e.unwrap().1).collect();
        backward.reverse();
        prop_assert_eq!(&backward, &events);
        prop_assert_eq!(reader.damage(), vec![]);
    }

    #[test]
    fn a_time_leads_to_the_first_event_not_before_it(events in events(), flush_every in 1_usize..50, at in any::<prop::sample::Index>()) {
        prop_assume!(!events.is_empty());
        let mut reader = Reader::from_bytes(write(&events, flush_every)).unwrap();
        let time = events[at.index(events.len())].time;
        let expected = events.iter().position(|e| e.time >= time).unwrap() as u64;
        prop_assert_eq!(reader.seek_time(time).unwrap(), expected);
    }
}

#[test]
fn the_strategies_make_every_kind() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5000 {
        seen.insert(payload().new_tree(&mut runner).unwrap().current().kind());
    }
    let missing: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !seen.contains(kind)).collect();
    assert_eq!(missing, []);
}

/// What a trace says, a line an event as `vmscope events --format json` writes it.
fn lines(bytes: Vec<u8>) -> Vec<String> {
    let mut reader = Reader::from_bytes(bytes).unwrap();
    let header = reader.header().clone();
    let events = reader.forward(0).map(Result::unwrap);
    let lines =
        events.map(|(number, event)| serde_json::to_string(&event.json(number, &header)).unwrap()).collect();
    assert_eq!((reader.damage(), reader.unknown_events(), reader.unknown_frames()), (vec![], 0, 0));
    lines
}

/// `golden/1.vmt` was written by the first version of this format and is never written again; it has every kind of event
/// and every exit reason of then. The lines beside it change only when more is told about an event.
#[test]
fn the_golden_trace_is_read_for_ever() {
    let found = lines(include_bytes!("golden/1.vmt").to_vec());
    let expected: Vec<&str> = include_str!("golden/1.jsonl").lines().collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
}

/// `cargo test -p trace-format --test every_kind -- --ignored` makes the golden trace of a version that has none yet.
#[test]
#[ignore = "golden traces are made once"]
fn make_the_golden_trace() {
    use std::io::Write as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let events = vec(payload(), 1000).new_tree(&mut runner).unwrap().current();
    let events: Vec<Event> = (0_u64..)
        .zip(events)
        .map(|(n, payload)| Event { time: n * n * 37 % 5000 + n * 5000, vcpu: (n % 5) as u8, payload })
        .collect();
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let create = |name: &str| std::fs::File::create_new(directory.join(name)).unwrap();
    let bytes = write(&events, 300);
    create("1.vmt").write_all(&bytes).unwrap();
    let mut out = create("1.jsonl");
    lines(bytes).iter().for_each(|line| writeln!(out, "{line}").unwrap());
}

/// What JSON says of events that no field of a filter says alike: the context, the name, and why.
const WITHOUT_A_FIELD: &[(&str, &str, &str)] = &[
    ("exit internal-error", "instruction", "bytes"),
    ("data", "bytes", "bytes"),
    ("console", "bytes", "bytes; `text` has them"),
    ("screen", "attributes", "bytes"),
    ("trap", "kind", "`trap-entry`, as `trap` is both"),
    ("ipi", "kind", "`ipi-sent`, as `ipi` is all three"),
    ("irq", "kind", "`irq-injected`, as `irq` is both"),
    ("trap", "name", "a name of `trap.vector`"),
    ("trap-return", "name", "a name of `trap.vector`"),
    ("walk", "mode", "`walk.mode` has names that need no quotes"),
    ("walk", "write", "`walk.access`"),
    ("walk", "execute", "`walk.access`"),
    ("walk", "outcome", "`walk.outcome` says which fault"),
    ("walk", "reason", "`walk.outcome`"),
    ("irq", "source", "`irq.source` and `irq.pin`"),
    ("irq-eoi", "source", "`irq.source` and `irq.pin`"),
    ("state stopped", "why", "`stop.reason`, `stop.status` and `state.by`"),
];

/// A word as a filter has it.
fn word(text: &str) -> String {
    text.to_lowercase().replace(' ', "-")
}

#[test]
fn a_filter_can_ask_for_whatever_json_says() {
    use std::collections::{BTreeMap, BTreeSet};
    let header = Header::default();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    // For each name in each context the fields that have been equal in every event so far.
    let mut equal: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for number in 0..6000 {
        let payload = payload().new_tree(&mut runner).unwrap().current();
        let event = Event { time: 3 * number + 1, vcpu: (number % 7) as u8, payload };
        let subject = Subject { number, event: &event, header: &header };
        let values: Vec<(&str, Vec<String>)> = fields()
            .iter()
            .filter_map(|field| {
                let value = match field.value(&subject)? {
                    Value::Number(n) => vec![n.to_string(), format!("{n:#x}")],
                    Value::Name(name) => vec![word(name)],
                    Value::Text(text) => vec![word(&text)],
                    Value::Truth(truth) => vec![truth.to_string()],
                    Value::Vcpus(_) => Vec::new(),
                };
                Some((field.name, value))
            })
            .collect();
        let json = serde_json::to_value(event.json(number, &header)).unwrap();
        let json = json.as_object().unwrap();
        let context = match (&json["kind"], json.get("reason"), json.get("state"), json.get("action")) {
            (_, _, Some(of), _) | (_, _, _, Some(of)) => format!("{} {}", json["kind"], of),
            (kind, Some(reason), ..) if kind == "exit" => format!("{kind} {reason}"),
            (kind, ..) => kind.to_string(),
        };
        for (name, value) in json {
            let value = match value {
                serde_json::Value::String(text) => word(text),
                serde_json::Value::Number(number) => number.to_string(),
                serde_json::Value::Bool(truth) => truth.to_string(),
                _ => continue,
            };
            let found = values.iter().filter(|(_, values)| values.contains(&value)).map(|(name, _)| *name);
            let found: BTreeSet<&str> = found.collect();
            match equal.entry((context.replace('"', ""), name.clone())) {
                std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(found)),
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    entry.get_mut().retain(|field| found.contains(field));
                }
            }
        }
    }
    let without = equal.iter().filter(|(_, fields)| fields.is_empty());
    let without: BTreeSet<(&str, &str)> =
        without.map(|((context, name), _)| (context.as_str(), name.as_str())).collect();
    let known = WITHOUT_A_FIELD.iter().map(|(context, name, _)| (*context, *name)).collect();
    assert_eq!(without, known);
}

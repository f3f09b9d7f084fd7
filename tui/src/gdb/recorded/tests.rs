use trace_format::event::{
    Access, Exit, ExitReason, Level, PagingMode, Payload, Permissions, Registers, Trap, TrapClass,
    TrapReturn, VECTOR_SYSCALL, VcpuState, Walk, WalkCause, WalkOutcome,
};
use trace_format::header::{ImageFacts, Stretch};
use trace_format::{Header, Writer};

use super::super::registers::Register;
use super::*;

const IMAGE: &[u8] = b"some code of the guest";

/// Two vCPUs in turns: moments at 10, 20, ... with registers, each RIP its time.
fn recorded(moments: u64) -> Recorded {
    of_bytes(written(moments))
}

fn of_bytes(trace: Vec<u8>) -> Recorded {
    let reader = Reader::from_bytes(trace).unwrap();
    Recorded::new(reader, Some(Cow::Borrowed(IMAGE)), Cursor::default()).unwrap()
}

fn written(moments: u64) -> Vec<u8> {
    let constant = vec![Stretch { gva: 0x1000, offset: 5, length: 4 }];
    let image = Some(ImageFacts::of(IMAGE, constant));
    let header = Header { vcpus: 2, image, ..Header::default() };
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    for n in 1..=moments {
        let (time, rip, vcpu) = (n * 10, n * 10, (n % 2) as u8);
        let registers = Registers { rip, ..Registers::default() };
        let reason = ExitReason::Interrupted;
        let exit = Exit { reason, rip, cpl: 0, guest_ns: 5, handling_ns: 1 };
        for payload in [Payload::Registers(registers), Payload::Exit(exit)] {
            writer.append(&Event { time, vcpu, payload }).unwrap();
        }
        if n % 1000 == 0 {
            writer.flush().unwrap();
        }
    }
    writer.finish().unwrap()
}

fn go(recorded: &mut Recorded, direction: Direction, motions: [Motion; 2]) -> Stop {
    recorded.resume(direction, &motions).unwrap();
    loop {
        match recorded.poll() {
            Progress::Stopped(stop) => return stop,
            Progress::Busy => {}
            Progress::Waiting => panic!("nothing moves"),
        }
    }
}

fn rip(recorded: &mut Recorded, vcpu: u8) -> Option<u64> {
    recorded.registers(vcpu).unwrap().get_u64(Register::Rip)
}

fn breakpoint(address: u64) -> Point {
    Point { kind: PointKind::Software, address, len: 1 }
}

#[test]
fn steps_go_from_moment_to_moment_either_way() {
    let mut trace = recorded(6);
    assert_eq!((trace.attach(), rip(&mut trace, 1), rip(&mut trace, 0)), (Ok(1), Some(10), None));
    let step = [Motion::Continue, Motion::Step];
    let stepped = Stop { vcpu: Some(1), cause: Cause::Stepped };
    assert_eq!(go(&mut trace, Direction::Forward, step.clone()), stepped);
    assert_eq!((rip(&mut trace, 1), rip(&mut trace, 0)), (Some(30), None), "vCPU 0 is in the guest");
    let other = [Motion::Step, Motion::Hold];
    assert_eq!(go(&mut trace, Direction::Forward, other.clone()).vcpu, Some(0));
    assert_eq!(rip(&mut trace, 0), Some(40));
    assert_eq!(go(&mut trace, Direction::Backward, other), Stop { vcpu: Some(0), cause: Cause::Stepped });
    assert_eq!(rip(&mut trace, 0), Some(20));
    assert!(trace.registers(0).unwrap().get(Register::Cr3).is_some(), "the whole moment");
    go(&mut trace, Direction::Backward, step);
    assert_eq!(rip(&mut trace, 1), Some(10));
}

#[test]
fn the_ends_of_the_trace_are_ends() {
    let mut trace = recorded(4);
    let run = [Motion::Continue, Motion::Continue];
    for direction in [Direction::Forward, Direction::Backward, Direction::Backward, Direction::Forward] {
        let stop = go(&mut trace, direction, run.clone());
        assert_eq!(stop, Stop { vcpu: None, cause: Cause::EndOfTrace(direction) });
    }
    assert_eq!(rip(&mut trace, 0), Some(40));
}

#[test]
fn breakpoints_are_met_either_way_however_far() {
    let many = 30_000;
    let mut trace = recorded(many);
    let run = [Motion::Continue, Motion::Continue];
    let hit = |vcpu| Stop { vcpu: Some(vcpu), cause: Cause::Breakpoint { hardware: false } };
    for address in [250_000, 250_010] {
        trace.insert(0, breakpoint(address)).unwrap();
    }
    assert_eq!(go(&mut trace, Direction::Forward, run.clone()), hit(0));
    assert_eq!(go(&mut trace, Direction::Forward, run.clone()), hit(1));
    assert_eq!(go(&mut trace, Direction::Forward, run.clone()).cause, Cause::EndOfTrace(Direction::Forward));
    assert_eq!(go(&mut trace, Direction::Backward, run.clone()), hit(1));
    assert_eq!(rip(&mut trace, 1), Some(250_010));
    trace.remove(0, breakpoint(250_000)).unwrap();
    assert_eq!(go(&mut trace, Direction::Backward, run).cause, Cause::EndOfTrace(Direction::Backward));
    assert!(trace.insert(0, Point { kind: PointKind::Write, ..breakpoint(1) }).is_err());
}

/// One that sleeps makes no events, while another makes hundreds of thousands.
#[test]
fn where_a_vcpu_was_last_is_known_however_long_ago() {
    let header = Header { vcpus: 2, ..Header::default() };
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    let registers = |rip| Payload::Registers(Registers { rip, ..Registers::default() });
    let asleep = [registers(7), Payload::State(VcpuState::Halted)];
    for payload in asleep {
        writer.append(&Event { time: 10, vcpu: 1, payload }).unwrap();
    }
    for time in 11..300_000 {
        writer.append(&Event { time, vcpu: 0, payload: registers(time) }).unwrap();
    }
    let mut trace = of_bytes(writer.finish().unwrap());
    let run = [Motion::Continue, Motion::Continue];
    assert_eq!(go(&mut trace, Direction::Forward, run).cause, Cause::EndOfTrace(Direction::Forward));
    assert_eq!(trace.describe(1), "#1 state: halted");
    assert_eq!(rip(&mut trace, 1), Some(7));
    let step = [Motion::Hold, Motion::Step];
    let stop = go(&mut trace, Direction::Backward, step);
    assert_eq!(stop.cause, Cause::EndOfTrace(Direction::Backward), "it was there when the step began");
}

#[test]
fn a_range_of_steps_ends_outside_of_it() {
    let mut trace = recorded(20);
    let range = [Motion::Continue, Motion::StepRange(0..100)];
    go(&mut trace, Direction::Forward, range);
    assert_eq!(rip(&mut trace, 1), Some(110));
}

#[test]
fn an_interruption_stops_where_it_is() {
    let mut trace = recorded(30_000);
    trace.resume(Direction::Forward, &[Motion::Continue, Motion::Continue]).unwrap();
    assert_eq!(trace.poll(), Progress::Busy);
    trace.interrupt();
    assert_eq!(trace.poll(), Progress::Stopped(Stop { vcpu: None, cause: Cause::Interrupted }));
    assert!(trace.cursor > 1000);
    assert_eq!(trace.poll(), Progress::Waiting);
}

#[test]
fn memory_is_what_cannot_have_changed() {
    let mut trace = recorded(2);
    let mut buffer = [0; 8];
    assert_eq!(trace.read(0, 0x1001, &mut buffer), Ok(3));
    assert_eq!(&buffer[..3], b"ode");
    assert!(trace.read(0, 0x1004, &mut buffer).unwrap_err().0.contains("0x1004"));
    assert!(trace.write(0, 0x1000, b"x").is_err());
    assert!(trace.set_registers(0, &RegisterFile::new(false)).is_err());
    trace.image = None;
    assert!(trace.read(0, 0x1001, &mut buffer).unwrap_err().0.contains("--image"));
}

#[test]
fn monitor_shows_the_events_up_to_here() {
    let mut trace = recorded(4);
    go(&mut trace, Direction::Forward, [Motion::Step, Motion::Hold]);
    let at = trace.monitor(0, Request::TraceAt).unwrap();
    assert!(at.trim_start().starts_with("2 ") && at.contains("regs"), "{at}");
    assert_eq!(trace.monitor(0, Request::Events(10)).unwrap().lines().count(), 3);
    assert_eq!(trace.monitor(0, Request::Events(2)).unwrap().lines().count(), 2);
    assert!(trace.monitor(0, Request::Reset).unwrap_err().0.contains("cannot be changed"));
    assert!(trace.describe(0).starts_with("#2 regs"), "{}", trace.describe(0));
}

#[test]
fn an_empty_trace_has_nothing_to_debug() {
    assert!(recorded(0).attach().is_err());
}

#[test]
fn a_debugger_begins_at_the_cursor_of_a_ui_and_has_its_own_from_then_on() {
    let mut trace = recorded(6);
    let shared = trace.shared.clone();
    for (ui, at) in [(0, 0), (5, 5), (1000, 11)] {
        shared.set_ui(ui);
        trace.attach().unwrap();
        assert_eq!((trace.cursor, shared.place().unwrap().event), (at, at));
        trace.detach(true);
        assert_eq!(shared.place(), None);
    }
    shared.set_ui(4);
    assert_eq!((trace.attach(), rip(&mut trace, 1)), (Ok(1), Some(30)));
    shared.set_ui(0);
    let before = shared.place().unwrap();
    go(&mut trace, Direction::Forward, [Motion::Hold, Motion::Step]);
    let after = shared.place().unwrap();
    assert_eq!((rip(&mut trace, 1), after.event, after.stops), (Some(50), 8, before.stops + 1));
}

fn event(time: u64, payload: Payload) -> Event {
    Event { time, vcpu: 0, payload }
}

fn exit(time: u64, rip: u64) -> Event {
    let reason = ExitReason::Interrupted;
    event(time, Payload::Exit(Exit { reason, rip, cpl: 0, guest_ns: 5, handling_ns: 1 }))
}

/// The system calls 5 and 6, the handler at 0x500, which returns at 0x600.
fn with_syscalls() -> Recorded {
    let trap = |time, id, number| {
        let trap = Trap {
            id,
            vector: VECTOR_SYSCALL,
            shared_by: 1,
            class: TrapClass::SystemCall,
            code: Some(number),
            rip: 0x100,
            cs: 0x23,
            cpl: 3,
            rsp: 0x8000,
            handler: 0x500,
            cr2: None,
        };
        [event(time, Payload::Trap(trap)), exit(time, 0x500)]
    };
    let back = |time, id| {
        let back = TrapReturn { id, vector: VECTOR_SYSCALL, duration_ns: 10, rip: 0x100 };
        [event(time, Payload::TrapReturn(back)), exit(time, 0x600)]
    };
    let mut writer = Writer::new(Vec::new(), &Header { vcpus: 1, ..Header::default() }).unwrap();
    let calls = [trap(20, 1, 5), back(30, 1), trap(40, 2, 6), back(50, 2)];
    for event in std::iter::once(exit(10, 0)).chain(calls.into_iter().flatten()).chain([exit(60, 0)]) {
        writer.append(&event).unwrap();
    }
    let reader = Reader::from_bytes(writer.finish().unwrap()).unwrap();
    Recorded::new(reader, None, Cursor::default()).unwrap()
}

fn stops(trace: &mut Recorded, direction: Direction) -> Vec<(Cause, Option<u64>)> {
    let mut stops = Vec::new();
    loop {
        trace.resume(direction, &[Motion::Continue]).unwrap();
        let stop = loop {
            match trace.poll() {
                Progress::Stopped(stop) => break stop,
                Progress::Busy => {}
                Progress::Waiting => panic!("nothing moves"),
            }
        };
        if matches!(stop.cause, Cause::EndOfTrace(_)) {
            return stops;
        }
        stops.push((stop.cause, rip(trace, 0)));
    }
}

#[test]
fn system_calls_are_caught_either_way() {
    let entry = |number| (Cause::SyscallEntry { number }, Some(0x500));
    let back = |number| (Cause::SyscallReturn { number }, Some(0x600));
    let mut trace = with_syscalls();
    assert_eq!(stops(&mut trace, Direction::Forward), []);
    for (wanted, expected) in [
        (vec![], vec![entry(5), back(5), entry(6), back(6)]),
        (vec![6], vec![entry(6), back(6)]),
        (vec![7], vec![]),
    ] {
        for first in [Direction::Forward, Direction::Backward] {
            let mut trace = with_syscalls();
            let (mut there, mut direction) = (expected.clone(), first);
            if first == Direction::Backward {
                stops(&mut trace, Direction::Forward);
                there.reverse();
            }
            trace.catch_syscalls(Some(wanted.clone())).unwrap();
            for _ in 0..3 {
                assert_eq!(stops(&mut trace, direction), there, "{wanted:?} {direction:?}");
                there.reverse();
                direction = match direction {
                    Direction::Forward => Direction::Backward,
                    Direction::Backward => Direction::Forward,
                };
            }
            trace.catch_syscalls(None).unwrap();
            assert_eq!(stops(&mut trace, direction), []);
        }
    }
}

#[test]
fn a_return_whose_beginning_is_not_in_the_trace_is_not_caught() {
    let mut trace = with_syscalls();
    let back = TrapReturn { id: 9, vector: VECTOR_SYSCALL, duration_ns: 1, rip: 0 };
    let mut writer = Writer::new(Vec::new(), &Header { vcpus: 1, ..Header::default() }).unwrap();
    for event in [exit(10, 0), event(20, Payload::TrapReturn(back)), exit(30, 0)] {
        writer.append(&event).unwrap();
    }
    trace.reader = Reader::from_bytes(writer.finish().unwrap()).unwrap();
    for numbers in [vec![], vec![5]] {
        trace.catch_syscalls(Some(numbers)).unwrap();
        assert_eq!(stops(&mut trace, Direction::Forward), [], "its number cannot be told");
        assert_eq!(stops(&mut trace, Direction::Backward), []);
    }
}

/// A page fault at 20 with the registers of its handler, and then an exit.
fn with_fault() -> Recorded {
    let mut registers = Registers { rip: 0x500, cr3: 0x5000, efer: 0x500, ..Registers::default() };
    registers.general[7] = 0x7fd0;
    let trap = Trap {
        id: 1,
        vector: 14,
        shared_by: 1,
        class: TrapClass::Fault,
        code: Some(6),
        rip: 0x123,
        cs: 0x23,
        cpl: 3,
        rsp: 0x8765,
        handler: 0x500,
        cr2: Some(0x1000),
    };
    let level = |level, entry_gpa, entry| Level { level, entry_gpa, entry };
    let walk = Walk {
        cause: WalkCause::PageFault,
        cr3: 0x5000,
        mode: PagingMode::FourLevel,
        gva: 0x40_0000,
        access: Access::default(),
        levels: [level(2, 0x6000, 0x7003), level(1, 0x7008, 0x6003)].into_iter().collect(),
        outcome: WalkOutcome::Mapped {
            gpa: 0x6000,
            page_size: 4096,
            permissions: Permissions::default(),
            host: None,
        },
    };
    let mut writer = Writer::new(Vec::new(), &Header { vcpus: 1, ..Header::default() }).unwrap();
    for event in [
        exit(10, 0),
        event(20, Payload::Registers(registers)),
        event(20, Payload::Trap(trap)),
        event(20, Payload::Walk(walk)),
        exit(20, 0x500),
        exit(30, 0x600),
    ] {
        writer.append(&event).unwrap();
    }
    let reader = Reader::from_bytes(writer.finish().unwrap()).unwrap();
    Recorded::new(reader, None, Cursor::default()).unwrap()
}

#[test]
fn memory_that_events_tell_of_is_known_in_their_moment() {
    let mut trace = with_fault();
    let word = |trace: &mut Recorded, gva| {
        let mut bytes = [0; 8];
        let count = trace.read(0, gva, &mut bytes).ok()?;
        Some((u64::from_le_bytes(bytes), count))
    };
    assert_eq!(word(&mut trace, 0x7fd0), None, "not yet");
    go_one(&mut trace, Direction::Forward);
    for (gva, expected) in [
        (0x7fd0, Some((6, 8))),
        (0x7fd8, Some((0x123, 8))),
        (0x7fe0, Some((0x23, 2))),
        (0x7fe8, None),
        (0x7ff0, Some((0x8765, 8))),
        (0x7ff8, None),
        (0x40_0000, Some((0x7003, 8))),
        (0x40_0008, None),
    ] {
        assert_eq!(word(&mut trace, gva), expected, "{gva:#x}");
    }
    let phys = trace.monitor(0, Request::Phys { gpa: 0x6000, count: 4096 }).unwrap();
    assert!(phys.contains("0x0000006000: 0x0000000000007003 as of event 3"), "{phys}");
    assert!(!phys.contains("0x0000007008"), "{phys}");
    go_one(&mut trace, Direction::Forward);
    assert_eq!(word(&mut trace, 0x7fd0), None, "the guest has run since");
    let phys = trace.monitor(0, Request::Phys { gpa: 0x7000, count: 64 }).unwrap();
    assert!(phys.contains("as of event 3") && phys.contains("may have written them since"), "{phys}");
    assert!(trace.monitor(0, Request::Phys { gpa: 0, count: 64 }).is_err());
    go_one(&mut trace, Direction::Backward);
    assert_eq!(word(&mut trace, 0x7fd8), Some((0x123, 8)), "back there");
}

fn go_one(trace: &mut Recorded, direction: Direction) {
    trace.resume(direction, &[Motion::Step]).unwrap();
    while trace.poll() == Progress::Busy {}
}

/// Numbers of events are counted on over what is lost, so that they do not tell where the trace ends.
#[test]
fn a_trace_that_has_lost_its_ends_has_ends_all_the_same() {
    const BLOCK: u8 = 2;
    let mut trace = written(3000);
    let frames: Vec<usize> = (0..trace.len()).filter(|at| trace[*at..].starts_with(b"\xf7VMF")).collect();
    let ends: Vec<usize> =
        frames.windows(2).filter(|two| trace[two[0] + 4] == BLOCK).map(|two| two[1]).collect();
    let [first, .., last] = ends[..] else { panic!("{} blocks", ends.len()) };
    for end in [first, last] {
        trace[end - 1] ^= 1;
    }
    let mut trace = of_bytes(trace);
    trace.attach().unwrap();
    let begins = trace.cursor;
    assert!(begins > 0 && rip(&mut trace, 1).is_some());
    let all = [Motion::Continue, Motion::Continue];
    let end = |direction| Stop { vcpu: None, cause: Cause::EndOfTrace(direction) };
    assert_eq!(go(&mut trace, Direction::Forward, all.clone()), end(Direction::Forward));
    let ends = trace.cursor;
    assert!(begins < ends && ends + 1 < trace.reader.len(), "{begins} to {ends}");
    assert!(rip(&mut trace, 0).is_some());
    assert_eq!(go(&mut trace, Direction::Backward, all), end(Direction::Backward));
    assert_eq!(trace.cursor, begins);
    // The UI's cursor may be at an event that is lost.
    trace.shared.set_ui(u64::MAX);
    trace.attach().unwrap();
    assert_eq!(trace.cursor, ends);
    trace.shared.set_ui(0);
    trace.attach().unwrap();
    assert_eq!(trace.cursor, begins);
}

use trace_format::event::{Exit, ExitReason, Payload, Registers};
use trace_format::header::{ImageFacts, Stretch};
use trace_format::{Header, Writer};

use super::super::registers::Register;
use super::*;

const IMAGE: &[u8] = b"some code of the guest";

/// Two vCPUs in turns: moments at 10, 20, ... with registers, each RIP its time.
fn recorded(moments: u64) -> Recorded {
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
    let reader = Reader::from_bytes(writer.finish().unwrap()).unwrap();
    Recorded::new(reader, Some(Cow::Borrowed(IMAGE)), Cursor::default()).unwrap()
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

//! What debuggers ask of `Control` beyond what a user at the terminal does.

use std::time::Duration;

use crossbeam_channel::Receiver;
use trace_format::event::{Actor, Debugger, ExitReason, Payload, StopReason};
use trace_format::filter::Filter;
use trace_format::{Kind, Reader};
use vmm_lite::{
    Control, Error, Placed, Point, PointKind, Stop, StopCause, Syscalls, VcpuSet, WatchAccess, doctor,
};
use vmscope_tests::images::DEBUGGING;
use vmscope_tests::run::{Guest, Started, symbol};
use vmscope_tests::skip::kvm_or_skip;

use crate::control::{BY, CODE, header, stop, until};

const GDB: Actor = Actor::Gdb;
/// Longer than any stop takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A guest before its first instruction, with a debugger attached.
fn attached(guest: Guest) -> (Started, Control, Receiver<Stop>) {
    let started = guest.paused().start();
    let control = started.vm.control();
    control.attach(GDB).unwrap();
    let stops = control.stops();
    (started, control, stops)
}

fn next(control: &Control, stops: &Receiver<Stop>) -> Stop {
    let stop = stops.recv_timeout(PATIENCE).expect("the guest stops");
    control.settle();
    stop
}

/// Goes on, to the next stop.
fn go(control: &Control, stops: &Receiver<Stop>) -> StopCause {
    control.resume(GDB).unwrap();
    next(control, stops).cause
}

/// Goes on to the guest's end and beyond it.
fn finish(started: Started, control: &Control, stops: &Receiver<Stop>) {
    let why = StopReason::GuestExit { status: 0 };
    assert_eq!(go(control, stops), StopCause::Ending { why: why.clone() });
    assert!(control.registers(0).unwrap().general.rip != 0, "it can be looked at");
    control.resume(GDB).unwrap();
    assert_eq!(next(control, stops).cause, StopCause::Ended { why });
    started.finish().assert_well();
}

#[test]
fn core_the_end_waits_for_a_debugger() {
    if kvm_or_skip("core_the_end_waits_for_a_debugger") {
        let (started, control, stops) = attached(Guest::new("hello", 1));
        finish(started, &control, &stops);
    }
}

#[test]
fn a_triple_fault_can_be_looked_at_until_the_debugger_goes() {
    if !kvm_or_skip("a_triple_fault_can_be_looked_at_until_the_debugger_goes") {
        return;
    }
    // lidt [0x7c10]; ud2: real mode with an empty interrupt table has no handler for anything.
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("fault.bin");
    let mut code = vec![0x0f, 0x01, 0x1e, 0x10, 0x7c, 0x0f, 0x0b];
    code.resize(32, 0);
    std::fs::write(&image, &code).unwrap();
    let (started, control, stops) = attached(Guest::file(image, 1));
    let StopCause::Ending { why } = go(&control, &stops) else { panic!("it comes to its end") };
    // Some KVMs know only that they cannot go on.
    assert!(matches!(why, StopReason::TripleFault | StopReason::HostError), "{why}");
    assert!(control.registers(0).is_ok());
    control.detach(GDB);
    assert_eq!(started.finish().outcome.why, why);
}

#[test]
fn only_the_debugger_lets_go_what_it_holds() {
    if !kvm_or_skip("only_the_debugger_lets_go_what_it_holds") {
        return;
    }
    let started = Guest::new("tlb-shootdown", 2).append("rounds=20").start();
    let control = started.vm.control();
    control.attach(GDB).unwrap();
    assert!(matches!(control.attach(GDB), Err(Error::WrongState { .. })), "there is room for one");
    assert!(matches!(control.resume(BY), Err(Error::WrongState { .. })));
    control.detach(GDB);
    let run = started.finish();
    run.assert_well();
    let acts = |act: &Debugger| run.count_where(|p| matches!(p, Payload::Debugger(e) if e == act));
    assert_eq!([acts(&Debugger::Attached { by: GDB }), acts(&Debugger::Detached { by: GDB })], [1, 1]);
}

#[test]
fn core_every_stop_is_told_and_in_the_trace() {
    if !kvm_or_skip("core_every_stop_is_told_and_in_the_trace") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("tlb-shootdown", 3).append("rounds=10"));
    let address = symbol(&header(&started), "lapic_eoi");
    let point = Point::breakpoint(address);
    assert_eq!(control.insert(GDB, 0, &point).unwrap(), Placed::Now);
    for n in 0..20 {
        control.resume(GDB).unwrap();
        let stop = next(&control, &stops);
        assert_eq!(stop.cause, StopCause::Breakpoint { address }, "stop {n}");
        let rip = control.registers(stop.vcpu.unwrap()).unwrap().general.rip;
        assert_eq!(rip, address, "stop {n}: the vCPU that is named stands there");
    }
    control.remove(GDB, 0, &point).unwrap();
    let trace = started.trace.clone();
    finish(started, &control, &stops);
    drop(trace);
}

#[test]
fn core_a_breakpoint_waits_for_its_page() {
    if !kvm_or_skip("core_a_breakpoint_waits_for_its_page") {
        return;
    }
    let (started, control, stops) = attached(Guest::image(DEBUGGING, 1));
    // The guest maps that, writes code there, and calls it.
    let address = CODE;
    assert_eq!(control.insert(GDB, 0, &Point::breakpoint(address)).unwrap(), Placed::WhenMapped);
    assert_eq!(go(&control, &stops), StopCause::Breakpoint { address });
    assert_eq!(control.registers(0).unwrap().general.rip, address);
    control.remove_all(GDB).unwrap();
    finish(started, &control, &stops);
}

#[test]
fn core_a_breakpoint_of_another_address_space_stops_nobody() {
    if !kvm_or_skip("core_a_breakpoint_of_another_address_space_stops_nobody") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("trap-forwarding", 1));
    let names = header(&started);
    let [here, elsewhere] = ["on_syscall", "on_page_fault"].map(|name| symbol(&names, name));
    control.insert(GDB, 0, &Point::breakpoint(here)).unwrap();
    assert_eq!(go(&control, &stops), StopCause::Breakpoint { address: here });
    let cr3 = control.registers(0).unwrap().system.cr3;
    let within = |address, cr3| Point { address_space: Some(cr3), ..Point::breakpoint(address) };
    control.insert(GDB, 0, &within(here, cr3)).unwrap();
    control.insert(GDB, 0, &within(elsewhere, cr3 ^ 0x10_0000)).unwrap();
    for _ in 0..3 {
        assert_eq!(go(&control, &stops), StopCause::Breakpoint { address: here });
    }
    control.remove(GDB, 0, &Point::breakpoint(here)).unwrap();
    finish(started, &control, &stops);
}

#[test]
fn core_hardware_breakpoints() {
    if !kvm_or_skip("core_hardware_breakpoints") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("tlb-shootdown", 2).append("rounds=5"));
    let names = header(&started);
    let point =
        |name| Point { kind: PointKind::HardwareBreakpoint, ..Point::breakpoint(symbol(&names, name)) };
    let wanted = ["on_shootdown", "lapic_eoi"].map(point);
    for point in &wanted {
        control.insert(GDB, 0, point).unwrap();
    }
    let mut hit = VcpuSet::NONE;
    for _ in 0..6 {
        control.resume(GDB).unwrap();
        let Stop { vcpu: Some(vcpu), cause: StopCause::Breakpoint { address } } = next(&control, &stops)
        else {
            panic!("it stops at a breakpoint");
        };
        assert!(wanted.iter().any(|point| point.address == address), "{address:#x}");
        hit = hit.with(vcpu);
    }
    assert_eq!(hit, VcpuSet::first(2), "they are set on every vCPU");
    control.remove_all(GDB).unwrap();
    finish(started, &control, &stops);
}

#[test]
fn core_watchpoints() {
    if !kvm_or_skip("core_watchpoints") {
        return;
    }
    let works =
        doctor().unwrap().calibration.iter().any(|fact| fact.name == "watchpoint" && fact.value == "works");
    let (started, control, stops) = attached(Guest::new("tlb-shootdown", 2).append("rounds=5"));
    let address = symbol(&header(&started), "round");
    let watch = Point::watch(address, 8, WatchAccess::Write);
    let set = control.insert(GDB, 0, &watch);
    if !works {
        assert!(matches!(set, Err(Error::HostCannot { .. })), "{set:?}");
        return finish(started, &control, &stops);
    }
    let value = || {
        let mut bytes = [0; 8];
        control.read_virtual(0, address, &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    };
    for round in 1..=5 {
        let expected = StopCause::Watchpoint { address, access: WatchAccess::Write };
        assert_eq!(go(&control, &stops), expected, "round {round}");
        assert_eq!(value(), round, "the write is done");
    }
    control.remove(GDB, 0, &watch).unwrap();
    finish(started, &control, &stops);
}

#[test]
fn core_some_run_while_others_are_held() {
    if !kvm_or_skip("core_some_run_while_others_are_held") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("tlb-shootdown", 3).append("rounds=100000 busy=3"));
    let address = symbol(&header(&started), "on_shootdown");
    control.insert(GDB, 0, &Point::breakpoint(address)).unwrap();
    assert_eq!(go(&control, &stops), StopCause::Breakpoint { address });
    control.remove_all(GDB).unwrap();
    let places = || [0, 1, 2].map(|vcpu| control.registers(vcpu).unwrap().general.rip);
    let before = places();
    for vcpu in 0..3 {
        control.resume_some(GDB, VcpuSet::only(vcpu)).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        control.pause(GDB).unwrap();
        assert_eq!(next(&control, &stops).cause, StopCause::Paused { by: GDB });
        if vcpu == 0 {
            assert_eq!(places()[1..], before[1..], "the others stayed");
        }
    }
    stop(started, &control);
}

#[test]
fn core_who_was_held_runs_once_the_debugger_has_gone() {
    if !kvm_or_skip("core_who_was_held_runs_once_the_debugger_has_gone") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("tlb-shootdown", 3).append("rounds=10"));
    let address = symbol(&header(&started), "on_shootdown");
    control.insert(GDB, 0, &Point::breakpoint(address)).unwrap();
    assert_eq!(go(&control, &stops), StopCause::Breakpoint { address });
    control.remove_all(GDB).unwrap();
    // Scheduler locking, and the client is gone.
    control.resume_some(GDB, VcpuSet::only(1)).unwrap();
    control.detach(GDB);
    started.finish().assert_well();
}

#[test]
fn core_steps_while_others_have_slices() {
    if !kvm_or_skip("core_steps_while_others_have_slices") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("tlb-shootdown", 4).append("rounds=20"));
    let address = symbol(&header(&started), "take_part");
    let point = Point::breakpoint(address);
    control.insert(GDB, 0, &point).unwrap();
    control.resume(GDB).unwrap();
    let vcpu = next(&control, &stops).vcpu.unwrap();
    let others = VcpuSet::first(4).without(vcpu);
    let mut disturbed = 0;
    for _ in 0..60 {
        // Others come to the breakpoint meanwhile, and say so.
        if !control.slice(others, Duration::from_micros(200)).unwrap() {
            let stop = next(&control, &stops);
            assert_eq!(stop.cause, StopCause::Breakpoint { address });
            assert_ne!(stop.vcpu, Some(vcpu));
            disturbed += 1;
        }
        control.step_on(vcpu, GDB, false).unwrap();
    }
    assert!(disturbed <= 3, "each of the three comes there once");
    control.remove(GDB, 0, &point).unwrap();
    assert!(matches!(control.slice(others, Duration::ZERO), Ok(true)));
    finish(started, &control, &stops);
}

#[test]
fn a_pause_of_the_user_is_told_to_the_debugger() {
    if !kvm_or_skip("a_pause_of_the_user_is_told_to_the_debugger") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("tlb-shootdown", 2).append("rounds=100000"));
    control.resume(GDB).unwrap();
    until("it runs", || !crate::control::is_paused(&control));
    control.pause(BY).unwrap();
    assert_eq!(next(&control, &stops).cause, StopCause::Paused { by: BY });
    control.stop(BY);
    assert!(matches!(next(&control, &stops).cause, StopCause::Ended { .. }));
    assert_eq!(started.finish().outcome.why, StopReason::Ended { by: BY });
}

fn wait_for(control: &Control, filter: &str) {
    control.stop_at_events(Some(Filter::parse(filter).unwrap()), None).unwrap();
}

#[test]
fn core_the_guest_stops_at_an_event_that_is_waited_for() {
    if !kvm_or_skip("core_the_guest_stops_at_an_event_that_is_waited_for") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("demand-paging", 1));
    let trace = started.trace.clone();
    wait_for(&control, "trap.vector == page-fault and cpl == 3");
    for n in 0..5 {
        assert_eq!(go(&control, &stops), StopCause::Matched { kind: Kind::Trap }, "stop {n}");
        let mut reader = Reader::open(&trace).unwrap();
        reader.poll().unwrap();
        let last = reader.backward(reader.len()).find_map(|event| match event.unwrap().1.payload {
            Payload::Trap(trap) => Some(trap),
            _ => None,
        });
        let rip = control.registers(0).unwrap().general.rip;
        assert_eq!(last.map(|trap| trap.handler), Some(rip), "the handler's first instruction comes next");
    }
    control.stop_at_events(None, None).unwrap();
    finish(started, &control, &stops);
}

#[test]
fn a_filter_sees_a_vcpu_fall_asleep() {
    if !kvm_or_skip("a_filter_sees_a_vcpu_fall_asleep") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("tlb-shootdown", 3).append("rounds=10"));
    let trace = started.trace.clone();
    wait_for(&control, "exit.reason == hlt");
    for n in 0..4 {
        control.resume(GDB).unwrap();
        let stop = next(&control, &stops);
        assert_eq!(stop.cause, StopCause::Matched { kind: Kind::Exit }, "stop {n}");
        let vcpu = stop.vcpu.unwrap();
        let mut reader = Reader::open(&trace).unwrap();
        reader.poll().unwrap();
        // Not its activity: another vCPU that had not stopped yet may have sent it an IPI, and it is awake again.
        let last = reader.backward(reader.len()).map(|event| event.unwrap().1).find_map(|event| match event
            .payload
        {
            Payload::Exit(exit) if event.vcpu == vcpu => Some(exit.reason),
            _ => None,
        });
        assert_eq!(last, Some(ExitReason::Halt), "stop {n}: it has not gone on");
    }
    control.stop_at_events(None, None).unwrap();
    finish(started, &control, &stops);
}

/// vCPUs meet what is waited for in the same moment: one stops the guest, and the others' turn comes next, though GDB
/// takes away what it waits for at each stop.
#[test]
fn every_event_that_is_waited_for_is_told() {
    if !kvm_or_skip("every_event_that_is_waited_for_is_told") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("tlb-shootdown", 4).append("rounds=20"));
    let mut told = 0;
    loop {
        wait_for(&control, "kind == trap-entry and trap.vector == 0x40");
        let cause = go(&control, &stops);
        if !matches!(cause, StopCause::Matched { .. }) {
            assert!(matches!(cause, StopCause::Ending { .. }), "{cause:?}");
            break;
        }
        told += 1;
        control.stop_at_events(None, None).unwrap();
    }
    control.resume(GDB).unwrap();
    let run = started.finish();
    run.assert_well();
    assert!(told > 0);
    assert_eq!(told, run.traps(0x40));
}

#[test]
fn core_system_calls_are_caught() {
    if !kvm_or_skip("core_system_calls_are_caught") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("trap-forwarding", 1));
    control.stop_at_events(None, Some(Syscalls::All)).unwrap();
    for n in 0..5 {
        let StopCause::SyscallEntry { number } = go(&control, &stops) else { panic!("system call {n}") };
        assert_eq!(control.registers(0).unwrap().general.rax, number);
        assert_eq!(go(&control, &stops), StopCause::SyscallReturn { number }, "system call {n}");
    }
    control.stop_at_events(None, Some(Syscalls::Numbers(vec![12345]))).unwrap();
    finish(started, &control, &stops);
}

#[test]
fn core_a_register_takes_over_from_an_instruction() {
    if !kvm_or_skip("core_a_register_takes_over_from_an_instruction") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("tlb-shootdown", 4).append("rounds=20"));
    let names = header(&started);
    let [first, second] = ["on_shootdown", "lapic_eoi"].map(|name| symbol(&names, name));
    control.insert(GDB, 0, &Point::breakpoint(first)).unwrap();
    assert_eq!(go(&control, &stops), StopCause::Breakpoint { address: first });
    control.remove(GDB, 0, &Point::breakpoint(first)).unwrap();
    let hardware = Point { kind: PointKind::HardwareBreakpoint, ..Point::breakpoint(second) };
    control.insert(GDB, 0, &hardware).unwrap();
    assert_eq!(go(&control, &stops), StopCause::Breakpoint { address: second });
    control.remove_all(GDB).unwrap();
    finish(started, &control, &stops);
}

#[test]
fn core_breakpoints_of_both_kinds_at_one_address() {
    if !kvm_or_skip("core_breakpoints_of_both_kinds_at_one_address") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("tlb-shootdown", 2).append("rounds=20"));
    let address = symbol(&header(&started), "on_shootdown");
    let [software, hardware] = [PointKind::Breakpoint, PointKind::HardwareBreakpoint]
        .map(|kind| Point { kind, ..Point::breakpoint(address) });
    // Where breakpoint instructions bounce there has to be a handler for them.
    control.insert(GDB, 0, &hardware).unwrap();
    assert_eq!(go(&control, &stops), StopCause::Breakpoint { address });
    for (first, second) in [(software, hardware), (hardware, software)] {
        control.insert(GDB, 0, &first).unwrap();
        control.insert(GDB, 0, &second).unwrap();
        control.remove(GDB, 0, &first).unwrap();
        assert_eq!(go(&control, &stops), StopCause::Breakpoint { address }, "{second:?} is still there");
        control.remove(GDB, 0, &second).unwrap();
    }
    finish(started, &control, &stops);
}

#[test]
fn core_a_step_that_is_the_guests_last_says_so() {
    if !kvm_or_skip("core_a_step_that_is_the_guests_last_says_so") {
        return;
    }
    let (started, control, stops) = attached(Guest::new("hello", 1));
    let address = symbol(&header(&started), "finish");
    control.insert(GDB, 0, &Point::breakpoint(address)).unwrap();
    assert_eq!(go(&control, &stops), StopCause::Breakpoint { address });
    control.remove_all(GDB).unwrap();
    let told = (0..200).find_map(|_| {
        control.step_on(0, GDB, false).unwrap();
        stops.try_recv().ok()
    });
    let why = StopReason::GuestExit { status: 0 };
    assert_eq!(told.map(|stop| stop.cause), Some(StopCause::Ending { why: why.clone() }));
    control.detach(GDB);
    assert_eq!(started.finish().outcome.why, why);
}

//! `Control`: pause, resume, step, registers, memory, walks, breakpoints.

use std::time::{Duration, Instant};

use trace_format::event::{Access, Actor, Debugger, Payload, StopReason, VcpuState, WalkOutcome};
use trace_format::{Header, Reader};
use vmm_lite::{Activity, Control, Error, MachineState};
use vmscope_tests::images::DEBUGGING;
use vmscope_tests::run::{Guest, Started, symbol};
use vmscope_tests::skip::kvm_or_skip;

pub(crate) const BY: Actor = Actor::User;
/// Rounds that no test lets run to the end, and none could in the time it takes.
const LONG: &str = "rounds=100000";
/// Where `guests/debugging.c` has code that becomes data, gva.
pub(crate) const CODE: u64 = 0x4000_0000;

pub(crate) fn header(started: &Started) -> Header {
    Reader::open(&started.trace).unwrap().header().clone()
}

/// Waits until `done`, or fails.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn is_paused(control: &Control) -> bool {
    matches!(control.state(), MachineState::Paused { .. })
}

/// A shootdown on `vcpus` vCPUs that is under way, paused.
fn paused_shootdown(vcpus: u8) -> (Started, Control) {
    let started = Guest::new("tlb-shootdown", vcpus).append(LONG).start();
    let control = started.vm.control();
    let mut reader = Reader::open(&started.trace).unwrap();
    until("shootdowns go on", || {
        reader.poll().unwrap();
        reader.len() > 600
    });
    control.pause(BY).unwrap();
    (started, control)
}

/// Ends the run and looks at what the trace says of it.
pub(crate) fn stop(started: Started, control: &Control) -> vmscope_tests::run::Run {
    control.stop(BY);
    let run = started.finish();
    assert_eq!(run.outcome.why, StopReason::Ended { by: BY }, "{:?}", run.outcome.failure);
    run
}

#[test]
fn core_a_pause_stops_everything() {
    if !kvm_or_skip("core_a_pause_stops_everything") {
        return;
    }
    let (started, control) = paused_shootdown(4);
    let mut reader = Reader::open(&started.trace).unwrap();
    let events = reader.len();
    std::thread::sleep(Duration::from_millis(100));
    reader.poll().unwrap();
    assert_eq!(reader.len(), events, "nothing happens while the guest is paused");
    control.resume(BY).unwrap();
    until("it goes on", || {
        reader.poll().unwrap();
        reader.len() > events + 100
    });
    let run = stop(started, &control);
    let pauses = run.count_where(|p| matches!(p, Payload::State(VcpuState::Paused { by: BY })));
    assert_eq!(pauses, 1);
}

#[test]
fn pausing_over_and_over_loses_nobody() {
    if !kvm_or_skip("pausing_over_and_over_loses_nobody") {
        return;
    }
    let started = Guest::new("tlb-shootdown", 4).append(LONG).start();
    let control = started.vm.control();
    for n in 0..200 {
        control.pause(BY).unwrap();
        assert!(is_paused(&control), "pause {n}");
        control.resume(BY).unwrap();
    }
    stop(started, &control);
}

#[test]
fn a_guest_can_start_paused() {
    if !kvm_or_skip("a_guest_can_start_paused") {
        return;
    }
    let started = Guest::new("hello", 1).paused().start();
    let control = started.vm.control();
    assert_eq!(control.state(), MachineState::Paused { by: Actor::CommandLine });
    let entry = control.registers(0).unwrap().general.rip;
    assert_eq!(entry, symbol(&header(&started), "_start"));
    control.resume(BY).unwrap();
    started.finish().assert_well();
}

#[test]
fn core_steps_on_every_vcpu() {
    if !kvm_or_skip("core_steps_on_every_vcpu") {
        return;
    }
    let (started, control) = paused_shootdown(3);
    let mut halted = 0;
    for vcpu in 0..3 {
        for _ in 0..20 {
            let before = control.registers(vcpu).unwrap().general.rip;
            let sleeps = control.activities()[usize::from(vcpu)] == Activity::Halted;
            let step = control.step(vcpu, BY).unwrap();
            assert_eq!(step.from, before);
            assert_eq!(control.registers(vcpu).unwrap().general.rip, step.to);
            if sleeps {
                assert_eq!(step.from, step.to, "a halted vCPU stays");
                halted += 1;
            }
        }
    }
    control.resume(BY).unwrap();
    let run = stop(started, &control);
    let steps = run.count_where(|p| matches!(p, Payload::Debugger(Debugger::Stepped { by: BY, .. })));
    assert_eq!(steps, 60, "{halted} of them halted");
}

#[test]
fn steps_lead_through_the_code() {
    if !kvm_or_skip("steps_lead_through_the_code") {
        return;
    }
    let started = Guest::new("trap-forwarding", 1).paused().start();
    let control = started.vm.control();
    let mut places = Vec::new();
    for _ in 0..200 {
        places.push(control.step(0, BY).unwrap().to);
    }
    places.dedup();
    assert!(places.len() > 100, "200 steps lead to {} places", places.len());
    control.resume(BY).unwrap();
    started.finish().assert_well();
}

#[test]
fn what_needs_a_pause_says_so() {
    if !kvm_or_skip("what_needs_a_pause_says_so") {
        return;
    }
    let started = Guest::new("tlb-shootdown", 2).append(LONG).start();
    let control = started.vm.control();
    assert!(matches!(control.step(0, BY), Err(Error::WrongState { .. })));
    let registers = control.registers(1).unwrap();
    assert!(matches!(control.set_registers(1, &registers), Err(Error::WrongState { .. })));
    assert!(matches!(control.registers(2), Err(Error::NoSuchVcpu { vcpu: 2, count: 2 })));
    stop(started, &control);
    assert!(matches!(control.pause(BY), Err(Error::WrongState { .. })));
    assert!(matches!(control.registers(0), Err(Error::WrongState { .. })));
}

#[test]
fn registers_and_memory_can_be_changed() {
    if !kvm_or_skip("registers_and_memory_can_be_changed") {
        return;
    }
    let (started, control) = paused_shootdown(2);
    let before = control.registers(1).unwrap();
    let mut changed = before;
    changed.general.r15 = 0x1234_5678_9abc_def0;
    control.set_registers(1, &changed).unwrap();
    assert_eq!(control.registers(1).unwrap().general.r15, 0x1234_5678_9abc_def0);
    control.set_registers(1, &before).unwrap();

    let gpa = (64 << 20) - 4096;
    control.write_memory(gpa, b"by the debugger").unwrap();
    let mut read = [0; 15];
    control.read_memory(gpa, &mut read).unwrap();
    assert_eq!(&read, b"by the debugger");
    assert!(matches!(control.read_memory(64 << 20, &mut read), Err(Error::NotMemory { .. })));
    control.resume(BY).unwrap();
    stop(started, &control);
}

#[test]
fn addresses_are_walked_with_the_vcpus_own_tables() {
    if !kvm_or_skip("addresses_are_walked_with_the_vcpus_own_tables") {
        return;
    }
    let (started, control) = paused_shootdown(2);
    let main = symbol(&header(&started), "main");
    let access = Access { execute: true, ..Access::default() };
    let walk = control.walk(0, main, access).unwrap();
    let WalkOutcome::Mapped { gpa, host, .. } = walk.outcome else { panic!("{walk:?}") };
    assert_eq!(gpa, main, "the kernel is mapped one to one");
    let host = host.unwrap();
    assert_eq!(host.resident, Some(true));
    let (mut physical, mut virtually) = ([0; 32], [0; 32]);
    control.read_memory(gpa, &mut physical).unwrap();
    control.read_virtual(0, main, &mut virtually).unwrap();
    assert_eq!(physical, virtually);
    let unmapped = 0x7fff_0000_0000;
    assert!(matches!(control.read_virtual(0, unmapped, &mut virtually), Err(Error::NotMapped { .. })));
    stop(started, &control);
}

#[test]
fn breakpoints_do_not_show_in_memory() {
    if !kvm_or_skip("breakpoints_do_not_show_in_memory") {
        return;
    }
    let mut untouched = [0; 4096];
    let fresh = Guest::new("tlb-shootdown", 1).paused().start();
    let stubs = symbol(&header(&fresh), "trap_stubs");
    let its_control = fresh.vm.control();
    its_control.read_memory(stubs, &mut untouched).unwrap();
    stop(fresh, &its_control);
    let (started, control) = paused_shootdown(2);
    let mut code = [0; 4096];
    control.read_memory(stubs, &mut code).unwrap();
    assert_eq!(code, untouched, "256 probes are there and none shows");
    // Writing under a probe changes what is under it, not the probe.
    control.write_memory(stubs, &code).unwrap();
    control.resume(BY).unwrap();
    until("the probes still work", || {
        let mut reader = Reader::open(&started.trace).unwrap();
        reader.poll().unwrap();
        let last = reader.len().saturating_sub(50);
        reader.forward(last).any(|e| matches!(e.unwrap().1.payload, Payload::Trap(_)))
    });
    stop(started, &control);
}

/// Sets a breakpoint, lets it be hit several times, and takes it away.
fn hit_and_remove(started: Started, address: u64, hits: usize) {
    let control = started.vm.control();
    control.add_breakpoint(0, address).unwrap();
    assert_eq!(control.breakpoints(), [address]);
    control.resume(BY).unwrap();
    for n in 0..hits {
        until(&format!("hit {n}"), || is_paused(&control));
        let at: Vec<u64> = (0..control.activities().len() as u8)
            .map(|vcpu| control.registers(vcpu).unwrap().general.rip)
            .collect();
        assert!(at.contains(&address), "hit {n}: nobody is at {address:#x}: {at:x?}");
        if n + 1 == hits {
            control.remove_breakpoint(0, address).unwrap();
        }
        control.resume(BY).unwrap();
    }
    let run = started.finish();
    run.assert_well();
    let traced = run.count_where(
        |p| matches!(p, Payload::Debugger(Debugger::BreakpointHit { address: at, .. }) if *at == address),
    );
    assert!(traced >= hits as u64, "{traced} hits in the trace, {hits} seen");
}

#[test]
fn core_breakpoint_in_the_kernel() {
    if kvm_or_skip("core_breakpoint_in_the_kernel") {
        let started = Guest::new("trap-forwarding", 1).paused().start();
        let address = symbol(&header(&started), "on_syscall");
        hit_and_remove(started, address, 5);
    }
}

#[test]
fn breakpoint_that_several_vcpus_hit() {
    if kvm_or_skip("breakpoint_that_several_vcpus_hit") {
        let started = Guest::new("tlb-shootdown", 4).append("rounds=10").paused().start();
        let address = symbol(&header(&started), "lapic_eoi");
        hit_and_remove(started, address, 6);
    }
}

#[test]
fn core_breakpoint_before_the_guest_has_handlers() {
    if kvm_or_skip("core_breakpoint_before_the_guest_has_handlers") {
        let started = Guest::new("hello", 1).paused().start();
        let address = symbol(&header(&started), "idt_fill");
        hit_and_remove(started, address, 1);
    }
}

#[test]
fn breakpoints_that_a_host_has_no_means_for_are_refused() {
    if !kvm_or_skip("breakpoints_that_a_host_has_no_means_for_are_refused") {
        return;
    }
    let started = Guest::new("hello", 1).paused().start();
    let control = started.vm.control();
    let names = ["runtime_start", "idt_fill", "cpu_start", "memory_start", "main"];
    let mut set: Vec<u64> = Vec::new();
    for name in names {
        let address = symbol(&header(&started), name);
        match control.add_breakpoint(0, address) {
            Ok(()) => set.push(address),
            Err(error) => assert!(matches!(error, Error::HostCannot { .. }), "{error}"),
        }
    }
    set.sort_unstable();
    assert_eq!(control.breakpoints(), set, "one that was refused is not there");
    assert!(set.len() >= 3, "breakpoint registers hold as many at least: {set:x?}");
    let mut left = set.clone();
    while !left.is_empty() {
        control.resume(BY).unwrap();
        until("the next is hit", || is_paused(&control));
        let rip = control.registers(0).unwrap().general.rip;
        left.retain(|gva| *gva != rip);
        control.remove_breakpoint(0, rip).unwrap();
    }
    control.resume(BY).unwrap();
    started.finish().assert_well();
}

/// The next stop, which must be at `address`.
fn stops_at(control: &Control, address: u64) {
    until("a breakpoint is hit", || is_paused(control));
    assert_eq!(control.registers(0).unwrap().general.rip, address);
}

#[test]
fn core_a_guest_that_debugs_itself_is_debugged() {
    if !kvm_or_skip("core_a_guest_that_debugs_itself_is_debugged") {
        return;
    }
    let started = Guest::image(DEBUGGING, 1).paused().start();
    let control = started.vm.control();
    let first = symbol(&header(&started), "first");
    control.add_breakpoint(0, first).unwrap();
    control.resume(BY).unwrap();
    stops_at(&control, first);
    // The guest has code there, which it is about to call and to make data of.
    control.add_breakpoint(0, CODE).unwrap();
    control.resume(BY).unwrap();
    stops_at(&control, CODE);
    control.resume(BY).unwrap();
    let run = started.finish();
    run.assert_well();
    let hits = run.count_where(|p| matches!(p, Payload::Debugger(Debugger::BreakpointHit { .. })));
    assert_eq!(hits, 2);
}

//! A guest that begins anew.

use trace_format::Reader;
use trace_format::event::{Actor, Payload, StopReason, VcpuState};
use vmm_lite::{Activity, Control, Irqchip, MachineState, StopCause};
use vmscope_tests::images::INTERRUPTS;
use vmscope_tests::run::{Guest, Run, Started, symbol};
use vmscope_tests::skip::kvm_or_skip;

use crate::control::{BY, header, is_paused, stop, until};
use crate::guests::assert_consistent;

const ALL: [Irqchip; 3] = [Irqchip::User, Irqchip::Split, Irqchip::Kernel];

fn shootdown(irqchip: Irqchip) -> (Started, Control, Reader) {
    let started = Guest::new("tlb-shootdown", 4).append("rounds=100").irqchip(irqchip).start();
    let control = started.vm.control();
    let reader = Reader::open(&started.trace).unwrap();
    (started, control, reader)
}

/// Waits until so many more events have been recorded.
fn wait_for(reader: &mut Reader, events: u64) {
    let goal = reader.len() + events;
    until("the guest does something", || {
        reader.poll().unwrap();
        reader.len() > goal
    });
}

fn resets(run: &Run) -> Vec<Actor> {
    run.events
        .iter()
        .filter_map(|event| match event.payload {
            Payload::State(VcpuState::Reset { by }) => Some(by),
            _ => None,
        })
        .collect()
}

/// What happened from the last reset on.
fn last_life(mut run: Run) -> Run {
    let is_reset =
        |event: &trace_format::Event| matches!(event.payload, Payload::State(VcpuState::Reset { .. }));
    let at = run.events.iter().rposition(is_reset).unwrap();
    run.events.drain(..at);
    run
}

#[test]
fn core_a_reset_in_the_middle_of_it() {
    if !kvm_or_skip("core_a_reset_in_the_middle_of_it") {
        return;
    }
    for irqchip in ALL {
        let (started, control, mut reader) = shootdown(irqchip);
        wait_for(&mut reader, 400);
        control.reset(BY).unwrap();
        assert_eq!(control.state(), MachineState::Running, "{irqchip:?}");
        let run = started.finish();
        run.assert_well();
        assert_eq!(resets(&run), [BY], "{irqchip:?}");
        let run = last_life(run);
        assert_eq!(run.counters()["ipis_taken"], 300, "{irqchip:?}");
        assert!(run.console().contains("no stale read"), "{}", run.console());
    }
}

#[test]
fn core_ten_resets_in_a_row() {
    if !kvm_or_skip("core_ten_resets_in_a_row") {
        return;
    }
    for irqchip in ALL {
        let (started, control, mut reader) = shootdown(irqchip);
        for n in 0..10 {
            // At whatever it does: booting, starting the others, in the middle of rounds, or at nothing yet.
            wait_for(&mut reader, 40 * n);
            control.reset(BY).unwrap();
        }
        let run = started.finish();
        run.assert_well();
        assert_eq!(resets(&run).len(), 10);
        let run = last_life(run);
        if irqchip == Irqchip::User {
            assert_consistent(&run);
        }
    }
}

#[test]
fn core_a_paused_guest_is_paused_at_its_first_instruction() {
    if !kvm_or_skip("core_a_paused_guest_is_paused_at_its_first_instruction") {
        return;
    }
    for irqchip in ALL {
        let (started, control, mut reader) = shootdown(irqchip);
        wait_for(&mut reader, 400);
        control.pause(BY).unwrap();
        control.reset(BY).unwrap();
        assert!(is_paused(&control), "{irqchip:?}");
        let entry = symbol(&header(&started), "_start");
        let registers = control.registers(0).unwrap();
        assert_eq!((registers.general.rip, registers.general.rflags), (entry, 2), "{irqchip:?}");
        let other = control.registers(1).unwrap();
        assert_eq!((other.general.rip, other.system.cs.selector), (0xfff0, 0xf000), "{irqchip:?}");
        if irqchip == Irqchip::User {
            let waits = Activity::WaitingForSipi;
            assert_eq!(control.activities(), [Activity::Running, waits, waits, waits]);
        }
        let apic = control.apic(1).unwrap();
        assert_eq!((apic.enabled, apic.requested.len(), apic.in_service.len()), (false, 0, 0), "{irqchip:?}");
        let step = control.step(0, BY).unwrap();
        assert_eq!(step.from, entry);
        control.resume(BY).unwrap();
        let run = started.finish();
        run.assert_well();
    }
}

#[test]
fn core_breakpoints_outlive_a_reset() {
    if !kvm_or_skip("core_breakpoints_outlive_a_reset") {
        return;
    }
    let started = Guest::new("trap-forwarding", 1).paused().start();
    let control = started.vm.control();
    let place = symbol(&header(&started), "address_space_start");
    control.add_breakpoint(0, place).unwrap();
    for _ in 0..3 {
        control.resume(BY).unwrap();
        until("the breakpoint is hit", || is_paused(&control));
        assert_eq!(control.registers(0).unwrap().general.rip, place);
        control.reset(BY).unwrap();
        let mut code = [0];
        control.read_virtual(0, place, &mut code).unwrap();
        assert_ne!(code, [0xcc], "breakpoints do not show");
    }
    control.remove_breakpoint(0, place).unwrap();
    control.resume(BY).unwrap();
    let run = started.finish();
    run.assert_well();
    assert_eq!(resets(&run), [BY; 3]);
}

#[test]
fn every_kind_of_interrupt_after_a_reset() {
    if !kvm_or_skip("every_kind_of_interrupt_after_a_reset") {
        return;
    }
    for irqchip in ALL {
        let started = Guest::image(INTERRUPTS, 2).irqchip(irqchip).paused().start();
        let control = started.vm.control();
        // Where it waits for the first of them.
        let halt = symbol(&header(&started), "halt");
        control.add_breakpoint(0, halt).unwrap();
        control.resume(BY).unwrap();
        until("a timer runs", || is_paused(&control));
        control.remove_breakpoint(0, halt).unwrap();
        control.reset(Actor::Gdb).unwrap();
        control.resume(BY).unwrap();
        let run = started.finish();
        run.assert_well();
        assert_eq!(resets(&run), [Actor::Gdb], "{irqchip:?}");
        assert_eq!(last_life(run).counters()["keyboard_interrupts"], 10, "{irqchip:?}");
    }
}

#[test]
fn guests_asleep_are_woken_and_clients_do_not_meet() {
    if !kvm_or_skip("guests_asleep_are_woken_and_clients_do_not_meet") {
        return;
    }
    let (started, control, mut reader) = shootdown(Irqchip::User);
    wait_for(&mut reader, 100);
    // One resets, one steps and reads, one pauses and resumes, all at once.
    std::thread::scope(|scope| {
        scope.spawn(|| (0..20).for_each(|_| control.reset(BY).unwrap()));
        scope.spawn(|| {
            for n in 0..60 {
                // Fails whenever the guest is not paused.
                drop(control.step(n % 4, BY));
                control.registers(n % 4).unwrap();
            }
        });
        scope.spawn(|| {
            for _ in 0..30 {
                control.pause(BY).unwrap();
                control.resume(BY).unwrap();
            }
        });
    });
    control.resume(BY).unwrap();
    let run = started.finish();
    run.assert_well();
    assert_eq!(resets(&run).len(), 20);
}

#[test]
fn an_image_that_has_changed_is_refused_and_the_guest_goes_on() {
    if !kvm_or_skip("an_image_that_has_changed_is_refused_and_the_guest_goes_on") {
        return;
    }
    let started = Guest::image(INTERRUPTS, 1).append("sleep=1").start();
    let control = started.vm.control();
    let image = started.trace.with_file_name("guest");
    let mut bytes = std::fs::read(&image).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&image, &bytes).unwrap();
    let error = control.reset(BY).unwrap_err().to_string();
    assert!(error.contains("changed") && error.contains("guest"), "{error}");
    assert_eq!(control.state(), MachineState::Running);
    let run = stop(started, &control);
    assert_eq!(resets(&run), []);
    assert_eq!(run.outcome.why, StopReason::Ended { by: BY });
}

/// The end of a guest that a debugger holds is not the end of the run yet.
#[test]
fn core_a_guest_at_its_end_can_begin_anew() {
    if !kvm_or_skip("core_a_guest_at_its_end_can_begin_anew") {
        return;
    }
    let started = Guest::new("hello", 1).paused().start();
    let control = started.vm.control();
    control.attach(Actor::Gdb).unwrap();
    let stops = control.stops();
    for _ in 0..3 {
        control.resume(Actor::Gdb).unwrap();
        let stop = stops.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        assert!(matches!(stop.cause, StopCause::Ending { .. }), "{stop:?}");
        control.reset(Actor::Gdb).unwrap();
        assert_eq!(control.registers(0).unwrap().general.rip, symbol(&header(&started), "_start"));
    }
    control.resume(Actor::Gdb).unwrap();
    let stop = stops.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    assert!(matches!(stop.cause, StopCause::Ending { .. }), "{stop:?}");
    control.detach(Actor::Gdb);
    let run = started.finish();
    run.assert_well();
    assert_eq!(run.console().matches("Hello from ring 0").count(), 4, "{}", run.console());
}

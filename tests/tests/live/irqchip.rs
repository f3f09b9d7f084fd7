//! Interrupt controllers in user space, in KVM, and half of each: guests do not notice, and the trace says what it
//! cannot show.

use std::collections::BTreeSet;

use trace_format::event::{DeliveryMode, IrqSource, Payload, StopReason, TrapClass};
use trace_format::{Kind, Reader};
use vmm_lite::{Activity, Control, Irqchip, MachineState};
use vmscope_tests::images::INTERRUPTS;
use vmscope_tests::run::{Guest, Run, Started, symbol};
use vmscope_tests::skip::{kvm_or_skip, skip};

use crate::control::{BY, header, is_paused, stop, until};
use crate::guests::{assert_consistent, assert_traps_and_exits};

const ALL: [Irqchip; 3] = [Irqchip::User, Irqchip::Split, Irqchip::Kernel];
const IN_KVM: [Irqchip; 2] = [Irqchip::Split, Irqchip::Kernel];

/// Whether the run's trace says that it does not have IPIs.
fn lacks_ipis(run: &Run) -> bool {
    run.header.not_seen.iter().any(|sentence| sentence.starts_with("IPIs: "))
}

/// What a built-in guest counts itself is what the trace has, as far as it can.
fn run(name: &str, vcpus: u8, append: &str, irqchip: Irqchip) -> Run {
    let run = Guest::new(name, vcpus).append(append).irqchip(irqchip).run();
    assert_consistent(&run);
    assert_traps_and_exits(&run);
    assert!(run.header.not_seen.iter().any(|s| s.contains("KVM plays the local APICs")), "{:?}", run.header);
    assert_eq!(run.count(Kind::IpiAccepted) + run.count(Kind::IpiEoi), 0);
    let sent = run.counters().get("ipis").copied().unwrap_or(0);
    assert_eq!(run.count(Kind::Ipi), if lacks_ipis(&run) { 0 } else { sent }, "{:?}", run.header.not_seen);
    run
}

#[test]
fn core_guests_with_apics_in_kvm() {
    if kvm_or_skip("core_guests_with_apics_in_kvm") {
        for irqchip in IN_KVM {
            assert!(run("hello", 1, "", irqchip).console().contains("Hello from ring 0"));
            assert_eq!(run("trap-forwarding", 1, "", irqchip).counters()["syscalls"], 105);
            let shootdown = run("tlb-shootdown", 2, "rounds=20", irqchip);
            assert_eq!(shootdown.counters()["ipis_taken"], 20, "{irqchip:?}");
        }
    }
}

#[test]
fn more_guests_with_apics_in_kvm() {
    if kvm_or_skip("more_guests_with_apics_in_kvm") {
        for irqchip in IN_KVM {
            assert!(run("demand-paging", 1, "", irqchip).counters()["faults"] > 64);
            run("exit-storm", 1, "count=3000", irqchip);
            for apic in ["x2apic", "xapic"] {
                let shootdown = run("tlb-shootdown", 4, &format!("rounds=20 apic={apic}"), irqchip);
                assert_eq!(shootdown.counters()["ipis_taken"], 60, "{irqchip:?} {apic}");
                let apic_exits = shootdown.exits(|reason| {
                    use trace_format::event::ExitReason::MmioWrite;
                    matches!(reason, MmioWrite { gpa, .. } if gpa >> 12 == 0xfee00)
                });
                assert_eq!(apic_exits, 0);
            }
        }
    }
}

#[test]
fn ipis_of_apics_in_kvm_are_traced() {
    const TEST: &str = "ipis_of_apics_in_kvm_are_traced";
    if !kvm_or_skip(TEST) {
        return;
    }
    for irqchip in IN_KVM {
        let run = run("tlb-shootdown", 4, "rounds=20", irqchip);
        if lacks_ipis(&run) {
            skip(TEST, &run.header.not_seen.join("; "));
            return;
        }
        let ipis: Vec<_> = run
            .events
            .iter()
            .filter_map(|event| match &event.payload {
                Payload::Ipi(ipi) => Some((event.vcpu, ipi)),
                _ => None,
            })
            .collect();
        let start =
            |mode| ipis.iter().filter(move |(_, ipi)| ipi.mode == mode).map(|(by, ipi)| (*by, ipi.targets));
        assert!(start(DeliveryMode::Init).eq([(0, 0b0010), (0, 0b0100), (0, 0b1000)]));
        assert_eq!(start(DeliveryMode::StartUp).count(), 6);
        // Each round one vCPU interrupts the three others, by one IPI or by three.
        let fixed: Vec<_> = start(DeliveryMode::Fixed).collect();
        assert!(fixed.iter().all(|(by, targets)| targets & 1 << by == 0 && *targets != 0), "{fixed:?}");
        assert_eq!(fixed.iter().map(|(_, targets)| targets.count_ones()).sum::<u32>(), 60);
        assert_eq!(fixed.iter().map(|(by, _)| by).collect::<BTreeSet<_>>().len(), 4, "all send");
    }
}

#[test]
fn core_every_kind_of_interrupt() {
    if kvm_or_skip("core_every_kind_of_interrupt") {
        for irqchip in ALL {
            let run = Guest::image(INTERRUPTS, 2).irqchip(irqchip).run();
            assert_consistent(&run);
            let counters = run.counters();
            assert_eq!(counters["keyboard_interrupts"], 10, "{irqchip:?}");
            let of_timers = |class| {
                run.count_where(
                    |p| matches!(p, Payload::Trap(trap) if trap.vector == 0x60 && trap.class == class),
                )
            };
            assert_eq!(of_timers(TrapClass::ExternalInterrupt), counters["local_ticks"], "{irqchip:?}");
            // What the 8259s do is the monitor's to see, unless KVM plays them.
            let by_pics = run.count_where(
                |p| matches!(p, Payload::Irq(irq) if matches!(irq.source, IrqSource::Pic { .. })),
            );
            let seen = if irqchip == Irqchip::Kernel { 0 } else { counters["pic_ticks"] };
            assert_eq!(by_pics, seen, "{irqchip:?}");
        }
    }
}

/// Waits until a breakpoint is hit.
fn hit(control: &Control, irqchip: Irqchip) {
    until(&format!("{irqchip:?}: the breakpoint is hit"), || {
        let state = control.state();
        assert!(!matches!(state, MachineState::Stopped { .. }), "{irqchip:?}: {state:?}");
        is_paused(control)
    });
}

/// A guest all of whose vCPUs sleep.
fn asleep(irqchip: Irqchip, vcpus: u8) -> (Started, Control) {
    let started = Guest::image(INTERRUPTS, vcpus).append("sleep=1").irqchip(irqchip).start();
    let control = started.vm.control();
    let mut reader = Reader::open(&started.trace).unwrap();
    until(&format!("{irqchip:?}: it sleeps"), || {
        reader.poll().unwrap();
        reader.forward(0).any(|event| matches!(event.unwrap().1.payload, Payload::Marker(mark) if mark.text.as_str() == "asleep"))
    });
    until(&format!("{irqchip:?}: every vCPU is found halted"), || {
        control.pause(BY).unwrap();
        let all = control.activities().iter().all(|activity| *activity == Activity::Halted);
        if !all {
            control.resume(BY).unwrap();
        }
        all
    });
    (started, control)
}

#[test]
fn core_halted_vcpus_are_under_control() {
    if !kvm_or_skip("core_halted_vcpus_are_under_control") {
        return;
    }
    for irqchip in ALL {
        let (started, control) = asleep(irqchip, 3);
        let halt = symbol(&header(&started), "halt_instruction");
        for vcpu in 0..3 {
            let step = control.step(vcpu, BY).unwrap();
            assert_eq!((step.from, step.to), (halt + 1, halt + 1), "a halted vCPU stays");
            assert_eq!(control.registers(vcpu).unwrap().general.rip, halt + 1);
        }
        for _ in 0..20 {
            control.resume(BY).unwrap();
            control.pause(BY).unwrap();
        }
        assert!(control.activities().iter().all(|activity| *activity == Activity::Halted), "{irqchip:?}");

        let on_serial = symbol(&header(&started), "on_serial");
        control.add_breakpoint(0, on_serial).unwrap();
        control.resume(BY).unwrap();
        assert_eq!(control.console_input(b"x"), 1);
        hit(&control, irqchip);
        assert_eq!(control.registers(0).unwrap().general.rip, on_serial, "{irqchip:?}");
        let mut at = on_serial;
        for _ in 0..10 {
            let step = control.step(0, BY).unwrap();
            assert_eq!(step.from, at);
            assert_ne!(step.to, at);
            at = step.to;
        }
        control.remove_breakpoint(0, on_serial).unwrap();
        control.resume(BY).unwrap();
        assert_eq!(control.console_input(b"q"), 1);
        started.finish().assert_well();
    }
}

#[test]
fn core_a_step_over_hlt_halts() {
    if !kvm_or_skip("core_a_step_over_hlt_halts") {
        return;
    }
    for irqchip in ALL {
        let (started, control) = asleep(irqchip, 1);
        let halt = symbol(&header(&started), "halt_instruction");
        control.add_breakpoint(0, halt).unwrap();
        control.resume(BY).unwrap();
        assert_eq!(control.console_input(b"x"), 1);
        hit(&control, irqchip);
        assert_eq!(control.registers(0).unwrap().general.rip, halt, "{irqchip:?}");
        let step = control.step(0, BY).unwrap();
        assert_eq!((step.from, step.to), (halt, halt + 1), "{irqchip:?}");
        assert_eq!(control.activities(), [Activity::Halted], "{irqchip:?}");
        // The same without a step: the breakpoint is passed over and the guest goes on by itself.
        control.resume(BY).unwrap();
        assert_eq!(control.console_input(b"x"), 1);
        hit(&control, irqchip);
        control.resume(BY).unwrap();
        control.pause(BY).unwrap();
        control.remove_breakpoint(0, halt).unwrap();
        control.resume(BY).unwrap();
        assert_eq!(control.console_input(b"q"), 1);
        started.finish().assert_well();
    }
}

/// Between `STI` and `HLT` nothing may come in, or the guest would sleep through what it waits for.
#[test]
fn core_no_interrupt_between_sti_and_hlt() {
    if !kvm_or_skip("core_no_interrupt_between_sti_and_hlt") {
        return;
    }
    for irqchip in ALL {
        for by_step in [false, true] {
            let (started, control) = asleep(irqchip, 1);
            let halt = symbol(&header(&started), "halt_instruction");
            let stop = if by_step { symbol(&header(&started), "halt") } else { halt };
            control.add_breakpoint(0, stop).unwrap();
            control.resume(BY).unwrap();
            assert_eq!(control.console_input(b"x"), 1);
            hit(&control, irqchip);
            if by_step {
                control.step(0, BY).unwrap();
            }
            assert_eq!(control.registers(0).unwrap().general.rip, halt, "{irqchip:?}");
            control.remove_breakpoint(0, stop).unwrap();
            assert_eq!(control.console_input(b"q"), 1);
            control.resume(BY).unwrap();
            let run = started.finish();
            assert_eq!(
                run.outcome.why,
                StopReason::GuestExit { status: 0 },
                "{irqchip:?}, by a step: {by_step}"
            );
        }
    }
}

#[test]
fn steps_and_pauses_of_busy_guests_with_apics_in_kvm() {
    if !kvm_or_skip("steps_and_pauses_of_busy_guests_with_apics_in_kvm") {
        return;
    }
    for irqchip in IN_KVM {
        let started = Guest::new("tlb-shootdown", 4).append("rounds=100000").irqchip(irqchip).start();
        let control = started.vm.control();
        let mut reader = Reader::open(&started.trace).unwrap();
        until("shootdowns go on", || {
            reader.poll().unwrap();
            reader.len() > 200
        });
        for _ in 0..20 {
            control.pause(BY).unwrap();
            assert!(is_paused(&control));
            for vcpu in 0..4 {
                let before = control.registers(vcpu).unwrap().general.rip;
                let sleeps = control.activities()[usize::from(vcpu)] != Activity::Running;
                let step = control.step(vcpu, BY).unwrap();
                assert_eq!(step.from, before);
                assert!(!sleeps || step.from == step.to);
                assert_eq!(control.registers(vcpu).unwrap().general.rip, step.to);
            }
            control.resume(BY).unwrap();
        }
        stop(started, &control);
    }
}

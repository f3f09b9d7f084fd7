//! Recorded registers.

use trace_format::Kind;
use trace_format::event::{Payload, Registers};
use vmm_lite::RecordRegisters;
use vmscope_tests::run::{Guest, Run};
use vmscope_tests::skip::kvm_or_skip;

use crate::control::{BY, stop};
use crate::guests::assert_consistent;

fn recorded(name: &str, vcpus: u8, append: &str, registers: RecordRegisters) -> Run {
    let mut guest = Guest::new(name, vcpus).append(append);
    guest.config.registers = registers;
    let run = guest.run();
    assert_consistent(&run);
    run
}

#[test]
fn core_at_traps_they_are_what_the_handler_finds() {
    if !kvm_or_skip("core_at_traps_they_are_what_the_handler_finds") {
        return;
    }
    let run = recorded("trap-forwarding", 1, "", RecordRegisters::Traps);
    assert!(run.count(Kind::Trap) > 100);
    assert_eq!(run.count(Kind::Registers), run.count(Kind::Trap));
    let mut last: Option<(u64, &Registers)> = None;
    for event in &run.events {
        match &event.payload {
            Payload::Registers(registers) => last = Some((event.time, registers)),
            Payload::Trap(trap) => {
                let (time, registers) = last.take().unwrap();
                assert_eq!((time, registers.rip, registers.cpl), (event.time, trap.handler, 0));
                if let Some(cr2) = trap.cr2 {
                    assert_eq!(registers.cr2, cr2);
                }
                if trap.vector == 256 {
                    assert_eq!((Some(registers.general[0]), registers.general[2]), (trap.code, trap.rip));
                }
            }
            _ => {}
        }
    }
}

#[test]
fn core_at_all_exits_they_are_what_the_guest_left() {
    if !kvm_or_skip("core_at_all_exits_they_are_what_the_guest_left") {
        return;
    }
    let run = recorded("tlb-shootdown", 2, "rounds=20", RecordRegisters::All);
    let mut last: [Option<&Registers>; 2] = [None; 2];
    let mut exits = 0;
    for event in run.events.iter().filter(|event| event.vcpu < 2) {
        let last = &mut last[usize::from(event.vcpu)];
        match &event.payload {
            Payload::Registers(registers) => *last = Some(registers),
            Payload::Exit(exit) => {
                let registers = last.take().unwrap_or_else(|| panic!("none before {event:?}"));
                assert_eq!(registers.cpl, exit.cpl);
                assert_eq!(registers.rip, exit.rip, "{exit:?}");
                exits += 1;
            }
            _ => {}
        }
    }
    assert_eq!(exits, run.count(Kind::Exit));
}

#[test]
fn core_a_step_is_recorded_with_its_registers() {
    if !kvm_or_skip("core_a_step_is_recorded_with_its_registers") {
        return;
    }
    let mut guest = Guest::new("hello", 1).paused();
    guest.config.registers = RecordRegisters::All;
    let started = guest.start();
    let control = started.vm.control();
    let steps: Vec<_> = (0..5).map(|_| control.step(0, BY).unwrap().to).collect();
    let run = stop(started, &control);
    let recorded: Vec<u64> = run
        .events
        .windows(2)
        .filter_map(|pair| match (&pair[0].payload, &pair[1].payload) {
            (Payload::Registers(registers), Payload::Debugger(_)) => Some(registers.rip),
            _ => None,
        })
        .collect();
    assert_eq!(recorded, steps);
}

#[test]
fn core_none_are_recorded_unless_asked_for() {
    if kvm_or_skip("core_none_are_recorded_unless_asked_for") {
        let run = recorded("hello", 1, "", RecordRegisters::Never);
        assert_eq!(run.count(Kind::Registers), 0);
        let image = run.header.image.unwrap();
        let built_in = vmm_lite::guests::find("hello").unwrap().image;
        assert!(image.agrees(built_in));
        let code = image.at(built_in, run.header.symbols.address_of("_start").unwrap()).unwrap();
        assert!(code.len() > 16);
    }
}

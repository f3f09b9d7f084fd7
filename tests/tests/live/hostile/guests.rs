//! One hostile action each.

use std::time::Duration;

use trace_format::describe::Line;
use trace_format::event::{Actor, ExitReason, StopReason};
use vmscope_tests::images::HOSTILE;
use vmscope_tests::run::{Guest, Run};
use vmscope_tests::skip::kvm_or_skip;

use super::exercise::endure;
use super::soup;

/// How long each guest does its worst.
const LENGTH: Duration = Duration::from_millis(600);

/// The guest that does `action`.
pub(super) fn guest(action: &str, vcpus: u8) -> Guest {
    let mut guest = Guest::image(HOSTILE, vcpus).append(&format!("action={action}"));
    guest.config.memory_bytes = 32 << 20;
    guest
}

fn run(action: &str, vcpus: u8) -> Run {
    let what = format!("{action} on {vcpus}");
    let run = endure(&what, guest(action, vcpus), "go", LENGTH, |started| soup::fill(started, 1));
    assert!(run.console().contains("go\n"), "{what} did not begin: {:?}\n{}", run.outcome, run.console());
    run
}

/// The guest must go on until it is ended.
fn lasts(action: &str, vcpus: &[u8]) {
    for vcpus in vcpus {
        let run = run(action, *vcpus);
        let why = StopReason::Ended { by: Actor::User };
        assert_eq!(
            run.outcome.why,
            why,
            "{action} on {vcpus}: {:?}\n{}\n{}",
            run.outcome.failure,
            run.console(),
            last_events(&run)
        );
    }
}

/// What came before the end, for people.
fn last_events(run: &Run) -> String {
    const MANY: usize = 60;
    let first = run.events.len().saturating_sub(MANY);
    let lines = run.events.iter().enumerate().skip(first);
    lines.map(|(n, event)| format!("{}\n", Line { number: n as u64, event, header: &run.header })).collect()
}

/// The guest may break itself.
fn may_end(action: &str, vcpus: &[u8]) {
    for vcpus in vcpus {
        let _ = run(action, *vcpus);
    }
}

/// A test for each line: its name, whether the guest lasts, the action, the numbers of vCPUs.
macro_rules! guests {
    ($($name:ident: $how:ident $action:literal on $vcpus:expr;)*) => {
        $(
            #[test]
            fn $name() {
                if kvm_or_skip(stringify!($name)) {
                    $how($action, &$vcpus);
                }
            }
        )*
    };
}

guests! {
    probes_every_port: lasts "ports" on [1, 2];
    endless_strings_of_io: may_end "strings" on [1, 2];
    memory_that_is_not_there: lasts "mmio" on [1, 2];
    every_msr: may_end "msrs" on [1, 2];
    writes_all_memory: lasts "memory" on [1];
    writes_over_itself: may_end "suicide" on [1, 2];
    spins_with_interrupts_off: lasts "spin" on [1, 3];
    spins_in_user_mode: lasts "user-spin" on [1];
    ipis_to_itself: lasts "self-ipi" on [1, 2];
    ipis_that_nobody_takes: lasts "unanswered-ipi" on [1, 3];
    ipis_to_everybody: lasts "ipi-storm" on [2, 4];
    nmis_to_everybody: lasts "nmi-storm" on [1, 3];
    inits_and_start_ups_to_everybody: may_end "init-storm" on [2, 4];
    floods_the_consoles: lasts "console" on [1, 2];
    floods_counters_and_markers: lasts "calls" on [1, 2];
    garbage_idt: may_end "idt" on [1, 2];
    garbage_gdt: may_end "gdt" on [1];
    garbage_cr3: may_end "cr3" on [1];
    page_tables_that_lead_nowhere: may_end "page-tables" on [1];
    its_own_trap_flag: may_end "trap-flag" on [1, 2];
    its_own_debug_registers: may_end "debug-registers" on [1];
    garbage_system_call_entry: may_end "system-call-entry" on [1, 2];
    patches_code_under_probes: may_end "patches" on [1, 2];
    timers_without_a_pause: lasts "timers" on [1, 2];
    timers_that_nobody_hears: lasts "timers-unheard" on [1, 3];
    every_device_register: may_end "devices" on [1, 2];
    every_apic_register: may_end "apics" on [1, 3];
    accesses_of_several_exits: lasts "read-modify-write" on [1, 2];
    starts_others_in_garbage: may_end "start-up" on [2, 4];
}

#[test]
fn its_own_breakpoints() {
    if kvm_or_skip("its_own_breakpoints") {
        for vcpus in [1, 2] {
            let run = run("breakpoints", vcpus);
            assert_eq!(run.outcome.why, StopReason::Ended { by: Actor::User }, "{:?}", run.outcome.failure);
            // The loop has no end; behind it is code that writes MSRs.
            assert_eq!(
                run.exits(|reason| matches!(reason, ExitReason::Msr { .. })),
                0,
                "it has left its loop"
            );
        }
    }
}

#[test]
fn halts_for_good() {
    if kvm_or_skip("halts_for_good") {
        for vcpus in [1, 3] {
            assert_eq!(run("halt", vcpus).outcome.why, StopReason::Deadlock);
        }
    }
}

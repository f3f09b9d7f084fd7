//! Breakpoints, steps, the end.

use crate::{Vmscope, gdb_or_skip};

#[test]
fn core_source_lines() {
    if !gdb_or_skip("core_source_lines") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=20"]);
    let said = vmscope.gdb(&[
        "break on_shootdown",
        "continue",
        "bt",
        "next",
        "step",
        "finish",
        "info threads",
        "delete",
        "continue",
        "continue",
    ]);
    for wanted in [
        "hit Breakpoint 1, on_shootdown (frame=0x",
        "<signal handler called>",
        "take_part () at",
        "vmscope: the guest is about to end: the guest exited with status 0",
        "received signal SIGTERM",
        "vmscope: the guest has ended: the guest exited with status 0",
        "[Inferior 1 (Remote target) exited normally]",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is not in\n{said}");
    }
    vmscope.finish_well();
}

#[test]
fn many_hits_on_every_vcpu_leave_the_guest_right() {
    if !gdb_or_skip("many_hits_on_every_vcpu_leave_the_guest_right") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=60"]);
    let said = vmscope.gdb(&[
        "break on_shootdown",
        "ignore 1 100",
        "continue",
        "info breakpoints",
        "delete",
        "continue",
        "detach",
    ]);
    assert!(said.contains("breakpoint already hit 101 times"), "{said}");
    vmscope.finish_well();
}

#[test]
fn locked_threads_stay_where_they_are() {
    if !gdb_or_skip("locked_threads_stay_where_they_are") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=60"]);
    let said = vmscope.gdb(&[
        "break on_shootdown",
        "continue",
        "set scheduler-locking on",
        "set $others = 0",
        "thread apply all -q set $others = $others + (unsigned long) $pc",
        "set $mine = $pc",
        "stepi",
        "stepi",
        "stepi",
        "set $now = 0",
        "thread apply all -q set $now = $now + (unsigned long) $pc",
        "printf \"others moved %ld\\n\", ($now - $others) - ((unsigned long) $pc - (unsigned long) $mine)",
        "set scheduler-locking off",
        "delete",
        "detach",
    ]);
    assert!(said.contains("others moved 0"), "{said}");
    vmscope.finish_well();
}

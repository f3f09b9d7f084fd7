//! Where the guest stops.

use vmm_lite::doctor;
use vmscope_tests::images::{DEBUGGING, STEPS};

use crate::{Vmscope, gdb_or_skip};

/// Whether this host's KVM reports accesses to data.
fn watches() -> bool {
    doctor().unwrap().calibration.iter().any(|fact| fact.name == "watchpoint" && fact.value == "works")
}

#[test]
fn core_a_watchpoint_on_what_all_vcpus_share() {
    if !gdb_or_skip("core_a_watchpoint_on_what_all_vcpus_share") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=20"]);
    let then = if watches() { "continue" } else { "monitor why" };
    let said = vmscope.gdb(&["watch round", "continue", then, "delete", "continue", "continue"]);
    if watches() {
        for wanted in ["Hardware watchpoint 1: round", "Old value = 0", "New value = 1", "New value = 2"] {
            assert!(said.contains(wanted), "{wanted:?} is not in\n{said}");
        }
    } else {
        assert!(said.contains("Could not insert hardware watchpoint 1"), "{said}");
        assert!(said.contains("can-use-hw-watchpoints 0"), "it says what can be done instead:\n{said}");
    }
    vmscope.finish_well();
}

#[test]
fn core_user_code_and_the_trap_out_of_it() {
    if !gdb_or_skip("core_user_code_and_the_trap_out_of_it") {
        return;
    }
    let vmscope = Vmscope::start("trap-forwarding", &["--wait"]);
    let said = vmscope.gdb(&[
        "break on_syscall",
        "continue",
        "bt",
        "printf \"in ring %d\\n\", $cs & 3",
        "delete",
        "tbreak *frame->rip",
        "continue",
        "printf \"in ring %d\\n\", $cs & 3",
        "delete",
        "continue",
        "continue",
    ]);
    for wanted in ["Breakpoint 1, on_syscall", "<signal handler called>", "in ring 0", "in ring 3"] {
        assert!(said.contains(wanted), "{wanted:?} is not in\n{said}");
    }
    assert!(said.contains("exited normally"), "{said}");
    vmscope.finish_well();
}

#[test]
fn core_system_calls() {
    if !gdb_or_skip("core_system_calls") {
        return;
    }
    let vmscope = Vmscope::start("trap-forwarding", &["--wait"]);
    let said = vmscope.gdb(&[
        "set osabi GNU/Linux",
        "catch syscall",
        "continue",
        "continue",
        "delete",
        "continue",
        "continue",
    ]);
    assert!(said.contains("(call to syscall"), "{said}");
    assert!(said.contains("(returned from syscall"), "{said}");
    vmscope.finish_well();
}

#[test]
fn hardware_breakpoints_on_every_vcpu() {
    if !gdb_or_skip("hardware_breakpoints_on_every_vcpu") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=30"]);
    let said = vmscope.gdb(&[
        "hbreak on_shootdown",
        "python seen = set()",
        "python [(gdb.execute('continue', to_string=True), seen.add(gdb.selected_thread().num)) for _ in range(40)]",
        "python print('@', sorted(seen))",
        "delete",
        "continue",
        "continue",
    ]);
    assert!(said.contains("@ [1, 2, 3, 4]"), "{said}");
    vmscope.finish_well();
}

#[test]
fn core_a_guests_own_breakpoints_reach_it() {
    if !gdb_or_skip("core_a_guests_own_breakpoints_reach_it") {
        return;
    }
    let vmscope = Vmscope::image(DEBUGGING, &["--wait"]);
    let said = vmscope.gdb(&[
        // Alike to the guest's own, in code and in handler.
        "break first",
        "continue",
        "break on_breakpoint",
        "continue",
        "printf \"@ %d %d\\n\", frame->rip == (unsigned long) second + 1, breakpoints",
        "continue",
        "printf \"@ %d %d\\n\", frame->rip == (unsigned long) second + 1, breakpoints",
        "delete 2",
        "continue",
        "detach",
    ]);
    let values: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("@ ")).collect();
    assert_eq!(values, ["1 0", "1 1"], "{said}");
    assert!(said.contains("about to end: the guest exited with status 0"), "{said}");
    vmscope.finish_well();
}

#[test]
fn core_what_was_read_from_a_device_is_there_at_the_stop() {
    if !gdb_or_skip("core_what_was_read_from_a_device_is_there_at_the_stop") {
        return;
    }
    let vmscope = Vmscope::image(STEPS, &["--wait"]);
    let said = vmscope.gdb(&[
        "monitor break-on io.port == 0x3ff and exit.reason == io-in",
        "continue",
        "printf \"@ %d %#x\\n\", $pc == step_in_end, $al",
        "monitor break-on exit.reason == mmio-read and mmio.gpa == 0xe0000000",
        "continue",
        "printf \"@ %d %#x\\n\", $pc == step_mmio_read_end, $eax",
        "monitor break-on off",
        "detach",
    ]);
    let values: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("@ ")).collect();
    assert_eq!(values, ["1 0x5a", "1 0xffffffff"], "{said}");
    vmscope.finish_well();
}

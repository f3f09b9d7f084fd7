//! Interrupts that are due where the guest stands.

use vmscope_tests::images::DUE;

use crate::{Vmscope, client::Gdb, gdb_or_skip};

/// As many as `guests/due.c` has.
const ROUNDS: usize = 30;
/// What was printed after each `@`.
fn values(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("@ ")).collect()
}

#[test]
fn core_a_step_does_not_land_in_a_handler_unless_asked() {
    if !gdb_or_skip("core_a_step_does_not_land_in_a_handler_unless_asked") {
        return;
    }
    let vmscope = Vmscope::image(DUE, &["--wait"]);
    let place = "printf \"@ %d %d %d %d\\n\", $pc == due_first, $pc == due_second, $pc == due_third, ipis";
    let handler = "printf \"@ %d\\n\", $pc == (unsigned long) trap_stubs + 16 * 0x61";
    let said = vmscope.gdb(&[
        "break due_shadow",
        "continue",
        "stepi",
        place,
        "stepi",
        place,
        "stepi",
        place,
        "continue",
        "printf \"@ %d\\n\", ipis",
        "monitor step-irqs on",
        // The shadow of STI is over behind it.
        "stepi",
        place,
        "stepi",
        handler,
        "printf \"@ %d\\n\", ipis",
        "bt 2",
        "tbreak due_second",
        "monitor step-irqs off",
        "continue",
        "printf \"@ %d\\n\", ipis",
        "delete",
        "detach",
    ]);
    let expected = ["1 0 0 0", "0 1 0 0", "0 0 1 0", "1", "1 0 0 1", "1", "1", "2"];
    assert_eq!(values(&said), expected, "{said}");
    assert!(said.contains("due_first () at ") || said.contains("in due_first ()"), "{said}");
    vmscope.finish_well();
}

#[test]
fn whoever_goes_on_from_a_breakpoint_gets_on_though_an_interrupt_is_due() {
    if !gdb_or_skip("whoever_goes_on_from_a_breakpoint_gets_on_though_an_interrupt_is_due") {
        return;
    }
    let vmscope = Vmscope::image(DUE, &["--wait"]);
    let mut gdb = Gdb::attach(&vmscope);
    gdb.ask("break due_shadow");
    for round in 0..ROUNDS {
        gdb.go("-exec-continue");
        assert_eq!(gdb.value("round_of_ipis"), round.to_string(), "each is met once");
        assert_eq!(gdb.value("ipis"), round.to_string(), "and the IPI has been taken");
    }
    gdb.ask("delete");
    // Interrupts are on here, and in each round the timer runs out while the guest stands.
    gdb.ask("break turn_first");
    let mut passes = 0;
    while passes < ROUNDS / 3 {
        gdb.go("-exec-continue");
        let ticks = gdb.value("ticks");
        if gdb.value("round_of_timers == ticks") == "0" {
            continue; // the tick has come on the way here
        }
        // Nothing but a look tells of a guest that stands still.
        while !gdb.ask("monitor irqs").contains("requested 0x60") {}
        for place in ["turn_second", "turn_third"] {
            gdb.go("-exec-step-instruction");
            assert_eq!(gdb.value(&format!("$pc == {place}")), "1", "{place}");
            assert_eq!(gdb.value("ticks"), ticks, "{place}");
        }
        passes += 1;
    }
    gdb.ask("delete");
    gdb.tell("-target-detach");
    gdb.expect("^done");
    vmscope.finish_well();
}

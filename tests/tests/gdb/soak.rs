//! Much of everything; the guest counts what happened to it and must come to the right sums.

use crate::{Vmscope, gdb_or_skip};

#[test]
fn ten_thousand_steps_and_a_thousand_hits() {
    if !gdb_or_skip("ten_thousand_steps_and_a_thousand_hits") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=2000"]);
    let said = vmscope.gdb(&[
        "break on_shootdown",
        "continue",
        "delete",
        "thread 1",
        "stepi 2500",
        "thread 2",
        "stepi 2500",
        "thread 3",
        "stepi 2500",
        "thread 4",
        "stepi 2500",
        "break lapic_eoi",
        "ignore 2 999",
        "continue",
        "info breakpoints",
        "delete",
        "continue",
        "continue",
    ]);
    assert!(said.contains("breakpoint already hit 1000 times"), "{said}");
    assert!(said.contains("about to end: the guest exited with status 0"), "{said}");
    vmscope.finish_well();
}

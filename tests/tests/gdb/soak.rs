//! Much of everything; the guest counts what happened to it and must come to the right sums.

use trace_format::Reader;
use trace_format::event::{Debugger, Payload};

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
    let directory = vmscope.finish_well();
    let mut reader = Reader::open(directory.path().join("t.vmt")).unwrap();
    let mut steps = [0; 4];
    for event in reader.forward(0) {
        let event = event.unwrap().1;
        if let Payload::Debugger(Debugger::Stepped { .. }) = event.payload {
            steps[usize::from(event.vcpu)] += 1;
        }
    }
    assert!(steps.iter().all(|count| *count >= 2500), "{steps:?}");
}

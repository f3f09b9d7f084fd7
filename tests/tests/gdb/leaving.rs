//! What is left when GDB goes.

use trace_format::Reader;
use trace_format::event::{Debugger, Exit, ExitReason, Payload};
use vmscope_tests::images::DETACHED;

use crate::{Vmscope, gdb_or_skip};

#[test]
fn core_nothing_is_left_on_any_vcpu_after_detach() {
    if !gdb_or_skip("core_nothing_is_left_on_any_vcpu_after_detach") {
        return;
    }
    let vmscope = Vmscope::image(DETACHED, &["--wait", "--cpus", "3", "--traps", "none"]);
    let said = vmscope.gdb(&[
        "break work",
        "continue",
        "hbreak other_work",
        "ignore 1 20",
        "ignore 2 20",
        "continue",
        "continue",
        "stepi",
        "thread 2",
        "stepi",
        "info breakpoints",
        "detach",
    ]);
    assert!(said.contains("breakpoint already hit"), "{said}");
    assert!(said.contains("detached"), "{said}");
    // The guest has looked at its debug registers and its code.
    let directory = vmscope.finish_well();
    let mut reader = Reader::open(directory.path().join("t.vmt")).unwrap();
    let (mut hits, mut detached, mut later) = (0, false, Vec::new());
    for event in reader.forward(0) {
        let event = event.unwrap().1;
        match &event.payload {
            Payload::Debugger(Debugger::BreakpointHit { .. }) => hits += 1,
            Payload::Debugger(Debugger::Detached { .. }) => detached = true,
            Payload::Exit(Exit { reason: ExitReason::Debug { .. } | ExitReason::Probe { .. }, .. })
                if detached =>
            {
                later.push(event);
            }
            _ => {}
        }
    }
    assert!(detached && hits > 10, "{hits} hits");
    assert!(later.is_empty(), "KVM still stops for debuggers that are gone: {:?}", later.first());
}

//! The guest must not notice the probes.

use std::collections::BTreeMap;

use vmm_lite::TrapSelection;
use vmscope_tests::images::MOVING;
use vmscope_tests::run::Guest;
use vmscope_tests::skip::kvm_or_skip;

/// These depend on when which vCPU ran, with probes and without.
const TIMING: [&str; 3] = ["faults", "reads", "halts"];

#[test]
fn guests_behave_alike_with_probes_and_without() {
    if !kvm_or_skip("guests_behave_alike_with_probes_and_without") {
        return;
    }
    let guests = [
        ("hello", 1, ""),
        ("real-mode", 1, ""),
        ("trap-forwarding", 1, ""),
        ("demand-paging", 1, "pages=16"),
        ("tlb-shootdown", 1, "rounds=10"),
        ("tlb-shootdown", 4, "rounds=10"),
        ("exit-storm", 1, "count=300"),
    ];
    for (name, vcpus, append) in guests {
        let guest = Guest::new(name, vcpus).append(append);
        let [on, off] = [TrapSelection::ALL, TrapSelection::NONE].map(|traps| {
            let run = guest.clone().traps(traps).run();
            run.assert_well();
            let counters: BTreeMap<_, _> = run
                .counters()
                .into_iter()
                .filter(|(counter, _)| name != "tlb-shootdown" || !TIMING.contains(&counter.as_str()))
                .collect();
            (run.console(), counters)
        });
        assert_eq!(on, off, "{name} with {vcpus} vCPUs");
    }
}

#[test]
fn a_list_records_nothing_else() {
    if !kvm_or_skip("a_list_records_nothing_else") {
        return;
    }
    let traps = "invalid-opcode,syscall".parse().unwrap();
    let run = Guest::new("trap-forwarding", 1).traps(traps).run();
    run.assert_well();
    let counters = run.counters();
    let traced = [0, 6, 13, 14, 256].map(|vector| run.traps(vector));
    assert_eq!(traced, [0, counters["invalid_opcodes"], 0, 0, counters["syscalls"]]);
}

#[test]
fn core_a_kernel_that_copies_its_handlers_runs_on() {
    if kvm_or_skip("core_a_kernel_that_copies_its_handlers_runs_on") {
        let run = Guest::image(MOVING, 1).run();
        run.assert_well();
        assert!(run.traps(0x42) > 0, "its handlers are probed");
        assert!(run.traps(0x42) <= run.counters()["calls"]);
    }
}

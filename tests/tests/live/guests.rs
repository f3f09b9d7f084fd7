//! Every guest: its own verdict, and its own counts against the trace's.

use std::collections::{BTreeMap, BTreeSet};

use trace_format::event::{DeliveryMode, ExitReason, Payload, VECTOR_SYSCALL};
use trace_format::{Kind, Reader, verify};
use vmscope_tests::run::{Guest, Run};
use vmscope_tests::skip::kvm_or_skip;

const VECTOR_DE: u16 = 0;
const VECTOR_UD: u16 = 6;
const VECTOR_GP: u16 = 13;
const VECTOR_PF: u16 = 14;

/// What holds for every trace of every guest.
pub(crate) fn assert_consistent(run: &Run) {
    run.assert_well();
    let found = verify(&mut Reader::open(&run.trace).unwrap()).unwrap();
    assert!(found.is_sound() && found.finished && found.lost == 0, "{found:?}");
    assert!(run.events.windows(2).all(|pair| pair[0].time <= pair[1].time), "events in time order");
    let mut sent = BTreeMap::new();
    let mut accepted = BTreeSet::new();
    let mut open = BTreeSet::new();
    for event in &run.events {
        match &event.payload {
            Payload::Ipi(ipi) => assert!(sent.insert(ipi.id, ipi.targets).is_none(), "{ipi:?} twice"),
            Payload::IpiAccepted(taken) => {
                let targets = sent.get(&taken.id).unwrap_or_else(|| panic!("{taken:?} was never sent"));
                assert_ne!(targets & 1 << event.vcpu, 0, "{taken:?} is not for vCPU {}", event.vcpu);
                assert!(accepted.insert((taken.id, event.vcpu)), "{taken:?} twice");
            }
            Payload::IpiEoi(eoi) => {
                assert!(accepted.contains(&(eoi.id, event.vcpu)), "{eoi:?} was never accepted");
            }
            Payload::Trap(trap) => assert!(open.insert(trap.id), "{trap:?} twice"),
            Payload::TrapReturn(back) => assert!(open.remove(&back.id), "{back:?} without its trap"),
            _ => {}
        }
    }
}

/// The counts that a guest keeps, wherever it keeps them.
fn assert_counts(run: &Run) {
    assert_traps_and_exits(run);
    assert_ipis(run);
}

/// Those of traps and exits.
pub(crate) fn assert_traps_and_exits(run: &Run) {
    check(run, "syscalls", run.traps(VECTOR_SYSCALL));
    check(run, "faults", run.traps(VECTOR_PF));
    check(run, "divide_errors", run.traps(VECTOR_DE));
    check(run, "invalid_opcodes", run.traps(VECTOR_UD));
    check(run, "general_protections", run.traps(VECTOR_GP));
    check(
        run,
        "mmio_writes",
        run.exits(|r| matches!(r, ExitReason::MmioWrite { gpa, .. } if *gpa < 0xfec0_0000)),
    );
    check(
        run,
        "mmio_reads",
        run.exits(|r| matches!(r, ExitReason::MmioRead { gpa, .. } if *gpa < 0xfec0_0000)),
    );
    check(run, "port_writes", run.exits(|r| matches!(r, ExitReason::IoOut { port: 0x80, .. })));
    // Every page-fault trap has its walk.
    assert_eq!(run.count(Kind::Walk), run.traps(VECTOR_PF));
}

/// Those of interrupts between vCPUs.
fn assert_ipis(run: &Run) {
    check(run, "ipis", run.count(Kind::Ipi));
    let fixed: BTreeSet<u64> = run
        .events
        .iter()
        .filter_map(|e| match &e.payload {
            Payload::Ipi(ipi) if ipi.mode == DeliveryMode::Fixed => Some(ipi.id),
            _ => None,
        })
        .collect();
    check(
        run,
        "ipis_taken",
        run.count_where(
            |p| matches!(p, Payload::IpiAccepted(taken) if !taken.merged && fixed.contains(&taken.id)),
        ),
    );
}

fn check(run: &Run, name: &str, traced: u64) {
    if let Some(own) = run.counters().get(name) {
        assert_eq!(traced, *own, "{name}: the trace has {traced}, the guest counted {own}");
    }
}

fn run(name: &str, vcpus: u8, append: &str) -> Run {
    let run = Guest::new(name, vcpus).append(append).run();
    assert_consistent(&run);
    assert_counts(&run);
    run
}

#[test]
fn hello() {
    if kvm_or_skip("hello") {
        let run = run("hello", 1, "");
        assert!(run.console().contains("Hello from ring 0"), "{}", run.console());
        assert_eq!(run.count(Kind::Marker), 1);
    }
}

#[test]
fn real_mode() {
    if kvm_or_skip("real_mode") {
        assert!(run("real-mode", 1, "").console().contains("Hello from real mode"));
    }
}

#[test]
fn core_trap_forwarding() {
    if kvm_or_skip("core_trap_forwarding") {
        let run = run("trap-forwarding", 1, "");
        assert_eq!(run.counters()["syscalls"], 105);
        // All come back but the one that ends the process.
        assert_eq!(run.count(Kind::TrapReturn) + 1, run.count(Kind::Trap));
    }
}

#[test]
fn demand_paging() {
    if kvm_or_skip("demand_paging") {
        assert!(run("demand-paging", 1, "").counters()["faults"] > 64);
    }
}

#[test]
fn exit_storm() {
    if kvm_or_skip("exit_storm") {
        let run = run("exit-storm", 1, "count=3000");
        let counters = run.counters();
        assert_eq!(counters["port_writes"] + counters["mmio_writes"] + counters["mmio_reads"], 3000);
    }
}

#[test]
fn core_tlb_shootdown_with_2() {
    if kvm_or_skip("core_tlb_shootdown_with_2") {
        assert_eq!(run("tlb-shootdown", 2, "rounds=20").counters()["shootdowns"], 20);
    }
}

#[test]
fn tlb_shootdown_by_xapic() {
    if kvm_or_skip("tlb_shootdown_by_xapic") {
        let run = run("tlb-shootdown", 3, "rounds=20 apic=xapic");
        let apic = |r: &ExitReason| matches!(r, ExitReason::MmioWrite { gpa, .. } if *gpa >= 0xfee0_0000);
        assert!(run.exits(apic) > 0);
    }
}

#[test]
fn tlb_shootdown_with_any_number() {
    if kvm_or_skip("tlb_shootdown_with_any_number") {
        for vcpus in [1, 3, 4, 8, 16] {
            let run = run("tlb-shootdown", vcpus, "rounds=16");
            let taken = 16 * u64::from(vcpus - 1);
            assert_eq!(run.counters()["ipis_taken"], taken, "{vcpus} vCPUs");
        }
    }
}

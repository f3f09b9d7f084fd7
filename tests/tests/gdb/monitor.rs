//! What `monitor` tells and does.

use crate::{Vmscope, gdb_or_skip};

/// Takes numbers out that are others the next time: times, and numbers of events and of IPIs.
fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    for (pattern, shown) in [
        (r"event \d+ \d+\.\d{9}", "event N TIME"),
        (r"#\d+", "#ID"),
        (r"after [\d.]+ [nµm]?s", "after TIME"),
        (r"(hva\)), .*", "$1, ..."),
        (r"0x[0-9a-f]+ \(hva\)", "HVA (hva)"),
        (r"0x[0-9a-f]{4}_[0-9a-f]{4}( P|\b)", "ENTRY$1"),
        (r"@0x[0-9a-f]+", "@GPA"),
        (r"cr3 0x[0-9a-f]+", "cr3 CR3"),
    ] {
        settings.add_filter(pattern, shown);
    }
    settings
}

/// What the monitor says after `monitor @MARK`, up to the next mark: GDB's own output is another stream.
fn after<'s>(said: &'s str, mark: &str) -> &'s str {
    let begin = format!("'@{mark}'; 'monitor help' lists those that there are\n");
    let (_, rest) = said.split_once(&begin).unwrap_or_else(|| panic!("no {mark} in {said}"));
    rest.split("\nthere is no command '@").next().unwrap_or(rest)
}

/// The line that tells which event stopped the guest.
fn stops(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("vmscope: stopped at ")).collect()
}

#[test]
fn core_page_faults_stop_the_guest() {
    if !gdb_or_skip("core_page_faults_stop_the_guest") {
        return;
    }
    let vmscope = Vmscope::start("demand-paging", &["--wait"]);
    let said = vmscope.gdb(&[
        "monitor @refused",
        "monitor break-on page-fault and",
        "monitor @end",
        "monitor break-on kind == trap-entry and trap.vector == page-fault",
        "continue",
        "monitor @walk",
        "eval \"monitor walk %#lx\", $cr2",
        "monitor @phys",
        "monitor phys 0xffffffffffffff00",
        "monitor @off",
        "monitor break-on off",
        "monitor break-on",
        "monitor @end",
        "detach",
    ]);
    settings().bind(|| {
        insta::assert_snapshot!("page-fault-refused", after(&said, "refused"));
        insta::assert_snapshot!("page-fault-stop", stops(&said).join("\n"));
        insta::assert_snapshot!("page-fault-walk", after(&said, "walk"));
    });
    assert!(after(&said, "phys").contains("is not guest memory"), "{said}");
    assert_eq!(after(&said, "off"), "stops at no events\nstops at no events", "{said}");
    vmscope.finish_well();
}

#[test]
fn ipis_stop_the_guest_and_are_in_its_statistics() {
    if !gdb_or_skip("ipis_stop_the_guest_and_are_in_its_statistics") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=20"]);
    let said = vmscope.gdb(&[
        "monitor break-on kind == ipi-sent and ipi.vector == 0x40",
        "continue",
        "monitor @exits",
        "monitor exits",
        "monitor @ipis",
        "monitor ipis",
        "monitor @shootdowns",
        "monitor sh",
        "monitor @traps",
        "monitor traps",
        "monitor @events",
        "monitor events 2",
        "monitor @at",
        "monitor trace-at",
        "monitor @vcpus",
        "monitor vcpus",
        "monitor @irqs",
        "monitor irqs",
        "monitor @mark",
        "monitor mark here \u{1b} it is",
        "monitor @marked",
        "monitor events 1",
        "monitor @end",
        "monitor break-on off",
        "detach",
    ]);
    assert_eq!(stops(&said).len(), 1, "{said}");
    assert!(stops(&said)[0].contains(" fixed vector 0x40 to "), "{said}");
    assert!(after(&said, "exits").contains("wrmsr") || after(&said, "exits").contains("mmio"), "{said}");
    assert!(after(&said, "ipis").contains("ipi sent"), "{said}");
    assert!(after(&said, "shootdowns").contains("0x40"), "{said}");
    assert_eq!(after(&said, "events").lines().count(), 2, "{said}");
    assert_eq!(after(&said, "events").lines().last(), after(&said, "at").lines().next(), "{said}");
    let vcpus: Vec<&str> = after(&said, "vcpus").lines().collect();
    assert_eq!(vcpus.len(), 4, "{said}");
    assert_eq!(vcpus.iter().filter(|line| line.starts_with("* cpu")).count(), 1, "{said}");
    let irqs = after(&said, "irqs");
    assert_eq!(irqs.matches("local APIC").count(), 4, "{said}");
    assert!(irqs.contains("IOAPIC") && irqs.contains("8259 slave"), "{said}");
    assert!(after(&said, "marked").contains("here \\u{1b} it is"), "{said}");
    vmscope.finish_well();
}

#[test]
fn a_triple_fault_stops_as_an_event_before_the_end() {
    if !gdb_or_skip("a_triple_fault_stops_as_an_event_before_the_end") {
        return;
    }
    let vmscope = Vmscope::start("demand-paging", &["--wait"]);
    let said = vmscope.gdb(&[
        "monitor break-on shutdown",
        "set $idtr_base = 0x7000000000",
        "set $pc = 0x7000000000",
        "continue",
        "monitor trace-at",
        "p $pc",
        "continue",
    ]);
    assert!(said.contains("stops at events with exit.reason == shutdown"), "{said}");
    if said.contains("triple fault") {
        let [stop] = stops(&said)[..] else { panic!("{said}") };
        assert!(stop.contains("; the guest is about to end: triple fault"), "{said}");
        if said.contains("KVM has reset this vCPU") {
            // SVM's: what the registers were is lost, and this is said.
            assert!(stop.contains("exit shutdown"), "{said}");
        } else {
            assert!(stop.contains("exit shutdown at 0x7000000000"), "{said}");
            assert!(said.contains("0x7000000000"), "{said}");
        }
    } else {
        // An emulating KVM says it otherwise.
        assert!(said.contains("the guest is about to end: "), "{said}");
    }
    let (last, _) = vmscope.finish();
    assert!(!last.contains("exited with status 0"), "{last}");
}

#[test]
fn system_calls_and_events_are_waited_for_together() {
    if !gdb_or_skip("system_calls_and_events_are_waited_for_together") {
        return;
    }
    let vmscope = Vmscope::start("trap-forwarding", &["--wait"]);
    let said = vmscope.gdb(&[
        "catch syscall",
        "monitor break-on trap-return",
        "continue",
        "continue",
        "delete",
        "monitor break-on",
        "continue",
        "monitor break-on off",
        "detach",
    ]);
    assert!(said.contains("Catchpoint 1 (call to syscall"), "{said}");
    assert!(said.contains("stops at events with kind == trap-return"), "{said}");
    assert!(!stops(&said).is_empty(), "events still count without the catchpoint: {said}");
    vmscope.finish_well();
}

#[test]
fn breakpoints_count_in_one_address_space() {
    if !gdb_or_skip("breakpoints_count_in_one_address_space") {
        return;
    }
    // The guest's tables are not those that it is started with.
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=20"]);
    let said = vmscope.gdb(&[
        "break on_shootdown",
        "eval \"monitor scope %#lx\", on_shootdown",
        "monitor scope",
        "continue",
        "info breakpoints",
        "detach",
    ]);
    assert!(said.contains("on_shootdown+0x0: only with cr3 "), "{said}");
    assert!(said.contains("the guest is about to end: the guest exited with status 0"), "{said}");
    assert!(!said.contains("breakpoint already hit"), "{said}");
    vmscope.finish_well();

    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=20"]);
    let said = vmscope.gdb(&[
        "break on_shootdown",
        "continue",
        "eval \"monitor scope %#lx\", on_shootdown",
        "continue",
        "eval \"monitor scope %#lx off\", on_shootdown",
        "monitor scope",
        "continue",
        "info breakpoints",
        "delete",
        "detach",
    ]);
    assert!(said.contains("breakpoint already hit 3 times"), "{said}");
    assert!(said.contains("every breakpoint counts in every address space"), "{said}");
    vmscope.finish_well();
}

#[test]
fn the_guest_begins_anew() {
    if !gdb_or_skip("the_guest_begins_anew") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=20"]);
    let said = vmscope.gdb(&[
        "set $start = $pc",
        "break on_shootdown",
        "continue",
        "monitor reset",
        "thread 1",
        "maintenance flush register-cache",
        "maintenance flush dcache",
        "printf \"at the start: %d\\n\", $pc == $start",
        "monitor step-irqs on",
        "monitor step-irqs",
        "continue",
        "info breakpoints",
        "delete",
        "detach",
    ]);
    assert!(said.contains("the guest begins anew"), "{said}");
    assert_eq!(said.matches("steps take interrupts that are due").count(), 2, "{said}");
    assert!(said.contains("at the start: 1"), "{said}");
    assert!(said.contains("breakpoint already hit 2 times"), "{said}");
    vmscope.finish_well();
}

//! Coming and going.

use std::path::Path;
use std::time::{Duration, Instant};

use trace_format::event::Actor;
use vmm_lite::CpuModel;
use vmscope_tests::images::INTERRUPTS;
use vmscope_tests::run::Guest;

use crate::{Vmscope, client::Gdb, gdb_or_skip};

/// So many rounds are not over before somebody ends them.
const ENDLESS: [&str; 2] = ["--append", "rounds=1000000"];

#[test]
fn core_a_look_around() {
    if !gdb_or_skip("core_a_look_around") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait"]);
    let said = vmscope.gdb(&[
        "info threads",
        "info registers rip cr0 cs_attr gs_base",
        "p $sp",
        "x/i $pc",
        "info mem",
        "monitor help",
        "p $xmm0",
        "detach",
    ]);
    for wanted in [
        "* 1    Thread 1 \"cpu0\" (running, ring 0, _start+0x0) _start () at ",
        "  4    Thread 4 \"cpu3\" (waiting for SIPI) ",
        "cr0            0x",
        "=> 0x",
        "0x0100000000000000 rw",
        "why the last request was refused",
        "[Inferior 1 (Remote target) detached]",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is not in\n{said}");
    }
    assert!(!said.contains("warning"), "{said}");
    vmscope.finish_well();
}

#[test]
fn core_ten_times() {
    if !gdb_or_skip("core_ten_times") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &ENDLESS);
    for time in 0..10 {
        let said = vmscope.gdb(&["break on_shootdown", "continue", "bt 1", "stepi", "detach"]);
        assert!(said.contains("hit Breakpoint 1, on_shootdown"), "{time}: {said}");
        assert!(said.contains("detached"), "{time}: {said}");
    }
    let said = vmscope.gdb(&["kill"]);
    assert!(said.contains("killed"), "{said}");
    let (last, status) = vmscope.finish();
    assert!(status.success() && last.contains("ended by gdb"), "{last}");
}

/// A guest all of whose vCPUs sleep, with interrupts on and none due, and GDB that has stopped it there.
fn asleep() -> (Vmscope, Gdb) {
    let vmscope = Vmscope::image(INTERRUPTS, &["--wait", "--cpus", SLEEPERS, "--append", "sleep=1"]);
    let mut gdb = Gdb::attach(&vmscope);
    for stop in ["text == \\\"asleep\\\" and kind == marker", "exit.reason == hlt and vcpu == 0"] {
        gdb.ask(&format!("monitor break-on {stop}"));
        gdb.tell("-exec-continue");
        gdb.expect("*stopped");
    }
    gdb.ask("monitor break-on off");
    (vmscope, gdb)
}

/// How many of its vCPUs sleep: it must be all.
const SLEEPERS: &str = "3";

fn sleepers(gdb: &mut Gdb) -> String {
    gdb.ask("info threads").matches("(halted, ring 0, ").count().to_string()
}

#[test]
fn core_ctrl_c_also_when_every_vcpu_sleeps() {
    if !gdb_or_skip("core_ctrl_c_also_when_every_vcpu_sleeps") {
        return;
    }
    let (vmscope, mut gdb) = asleep();
    for _ in 0..3 {
        assert_eq!(sleepers(&mut gdb), SLEEPERS);
        gdb.tell("-exec-continue");
        gdb.expect("*running");
        gdb.tell("-exec-interrupt --all");
        let stopped = gdb.expect("*stopped");
        assert!(stopped.contains("SIGINT"), "{stopped}");
    }
    // Nothing wakes it, but whoever puts it elsewhere: behind the instruction behind HLT, and somebody has typed.
    for command in ["thread 1", "set var quit = 1", "set var serial_interrupts = 1", "set $pc = $pc + 1"] {
        gdb.ask(command);
    }
    gdb.tell("-exec-continue");
    gdb.expect("*stopped");
    gdb.tell("-target-detach");
    gdb.expect("^done");
    vmscope.finish_well();
}

#[test]
fn ctrl_c_over_and_over() {
    if !gdb_or_skip("ctrl_c_over_and_over") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &ENDLESS);
    let mut gdb = Gdb::attach(&vmscope);
    for _ in 0..5 {
        gdb.tell("-exec-continue");
        gdb.expect("*running");
        gdb.tell("-exec-interrupt --all");
        let stopped = gdb.expect("*stopped");
        assert!(stopped.contains("SIGINT"), "{stopped}");
    }
    gdb.tell("-target-detach");
    gdb.expect("^done");
    // Whoever comes next is served as well.
    assert!(vmscope.gdb(&["kill"]).contains("killed"));
    vmscope.finish();
}

/// How often the thread of `process` that serves GDB has been on a CPU.
fn turns(process: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let read = |task: &Path, file| std::fs::read_to_string(task.join(file)).unwrap_or_default();
    let served = tasks.map(|task| task.unwrap().path()).find(|task| read(task, "comm").trim() == "gdb");
    let status = read(&served.expect("a thread serves GDB"), "status");
    let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
    counts.map(|line| line.rsplit('\t').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Waits until that thread sleeps, and looks whether it goes on doing so.
fn assert_sleeps(process: u32) {
    const LOOKS: u32 = 200;
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut seen, mut same) = (turns(process), 0);
    while same < LOOKS {
        assert!(Instant::now() < deadline, "the thread that serves GDB wakes all the time: {seen} times");
        std::thread::sleep(Duration::from_millis(1));
        let now = turns(process);
        same = if now == seen { same + 1 } else { 0 };
        seen = now;
    }
}

#[test]
fn whoever_waits_for_gdb_or_for_the_guest_sleeps() {
    if !gdb_or_skip("whoever_waits_for_gdb_or_for_the_guest_sleeps") {
        return;
    }
    let (vmscope, mut gdb) = asleep();
    assert_sleeps(vmscope.process());
    gdb.tell("-exec-continue");
    gdb.expect("*running");
    assert_sleeps(vmscope.process());
    gdb.tell("-exec-interrupt --all");
    gdb.expect("*stopped");
    gdb.ask("kill");
    vmscope.finish();
}

#[test]
fn a_second_client_hears_why_it_is_refused() {
    if !gdb_or_skip("a_second_client_hears_why_it_is_refused") {
        return;
    }
    let vmscope = Vmscope::start("tlb-shootdown", &ENDLESS);
    let mut first = Gdb::attach(&vmscope);
    let second = vmscope.gdb(&["info threads"]);
    assert!(second.contains("another debugger is attached to this guest"), "{second}");
    assert!(!second.contains("Thread"), "{second}");
    // The first has not noticed.
    first.tell("-break-insert on_shootdown");
    first.expect("^done");
    first.tell("-exec-continue");
    let stopped = first.expect("*stopped");
    assert!(stopped.contains("breakpoint-hit"), "{stopped}");
    drop(first);
    // It is gone without a word, and the guest is the next one's.
    assert!(vmscope.gdb(&["kill"]).contains("killed"));
    vmscope.finish();
}

#[test]
fn core_every_register() {
    if !gdb_or_skip("core_every_register") {
        return;
    }
    let vmscope = Vmscope::start("trap-forwarding", &["--wait"]);
    let said = vmscope.gdb(&[
        "break on_syscall",
        "continue",
        "delete",
        "set $xmm3.uint128 = 0x1234",
        "set $mxcsr = 0x1f80",
        "set $kernel_gs_base = 0x5678",
        "set $rbx = 0x77",
        "flushregs",
        "printf \"@ %#lx %#lx %#lx\\n\", $xmm3.v2_int64[0], (unsigned long) $kernel_gs_base, $rbx",
        "printf \"@ lstar %d fctrl %#x\\n\", $lstar > 0x100000, $fctrl",
        "info all-registers",
        "set $ds = 0x1238",
        "monitor why",
        "continue",
        "kill",
    ]);
    for wanted in ["@ 0x1234 0x5678 0x77", "@ lstar 1 fctrl 0x37f"] {
        assert!(said.contains(wanted), "{wanted:?} is not in\n{said}");
    }
    assert!(!said.contains("<unavailable>"), "{said}");
    assert!(said.contains("0x1238"), "a selector without a descriptor is refused: {said}");
}

/// The whole of a YMM register: GDB makes it of its lower half and of what the target has of the upper one.
#[test]
fn core_avx_where_the_guest_has_it() {
    if !gdb_or_skip("core_avx_where_the_guest_has_it") {
        return;
    }
    // Other hosts' kernel code may have no XSAVE, but its CPU does.
    let vmscope = Vmscope::start("tlb-shootdown", &["--wait", "--append", "rounds=20", "--cpu", "host"]);
    let said = vmscope.gdb(&[
        "p $ymm0.v8_int32",
        "set $ymm0.v8_int32[7] = 5",
        "set $ymm15.v2_int128[0] = 9",
        "stepi",
        "flushregs",
        "printf \"@ %d %d %d\\n\", $ymm0.v8_int32[7], $ymm0.v8_int32[6], $ymm15.v4_int64[0]",
        "thread 2",
        "printf \"@ %d\\n\", $ymm0.v8_int32[7]",
        "detach",
    ]);
    if guests_have_avx() {
        for wanted in ["$1 = {0, 0, 0, 0, 0, 0, 0, 0}", "@ 5 0 9", "@ 0"] {
            assert!(said.contains(wanted), "{wanted:?} is not in\n{said}");
        }
    } else {
        assert!(said.contains("a component of a value that is not a structure"), "it has no $ymm0: {said}");
    }
    vmscope.finish_well();
}

/// Whether this host's KVM lets guests have AVX.
fn guests_have_avx() -> bool {
    let mut guest = Guest::new("hello", 1).paused();
    guest.config.cpu = CpuModel::Host;
    let started = guest.start();
    let control = started.vm.control();
    let state = control.floating_point(0).unwrap();
    control.resume(Actor::User).unwrap();
    started.finish().assert_well();
    state.ymm_upper.is_some()
}

//! GDB, the real one, on recorded traces.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use trace_format::event::{Exit, ExitReason, Payload, Registers, Trap, TrapClass};
use trace_format::header::{ImageFacts, Stretch};
use trace_format::{Event, Header, Writer};
use vmscope_tests::skip::kvm_or_skip;
use vmscope_tests::{gdb, program};

/// Where a made-up kernel has its code.
const CODE: u64 = 0xffff_8000_0000_1000;
const HANDLER: u64 = CODE + 0x40;

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// One vCPU that exits at CODE, CODE+2, ..., each time with registers, and then takes a trap without.
fn write_trace(directory: &Path) {
    let image: Vec<u8> = [0x90; 64].into_iter().chain([0xf4; 64]).collect();
    std::fs::write(directory.join("kernel"), &image).unwrap();
    let constant = vec![Stretch { gva: CODE, offset: 0, length: 128 }];
    let header = Header {
        guest: directory.join("kernel").display().to_string(),
        vcpus: 2,
        image: Some(ImageFacts::of(&image, constant)),
        ..Header::default()
    };
    let file = std::fs::File::create(directory.join("t.vmt")).unwrap();
    let mut writer = Writer::new(file, &header).unwrap();
    let mut put = |time, payload| writer.append(&Event { time, vcpu: 0, payload }).unwrap();
    let exit = |rip| {
        Payload::Exit(Exit { reason: ExitReason::Interrupted, rip, cpl: 0, guest_ns: 10, handling_ns: 1 })
    };
    for n in 0..8 {
        let rip = CODE + 2 * n;
        let mut registers = Registers { rip, rflags: 2, cr3: 0x5000, ..Registers::default() };
        registers.general[0] = 0x100 + n;
        put(100 * (n + 1), Payload::Registers(registers));
        put(100 * (n + 1), exit(rip));
    }
    let trap = Trap {
        id: 1,
        vector: 14,
        shared_by: 1,
        class: TrapClass::Fault,
        code: Some(2),
        rip: CODE + 16,
        cs: 8,
        cpl: 0,
        rsp: 0x8000,
        handler: HANDLER,
        cr2: Some(0x1234),
    };
    put(1000, Payload::Trap(trap));
    put(1000, exit(HANDLER));
    writer.finish().unwrap();
}

/// What GDB prints for these commands; the trace in `directory` is served at a socket, or at a port.
fn debug(directory: &Path, over_socket: bool, commands: &[&str]) -> String {
    let address =
        if over_socket { directory.join("s").display().to_string() } else { "127.0.0.1:0".to_owned() };
    let settings = [&["set architecture i386:x86-64", "@target"], commands].concat();
    debug_at(&directory.join("t.vmt"), &address, &settings)
}

/// The same for a trace that is served at `address`, which GDB connects to for `@target`.
fn debug_at(trace: &Path, address: &str, commands: &[&str]) -> String {
    let trace = trace.display().to_string();
    let mut child = program::command(&["replay", &trace, "--gdb", address, "--headless"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let _server = Server(child);
    let mut line = String::new();
    while !line.contains("target remote") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended");
    }
    let target = line.split('\'').nth(1).unwrap().to_owned();
    let commands = commands.iter().map(|command| if *command == "@target" { &*target } else { *command });
    gdb::batch(gdb::command(), commands)
}

/// The lines that `commands` marked with `printf "@..."`.
fn marked(output: &str) -> Vec<&str> {
    output.lines().filter_map(|line| line.strip_prefix('@')).collect()
}

#[test]
fn steps_and_breakpoints_go_both_ways() {
    if !gdb::or_skip("steps_and_breakpoints_go_both_ways") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    write_trace(directory.path());
    let at = "printf \"@%lx %lx\\n\", $rip, $rax";
    let commands = [
        at,
        "stepi",
        at,
        "stepi",
        at,
        "reverse-stepi",
        at,
        "break *0xffff80000000100a",
        "continue",
        at,
        "continue",
        "reverse-continue",
        at,
        "reverse-continue",
        at,
    ];
    for over_socket in [false, true] {
        let output = debug(directory.path(), over_socket, &commands);
        let expected = [
            "ffff800000001000 100",
            "ffff800000001002 101",
            "ffff800000001004 102",
            "ffff800000001002 101",
            "ffff80000000100a 105",
            "ffff80000000100a 105",
            "ffff800000001000 100",
        ];
        assert_eq!(marked(&output), expected, "{output}");
        assert!(output.contains("Breakpoint 1"), "{output}");
        assert_eq!(output.matches("No more reverse-execution history").count(), 2, "{output}");
    }
}

#[test]
fn what_is_not_known_is_unavailable() {
    if !gdb::or_skip("what_is_not_known_is_unavailable") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    write_trace(directory.path());
    let commands = [
        "printf \"@%lx %lx\\n\", $cr3, $cs",
        "info registers xmm0",
        "x/2i $rip",
        "x/gx 0x100000",
        "break *0xffff800000001040",
        "continue",
        "printf \"@%lx %lx\\n\", $rip, $cr2",
        "info registers rax",
        "set var $rip = 0",
        "monitor trace-at",
        "monitor exits",
        "monitor traps",
        "monitor walk 0x1234",
        "monitor phys 0",
        "monitor break-on shutdown",
        "monitor vcpus",
        "info threads",
    ];
    let output = debug(directory.path(), false, &commands);
    assert_eq!(marked(&output), ["5000 0", "ffff800000001040 1234"], "{output}");
    assert!(output.contains("nop"), "code from the image: {output}");
    assert!(output.contains("Cannot access memory at address 0x100000"), "{output}");
    let unavailable = output.lines().filter(|line| line.contains("<unavailable>")).count();
    assert!(unavailable >= 2, "{output}");
    assert!(output.contains("rax            <unavailable>"), "{output}");
    assert!(output.contains("16 ") && output.contains("page-fault"), "{output}");
    for wanted in [
        "interrupted                 8  handling",
        "14 page-fault      kernel           1          0",
        "cpu0 has no recorded walk for the page of 0x1234 before this event",
        "the trace tells of no page-table entry from 0x0 to 0x40 before this event, and of no other physical memory",
        "a recorded trace does not stop at events",
        "* cpu0  #16 trap: page-fault",
        "  cpu1  no events yet",
    ] {
        assert!(output.contains(wanted), "{wanted:?} is not in\n{output}");
    }
}

#[test]
fn another_image_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    write_trace(directory.path());
    let trace = directory.path().join("t.vmt").display().to_string();
    let other = directory.path().join("other");
    std::fs::write(&other, "other").unwrap();
    let output = program::run(&[
        "replay",
        &trace,
        "--gdb",
        "127.0.0.1:0",
        "--headless",
        "--image",
        &other.display().to_string(),
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not the image that was recorded"));
}

#[test]
fn system_calls_are_caught_both_ways() {
    if !gdb::or_skip("system_calls_are_caught_both_ways") {
        return;
    }
    let trace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../replays/trap-forwarding.vmt");
    let commands = [
        "set architecture i386:x86-64",
        "set osabi GNU/Linux",
        "@target",
        "catch syscall 1",
        "continue",
        "continue",
        "reverse-continue",
        "delete",
        "continue",
    ];
    let output = debug_at(&trace, "127.0.0.1:0", &commands);
    assert_eq!(output.matches("(call to syscall write)").count(), 2, "{output}");
    assert_eq!(output.matches("(returned from syscall write)").count(), 1, "{output}");
    assert!(output.contains("No more reverse-execution history"), "{output}");
}

/// The frame that the CPU pushed is known, so that GDB finds from a handler to what it interrupted.
#[test]
fn a_backtrace_goes_through_a_recorded_trap() {
    let test = "a_backtrace_goes_through_a_recorded_trap";
    if !gdb::or_skip(test) || !kvm_or_skip(test) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let [trace, image] = ["t.vmt", "demand-paging.elf"].map(|name| directory.path().join(name));
    std::fs::write(&image, vmm_lite::guests::find("demand-paging").unwrap().image).unwrap();
    let output = program::run(&[
        "record",
        "demand-paging",
        "--registers",
        "traps",
        "-o",
        &trace.display().to_string(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = format!("file {}", image.display());
    let commands = [
        &file,
        "@target",
        "break *((char *) trap_stubs + 14 * 16)",
        "continue",
        "bt 2",
        "eval \"monitor walk %#lx\", $cr2",
    ];
    let output = debug_at(&trace, "127.0.0.1:0", &commands);
    for wanted in ["#0  <signal handler called>", "#1  fill_heap (pages=", "write by user", "not present"] {
        assert!(output.contains(wanted), "{wanted:?} is not in\n{output}");
    }
}

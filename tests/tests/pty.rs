//! The real UI in a real pseudo-terminal.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read as _, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use vmscope_tests::skip::kvm_or_skip;
use vmscope_tests::terminal::{COLUMNS, PATIENCE, ROWS, Terminal};
use vmscope_tests::{gdb, images, program};

/// The number of events in the header.
fn events(header: &str) -> u64 {
    let before = header.split(" events").next().unwrap_or_default();
    let number = before.rsplit('│').next().unwrap_or_default();
    number.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

#[test]
fn a_live_run_from_start_to_quit() {
    if !kvm_or_skip("a_live_run_from_start_to_quit") {
        return;
    }
    let mut terminal = Terminal::start(&["tlb-shootdown", "--cpus", "2", "--append", "rounds=100000"]);
    terminal.wait("events", |screen| screen.contains("running") && events(screen) > 500);
    let seen = events(&terminal.header());
    terminal.wait("more events", |screen| events(screen) > seen);

    terminal.press(" ");
    terminal.wait("the pause", |screen| screen.contains("paused by user"));
    terminal.press("s");
    terminal.wait("the step", |screen| screen.contains("stepped"));
    terminal.press(" ");
    terminal
        .wait("the guest to go on", |screen| screen.lines().next().is_some_and(|l| l.contains("running")));

    terminal.press("?");
    terminal.wait("help", |screen| screen.contains("keys"));
    terminal.press("?");
    terminal.press("q");
    assert_eq!(terminal.status(), 0);
}

#[test]
fn a_guest_is_controlled_from_the_keyboard() {
    if !kvm_or_skip("a_guest_is_controlled_from_the_keyboard") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.vmt");
    let mut terminal =
        Terminal::start(&["tlb-shootdown", "--cpus", "2", "--append", "rounds=100000", "--wait"]);
    terminal.wait("the guest", |screen| screen.contains("paused by command line"));
    terminal.press("r");
    terminal.wait("the question", |screen| screen.contains("run to the next event with"));
    terminal.press("kind == ipi\r");
    terminal.wait("an IPI", |screen| screen.contains("it has made an event that matches, of kind ipi"));
    terminal.press("B");
    terminal.wait("the question", |screen| screen.contains("breakpoint at"));
    terminal.press("lapic_eoi\r");
    terminal.wait("the breakpoint", |screen| screen.contains("a breakpoint is at lapic_eoi"));
    terminal.press(" ");
    terminal
        .wait("the stop", |screen| screen.contains(", lapic_eoi+0x0") && screen.contains("paused by user"));
    terminal.press("9");
    terminal.wait("its code", |screen| screen.contains("is at lapic_eoi ") && screen.contains("lapic_eoi:"));
    terminal.wait("its source lines", |screen| screen.contains(".c:"));
    let screen = terminal.contents();
    assert!(screen.contains(">* "), "it is marked where the vCPU is, at a breakpoint:\n{screen}");
    terminal.press("s");
    terminal.wait("what has changed", |screen| screen.contains("*rip"));
    terminal.press("6");
    terminal.wait("its memory", |screen| {
        screen.contains("the guest's tables") && screen.contains(", now ") && screen.contains("rw")
    });
    terminal.press("alapic_eoi\r");
    terminal.wait("the bytes of its code", |screen| screen.contains(" lapic_eoi, now "));
    terminal.press("2");
    terminal.press("S");
    terminal.wait("a step", |screen| screen.contains("stepped") && !screen.contains(", lapic_eoi+0x0"));
    terminal.press("L");
    terminal.wait("the list", |screen| screen.contains("1 breakpoint: lapic_eoi"));
    terminal.press("B");
    terminal.wait("the question", |screen| screen.contains("breakpoint at"));
    terminal.press("lapic_eoi\r");
    terminal.wait("its end", |screen| screen.contains("there is no breakpoint at lapic_eoi any more"));
    terminal.press("B");
    terminal.wait("the question", |screen| screen.contains("breakpoint at"));
    terminal.press("on_shootdown\r");
    terminal.wait("the breakpoint", |screen| screen.contains("a breakpoint is at on_shootdown"));
    terminal.press("D");
    terminal.wait("the end of all", |screen| screen.contains("there is no breakpoint any more"));
    terminal.press("R");
    terminal.wait("the reset", |screen| screen.contains("the guest begins anew"));
    terminal.press("W");
    terminal.wait("the question", |screen| screen.contains("copy what is recorded so far"));
    // Ctrl-U
    terminal.press(&format!("\x15{}\r", copy.display()));
    terminal.wait("the copy", |screen| screen.contains(" are in "));
    terminal.press(" ");
    terminal.wait("it to go on", |screen| screen.lines().next().is_some_and(|line| line.contains("running")));
    terminal.press("X");
    terminal.wait("the end", |screen| screen.contains("ended by user"));
    terminal.press("S");
    terminal.wait("a refusal", |screen| screen.contains("nothing to step"));
    terminal.press("q");
    assert_eq!(terminal.status(), 0);
    let copied = trace_format::Reader::open(&copy).unwrap();
    assert!(copied.len() > 20 && copied.damage().is_empty() && !copied.is_finished());
}

#[test]
fn a_guest_that_ends_stays_on_the_screen() {
    if !kvm_or_skip("a_guest_that_ends_stays_on_the_screen") {
        return;
    }
    let mut terminal = Terminal::start(&["hello"]);
    terminal.wait("the end", |screen| screen.contains("exited with 0"));
    terminal.press("8");
    terminal.wait("its console", |screen| screen.contains("Hello from ring 0"));
    terminal.press("q");
    assert_eq!(terminal.status(), 0);
}

#[test]
fn keys_go_to_the_guest_while_typing() {
    if !kvm_or_skip("keys_go_to_the_guest_while_typing") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("typing.elf");
    std::fs::write(&image, images::TYPING).unwrap();
    let mut terminal = Terminal::start(&["run", image.to_str().unwrap()]);
    terminal.press("8");
    terminal.wait("the guest", |screen| screen.contains("type here"));
    terminal.press("i");
    terminal.wait("typing", |screen| screen.contains("typing to the guest's serial port"));
    terminal.press("q\x03");
    terminal.wait("an echo", |screen| screen.contains("[0x71][0x3]"));
    // Ctrl-]
    terminal.press("\x1d");
    terminal.wait("the end of typing", |screen| !screen.contains("typing to"));

    terminal.press("v");
    terminal.wait("the text screen", |screen| screen.contains("screen: "));
    terminal.press("i");
    terminal.wait("typing", |screen| screen.contains("typing to the guest's keyboard"));
    terminal.press("hello");
    terminal.wait("an echo", |screen| screen.contains("screen: hello"));
    terminal.press("\x1d");
    terminal.wait("the end of typing", |screen| !screen.contains("typing to"));
    terminal.press("q");
    assert_eq!(terminal.status(), 0);
}

#[test]
fn a_signal_restores_the_terminal() {
    if !kvm_or_skip("a_signal_restores_the_terminal") {
        return;
    }
    let terminal = Terminal::start(&["tlb-shootdown", "--cpus", "2", "--append", "rounds=100000"]);
    terminal.wait("events", |screen| events(screen) > 100);
    let id = terminal.process_id();
    assert!(std::process::Command::new("kill").arg(id.to_string()).status().unwrap().success());
    assert_eq!(terminal.status(), 0);
}

/// The window is closed, or the connection is lost.
#[test]
fn a_terminal_that_goes_away_ends_the_program() {
    let trace = concat!(env!("CARGO_MANIFEST_DIR"), "/../replays/tlb-shootdown-2.vmt");
    let pty = native_pty_system()
        .openpty(PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 })
        .unwrap();
    let mut command = CommandBuilder::new(program::path());
    command.args(["replay", trace]);
    command.env("TERM", "xterm-256color");
    let mut child = pty.slave.spawn_command(command).unwrap();
    drop(pty.slave);
    let mut reader = pty.master.try_clone_reader().unwrap();
    let mut bytes = [0; 4096];
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("timeline") {
        let n = reader.read(&mut bytes).unwrap();
        seen.extend_from_slice(&bytes[..n]);
    }
    drop(reader);
    drop(pty.master);
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it goes on without a terminal");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_replay_is_looked_through() {
    let trace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../replays/tlb-shootdown-4.vmt");
    let mut terminal = Terminal::start(&["replay", trace.to_str().unwrap()]);
    terminal.wait("the trace", |screen| screen.contains("exited with 0"));
    terminal.press("G");
    terminal.wait("the last event", |screen| screen.contains("the guest exited with status 0"));
    terminal.press("q");
    assert_eq!(terminal.status(), 0);
}

/// GDB, the real one, that is told what to do line by line.
struct Gdb(std::process::Child);

impl Gdb {
    fn start() -> Self {
        let mut gdb = gdb::command();
        gdb.args(["-ex", "set architecture i386:x86-64"]);
        Self(gdb.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{command}").unwrap();
    }
}

impl Drop for Gdb {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The number of the event at which GDB is, as the header has it.
fn place(screen: &str) -> Option<u64> {
    let (_, rest) = screen.lines().next()?.split_once(" at #")?;
    rest.split(' ').next()?.parse().ok()
}

/// The number of the event under the cursor.
fn cursor(screen: &str) -> Option<u64> {
    let (before, _) = screen.lines().rev().find_map(|line| line.split_once(" of "))?;
    let digits: String = before.rsplit('\u{2501}').next()?.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().ok()?.checked_sub(1)
}

#[test]
fn gdb_beside_a_replay_begins_at_the_cursor_and_takes_it_along() {
    if !gdb::or_skip("gdb_beside_a_replay_begins_at_the_cursor_and_takes_it_along") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s").display().to_string();
    let trace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../replays/tlb-shootdown-4.vmt");
    let mut terminal = Terminal::start(&["replay", trace.to_str().unwrap(), "--gdb", &socket]);
    terminal.wait("the trace", |screen| {
        screen.contains("exited with 0")
            && screen.contains("to debug it: gdb")
            && screen.contains("not attached")
    });
    terminal.press("G");
    terminal.wait("the last event", |screen| screen.contains("the guest exited with status 0"));
    let last = cursor(&terminal.contents()).unwrap();
    let mut gdb = Gdb::start();
    gdb.tell(&format!("target remote {socket}"));
    terminal.wait("GDB", |screen| place(screen) == Some(last));
    gdb.tell("reverse-stepi");
    terminal.wait("a step back", |screen| {
        place(screen).is_some_and(|at| at < last && cursor(screen) == Some(at))
    });

    let at = place(&terminal.contents()).unwrap();
    terminal.press("kk");
    terminal.wait("the cursor", |screen| cursor(screen) == Some(at - 2));
    let screen = terminal.contents();
    assert_eq!(place(&screen), Some(at), "GDB is where it was");
    assert_eq!(screen.matches('\u{bb}').count(), 1, "and is to be seen:\n{screen}");
    gdb.tell("reverse-stepi");
    terminal.wait("a step from where GDB was", |screen| {
        place(screen).is_some_and(|now| now < at && cursor(screen) == Some(now))
    });
    gdb.tell("detach");
    terminal.wait("its end", |screen| screen.contains("not attached"));
    terminal.press("q");
    assert_eq!(terminal.status(), 0);
}

#[test]
fn gdb_beside_a_live_run_is_in_its_header() {
    let test = "gdb_beside_a_live_run_is_in_its_header";
    if !kvm_or_skip(test) || !gdb::or_skip(test) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s").display().to_string();
    let mut terminal =
        Terminal::start(&["tlb-shootdown", "--cpus", "2", "--append", "rounds=100000", "--gdb", &socket]);
    terminal.wait("the run", |screen| screen.contains("not attached") && events(screen) > 100);
    let mut gdb = Gdb::start();
    gdb.tell(&format!("target remote {socket}"));
    terminal.wait("GDB", |screen| screen.contains("stopped by GDB") && screen.contains("s attached"));
    gdb.tell("detach");
    terminal.wait("its end", |screen| screen.contains("not attached"));
    terminal.press("q");
    assert_eq!(terminal.status(), 0);
}

//! Offline commands over recorded traces.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use trace_format::event::{MACHINE, Screen};
use trace_format::{Event, Header, Payload, Reader, Writer};
use vmscope_tests::skip::kvm_or_skip;
use vmscope_tests::{gdb, program, replays};

fn replay(name: &str) -> String {
    replays::named(name).to_str().unwrap().to_owned()
}

#[test]
fn a_report_for_scripts_has_what_is_promised() {
    let json = program::expect(0, &["report", &replay("tlb-shootdown-4.vmt"), "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    for field in
        ["events", "bytes", "lost", "duration_ns", "vcpus", "by_kind", "exits", "traps", "ipis", "guest"]
    {
        assert!(!report[field].is_null(), "{field}");
    }
    for quantile in ["min", "mean", "p50", "p90", "p99", "p999", "max"] {
        assert!(report["exits"][0]["guest_ns"][quantile].is_number(), "{quantile}");
        assert!(report["exits"][0]["handling_ns"][quantile].is_number(), "{quantile}");
        assert!(report["ipis"]["latency_ns"][quantile].is_number(), "{quantile}");
    }
    assert_eq!(report["guest"]["exit_status"], 0);
    assert_eq!(report["guest"]["counters"]["ipis"], report["ipis"]["sent"]);
    assert_eq!(report["by_kind"]["ipi"], report["ipis"]["sent"]);
}

#[test]
fn events_are_a_line_each() {
    let trace = replay("hello.vmt");
    let text = program::expect(0, &["events", &trace]);
    let json = program::expect(0, &["events", &trace, "--format", "json"]);
    assert_eq!(text.lines().count(), json.lines().count());
    for line in json.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["time"].is_number() || event["time_ns"].is_number(), "{line}");
    }
    insta::assert_snapshot!("hello-events", text.lines().take(12).collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_text_screen_is_printed_as_of_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("t.vmt");
    let file = fs::File::create(&trace).unwrap();
    let mut writer = Writer::new(file, &Header { vcpus: 1, ..Header::default() }).unwrap();
    for (ms, text) in [(1_u64, "one"), (2, "two"), (3, "\x1b[2J")] {
        let cells = text.bytes().map(|byte| 0x0700 | u16::from(byte)).collect();
        let change = Screen { columns: 80, row: 1, first: 2, cursor: None, cells };
        let event = Event { time: ms * 1_000_000, vcpu: MACHINE, payload: Payload::Screen(change) };
        writer.append(&event).unwrap();
    }
    writer.finish().unwrap();
    let trace = trace.to_str().unwrap();
    let screen = |row: &str| format!("\n{row}\n{}", "\n".repeat(23));
    assert_eq!(program::expect(0, &["screen", trace]), screen("  ←[2J"));
    assert_eq!(program::expect(0, &["screen", trace, "--at", "2ms"]), screen("  two"));
    assert_eq!(program::expect(0, &["screen", trace, "--event", "0"]), screen("  one"));
    assert_eq!(program::expect(1, &["screen", trace, "--at", "0.5ms"]), "");
    assert_eq!(program::expect(2, &["screen", trace, "--event", "3"]), "");
    assert_eq!(program::expect(1, &["screen", &replay("hello.vmt")]), "");
}

#[test]
fn console_output_is_printed_escaped_or_as_it_was() {
    let trace = replay("hello.vmt");
    let text = program::expect(0, &["console", &trace]);
    assert!(text.contains("Hello from ring 0"), "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text}");
    assert_eq!(program::expect(0, &["console", &trace, "--raw"]).replace('\r', ""), text);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let trace = replay("exit-storm.vmt");
    let mut child =
        program::command(&["events", &trace]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 16];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap(); // and closes the pipe
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn check_tells_good_from_bad() {
    let trace = replay("tlb-shootdown-2.vmt");
    assert!(program::expect(0, &["check", &trace]).contains("intact, finished"));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.vmt");
    let bad = path.to_str().unwrap();
    let mut bytes = fs::read(&trace).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, &bytes).unwrap();
    assert!(program::expect(4, &["check", bad]).contains("damaged"));

    fs::write(&path, b"no trace at all").unwrap();
    let output = program::run(&["check", bad]);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a vmscope trace"));
    assert_eq!(program::run(&["check", "/no/such/file"]).status.code(), Some(2));
}

#[test]
fn a_replay_without_a_terminal_is_a_report() {
    let said = program::expect(0, &["replay", &replay("trap-forwarding.vmt")]);
    assert!(said.contains("trap-forwarding") && said.contains("page-fault"), "{said}");
}

#[test]
fn guests_are_listed() {
    let said = program::expect(0, &["guests"]);
    for name in ["hello", "real-mode", "trap-forwarding", "demand-paging", "tlb-shootdown", "exit-storm"] {
        assert!(said.contains(name), "{name}: {said}");
    }
}

#[test]
fn symbols_are_an_elf_file_for_gdb() {
    let directory = tempfile::tempdir().unwrap();
    let elf = directory.path().join("linux.elf");
    let elf = elf.to_str().unwrap();
    let trace = replay("linux-shootdown.vmt");
    let output = program::run(&["symbols", &trace, "-o", elf]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stderr).replace(elf, "linux.elf");
    insta::assert_snapshot!("symbols-said", said);

    let none = replay("real-mode.vmt");
    let output = program::run(&["symbols", &none, "-o", elf]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).replace(&none, "real-mode.vmt");
    insta::assert_snapshot!("symbols-none", said);
    assert_eq!(program::run(&["symbols", &trace, "-o", &trace]).status.code(), Some(2));

    if !gdb::or_skip("symbols_are_an_elf_file_for_gdb") {
        return;
    }
    // Where handlers were entered GDB finds the same names.
    let fields = ["--filter", "kind == trap-entry", "--fields", "trap.handler,trap.handler.symbol"];
    let events = program::expect(0, &[&["events", &*trace][..], &fields].concat());
    let handlers: BTreeSet<(&str, &str)> = events.lines().filter_map(|line| line.split_once('\t')).collect();
    assert!(handlers.len() > 3, "{handlers:?}");
    let (asked, expected): (Vec<_>, Vec<_>) = handlers
        .iter()
        .map(|(address, name)| (format!("info symbol {address}"), format!("{name} in section .text\n")))
        .unzip();
    let mut command = gdb::command();
    command.arg(elf);
    assert_eq!(gdb::batch(command, asked.iter().map(String::as_str)), expected.concat());
}

#[test]
fn symbols_of_a_trace_are_symbols_for_the_next() {
    if !kvm_or_skip("symbols_of_a_trace_are_symbols_for_the_next") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (elf, trace, first) = (path("linux.elf"), path("t.vmt"), replay("linux-shootdown.vmt"));
    let _said = program::expect(0, &["symbols", &first, "-o", &elf]);
    let _said = program::expect(0, &["record", "hello", "--symbols", &elf, "-o", &trace]);
    let names = |path: &str| -> BTreeSet<String> {
        let reader = Reader::open(Path::new(path)).unwrap();
        reader.header().symbols.iter().map(|(_, _, name)| name.to_owned()).collect()
    };
    let (known, wanted) = (names(&trace), names(&first));
    assert!(wanted.len() > 1000 && wanted.is_subset(&known), "{} of {}", known.len(), wanted.len());
}

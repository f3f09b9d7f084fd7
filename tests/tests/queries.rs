//! Questions to recorded traces, through the real program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use trace_format::{Reader, verify};
use vmscope_tests::program;
use vmscope_tests::replays::{self, name};

fn replay(name: &str) -> String {
    replays::named(name).to_str().unwrap().to_owned()
}

/// The first lines, and how many there are.
fn beginning(text: &str) -> String {
    let shown: Vec<&str> = text.lines().take(8).collect();
    format!("{}\n({} lines)", shown.join("\n"), text.lines().count())
}

#[test]
fn events_of_every_replay_by_filters_and_columns() {
    for path in replays::all() {
        let trace = path.to_str().unwrap();
        let filtered = |filter: &str| beginning(&program::expect(0, &["events", trace, "--filter", filter]));
        let slow = filtered("kind == exit and latency > 20us and exit.reason not in {probe, hlt}");
        let faults = filtered("trap.vector == page-fault and cpl == user or walk.outcome == fault");
        let ipis = filtered("kind == ipi and not ipi.target == 0");
        let table = beginning(&program::expect(0, &["events", trace, "--format", "csv"]));
        let fields = "time,vcpu,kind,exit.reason,ipi.target,symbol";
        let chosen = ["events", trace, "--fields", fields, "--format", "json", "--limit", "4"];
        let objects = beginning(&program::expect(0, &chosen));
        let all = [slow, faults, ipis, table, objects].join("\n\n");
        insta::assert_snapshot!(format!("{}-events", name(&path)), all);
    }
}

/// A filter gives just the lines that a search through all of them gives.
#[test]
fn a_filter_leaves_out_what_does_not_match() {
    let trace = replay("linux-shootdown.vmt");
    let all = program::expect(0, &["events", &trace]);
    let searched: Vec<&str> = all.lines().filter(|line| line.contains("vector 0xfd")).collect();
    let filter = "description ~ \"vector 0xfd\"";
    let filtered = program::expect(0, &["events", &trace, "--filter", filter]);
    assert!(searched.len() > 20);
    assert_eq!(filtered.lines().collect::<Vec<_>>(), searched);
    let limited = program::expect(0, &["events", &trace, "--filter", filter, "--limit", "7"]);
    assert_eq!(limited.lines().collect::<Vec<_>>(), searched[..7]);
    let cut = program::expect(0, &["events", &trace, "--from", "100ms", "--to", "0.2s"]);
    let filtered = program::expect(0, &["events", &trace, "--filter", "time in 100ms..200ms"]);
    assert_eq!(cut, filtered);
    assert!(cut.lines().count() > 10 && cut.lines().count() < all.lines().count());
}

#[test]
fn tables_have_a_cell_for_each_field() {
    let trace = replay("trap-forwarding.vmt");
    let fields = "number,trap.vector,trap.class,trap.duration";
    let table = program::expect(0, &["events", &trace, "--format", "csv", "--fields", fields]);
    let mut rows = table.lines();
    assert_eq!(rows.next(), Some(fields));
    assert!(rows.clone().count() as u64 == Reader::open(&trace).unwrap().len());
    assert!(rows.any(|row| row.ends_with(",14,fault,")));
}

#[test]
fn a_slice_of_every_replay_is_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("slice.vmt");
    let out = out.to_str().unwrap();
    for path in replays::all() {
        let trace = path.to_str().unwrap();
        let filter = "kind in {exit, ipi} and vcpu == 0";
        drop(program::expect(0, &["slice", trace, "--filter", filter, "-o", out]));
        let mut reader = Reader::open(out).unwrap();
        assert!(verify(&mut reader).unwrap().is_sound());
        let kept = program::expect(0, &["events", out, "--filter", filter, "--fields", "description"]);
        let wanted = program::expect(0, &["events", trace, "--filter", filter, "--fields", "description"]);
        assert_eq!(kept, wanted);
        assert!(program::expect(0, &["report", out]).contains("what was left out of"));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_slice_replaces_a_file_only_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("t.vmt");
    fs::copy(replay("hello.vmt"), &trace).unwrap();
    let before = fs::read(&trace).unwrap();
    let name = trace.to_str().unwrap();
    // Not what it is cut from, and nothing is left of what cannot be written.
    drop(program::expect(2, &["slice", name, "--filter", "kind == exit", "-o", name]));
    let nowhere = folder.path().join("no-such-folder/s.vmt");
    drop(program::expect(2, &["slice", name, "-o", nowhere.to_str().unwrap()]));
    assert_eq!(fs::read(&trace).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // What is there is replaced.
    let other = folder.path().join("other.vmt");
    fs::write(&other, "something else").unwrap();
    drop(program::expect(0, &["slice", name, "-o", other.to_str().unwrap()]));
    assert!(verify(&mut Reader::open(&other).unwrap()).unwrap().is_sound());
}

#[test]
fn the_filter_language_is_explained() {
    let help = program::expect(0, &["help", "filter"]);
    assert_eq!(program::expect(0, &["filter"]), help);
    insta::assert_snapshot!("help-filter", help);
    drop(program::expect(2, &["events", &replay("hello.vmt"), "--filter", "vcpu =="]));
    drop(program::expect(2, &["events", &replay("hello.vmt"), "--fields", "vcpu,no"]));
}

#[test]
fn assertions_hold_or_not_on_every_replay() {
    for path in replays::all() {
        let trace = path.to_str().unwrap();
        let all = program::run(&[
            "assert",
            trace,
            "count(exit.reason == mmio) < 1000",
            "p99(latency where kind == ipi) < 50us",
            "max(trap.duration where trap.vector == page-fault) < 1s and count(kind == lost) == 0",
            "rate(kind == exit) > 0",
            "mean(exit.guest where not exit.reason == hlt) > 100",
        ]);
        let code = all.status.code().unwrap();
        assert!(all.stderr.is_empty() && code < 2, "{all:?}");
        let text = String::from_utf8(all.stdout).unwrap();
        assert_eq!(code == 1, text.contains("FAILS"), "{text}");
        insta::assert_snapshot!(format!("{}-assert", name(&path)), text);
    }
}

#[test]
fn assertions_are_for_scripts() {
    let trace = replay("tlb-shootdown-4.vmt");
    let json =
        program::expect(0, &["assert", &trace, "count(kind == ipi-sent) > 10", "count() > 0", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["holds"], true);
    let sent: serde_json::Value =
        serde_json::from_str(&program::expect(0, &["report", &trace, "--json"])).unwrap();
    assert_eq!(report["assertions"][0]["amounts"][0]["value"], sent["ipis"]["sent"]);
    drop(program::expect(1, &["assert", &trace, "count() > 0", "count() == 0"]));
    drop(program::expect(2, &["assert", &trace, "count( > 0"]));
    drop(program::expect(2, &["assert", &trace]));
    drop(program::expect(2, &["assert", "no-such-file.vmt", "count() > 0"]));
    // What cannot be read may be what it is about.
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.vmt");
    let mut bytes = fs::read(&trace).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&damaged, bytes).unwrap();
    let damaged = damaged.to_str().unwrap();
    drop(program::expect(4, &["assert", damaged, "count(kind == exit) > 0"]));
    // That there is none of a kind is in the blocks' heads, which are intact.
    drop(program::expect(0, &["assert", damaged, "count(kind == lost) == 0"]));
}

#[test]
fn reports_by_field_and_time() {
    for path in replays::all() {
        let trace = path.to_str().unwrap();
        let by = |field: &str| program::expect(0, &["report", trace, "--by", field, "--top", "4"]);
        let filtered = ["report", trace, "--filter", "vcpu == 0 and kind in {exit, trap}", "--top", "3"];
        let parts = [by("exit.reason"), by("vcpu"), by("trap.page"), program::expect(0, &filtered)];
        insta::assert_snapshot!(format!("{}-report-parts", name(&path)), parts.join("\n"));
    }
    let trace = replay("linux-shootdown.vmt");
    insta::assert_snapshot!("report-window", program::expect(0, &["report", &trace, "--window", "50ms"]));
    let json = program::expect(0, &["report", &trace, "--by", "exit.reason", "--json"]);
    let by: serde_json::Value = serde_json::from_str(&json).unwrap();
    let whole: serde_json::Value =
        serde_json::from_str(&program::expect(0, &["report", &trace, "--json"])).unwrap();
    assert_eq!(by["groups"][0]["value"], whole["exits"][0]["reason"]);
    assert_eq!(by["groups"][0]["count"], whole["exits"][0]["count"]);
    drop(program::expect(2, &["report", &trace, "--window", "1us"]));
    drop(program::expect(2, &["report", &trace, "--by", "nothing"]));
    // Groups over time, by a short name.
    let lines = ["report", &trace, "--by", "reason", "--window", "50ms", "--top", "3"];
    insta::assert_snapshot!("report-by-window", program::expect(0, &lines));
    let json = program::expect(0, &[&lines[..], &["--json"]].concat());
    let groups: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&groups["by"], &groups["window_ns"]), (&"exit.reason".into(), &50_000_000.into()));
    for group in groups["groups"].as_array().unwrap() {
        let windows = group["windows"].as_array().unwrap().iter();
        assert_eq!(windows.map(|count| count.as_u64().unwrap()).sum::<u64>(), group["count"]);
    }
    drop(program::expect(2, &["report", &trace, "--by", "rip", "--window", "1us"]));
}

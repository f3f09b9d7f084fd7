//! Every recorded trace in every format that vmscope exports: others read it, and find in it what the report says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use trace_format::{Payload, Reader, Report};
use vmscope_tests::program;
use vmscope_tests::readers::Readers;
use vmscope_tests::replays::{self, name};

/// Exports a trace into a folder of its own.
fn export(trace: &Path, to: &str, more: &[&str]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(format!("{}.{to}", name(trace)));
    let (trace, out) = (trace.to_str().unwrap(), path.to_str().unwrap());
    let arguments = [&["export", trace, "--to", to, "-o", out], more].concat();
    assert_eq!(program::expect(0, &arguments), "", "everything is in the file");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "there is nothing else");
    (directory, path)
}

fn report(trace: &Path) -> Report {
    Report::of(&mut Reader::open(trace).unwrap()).unwrap()
}

/// Exits by reason, as the report counts them.
fn exits(report: &Report) -> BTreeMap<String, u64> {
    report.exits.iter().map(|exits| (exits.reason.to_owned(), exits.count)).collect()
}

fn counts(value: &Value) -> BTreeMap<String, u64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn kind(report: &Report, kind: &str) -> u64 {
    report.by_kind.get(kind).copied().unwrap_or(0)
}

/// Deliveries of IPIs whose sending is in the trace: those that an arrow leads to.
fn arrows(trace: &Path) -> u64 {
    let (mut sent, mut arrows) = (BTreeMap::new(), 0);
    let mut reader = Reader::open(trace).unwrap();
    let all = |_, event: &trace_format::Event| match &event.payload {
        Payload::Ipi(ipi) => drop(sent.insert(ipi.id, ipi.targets)),
        Payload::IpiAccepted(accepted) => {
            let targets = sent.get(&accepted.id).copied().unwrap_or(0);
            arrows += u64::from(targets >> event.vcpu & 1);
        }
        _ => {}
    };
    reader.for_each(all).unwrap();
    arrows
}

#[test]
fn perfetto_has_what_the_report_has() {
    let Some(readers) = Readers::or_skip("perfetto_has_what_the_report_has") else { return };
    for trace in replays::all() {
        let (_directory, file) = export(&trace, "perfetto", &[]);
        let found = readers.perfetto(&file);
        let report = report(&trace);
        let context = format!("{}: {found:#}", trace.display());
        assert_eq!(found["problems"], json!([]), "{context}");
        assert_eq!(found["process"], report.trace.guest, "{context}");
        let vcpus: Vec<String> = (0..report.vcpus).map(|vcpu| format!("cpu{vcpu}")).collect();
        assert_eq!(found["threads"], json!(vcpus), "{context}");
        let slices = &found["slices"];
        assert_eq!(counts(&slices["exit"]), exits(&report), "{context}");
        let total = |category: &str| match &slices[category] {
            Value::Null => 0,
            names => counts(names).values().sum(),
        };
        for (category, kind) in [
            ("trap", kind(&report, "trap")),
            ("ipi", report.ipis.sent),
            ("ipi-accepted", report.ipis.accepted),
            ("irq", report.irqs.iter().map(|irqs| irqs.count).sum()),
            ("state", kind(&report, "state")),
            ("walk", kind(&report, "walk")),
            ("console", kind(&report, "console")),
        ] {
            assert_eq!(total(category), kind, "{category} of {context}");
        }
        assert_eq!(found["flows"], arrows(&trace), "{context}");
        assert_eq!(found["unfinished"], 0, "{context}");
        // No two exits of these traces overlap, so none is cut.
        let handling: f64 = report.exits.iter().map(|e| e.handling_ns.mean * e.count as f64).sum();
        let drawn = found["durations"]["exit"].as_f64().unwrap();
        assert!((drawn - handling).abs() < 1.0 + handling * 1e-9, "{drawn} {handling} {context}");
        for counter in report.guest.counters.keys() {
            assert!(found["counters"][counter].is_number(), "{counter} of {context}");
        }
    }
}

#[test]
fn chrome_is_json_whose_slices_nest() {
    for trace in replays::all() {
        let (_directory, file) = export(&trace, "chrome", &[]);
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().take(14).collect();
        insta::assert_snapshot!(format!("{}-chrome", name(&trace)), lines.join("\n"));

        let document: Value = serde_json::from_str(&text).unwrap();
        let report = report(&trace);
        assert_eq!(document["otherData"]["guest"], report.trace.guest);
        let mut events: Vec<&Value> = document["traceEvents"].as_array().unwrap().iter().collect();
        events.sort_by(|a, b| a["ts"].as_f64().unwrap().total_cmp(&b["ts"].as_f64().unwrap()));
        let mut open: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
        let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
        let (mut from, mut to) = (Vec::new(), Vec::new());
        let mut threads = Vec::new();
        for event in events {
            let tid = event["tid"].as_u64().unwrap();
            match event["ph"].as_str().unwrap() {
                "B" => {
                    open.entry(tid).or_default().push(event);
                    if event["cat"] == "exit" {
                        *reasons.entry(event["name"].as_str().unwrap().to_owned()).or_default() += 1;
                    }
                }
                "E" => drop(open.get_mut(&tid).and_then(Vec::pop).unwrap_or_else(|| panic!("{event}"))),
                "s" => from.push(event["id"].as_str().unwrap()),
                "f" => to.push(event["id"].as_str().unwrap()),
                "M" if event["name"] == "thread_name" => threads.push(&event["args"]["name"]),
                "M" | "C" | "i" => {}
                other => panic!("{other}: {event}"),
            }
        }
        assert!(open.values().all(Vec::is_empty), "{open:?}");
        assert_eq!(reasons, exits(&report), "{}", trace.display());
        let arrow_count = to.iter().filter(|id| from.contains(*id)).count() as u64;
        assert_eq!(arrow_count, arrows(&trace), "{}", trace.display());
        assert!((0..report.vcpus).all(|vcpu| threads.contains(&&json!(format!("cpu{vcpu}")))), "{threads:?}");
    }
}

#[test]
fn csv_has_a_line_an_event() {
    for trace in replays::all() {
        let (_directory, file) = export(&trace, "csv", &[]);
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().take(8).collect();
        insta::assert_snapshot!(format!("{}-csv", name(&trace)), lines.join("\n"));

        let mut rows = csv::Reader::from_path(&file).unwrap();
        let columns = rows.headers().unwrap().clone();
        let column = |name: &str| columns.iter().position(|column| column == name).unwrap();
        let (reason, handling, number) = (column("exit.reason"), column("exit.handling"), column("number"));
        let report = report(&trace);
        let (mut reasons, mut longest) = (BTreeMap::<String, u64>::new(), 0_u64);
        let mut events = 0_u64;
        for row in rows.records() {
            let row = row.unwrap();
            assert_eq!(row[number], events.to_string());
            events += 1;
            if !row[reason].is_empty() {
                *reasons.entry(row[reason].to_owned()).or_default() += 1;
                longest = longest.max(row[handling].parse().unwrap());
            }
        }
        assert_eq!((events, reasons), (report.events, exits(&report)), "{}", trace.display());
        assert_eq!(Some(longest), report.exits.iter().map(|exits| exits.handling_ns.max).max());
    }
}

#[test]
fn csv_has_the_columns_asked_for() {
    let trace = replays::named("hello");
    let trace = trace.to_str().unwrap();
    let fields =
        ["--fields", "number,io.port,exit.reason,symbol", "--filter", "exit.reason == io and number < 9"];
    let csv = program::expect(0, &[&["export", trace, "--to", "csv"], &fields[..]].concat());
    insta::assert_snapshot!("hello-columns", csv);
    let other = program::run(&["export", trace, "--to", "csv", "--fields", "number,nonsense"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&other.stderr).contains("there is no such field"));
    let of_another = program::run(&["export", trace, "--to", "chrome", "--fields", "number"]);
    assert_eq!(of_another.status.code(), Some(2));
}

#[test]
fn duckdb_finds_in_parquet_what_the_report_has() {
    let Some(readers) = Readers::or_skip("duckdb_finds_in_parquet_what_the_report_has") else { return };
    for trace in replays::all() {
        let (_directory, file) = export(&trace, "parquet", &[]);
        let file = file.to_str().unwrap().replace('\'', "''");
        let query = |sql: &str| readers.query(&sql.replace("EVENTS", &format!("'{file}'")));
        let report = report(&trace);
        let context = trace.display();
        assert_eq!(
            query("select count(*), min(number), max(number) from EVENTS")[0][0],
            report.events,
            "{context}"
        );

        let kinds = query("select kind, count(*) from EVENTS group by kind order by kind");
        let filter_name = |kind: &'static str| match kind {
            "trap" => "trap-entry",
            "ipi" => "ipi-sent",
            "irq" => "irq-injected",
            other => other,
        };
        let mut expected: Vec<_> =
            report.by_kind.iter().map(|(kind, count)| (filter_name(kind), count)).collect();
        expected.sort();
        assert_eq!(kinds, json!(expected), "{context}");

        let exits = query(
            "select exit_reason, count(*), min(exit_guest), max(exit_guest), min(exit_handling), max(exit_handling) \
             from EVENTS where kind = 'exit' group by exit_reason order by exit_reason",
        );
        let mut expected: Vec<_> = report
            .exits
            .iter()
            .map(|e| {
                (e.reason, e.count, e.guest_ns.min, e.guest_ns.max, e.handling_ns.min, e.handling_ns.max)
            })
            .collect();
        expected.sort();
        assert_eq!(exits, json!(expected), "{context}");

        let traps = query(
            "select trap_vector, count(*) filter (kind = 'trap-entry'), count(trap_duration) from EVENTS \
             where trap_vector is not null group by trap_vector order by trap_vector",
        );
        let mut expected: Vec<_> = report.traps.iter().map(|t| (t.vector, t.count, t.returned)).collect();
        expected.sort();
        assert_eq!(traps, json!(expected), "{context}");

        let about = query("select distinct trace_guest, trace_start_unix_ns from EVENTS");
        assert_eq!(about, json!([[report.trace.guest, report.trace.start_unix_ns]]), "{context}");
        let about = query("select value from parquet_kv_metadata(EVENTS) where key = 'vmscope.vcpus'");
        assert_eq!(about, json!([[report.vcpus.to_string()]]), "{context}");
    }
}

#[test]
fn addresses_are_whole_in_parquet() {
    let Some(readers) = Readers::or_skip("addresses_are_whole_in_parquet") else { return };
    let trace = replays::named("linux-shootdown");
    let (_directory, file) = export(&trace, "parquet", &["--filter", "symbol == native_write_msr"]);
    let mut expected = (0, u64::MAX, 0);
    let mut reader = Reader::open(&trace).unwrap();
    let header = reader.header().clone();
    reader
        .for_each(|_, event| {
            let rip = match &event.payload {
                Payload::Exit(e) => e.rip,
                Payload::Trap(e) => e.rip,
                Payload::TrapReturn(e) => e.rip,
                _ => return,
            };
            if header.symbolize(rip).is_some_and(|(name, _)| name == "native_write_msr") {
                expected = (expected.0 + 1, expected.1.min(rip), expected.2.max(rip));
            }
        })
        .unwrap();
    assert!(expected.0 > 100 && expected.1 > 0xffff_ffff_8000_0000, "{expected:x?}");
    let sql = format!("select count(*), min(rip), max(rip) from '{}'", file.display());
    assert_eq!(readers.query(&sql), json!([expected]));
}

#[test]
fn what_is_not_complete_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let in_it = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (trace, no_trace, out) = (in_it("t.vmt"), in_it("no-trace"), in_it("out"));
    let hello = replays::named("hello");
    fs::copy(&hello, &trace).unwrap();
    fs::write(&no_trace, "no trace at all").unwrap();
    for to in ["perfetto", "chrome", "csv", "parquet"] {
        let refused = |code: i32, file: &str, out: &str, filter: &str| {
            let said = program::expect(code, &["export", file, "--to", to, "-o", out, "--filter", filter]);
            assert_eq!(said, "");
        };
        refused(2, &trace, &trace, "");
        refused(2, &trace, "/no/such/folder/out", "");
        refused(4, &no_trace, &out, "");
        refused(2, &trace, &out, "exit.reason ==");
    }
    assert_eq!(fs::read(&trace).unwrap(), fs::read(&hello).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let trace = replays::named("linux-shootdown");
    for to in ["perfetto", "chrome", "csv", "parquet"] {
        let mut command = program::command(&["export", trace.to_str().unwrap(), "--to", to]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 4];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap(); // and closes the pipe
        let output = child.wait_with_output().unwrap();
        assert!(output.stderr.is_empty(), "{to}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{to}");
    }
}

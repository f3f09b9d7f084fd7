//! `vmscope import`, and what is shown of what it makes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ratatui::layout::Size;
use trace_format::Reader;
use vmscope::app::{App, Settings};
use vmscope::ui;
use vmscope_tests::program;

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trace-format/tests/recordings");
    let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(found.len() >= 4, "{found:?}");
    found
}

#[test]
fn each_recording_is_a_trace_like_any_other() {
    for recording in recordings() {
        let name = recording.file_stem().and_then(|s| s.to_str()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.vmt");
        let trace = path.to_str().unwrap();
        let said = program::expect(0, &["import", recording.to_str().unwrap(), "-o", trace]);
        insta::assert_snapshot!(format!("{name}-import"), said.replace(trace, "OUT"));
        assert!(program::expect(0, &["check", trace]).contains("intact, finished"), "{name}");
        let report = program::expect(0, &["report", trace]);
        // The command, and so the size of the header, has the name of a temporary folder.
        let varies = |line: &&str| line.starts_with("recorded") || line.starts_with("events ");
        let report = report.lines().filter(|line| !varies(line)).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(format!("{name}-report"), report);

        let size = Size::new(110, 40);
        let mut app = App::new(Reader::open(&path).unwrap(), Settings::plain());
        app.read_all();
        app.resize(size);
        app.select(app.known() / 2);
        insta::assert_snapshot!(format!("{name}-ui"), ui::snapshot(&mut app, size).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}

#[test]
fn standard_input_is_read_and_what_is_not_understood_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "a-1 [000] 1.5: kvm_exit: vcpu 0 reason HLT rip 0x1\n\x1b[2J is no line\nb-2 [001] 2.5: kvm_entry: x\n")
        .unwrap();
    let trace = folder.path().join("t.vmt");
    let output = program::command(&["import", "-", "-o", trace.to_str().unwrap()])
        .stdin(File::open(&text).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("3 lines, 1 imported") && said.contains("2 not understood"), "{said}");
    assert!(said.contains(r"line 2 \u{1b}[2J is no line"), "{said}");

    fs::write(&text, "no recording").unwrap();
    let other = folder.path().join("other.vmt");
    let output = program::run(&["import", text.to_str().unwrap(), "-o", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(!other.exists(), "there is nothing to keep");
    assert!(String::from_utf8_lossy(&output.stderr).contains("perf record"));
    assert_eq!(program::run(&["import", "/no/such", "-o", "x.vmt"]).status.code(), Some(2));
}

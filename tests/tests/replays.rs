//! Every recorded trace is a test: it is intact, its report and every pane over it are what they were.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

use ratatui::layout::Size;
use trace_format::{Reader, Report, verify};
use vmscope::app::action::Action;
use vmscope::app::{App, Focus, Settings};
use vmscope::ui;

const SIZES: [Size; 2] = [Size::new(80, 24), Size::new(160, 50)];

fn replays() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../replays");
    let mut found: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "vmt"))
        .collect();
    found.sort();
    assert!(found.len() >= 7, "{}: {found:?}", folder.display());
    found
}

fn name(path: &Path) -> &str {
    path.file_stem().and_then(|s| s.to_str()).unwrap()
}

#[test]
fn each_is_intact_small_and_described() {
    for path in replays() {
        let found = verify(&mut Reader::open(&path).unwrap()).unwrap();
        assert!(found.is_sound() && found.finished && found.lost == 0, "{}: {found:?}", path.display());
        let header = Reader::open(&path).unwrap().header().clone();
        // Linux has 200 000 symbols, which are 600 KB.
        let most = if header.symbols.len() < 10_000 { 100_000 } else { 1_000_000 };
        assert!(found.bytes < most, "{}: {} bytes", path.display(), found.bytes);
        let about = fs::read_to_string(path.with_extension("md")).unwrap();
        assert!(about.contains(&format!("vmscope record {}", header.guest)), "{}", path.display());
        assert!(about.contains("Look at"), "{}", path.display());
    }
}

#[test]
fn each_report_is_as_it_was() {
    for path in replays() {
        let report = Report::of(&mut Reader::open(&path).unwrap()).unwrap();
        insta::assert_snapshot!(format!("{}-report", name(&path)), report.text());
        let json = serde_json::to_string_pretty(&report).unwrap();
        insta::assert_snapshot!(format!("{}-report-json", name(&path)), json);
    }
}

#[test]
fn each_pane_is_as_it_was() {
    for path in replays() {
        for size in SIZES {
            for focus in Focus::ALL {
                let mut app = App::new(Reader::open(&path).unwrap(), Settings::plain());
                app.read_all();
                app.resize(size);
                // Somewhere in the middle, where all kinds of events are.
                app.select(app.known() / 2);
                app.focus(focus);
                app.update(Action::Maximize);
                let shown = ui::snapshot(&mut app, size).unwrap();
                let snapshot = format!("{}-{}-{}x{}", name(&path), focus.name(), size.width, size.height);
                insta::assert_snapshot!(snapshot, shown);
            }
            let mut app = App::new(Reader::open(&path).unwrap(), Settings::plain());
            app.read_all();
            app.resize(size);
            app.select(app.known() / 2);
            let shown = ui::snapshot(&mut app, size).unwrap();
            insta::assert_snapshot!(format!("{}-all-{}x{}", name(&path), size.width, size.height), shown);
        }
    }
}

//! Every recorded trace is a test: it is intact, its report and every view over it are what they were.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use ratatui::layout::Size;
use trace_format::{Reader, Report, verify};
use vmscope::app::{App, Settings, View};
use vmscope::ui;
use vmscope_tests::replays::{self, name};

const SIZES: [Size; 3] = [Size::new(60, 16), Size::new(80, 24), Size::new(160, 50)];

#[test]
fn each_is_intact_small_and_described() {
    for path in replays::all() {
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
    for path in replays::all() {
        let report = Report::of(&mut Reader::open(&path).unwrap()).unwrap();
        insta::assert_snapshot!(format!("{}-report", name(&path)), report.text());
        let json = serde_json::to_string_pretty(&report).unwrap();
        insta::assert_snapshot!(format!("{}-report-json", name(&path)), json);
    }
}

#[test]
fn each_view_is_as_it_was() {
    for path in replays::all() {
        let mut app = App::new(Reader::open(&path).unwrap(), Settings::plain());
        app.read_all();
        // Somewhere in the middle, where all kinds of events are.
        app.select(app.known() / 2);
        for view in View::ALL {
            app.show(view);
            app.read_all();
            for size in SIZES {
                let shown = ui::snapshot(&mut app, size).unwrap();
                let snapshot = format!("{}-{}-{}x{}", name(&path), view.name(), size.width, size.height);
                insta::assert_snapshot!(snapshot, shown);
            }
        }
    }
}

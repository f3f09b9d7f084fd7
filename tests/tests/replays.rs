//! Every recorded trace is a test: it is intact, its report and every view over it are what they were.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use ratatui::layout::Size;
use trace_format::{Reader, Report, verify};
use vmscope::app::{App, Settings, View};
use vmscope::ui;
use vmscope::ui::theme::Theme;
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

/// Somewhere in the middle of a trace, where all kinds of events are.
fn app(path: &Path, theme: Theme) -> App {
    let mut settings = Settings::plain();
    settings.look.theme = theme;
    let mut app = App::new(Reader::open(path).unwrap(), settings);
    app.read_all();
    app.select(app.known() / 2);
    app
}

#[test]
fn each_view_is_as_it_was() {
    for path in replays::all() {
        let mut app = app(&path, Theme::MONO);
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

/// `cat` shows these as they are on a terminal.
#[test]
fn each_view_is_as_it_was_in_colour() {
    for path in replays::all() {
        let mut app = app(&path, Theme::default());
        for view in View::ALL {
            app.show(view);
            app.read_all();
            let sizes = SIZES.map(|size| ui::coloured_snapshot(&mut app, size).unwrap());
            insta::assert_snapshot!(format!("{}-{}-colour", name(&path), view.name()), sizes.join("\n"));
        }
    }
}

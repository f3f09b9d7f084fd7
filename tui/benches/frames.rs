//! How long a frame takes: a key, what it changes, and the screen drawn from it, as in a session, over a long trace.
//!
//! `cargo bench -p vmscope --bench frames [-- EVENTS | FILE.vmt]`, 10 million events unless told, in a temporary file. It
//! prints percentiles for what is done while the trace is read, while a filter or an analysis is under way, and after
//! it, and the most memory it had.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

#[path = "../../trace-format/benches/codec/long.rs"]
mod long;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use hdrhistogram::Histogram;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;
use trace_format::Reader;
use vmscope::app::action::Action;
use vmscope::app::table::{Scope, TABLE, What};
use vmscope::app::{App, Mode, Settings, View};
use vmscope::ui;

const EVENTS: u64 = 10_000_000;
const SIZE: Size = Size::new(160, 50);
/// Where in the trace each view is looked at, of 1000.
const PLACES: [u64; 3] = [0, 137, 1000];
/// Filters that few events match, many, all but a few, and none.
const FILTERS: [&str; 4] =
    ["ipi.vector == 0x40", "kind == exit", "!(kind == walk)", "exit.reason == io && vcpu == 200"];

/// Frames of one sort, ns.
struct Frames {
    what: &'static str,
    times: Histogram<u64>,
    slowest: (u64, String),
}

impl Frames {
    fn of(what: &'static str) -> Self {
        Self { what, times: Histogram::new(3).unwrap(), slowest: (0, String::new()) }
    }

    fn add(&mut self, time: Duration, why: impl FnOnce() -> String) {
        let ns = u64::try_from(time.as_nanos()).unwrap();
        self.times.record(ns).unwrap();
        if ns > self.slowest.0 {
            self.slowest = (ns, why());
        }
    }

    fn show(&self) {
        let at = |q| ms(self.times.value_at_quantile(q));
        println!(
            "{:24} {:7} frames  p50 {:8.3} ms  p99 {:8.3} ms  max {:8.3} ms  ({})",
            self.what,
            self.times.len(),
            at(0.5),
            at(0.99),
            ms(self.times.max()),
            self.slowest.1
        );
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// The UI on a terminal in memory.
struct Ui {
    app: App,
    terminal: Terminal<TestBackend>,
}

impl Ui {
    fn draw(&mut self) {
        let app = &self.app;
        self.terminal.draw(|frame| ui::draw(frame, app)).unwrap();
    }

    /// One turn of a session's loop: what has come in, an input, the frame.
    fn turn(&mut self, frames: &mut Frames, what: &str, input: impl FnOnce(&mut App)) -> bool {
        let start = Instant::now();
        let tick = self.app.tick();
        input(&mut self.app);
        self.draw();
        let view = self.app.view_shown();
        frames.add(start.elapsed(), || format!("{what} in {}", view.name()));
        tick.behind | tick.working
    }

    /// Until nothing is looked for any more.
    fn settle(&mut self, frames: &mut Frames, what: &str) {
        while self.turn(frames, what, |_| {}) {}
    }

    fn line(&mut self, text: &str) {
        self.app.key(KeyEvent::new(KeyCode::Char(':'), KeyModifiers::NONE));
        for c in text.chars() {
            self.app.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        }
        self.app.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
        assert!(matches!(self.app.mode(), Mode::Panes), "{text}: {:?}", self.app.message());
    }
}

fn main() {
    // `cargo test --benches` passes this to see that the benchmark starts.
    let test = std::env::args().any(|argument| argument == "--test");
    let argument = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let directory = tempfile::tempdir().unwrap();
    let count = argument.as_ref().and_then(|text| text.parse().ok());
    let path = match (argument, count) {
        (Some(path), None) => PathBuf::from(path),
        _ => {
            let path = directory.path().join("long.vmt");
            long::generate(&path, count.unwrap_or(if test { 20_000 } else { EVENTS }));
            path
        }
    };
    // What made the trace had memory of its own.
    let measured = std::fs::write("/proc/self/clear_refs", "5").is_ok();

    let mut sorts = [Frames::of("while it is read"), Frames::of("while looking"), Frames::of("afterwards")];
    let [reading, looking, after] = &mut sorts;
    let start = Instant::now();
    let reader = Reader::open(&path).unwrap();
    let mut ui = Ui {
        app: App::new(reader, Settings::plain()),
        terminal: Terminal::new(TestBackend::new(SIZE.width, SIZE.height)).unwrap(),
    };
    ui.app.resize(SIZE);
    println!(
        "{} events; opened after {:.1} ms",
        ui.app.reader().len(),
        ms(start.elapsed().as_nanos() as u64)
    );
    ui.settle(reading, "reading");
    println!("all of it known after {:.2} s", start.elapsed().as_secs_f64());

    for view in View::ALL {
        ui.app.show(view);
        ui.settle(looking, "an analysis");
        everywhere(&mut ui, after, looking);
    }
    for filter in FILTERS {
        ui.turn(looking, filter, |_| {});
        ui.line(&format!("filter {filter}"));
        ui.settle(looking, filter);
        for view in [View::Timeline, View::Events] {
            ui.app.show(view);
            ui.settle(looking, filter);
            everywhere(&mut ui, after, looking);
        }
    }
    list(&mut ui, after, looking);
    sorts.iter().for_each(Frames::show);
    match peak() {
        Some(mib) if measured => println!("at most {mib} MiB of memory"),
        _ => println!("memory: not known (/proc/self/clear_refs cannot be written)"),
    }
}

/// The event list searched, with columns, and in an order, each beside those before.
fn list(ui: &mut Ui, after: &mut Frames, looking: &mut Frames) {
    ui.app.show(View::Events);
    for line in [
        "filter kind in {exit, ipi}",
        "search vcpu == 2 && kind == exit",
        "columns time,vcpu,kind,latency",
        "sort -latency",
    ] {
        ui.turn(looking, line, |_| {});
        ui.line(line);
        ui.settle(looking, line);
        everywhere(ui, after, looking);
    }
    // The search and the order; `everywhere` leaves the pane as large as it was.
    while ui.app.searched().is_some() || ui.app.sorted_by().is_some() {
        ui.turn(after, "back", |app| drop(app.update(Action::Back)));
    }
    ui.line("columns ,");
}

/// Every key that the view has, at places all over the trace.
fn everywhere(ui: &mut Ui, after: &mut Frames, looking: &mut Frames) {
    let view = ui.app.view_shown();
    let known = ui.app.known().max(1);
    for place in PLACES {
        ui.turn(after, "going there", |app| app.select((known - 1) * place / 1000));
        ui.settle(looking, "what follows");
        for pane in view.panes() {
            ui.app.focus(*pane);
            let keys = TABLE.iter().filter(|entry| {
                let here = entry.scope == Scope::Panes || entry.scope == Scope::Pane(*pane);
                here && !entry.live && matches!(entry.what, What::Do(_)) && !elsewhere(entry.name)
            });
            for entry in keys {
                let What::Do(action) = &entry.what else { continue };
                for _ in 0..2 {
                    let action = action.clone();
                    ui.turn(after, entry.name, |app| drop(app.update(action)));
                }
                ui.settle(looking, entry.name);
                assert!(
                    matches!(ui.app.mode(), Mode::Panes) && ui.app.view_shown() == view,
                    "{}",
                    entry.name
                );
                ui.app.focus(*pane);
            }
        }
    }
}

/// What leaves the program, the view, its panes or the filter, or has everything analysed anew.
fn elsewhere(name: &str) -> bool {
    const LEAVE: [&str; 10] = [
        "quit",
        "suspend",
        "help",
        "command",
        "next-view",
        "previous-view",
        "back",
        "open",
        "play",
        "select-range",
    ];
    LEAVE.contains(&name) || View::ALL.iter().any(|view| view.name() == name)
}

/// The most memory since it was measured from, MiB.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? >> 10)
}

//! Sessions: keys in, state and frames out, at least one for everything in the table of what can be done.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Size;
use trace_format::event::{Actor, Payload};
use trace_format::{Kind, Reader};
use vmscope::app::action::Command;
use vmscope::app::memory::At;
use vmscope::app::press::Press;
use vmscope::app::table::{Scope, TABLE, What, find};
use vmscope::app::{App, Mode, Pane, Settings, View};
use vmscope::guest::Machine;
use vmscope::model::find::Needle;

use crate::{snapshot, synthetic};

const SIZE: Size = Size::new(100, 30);

/// What is done after the keys of a session, and what must be so then.
type Check = fn(&mut App, Option<Command>);

/// A session: it begins in the view `events` at event 100, of a run that is recorded, or paused by the user if `live`.
struct Session {
    action: &'static str,
    live: bool,
    /// Keys before the action's own: of the table by name in `<>`, others as they are.
    before: &'static str,
    after: &'static str,
    check: Check,
}

const fn replay(action: &'static str, before: &'static str, after: &'static str, check: Check) -> Session {
    Session { action, live: false, before, after, check }
}

const fn live(action: &'static str, before: &'static str, after: &'static str, check: Check) -> Session {
    Session { action, live: true, before, after, check }
}

fn kind(app: &App) -> Option<Kind> {
    app.selected().map(|event| event.payload.kind())
}

fn exit_ns(event: &trace_format::Event) -> Option<u64> {
    match &event.payload {
        Payload::Exit(exit) => Some(exit.handling_ns),
        _ => None,
    }
}

fn said(app: &App) -> &str {
    app.message().map_or("", |message| message.text.as_str())
}

macro_rules! session_file {
    () => {
        concat!(env!("CARGO_TARGET_TMPDIR"), "/session.csv")
    };
}

const EXPORTED: &str = session_file!();
const EXPORT: &str = concat!("!", session_file!(), "<line-accept>");

const SESSIONS: &[Session] = &[
    replay("quit", "", "", |_, command| assert_eq!(command, Some(Command::Quit))),
    replay("suspend", "", "", |_, command| assert_eq!(command, Some(Command::Suspend))),
    replay("help", "", "shootd", |app, _| {
        assert!(matches!(app.mode(), Mode::Help(help) if help.text() == "shootd"));
        assert_eq!(app.help_entries().iter().map(|entry| entry.name).collect::<Vec<_>>(), ["ipis"]);
    }),
    replay("help-close", "<help>", "", |app, _| assert!(matches!(app.mode(), Mode::Panes))),
    replay("help-do", "<help>shootd", "", |app, _| assert_eq!(app.view_shown(), View::Ipis)),
    replay("help-down", "<help>", "<help-do>", |app, _| assert!(matches!(app.mode(), Mode::Help(_)))),
    replay("help-up", "<help><help-down><help-down>", "<help-do>", |app, _| {
        assert!(matches!(app.mode(), Mode::Help(_)));
    }),
    replay("help-page-down", "<help>", "", |app, _| {
        assert!(matches!(app.mode(), Mode::Help(help) if help.selected() == 15));
    }),
    replay("help-page-up", "<help><help-page-down><help-down>", "", |app, _| {
        assert!(matches!(app.mode(), Mode::Help(help) if help.selected() == 1));
    }),
    replay("help-quit", "<help>", "", |_, command| assert_eq!(command, Some(Command::Quit))),
    replay("command", "", "goto 7<line-accept>", |app, _| assert_eq!(app.cursor(), 7)),
    replay("line-accept", "<command>nonsense", "", |app, _| {
        assert!(said(app).contains("there is no command"));
    }),
    replay("line-cancel", "<command>quit", "", |app, _| assert!(matches!(app.mode(), Mode::Panes))),
    replay("line-complete", "<command>zoom-", "<line-accept>", |app, _| assert!(app.view().start > 0)),
    replay("line-complete-back", "<command>zo<line-complete>", "", |app, _| {
        assert!(matches!(app.mode(), Mode::Line(line) if line.text() == "zoom-out"));
    }),
    replay("overview", "", "", |app, _| assert_eq!(app.view_shown(), View::Overview)),
    replay("timeline", "", "", |app, _| assert_eq!(app.view_shown(), View::Timeline)),
    replay("events", "<overview>", "", |app, _| assert_eq!(app.view_shown(), View::Events)),
    replay("statistics", "", "", |app, _| assert_eq!(app.view_shown(), View::Statistics)),
    replay("traps", "", "", |app, _| assert_eq!(app.view_shown(), View::Traps)),
    replay("memory", "", "", |app, _| assert_eq!(app.view_shown(), View::Memory)),
    replay("ipis", "", "", |app, _| assert_eq!(app.view_shown(), View::Ipis)),
    replay("console", "", "", |app, _| assert_eq!(app.view_shown(), View::Console)),
    replay("code", "", "", |app, _| assert_eq!(app.view_shown(), View::Code)),
    replay("next-view", "", "", |app, _| assert_eq!(app.view_shown(), View::Statistics)),
    replay("previous-view", "", "", |app, _| assert_eq!(app.view_shown(), View::Timeline)),
    replay("next-pane", "", "", |app, _| assert_eq!(app.focused(), Pane::Detail)),
    replay("previous-pane", "<timeline>", "", |app, _| assert_eq!(app.focused(), Pane::Timeline)),
    replay("maximize", "", "", |app, _| assert_eq!(app.panes().map(|panes| panes.shown.len()), Some(1))),
    replay("open", "", "", |app, _| assert_eq!(app.focused(), Pane::Detail)),
    replay("back", "<maximize>", "", |app, _| {
        assert_eq!(app.panes().map(|panes| panes.shown.len()), Some(2));
    }),
    live("pause", "", "", |_, command| assert_eq!(command, Some(Command::Resume))),
    live("step", "", "", |_, command| assert!(matches!(command, Some(Command::Step { .. })))),
    live("step-over", "", "", |_, command| assert!(matches!(command, Some(Command::StepOver { .. })))),
    live("run-to", "", "kind == ipi<line-accept>", |_, command| {
        assert!(matches!(command, Some(Command::RunTo(wanted)) if wanted.0.text() == "kind == ipi"));
    }),
    live("breakpoint-here", "<filter>kind == exit<line-accept><first>", "", |app, command| {
        let Some(Payload::Exit(exit)) = app.selected().map(|event| &event.payload) else { panic!("an exit") };
        assert_eq!(command, Some(Command::ToggleBreakpoint { vcpu: 0, gva: exit.rip }));
    }),
    live("breakpoint", "", "0x1234<line-accept>", |_, command| {
        assert!(matches!(command, Some(Command::ToggleBreakpoint { gva: 0x1234, .. })));
    }),
    live("breakpoint", "", "shoot_d<line-complete><line-accept>", |app, command| {
        let function = app.header().symbols.address_of("shoot_down").expect("a symbol");
        assert!(matches!(command, Some(Command::ToggleBreakpoint { gva, .. }) if gva == function));
    }),
    live("breakpoint", "", "nowhere<line-accept>", |app, command| {
        assert_eq!((command, said(app)), (None, "the guest's image has no symbol `nowhere`"));
    }),
    live("breakpoints", "", "", |app, _| {
        assert!(said(app).starts_with("there is no breakpoint"));
        app.set_breakpoints(vec![0x10]);
        press(app, "<breakpoints>");
        assert_eq!(said(app), "1 breakpoint: 0x10");
    }),
    live("clear-breakpoints", "", "", |_, command| assert_eq!(command, Some(Command::ClearBreakpoints))),
    live("reset", "", "", |_, command| assert_eq!(command, Some(Command::Reset))),
    live("stop", "", "", |_, command| assert_eq!(command, Some(Command::Stop))),
    live("save-copy", "", "<line-accept>", |app, command| {
        let path = format!("tlb-shootdown-{}.vmt", app.known()).into();
        assert_eq!(command, Some(Command::SaveCopy { path }));
    }),
    live("save", "", "<line-accept>", |_, command| {
        assert_eq!(command, Some(Command::Save { path: "tlb-shootdown.vmt".into() }));
    }),
    replay("up", "", "", |app, _| assert_eq!(app.cursor(), 99)),
    replay("down", "", "", |app, _| assert_eq!(app.cursor(), 101)),
    replay("page-up", "", "", |app, _| assert_eq!(app.cursor(), 75)),
    replay("page-down", "", "", |app, _| assert_eq!(app.cursor(), 125)),
    replay("half-page-up", "", "", |app, _| assert_eq!(app.cursor(), 88)),
    replay("half-page-down", "", "", |app, _| assert_eq!(app.cursor(), 112)),
    replay("first", "", "", |app, _| assert_eq!(app.cursor(), 0)),
    replay("last", "", "", |app, _| assert_eq!((app.cursor() + 1, app.follows()), (app.known(), true))),
    replay("filter", "", "kind == walk<line-accept>", |app, _| {
        app.read_all();
        assert_eq!((app.filter(), app.listed().count), ("kind == walk", 4));
        assert!(
            app.window()
                .events
                .iter()
                .flat_map(|(_, event)| event)
                .all(|event| event.payload.kind() == Kind::Walk)
        );
    }),
    replay("search", "<first>", "kind == walk<line-accept>", |app, _| {
        let found = app.searched().expect("a search");
        assert_eq!((kind(app), found.at, found.count), (Some(Kind::Walk), Some(1), 4));
        assert!(app.listed().count > 4, "the others are in view");
        press(app, "<next-alike><next-alike><next-alike>");
        assert_eq!(app.searched().and_then(|found| found.at), Some(4));
        press(app, "<next-alike>");
        assert_eq!(
            (app.searched().and_then(|found| found.at), said(app)),
            (Some(1), "past the last match: on from the first")
        );
        insta::assert_snapshot!("search", snapshot(app, SIZE));
        press(app, "<back>");
        assert!(app.searched().is_none());
    }),
    replay("columns", "", ",latency,exit.re<line-complete><line-accept>", |app, _| {
        let names: Vec<&str> = app.columns().names().collect();
        assert_eq!(names, ["time", "vcpu", "kind", "event", "latency", "exit.reason"]);
        press(app, "<command>columns number,time,vcpu,exit.reason,latency,rip,event<line-accept>");
        insta::assert_snapshot!("columns", snapshot(app, SIZE));
        press(app, "<command>columns ,<line-accept>");
        assert!(!app.has_column_names());
    }),
    replay("sort", "<filter>kind == exit<line-accept>", "-latency<line-accept>", |app, _| {
        let times: Vec<_> =
            app.window().events.iter().filter_map(|(_, event)| exit_ns(event.as_ref()?)).collect();
        assert!(times.len() > 10 && times.is_sorted_by(|a, b| a >= b), "{times:?}");
        insta::assert_snapshot!("sorted", snapshot(app, SIZE));
        press(app, "<back>");
        assert_eq!((app.sorted_by(), app.filter()), (None, "kind == exit"));
    }),
    replay("goto", "", "#42<line-accept>", |app, _| assert_eq!(app.cursor(), 42)),
    replay("memory-at", "", "0xffff_8000_0000_1234<line-accept>", |app, _| {
        assert_eq!((app.view_shown(), app.focused()), (View::Memory, Pane::Memory));
        assert_eq!(app.hex().map(|hex| hex.at), Some(At::Virtual(0xffff_8000_0000_1230)));
    }),
    replay("flags", "<memory><next-pane><next-pane>", "w !u<line-accept>", |app, _| {
        assert_eq!((app.space_flags().to_string(), app.focused()), ("w !u".into(), Pane::Space));
    }),
    replay("changes", "<memory><next-pane><next-pane>", "", |app, _| {
        app.read_all();
        assert!(app.space_listed().is_some_and(|listed| listed.changes));
    }),
    replay("next-space", "<memory><next-pane><next-pane>", "", |app, _| {
        app.read_all();
        assert_eq!(
            app.space_listed().map(|listed| (listed.table, listed.place)),
            Some((0x1000, Some((1, 1))))
        );
    }),
    replay("space", "<memory><next-pane><next-pane>", "10<line-complete><line-accept>", |app, _| {
        app.read_all();
        assert_eq!(app.space_listed().map(|listed| listed.table), Some(0x1000));
    }),
    replay("select-range", "<select-range><page-down>", "", |app, _| {
        let range = app.range().expect("a range is selected");
        assert_eq!(range.events, Some(26));
    }),
    replay("mark", "", "here it is slow<line-accept>", |app, _| {
        assert_eq!(app.marks().get(100).map(|mark| mark.note.as_str()), Some("here it is slow"));
    }),
    replay("unmark", "<mark>x<line-accept>", "", |app, _| assert!(app.marks().all().is_empty())),
    replay("goto-mark", "<mark>slow<line-accept><first>", "slow<line-complete><line-accept>", |app, _| {
        assert_eq!(app.cursor(), 100);
    }),
    replay("next-mark", "<mark><line-accept><first>", "", |app, _| assert_eq!(app.cursor(), 100)),
    replay("previous-mark", "<mark><line-accept><last>", "", |app, _| assert_eq!(app.cursor(), 100)),
    replay("measure", "<mark><line-accept><page-down><mark><line-accept><first>", "", |app, _| {
        let between = app.range().expect("the marks have a range between them");
        assert_eq!(between.events, Some(26));
        assert!(app.message().is_some_and(|message| message.text.ends_with("from #100 to #125")));
    }),
    replay("play", "", "", |app, _| {
        assert!(app.playback().is_on());
        assert!(app.advance(Duration::from_micros(100)));
        let after = app.cursor();
        assert!((101..app.known()).contains(&after), "{after}");
        app.advance(Duration::from_secs(100));
        assert_eq!((app.cursor() + 1, app.playback().is_on()), (app.known(), false));
    }),
    replay("faster", "", "", |app, _| assert_eq!(app.playback().speed(), "2x")),
    replay("slower", "", "", |app, _| assert_eq!(app.playback().speed(), "1/2x")),
    replay("copy", "", "<line-accept>", |_, command| {
        assert!(matches!(command, Some(Command::Copy(text)) if text.starts_with("#100 ")));
    }),
    replay("export", "<filter>kind == walk<line-accept>", EXPORT, |app, _| {
        let written = std::fs::read_to_string(EXPORTED).expect("it is written");
        assert_eq!(written.lines().count(), 1 + 4, "a head and the walks");
        assert_eq!(said(app), format!("4 of {} events are in {EXPORTED}, as csv", app.known()));
        press(app, concat!("<export>", session_file!(), "<line-accept>"));
        assert!(said(app).contains("there is such a file"), "{}", said(app));
    }),
    replay("next-alike", "", "", |app, _| assert!(app.cursor() > 100)),
    replay("previous-alike", "", "", |app, _| assert!(app.cursor() < 100)),
    replay("next-on-vcpu", "", "", |app, _| assert!(app.cursor() > 100)),
    replay("previous-on-vcpu", "", "", |app, _| assert!(app.cursor() < 100)),
    replay("zoom-in", "", "", |app, _| assert!(app.view().span < app.summary().last_time)),
    replay("zoom-out", "<zoom-in><zoom-in>", "<zoom-out>", |app, _| assert_eq!(app.view().start, 0)),
    replay("fit", "<zoom-in><zoom-in>", "", |app, _| assert_eq!(app.view().start, 0)),
    replay("left", "<zoom-in><zoom-in><zoom-in>", "", |app, _| {
        let start = app.view().start;
        press(app, "<right>");
        assert!(app.view().start > start);
    }),
    replay("right", "<zoom-in><zoom-in><zoom-in>", "", |app, _| {
        let start = app.view().start;
        press(app, "<left>");
        assert!(app.view().start < start);
    }),
    replay("order", "<statistics>", "", |app, _| {
        let totals: Vec<f64> = app.statistics_rows().iter().map(|row| row.total_ns).collect();
        assert!(totals.is_sorted_by(|a, b| a >= b), "{totals:?}");
    }),
    replay("times", "<statistics>", "", |app, _| assert!(app.shows_guest_time())),
    live("type", "<console>", "", |app, _| assert!(matches!(app.mode(), Mode::Typing))),
    live("stop-typing", "<console><type>", "", |app, _| assert!(matches!(app.mode(), Mode::Panes))),
    replay("search-console", "<console>", "st<line-accept>", |app, _| {
        assert_eq!(app.console_needle().map(Needle::text), Some("st"));
        assert!(said(app).starts_with("`st`: line 1 of "), "{}", said(app));
    }),
    replay("next-in-console", "<console><search-console>st<line-accept>", "", |app, _| {
        assert!(said(app).starts_with("`st`: line 2 of "), "{}", said(app));
    }),
    replay("previous-in-console", "<console><search-console>st<line-accept>", "", |app, _| {
        assert!(said(app).ends_with(", on from the bottom"), "{}", said(app));
    }),
    replay("display", "<console>", "", |app, _| {
        assert_eq!(app.display(), vmscope::model::output::Display::Screen);
    }),
];

fn begin(live: bool) -> App {
    let settings = Settings { temporary: live, ..Settings::plain() };
    let mut app = App::new(synthetic::trace().expect("readable"), settings);
    app.resize(SIZE);
    app.read_all();
    app.show(View::Events);
    app.select(100);
    if live {
        app.set_machine(Some(Machine::Paused { by: Actor::User }));
    }
    app.resize(SIZE);
    app
}

fn event(press: Press) -> [Option<KeyEvent>; 2] {
    let key = |code| Some(KeyEvent::new(code, KeyModifiers::NONE));
    match press {
        Press::Key(code) => [key(code), None],
        Press::Twice(code) => [key(code), key(code)],
        Press::Ctrl(c) => [Some(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)), None],
    }
}

/// Presses keys, `<name>` for the first key of that action, and returns what came of the last.
fn press(app: &mut App, keys: &str) -> Option<Command> {
    let mut command = None;
    let mut rest = keys;
    while let Some(c) = rest.chars().next() {
        let name = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let keys = match name {
            Some((name, after)) => {
                rest = after;
                event(find(name).unwrap_or_else(|| panic!("{name}?")).keys[0])
            }
            None => {
                rest = &rest[c.len_utf8()..];
                event(Press::Key(KeyCode::Char(c)))
            }
        };
        for key in keys.into_iter().flatten() {
            command = app.key(key);
        }
        // What is looked for on other threads is there before the next key.
        app.read_all();
    }
    command
}

/// Whoever adds an action adds a session of it.
#[test]
fn everything_that_can_be_done_is_done() {
    for entry in TABLE {
        let mut sessions = SESSIONS.iter().filter(|session| session.action == entry.name).peekable();
        assert!(sessions.peek().is_some(), "no session for `{}`", entry.name);
        for session in sessions {
            // By every key that it has, and by its name.
            for key in entry.keys {
                let mut app = begin(session.live);
                press(&mut app, session.before);
                let mut command = None;
                for key in event(*key).into_iter().flatten() {
                    command = app.key(key);
                }
                app.read_all();
                let later = press(&mut app, session.after);
                (session.check)(&mut app, if session.after.is_empty() { command } else { later });
                assert!(!snapshot(&mut app, SIZE).is_empty());
            }
            if matches!(entry.scope, Scope::Panes)
                && matches!(entry.what, What::Do(_))
                && entry.name != "command"
            {
                let mut app = begin(session.live);
                press(&mut app, session.before);
                let command = press(&mut app, &format!("<command>{}<line-accept>", entry.name));
                let later = press(&mut app, session.after);
                (session.check)(&mut app, if session.after.is_empty() { command } else { later });
            }
        }
    }
}

/// A replay has nobody to control.
#[test]
fn what_needs_a_guest_says_that_there_is_none() {
    for entry in TABLE.iter().filter(|entry| entry.live && entry.scope == Scope::Panes) {
        let mut app = begin(false);
        let command = press(&mut app, &format!("<{}>", entry.name));
        assert_eq!(command, None, "{}", entry.name);
        let said = said(&app);
        assert!(
            said.contains("recorded trace") || said.contains("file of its own"),
            "{}: {said}",
            entry.name
        );
        assert!(matches!(app.mode(), Mode::Panes), "{} asks", entry.name);
    }
    let mut app = begin(false);
    assert_eq!(press(&mut app, "<command>breakpoint main<line-accept>"), None);
    assert_eq!(said(&app), "nothing to stop: this is a recorded trace");
}

/// What the program is for: which shootdown was the slowest, who acknowledged it late, and in which handler. From the
/// keyboard alone, with what the screen says.
#[test]
fn the_slowest_shootdown_and_who_was_late() {
    let trace = concat!(env!("CARGO_MANIFEST_DIR"), "/../replays/tlb-shootdown-4.vmt");
    let mut app = App::new(Reader::open(trace).expect("a replay"), Settings::plain());
    app.resize(SIZE);
    app.read_all();
    let screen = snapshot(&mut app, SIZE);
    assert!(screen.contains("7 ipis"), "the tabs say where:\n{screen}");
    press(&mut app, "7");
    let screen = snapshot(&mut app, SIZE);
    assert!(screen.contains("Enter"), "the footer says how to go on:\n{screen}");
    insta::assert_snapshot!("slowest-shootdown", screen);
    let report = app.report().expect("it was counted");
    let slowest = report.details.slowest_shootdowns[0].clone();
    let late = slowest.slowest().expect("all have answered");
    press(&mut app, "<open>");
    assert_eq!(app.focused(), Pane::Targets);
    let selected = app.selected().expect("an event").clone();
    assert_eq!((kind(&app), selected.vcpu), (Some(Kind::IpiEoi), late.vcpu));
    assert!(selected.time > slowest.time);
    let screen = snapshot(&mut app, SIZE);
    assert!(
        screen.contains(&format!("cpu{} was last", late.vcpu)) && screen.contains("handler trap_stubs+0x400"),
        "{screen}"
    );
    press(&mut app, "<open>");
    assert_eq!(app.view_shown(), View::Timeline);
    let view = app.view();
    assert!(view.start <= slowest.time && view.end() > selected.time);
    insta::assert_snapshot!("slowest-shootdown-timeline", snapshot(&mut app, SIZE));
}

/// A bar of a histogram says how many events it has, and Enter lists them.
#[test]
fn a_bucket_lists_exactly_its_events() {
    let mut app = begin(false);
    press(&mut app, "<statistics><down><next-pane><down>");
    let measured = app.measured(Pane::Times).expect("something is measured");
    let buckets = app.histogram(Pane::Times).expect("it has a histogram").buckets();
    let bucket = &buckets[app.bucket_list(Pane::Times).selected(buckets.len()).expect("one is selected")];
    let filter = measured.filter(bucket);
    press(&mut app, "<open>");
    assert_eq!(
        (app.view_shown(), app.filter(), app.listed().count),
        (View::Events, filter.as_str(), bucket.count)
    );
}

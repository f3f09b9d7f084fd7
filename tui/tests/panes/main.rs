//! What every pane looks like on a small and on a large terminal, and how keys move through them.

mod code;
mod console;
mod events;
mod memory;
mod paused;
mod sessions;
mod synthetic;
mod timeline;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Size};
use trace_format::{Kind, Reader};
use vmscope::app::action::{Action, Command, Motion};
use vmscope::app::{App, Pane, Settings, View};
use vmscope::debugger::{Debugger, Place};
use vmscope::guest::Machine;
use vmscope::ui;
use vmscope::ui::theme::Theme;

const SIZES: [Size; 2] = [Size::new(80, 24), Size::new(160, 50)];

fn app() -> App {
    let reader = synthetic::trace().expect("a trace in memory is readable");
    let mut app = App::new(reader, Settings::plain());
    app.read_all();
    app
}

fn snapshot(app: &mut App, size: Size) -> String {
    ui::snapshot(app, size).expect("a terminal in memory does not fail")
}

fn press(app: &mut App, keys: &str) -> Option<Command> {
    keys.chars().filter_map(|c| app.key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE))).last()
}

fn mouse(app: &mut App, kind: MouseEventKind, at: Position) {
    app.mouse(MouseEvent { kind, column: at.x, row: at.y, modifiers: KeyModifiers::NONE });
}

fn select(app: &mut App, kind: Kind, nth: usize) {
    app.update(Action::Move(Motion::First));
    let mut found = 0;
    for number in 0..app.known() {
        app.select(number);
        if app.selected().is_some_and(|event| event.payload.kind() == kind) {
            found += 1;
            if found == nth {
                app.focus(Pane::Detail);
                return;
            }
        }
    }
    panic!("there is no {nth}th {}", kind.name());
}

#[test]
fn every_view_at_every_size() {
    for size in SIZES {
        for view in View::ALL {
            let mut app = app();
            app.resize(size);
            select(&mut app, Kind::IpiAccepted, 4);
            app.show(view);
            app.read_all();
            let name = format!("{}-{}x{}", view.name(), size.width, size.height);
            insta::assert_snapshot!(name.as_str(), snapshot(&mut app, size));
        }
    }
}

#[test]
fn every_pane_alone() {
    for pane in Pane::ALL {
        let mut app = app();
        app.resize(SIZES[0]);
        select(&mut app, Kind::IpiAccepted, 4);
        app.focus(pane);
        app.read_all();
        app.update(Action::Maximize);
        let name: String = pane.name().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        insta::assert_snapshot!(format!("pane-{name}"), snapshot(&mut app, SIZES[0]));
    }
}

#[test]
fn small_terminals_show_the_focused_pane() {
    for size in [Size::new(20, 5), Size::new(40, 10), Size::new(59, 30)] {
        let mut app = app();
        select(&mut app, Kind::IpiAccepted, 4);
        app.focus(Pane::Events);
        insta::assert_snapshot!(format!("small-{}x{}", size.width, size.height), snapshot(&mut app, size));
    }
}

/// Whatever the size, nothing is drawn outside and nothing panics.
#[test]
fn any_size_will_do() {
    let mut app = app();
    for view in View::ALL {
        app.show(view);
        app.read_all();
        for height in (0..60).step_by(3) {
            for width in [0, 1, 19, 20, 21, 39, 59, 60, 75, 76, 79, 80, 133, 300] {
                snapshot(&mut app, Size::new(width, height));
            }
        }
    }
}

#[test]
fn a_zoomed_timeline_shows_arrows_and_handlers() {
    let mut app = app();
    app.resize(SIZES[1]);
    select(&mut app, Kind::Ipi, 5);
    app.focus(Pane::Timeline);
    press(&mut app, "+++");
    insta::assert_snapshot!("timeline-zoomed", snapshot(&mut app, SIZES[1]));
    press(&mut app, "e");
    insta::assert_snapshot!("timeline-zoomed-maximized", snapshot(&mut app, SIZES[1]));
}

#[test]
fn walks_are_drawn_as_their_levels() {
    let mut app = app();
    app.resize(SIZES[0]);
    select(&mut app, Kind::Walk, 1);
    press(&mut app, "e");
    insta::assert_snapshot!("walk-mapped", snapshot(&mut app, SIZES[0]));
    select(&mut app, Kind::Walk, 2);
    insta::assert_snapshot!("walk-fault", snapshot(&mut app, SIZES[0]));
}

#[test]
fn help_prompt_and_banner() {
    let mut app = app();
    app.resize(SIZES[0]);
    press(&mut app, "?");
    insta::assert_snapshot!("help", snapshot(&mut app, SIZES[0]));
    let settings = Settings { temporary: true, banner: Some("no /dev/kvm here".into()), ..Settings::plain() };
    let mut app = App::new(synthetic::trace().expect("readable"), settings);
    app.read_all();
    app.resize(SIZES[0]);
    press(&mut app, "w");
    insta::assert_snapshot!("prompt", snapshot(&mut app, SIZES[0]));
    assert_eq!(
        app.key(KeyEvent::from(KeyCode::Enter)),
        Some(Command::Save { path: "tlb-shootdown.vmt".into() })
    );
}

#[test]
fn too_small_a_terminal_says_so() {
    insta::assert_snapshot!("too-small", snapshot(&mut app(), Size::new(19, 10)));
}

#[test]
fn following_stops_when_scrolling_up_and_goes_on_at_the_end() {
    let settings = Settings { follow: true, ..Settings::plain() };
    let file = synthetic::unfinished(120).expect("a trace in memory");
    let mut app = App::new(Reader::from_bytes(file).expect("readable"), settings);
    app.read_all();
    app.resize(SIZES[0]);
    assert_eq!((app.cursor(), app.follows()), (119, true));
    press(&mut app, "k");
    assert_eq!((app.cursor(), app.follows()), (118, false));
    press(&mut app, "gg");
    assert_eq!((app.cursor(), app.follows()), (0, false));
    press(&mut app, "G");
    assert_eq!((app.cursor(), app.follows()), (119, true));
    insta::assert_snapshot!("growing", snapshot(&mut app, SIZES[0]));
}

#[test]
fn alike_events_are_found_both_ways() {
    let mut app = app();
    app.resize(SIZES[0]);
    select(&mut app, Kind::Walk, 1);
    let first = app.cursor();
    press(&mut app, "n");
    let second = app.cursor();
    assert!(second > first);
    assert_eq!(app.selected().map(|event| event.payload.kind()), Some(Kind::Walk));
    press(&mut app, "N");
    assert_eq!(app.cursor(), first);
    press(&mut app, "N");
    assert_eq!((app.cursor(), app.message().map(|m| m.text.as_str())), (first, Some("no earlier walk")));
    press(&mut app, "]");
    assert_eq!(app.selected().map(|event| event.vcpu), Some(1));
}

#[test]
fn the_timeline_stays_around_the_cursor() {
    let mut app = app();
    app.resize(SIZES[0]);
    select(&mut app, Kind::Ipi, 3);
    press(&mut app, "++++");
    let time = app.selected().map(|event| event.time).expect("an event is selected");
    let view = app.view();
    assert!((view.start..view.end()).contains(&time));
    press(&mut app, "lllllllllllllllllllllllll");
    assert!(app.view().start > time, "panned away");
    press(&mut app, "n");
    let time = app.selected().map(|event| event.time).expect("an event is selected");
    let view = app.view();
    assert!((view.start..view.end()).contains(&time), "the view follows the cursor");
    press(&mut app, "0");
    assert_eq!(app.view().start, 0);
}

#[test]
fn keys_reach_the_guest_only_when_there_is_one() {
    let mut app = app();
    app.resize(SIZES[0]);
    assert_eq!(press(&mut app, " "), None);
    assert!(app.message().is_some_and(|message| message.text.contains("recorded")));
    app.set_machine(Some(Machine::Running));
    assert_eq!(press(&mut app, "s"), None, "a running guest is not stepped");
    assert_eq!(press(&mut app, " "), Some(Command::Pause));
    app.set_machine(Some(Machine::Paused { by: trace_format::event::Actor::User }));
    assert_eq!(press(&mut app, "s"), Some(Command::Step { vcpu: 0 }));
    assert_eq!(press(&mut app, " "), Some(Command::Resume));
    assert_eq!(press(&mut app, "q"), Some(Command::Quit));
}

#[test]
fn who_stopped_the_guest_is_said_and_the_cursor_goes_there() {
    let mut app = app();
    app.resize(SIZES[1]);
    app.select(0);
    assert_eq!(app.cursor(), 0);
    app.set_machine(Some(Machine::Paused { by: trace_format::event::Actor::Gdb }));
    app.read_all();
    assert_eq!(app.cursor(), app.known() - 1);
    assert!(snapshot(&mut app, SIZES[1]).contains("stopped by GDB"));
}

#[test]
fn the_cursor_stays_at_a_stop_whatever_other_vcpus_did_after_it() {
    let settings = Settings { follow: true, ..Settings::plain() };
    let trace = synthetic::stopped().expect("a trace in memory");
    let mut app = App::new(Reader::from_bytes(trace).expect("readable"), settings);
    app.resize(SIZES[0]);
    app.set_machine(Some(Machine::Paused { by: trace_format::event::Actor::Gdb }));
    app.read_all();
    let last = app.known() - 1;
    assert_eq!((app.cursor(), app.follows()), (last - 2, true));
    assert!(snapshot(&mut app, SIZES[0]).contains("stopped by GDB at cpu1 0x1234"));
    press(&mut app, "j");
    assert_eq!((app.cursor(), app.follows()), (last - 1, false), "the user may look around");
    press(&mut app, "G");
    assert_eq!((app.cursor(), app.follows()), (last, true));
}

#[test]
fn what_is_not_seen_is_said() {
    let mut app =
        App::new(synthetic::not_all_seen().expect("a trace in memory is readable"), Settings::plain());
    app.read_all();
    assert!(!snapshot(&mut app, SIZES[1]).contains('\u{1b}'));
    app.resize(SIZES[1]);
    app.focus(Pane::Run);
    app.update(Action::Maximize);
    let screen = snapshot(&mut app, SIZES[1]);
    for said in [
        "not all is seen",
        "not seen    accesses to local APICs",
        "takes an interrupt: KVM plays",
        "not seen    IPIs: tracefs",
    ] {
        assert!(screen.contains(said), "{said}:\n{screen}");
    }
}

#[test]
fn no_foreign_byte_reaches_the_terminal() {
    let mut app = app();
    for size in SIZES {
        for number in 0..app.known() {
            app.select(number);
            app.focus(Pane::Detail);
            let screen = snapshot(&mut app, size);
            assert!(!screen.contains(|c: char| c.is_control() && c != '\n'), "event {number}");
        }
    }
}

fn coloured() -> Settings {
    let mut settings = Settings::plain();
    settings.look.theme = Theme::default();
    settings
}

#[test]
fn colour_changes_nothing_but_colour_and_the_timeline() {
    let reader = synthetic::trace().expect("readable");
    let mut app = App::new(reader, coloured());
    app.read_all();
    insta::assert_snapshot!("colour", snapshot(&mut app, SIZES[0]));
}

fn gdb(attached: bool, place: Option<Place>) -> Debugger {
    Debugger { address: "127.0.0.1:1234".into(), open: false, attached, place }
}

#[test]
fn the_cursor_follows_a_debugger_and_leaves_it_where_it_is() {
    let mut app = app();
    app.resize(SIZES[0]);
    app.select(10);
    assert!(app.set_debugger(gdb(false, None)));
    assert!(!app.set_debugger(gdb(false, None)), "nothing new");
    insta::assert_snapshot!("debugger-none", snapshot(&mut app, SIZES[0]).lines().next().unwrap_or_default());
    assert_eq!(app.cursor(), 10);
    let place = |event, stops| Some(Place { event, stops });
    assert!(app.set_debugger(gdb(true, place(30, 1))));
    assert_eq!(app.cursor(), 30);
    press(&mut app, "kkk");
    assert!(!app.set_debugger(gdb(true, place(30, 1))));
    assert_eq!(app.cursor(), 27, "it has not moved");
    insta::assert_snapshot!("debugger-elsewhere", snapshot(&mut app, SIZES[0]));
    assert!(app.set_debugger(gdb(true, place(30, 2))), "it has stopped there again");
    assert_eq!(app.cursor(), 30);
}

#[test]
fn the_cursor_follows_a_debugger_as_far_as_the_trace_is_read() {
    let mut app = App::new(synthetic::trace().expect("readable"), Settings::plain());
    app.resize(SIZES[0]);
    let debugger = gdb(true, Some(Place { event: 30, stops: 1 }));
    app.set_debugger(debugger.clone());
    assert_eq!(app.cursor(), 0);
    app.read_all();
    app.set_debugger(debugger);
    assert_eq!(app.cursor(), 30);
}

/// The warning has to be seen however little room there is.
#[test]
fn a_debugger_that_anybody_can_be_is_warned_of() {
    let mut app = app();
    let open = Debugger { address: "0.0.0.0:1234".into(), open: true, ..gdb(true, None) };
    app.set_debugger(open);
    app.set_machine(Some(Machine::Paused { by: trace_format::event::Actor::Gdb }));
    app.read_all();
    insta::assert_snapshot!("debugger-open", snapshot(&mut app, SIZES[0]).lines().next().unwrap_or_default());
}

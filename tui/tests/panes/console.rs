//! The guest's text screen, and typing to the guest.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use trace_format::{Kind, Reader};
use vmscope::app::action::{Action, Command, Motion, Typed};
use vmscope::app::{App, Mode, Pane, Settings};
use vmscope::guest::{Key, Machine};
use vmscope::model::output::Display;

use super::{SIZES, press, snapshot, synthetic};

/// A guest that writes to both of its displays, seen after its last event.
fn app() -> App {
    let reader = synthetic::with_screen().expect("a trace in memory is readable");
    let mut app = App::new(reader, Settings::plain());
    app.resize(SIZES[0]);
    app.read_all();
    app.update(Action::Move(Motion::Last));
    app.focus(Pane::Console);
    app
}

fn type_key(app: &mut App, code: KeyCode, modifiers: KeyModifiers) -> Option<Command> {
    app.key(KeyEvent::new(code, modifiers))
}

#[test]
fn a_text_screen_is_shown_at_every_size() {
    for size in SIZES {
        let mut app = app();
        app.resize(size);
        let name = format!("screen-{}x{}", size.width, size.height);
        insta::assert_snapshot!(name.as_str(), snapshot(&mut app, size));
        app.update(Action::Maximize);
        insta::assert_snapshot!(format!("{name}-maximized"), snapshot(&mut app, size));
    }
}

#[test]
fn a_text_screen_is_shown_as_of_the_selected_event() {
    let mut app = app();
    app.resize(SIZES[1]);
    let newest = app.screen().text();
    assert!(newest.contains("Pass 100%"), "{newest}");
    app.focus(Pane::Events);
    app.update(Action::Move(Motion::First));
    app.focus(Pane::Console);
    assert!(snapshot(&mut app, SIZES[1]).contains("nothing on the screen yet"));
    assert!(app.screen().is_unused());
    while app.selected().is_some_and(|event| event.payload.kind() != Kind::Screen) {
        app.select(app.cursor() + 1);
    }
    app.resize(SIZES[1]);
    assert!(app.screen().text().starts_with("   Memory test"), "{}", app.screen().text());
    assert!(!app.screen().text().contains("Pass"));
    app.focus(Pane::Events);
    app.update(Action::Move(Motion::Last));
    app.focus(Pane::Console);
    app.resize(SIZES[1]);
    assert_eq!(app.screen().text(), newest);
}

#[test]
fn a_text_screen_that_does_not_fit_is_scrolled() {
    let mut app = app();
    app.resize(SIZES[0]);
    let part = app.screen_part();
    let cursor = app.screen().cursor().expect("there is one");
    assert!((part.row..part.row + part.rows).contains(&cursor.0.into()), "the cursor is in view: {part:?}");
    press(&mut app, "G");
    assert_eq!(app.screen_part().row + part.rows, 25);
    press(&mut app, "llllllllllllllll");
    assert_eq!(app.screen_part().column + part.columns, 80);
    insta::assert_snapshot!("screen-scrolled", snapshot(&mut app, SIZES[0]));
    press(&mut app, "gghhhhhhhhhhhhhhhh");
    assert_eq!((app.screen_part().row, app.screen_part().column), (0, 0));
}

#[test]
fn the_user_chooses_the_display() {
    let mut app = app();
    app.resize(SIZES[1]);
    assert_eq!(app.display(), Display::Screen);
    press(&mut app, "v");
    assert_eq!(app.display(), Display::Serial);
    insta::assert_snapshot!("screen-switched", snapshot(&mut app, SIZES[1]));
    press(&mut app, "v");
    assert_eq!(app.display(), Display::Screen);
}

#[test]
fn only_a_guest_that_lives_is_typed_to() {
    let mut app = app();
    app.resize(SIZES[0]);
    press(&mut app, "i");
    assert!(matches!(app.mode(), Mode::Panes));
    assert!(app.message().is_some_and(|message| message.text.contains("recorded")));
    app.set_machine(Some(Machine::Running));
    app.focus(Pane::Events);
    press(&mut app, "i");
    assert!(matches!(app.mode(), Mode::Panes), "only the console types");
    app.focus(Pane::Console);
    press(&mut app, "i");
    assert!(matches!(app.mode(), Mode::Typing));
    let why = trace_format::event::StopReason::PowerOff;
    app.set_machine(Some(Machine::Stopped { why }));
    assert!(matches!(app.mode(), Mode::Panes), "the guest is gone");
}

#[test]
fn every_key_goes_to_the_guest_but_those_that_end_it() {
    let (none, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
    let mut app = app();
    app.set_machine(Some(Machine::Running));
    press(&mut app, "i");
    for size in SIZES {
        app.resize(size);
        insta::assert_snapshot!(format!("typing-{}x{}", size.width, size.height), snapshot(&mut app, size));
    }
    let key = |key| Some(Command::Type(Typed::Key(key)));
    assert_eq!(press(&mut app, "q"), key(Key::Character('q')));
    assert_eq!(press(&mut app, "?"), key(Key::Character('?')));
    assert_eq!(type_key(&mut app, KeyCode::Tab, none), key(Key::Tab));
    assert_eq!(type_key(&mut app, KeyCode::Char('c'), control), key(Key::Control('c')));
    assert_eq!(type_key(&mut app, KeyCode::Esc, none), key(Key::Escape), "the first goes to the guest");
    assert_eq!(press(&mut app, "x"), key(Key::Character('x')));
    assert!(matches!(app.mode(), Mode::Typing));
    assert_eq!(type_key(&mut app, KeyCode::Esc, none), key(Key::Escape));
    assert_eq!(type_key(&mut app, KeyCode::Esc, none), None);
    assert!(matches!(app.mode(), Mode::Panes));

    press(&mut app, "vi");
    assert_eq!(type_key(&mut app, KeyCode::Enter, none), Some(Command::Type(Typed::Serial(b"\r".to_vec()))));
    // What crossterm makes of the byte that Ctrl-] is.
    assert_eq!(type_key(&mut app, KeyCode::Char('5'), control), None);
    assert!(matches!(app.mode(), Mode::Panes));
    assert_eq!(press(&mut app, "q"), Some(Command::Quit));
}

#[test]
fn what_is_not_seen_is_said() {
    let reader = Reader::from_bytes(synthetic::that_does_not_see().expect("a trace")).expect("readable");
    let mut app = App::new(reader, Settings::plain());
    app.read_all();
    let screen = snapshot(&mut app, SIZES[1]);
    let header = screen.lines().next().unwrap_or_default();
    assert!(header.ends_with("not seen: IPIs, because KVM plays the local APICs."), "{header}");
}

//! The timeline: stalls, marks and ranges in it, the mouse, and stretches with more events than are read at once.

use crossterm::event::{MouseButton, MouseEventKind};
use ratatui::layout::Position;
use trace_format::event::{Exit, ExitReason, Payload};
use trace_format::{Event, Header, Reader, Writer};
use vmscope::app::action::Action;
use vmscope::app::{App, Pane, Settings, View};

use super::{SIZES, mouse, press, snapshot};

fn trace() -> Reader {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../replays/tlb-shootdown-4.vmt");
    Reader::open(path).expect("it is in the repository")
}

fn shootdowns() -> App {
    let mut app = App::new(trace(), Settings::plain());
    app.resize(SIZES[1]);
    app.show(View::Timeline);
    app.read_all();
    app
}

/// Where the timeline's line `row` has column `column`.
fn place(app: &App, row: u16, column: u16) -> Position {
    let inside = app.panes().and_then(|panes| panes.inside(Pane::Timeline)).expect("it is shown");
    Position::new(inside.x + vmscope::app::layout::LANE_NAMES + column, inside.y + row)
}

#[test]
fn a_stall_is_bracketed_and_leads_to_its_icr_write() {
    let mut app = shootdowns();
    let slowest = *app.strip().and_then(|strip| strip.brackets.last()).expect("there are conversations");
    assert_eq!(Some(slowest.event), app.shootdowns().first().map(|slowest| slowest.event));
    assert!(slowest.begins && slowest.ends && slowest.from < slowest.to);
    let at = place(&app, 0, slowest.from + 1);
    mouse(&mut app, MouseEventKind::Down(MouseButton::Left), at);
    assert_eq!(app.cursor(), slowest.event);
    insta::assert_snapshot!("timeline-stalls", snapshot(&mut app, SIZES[1]));
}

#[test]
fn dragging_selects_a_range_and_marks_have_one_between_them() {
    let mut app = shootdowns();
    let (from, middle, to) = (place(&app, 3, 20), place(&app, 9, 50), place(&app, 3, 90));
    mouse(&mut app, MouseEventKind::Down(MouseButton::Left), from);
    let first = app.cursor();
    mouse(&mut app, MouseEventKind::Drag(MouseButton::Left), middle);
    assert_eq!(app.range().map(|range| range.events), Some(None), "it goes along with the mouse");
    mouse(&mut app, MouseEventKind::Drag(MouseButton::Left), to);
    let last = app.cursor();
    mouse(&mut app, MouseEventKind::Up(MouseButton::Left), to);
    let dragged = app.range().expect("a range is selected");
    let mut trace = trace();
    let mut time = |event| trace.event(event).expect("readable").expect("it is in the trace").time;
    // Several events have one time: the range has them all.
    let (from, to) = (time(first), time(last));
    let within = (0..shootdowns().known()).filter(|event| (from..=to).contains(&time(*event))).count();
    assert!(within > 100);
    assert_eq!(dragged.events, Some(within as u64));
    insta::assert_snapshot!("timeline-range", snapshot(&mut app, SIZES[1]));
    app.update(Action::Back);
    assert_eq!(app.range(), None);

    assert!(press(&mut app, "|").is_none());
    assert!(app.message().is_some_and(|message| message.error), "there are no marks to measure between");
    for event in [first, last] {
        app.select(event);
        app.update(Action::Mark(String::new()));
    }
    app.select(first + 1);
    press(&mut app, "|");
    let between = app.range().expect("a range is selected");
    assert_eq!(between.events, dragged.events);
    assert_eq!(app.mark_times(), [between.range.from, between.range.to]);
    insta::assert_snapshot!("timeline-marks", snapshot(&mut app, SIZES[1]));
}

#[test]
fn a_click_without_a_drag_selects_no_range() {
    let mut app = shootdowns();
    let at = place(&app, 3, 20);
    mouse(&mut app, MouseEventKind::Down(MouseButton::Left), at);
    mouse(&mut app, MouseEventKind::Up(MouseButton::Left), at);
    assert_eq!(app.range(), None);
}

#[test]
fn a_click_leaves_a_range_that_a_key_has_begun() {
    let mut app = shootdowns();
    app.select(100);
    press(&mut app, "x");
    let at = place(&app, 3, 90);
    mouse(&mut app, MouseEventKind::Down(MouseButton::Left), at);
    mouse(&mut app, MouseEventKind::Up(MouseButton::Left), at);
    assert_eq!(app.range().map(|range| range.events), Some(None), "it goes on to the cursor");
    let between = app.cursor() - 100;
    press(&mut app, "x");
    let chosen = app.range().and_then(|range| range.events);
    assert!(
        chosen.is_some_and(|events| events > between),
        "{chosen:?}, {between} and those of the same moment"
    );
}

#[test]
fn what_counts_are_too_coarse_for_is_read() {
    // Most of the run in its first hundredth.
    let mut writer = Writer::new(Vec::new(), &Header { vcpus: 1, ..Header::default() }).expect("in memory");
    let dense = 200_000;
    let times = (0..dense).map(|n| n * 50).chain((1..1000).map(|n| dense * 50 * (1 + n / 10)));
    for time in times {
        let reason = ExitReason::Halt;
        let exit = Exit { reason, rip: 0, cpl: 0, guest_ns: 10, handling_ns: 10 };
        writer.append(&Event { time, vcpu: 0, payload: Payload::Exit(exit) }).expect("in memory");
    }
    let trace = writer.finish().expect("in memory");
    let mut app = App::new(Reader::from_bytes(trace).expect("readable"), Settings::plain());
    app.resize(SIZES[1]);
    app.show(View::Timeline);
    app.read_all();
    assert!(app.strip().is_some_and(|strip| !strip.exact), "the counts are enough for the whole run");
    let busy = |app: &App| {
        let strip = app.strip().expect("it is shown");
        let cells = strip.lanes[0].iter().filter(|cell| cell.mix.exits() > 0).count();
        (strip.exact, cells, strip.lanes[0].len())
    };
    app.select(dense / 2);
    press(&mut app, "++++++++");
    let (exact, coarse, columns) = busy(&app);
    assert!(!exact && coarse < columns / 2, "{coarse} of {columns}");
    app.read_all();
    let (exact, cells, columns) = busy(&app);
    assert!(exact && cells == columns, "{cells} of {columns}");
    press(&mut app, "+");
    app.read_all();
    assert!(busy(&app).0 && !app.is_refining());
}

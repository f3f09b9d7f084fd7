//! The event list: its columns, and the mouse on their names.

use crossterm::event::{MouseButton, MouseEventKind};
use ratatui::layout::Position;
use vmscope::app::action::Action;
use vmscope::app::{Columns, Pane, SortBy};

use super::{SIZES, app, mouse, snapshot};

#[test]
fn a_click_on_the_name_of_a_column_sorts_by_it() {
    let mut app = app();
    app.resize(SIZES[0]);
    app.focus(Pane::Events);
    app.update(Action::Columns(Columns::of(["time", "vcpu", "kind", "latency", "event"]).expect("fields")));
    app.read_all();
    let list = app.panes().and_then(|panes| panes.inside(Pane::Events)).expect("it is shown");
    let screen = snapshot(&mut app, SIZES[0]);
    let head = screen.lines().nth(list.y.into()).expect("the line of the names");
    let at = |name: &str| {
        let before = head.find(name).unwrap_or_else(|| panic!("{name} is in {head}"));
        let column = head[..before].chars().count();
        Position::new(u16::try_from(column).expect("it is in the terminal"), list.y)
    };
    let press = MouseEventKind::Down(MouseButton::Left);
    for (name, descending) in [("latency", false), ("latency", true), ("vcpu", false)] {
        mouse(&mut app, press, at(name));
        app.read_all();
        let sorted = app.sorted_by().expect("it is sorted");
        assert_eq!((sorted.field, sorted.descending), (name, descending));
    }
    // The arrow has made the column before it wider.
    let Position { x, y } = at("event");
    mouse(&mut app, press, Position::new(x + 3, y));
    let by_vcpu = SortBy { field: "vcpu", descending: false };
    assert_eq!(app.sorted_by(), Some(by_vcpu), "what an event says has no order");

    // The rows begin below the names.
    let first = app.window().events[0].0;
    mouse(&mut app, press, Position::new(list.x + 3, list.y + 2));
    assert_eq!(app.cursor(), app.window().events[1].0);
    mouse(&mut app, press, Position::new(list.x + 3, list.y + 1));
    assert_eq!(app.cursor(), first);
}

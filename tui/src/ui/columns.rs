//! The event list with columns that were chosen, and the line of their names.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use trace_format::event::{Event, MACHINE};
use trace_format::filter::{Field, Subject, Type, Value};

use super::text;
use crate::app::{App, Column};
use crate::model::class::Class;

/// How wide the labels of kinds are.
const KINDS: usize = 8;
/// The widest a column of names is.
const NAMES: usize = 16;
/// The widest a column of text is: symbols.
const TEXT: usize = 28;

/// Whether a column's values stand at its right.
fn is_right(column: Column) -> bool {
    column.field().is_some_and(|field| matches!(field.of, Type::Number | Type::Time))
}

/// How wide a column is, by what it may hold: it stays where it is whatever is in view. What is left of the line is for
/// the last one.
fn width(app: &App, column: Column) -> usize {
    let Some(field) = column.field() else { return TEXT };
    let values = match (field.name, field.of) {
        ("time", _) => text::seconds(0, app.summary().last_time).len(),
        ("number", _) => text::count(app.known()).len(),
        ("vcpu", _) => 4,
        ("kind", _) => KINDS,
        (_, Type::Time) => "999 ms".len(),
        (_, Type::Address) => "0xffffffffffffffff".len(),
        (_, Type::Number) => 8,
        (_, Type::Truth) => "false".len(),
        (_, Type::Vcpus) => 8,
        (_, Type::Name) => field.names().iter().map(|name| name.len()).max().unwrap_or(0).min(NAMES),
        (_, Type::Text) => TEXT,
    };
    values.max(name(app, column).chars().count())
}

/// Each column with its width, whether its values stand at its right, and whether it is the last one.
fn places(app: &App) -> impl Iterator<Item = (Column, (usize, bool, bool))> {
    let columns: Vec<Column> = app.shown_columns().iter().collect();
    let count = columns.len();
    let place = move |(n, column)| (column, (width(app, column), is_right(column), n + 1 == count));
    columns.into_iter().enumerate().map(place)
}

/// Its name, and which way it is sorted.
fn name(app: &App, column: Column) -> String {
    let sorted = app.sorted_by().filter(|by| by.field == column.name());
    let arrow = sorted.map_or("", |by| if by.descending { "▼" } else { "▲" });
    format!("{}{arrow}", column.name())
}

/// The columns' names.
pub(super) fn head(app: &App, area: Rect, buffer: &mut Buffer) {
    let mut line = String::from(" ");
    for (column, place) in places(app) {
        push(&mut line, &name(app, column), place);
    }
    Line::styled(line, app.theme().name().add_modifier(Modifier::BOLD)).render(area, buffer);
}

/// The column at `x` columns of the terminal from the list's left.
pub(crate) fn column_at(app: &App, x: u16) -> Option<Column> {
    let mut end = 1;
    places(app).find_map(|(column, (width, _, last))| {
        end += width + 1;
        (usize::from(x) < end || last).then_some(column)
    })
}

/// An event in the columns.
pub(super) fn line(
    app: &App,
    number: u64,
    event: &Event,
    mark: &'static str,
    selected: bool,
) -> Line<'static> {
    let theme = app.theme();
    let subject = Subject { number, event, header: app.header() };
    let mut spans = vec![Span::raw(mark)];
    for (column, place) in places(app) {
        let mut cell = String::new();
        let value = match column.field() {
            None => text::escape(&event.describe(app.header()).to_string()).into_owned(),
            Some(field) => self::cell(app, field, &subject),
        };
        push(&mut cell, &value, place);
        // On the selected line the reversal has to be even.
        let style = match column.name() {
            _ if selected => Style::new(),
            "time" => theme.dim(),
            "kind" => theme.class(Class::of(&event.payload)),
            _ => Style::new(),
        };
        spans.push(Span::styled(cell, style));
    }
    Line::from(spans)
}

fn cell(app: &App, field: &Field, subject: &Subject<'_>) -> String {
    match (field.name, field.of, field.value(subject)) {
        (_, _, None) => String::new(),
        ("time", _, Some(Value::Number(ns))) => text::seconds(ns, app.summary().last_time),
        ("vcpu", _, _) if subject.event.vcpu == MACHINE => "m".to_owned(),
        ("kind", _, _) => subject.event.payload.kind().label().to_owned(),
        ("number", _, Some(Value::Number(number))) => text::count(number),
        (_, Type::Time, Some(Value::Number(ns))) => text::duration(ns),
        _ => text::escape(&field.cell(subject)).into_owned(),
    }
}

/// Appends `text` in its place, and a blank. What is longer ends in `…`, but in the last column.
fn push(line: &mut String, text: &str, (width, right, last): (usize, bool, bool)) {
    let cut = text::shorten(text, width);
    let text = if last { text } else { &cut };
    let length = text.chars().count();
    let blanks = " ".repeat(width.saturating_sub(length));
    if right {
        line.push_str(&blanks);
    }
    line.push_str(text);
    if !right {
        line.push_str(&blanks);
    }
    line.push(' ');
}

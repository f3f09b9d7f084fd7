//! The table of what is measured: exits, handlers, IPIs, with their percentiles.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::text;
use crate::app::App;
use crate::app::statistics::{Order, Row};

/// A column of numbers.
struct Column {
    name: &'static str,
    width: usize,
    order: Option<Order>,
    of: fn(&Row) -> String,
}

fn time(row: &Row, of: fn(&trace_format::analysis::Quantiles) -> u64) -> String {
    row.times.as_ref().map_or_else(|| "-".to_owned(), |times| text::duration(of(times)))
}

/// In the order of their worth: what does not fit is left out from the end.
const COLUMNS: [Column; 10] = [
    Column { name: "count", width: 11, order: Some(Order::Count), of: |row| text::count(row.count) },
    Column { name: "p50", width: 9, order: None, of: |row| time(row, |times| times.p50) },
    Column { name: "p99", width: 9, order: Some(Order::P99), of: |row| time(row, |times| times.p99) },
    Column { name: "max", width: 9, order: Some(Order::Max), of: |row| time(row, |times| times.max) },
    Column {
        name: "total",
        width: 9,
        order: Some(Order::Total),
        of: |row| text::duration(row.total_ns as u64),
    },
    Column { name: "p90", width: 9, order: None, of: |row| time(row, |times| times.p90) },
    Column { name: "p99.9", width: 9, order: None, of: |row| time(row, |times| times.p999) },
    Column { name: "mean", width: 9, order: None, of: |row| time(row, |times| times.mean as u64) },
    Column { name: "min", width: 9, order: None, of: |row| time(row, |times| times.min) },
    Column { name: "a second", width: 11, order: None, of: |row| text::count(row.per_second.round() as u64) },
];

/// Columns of names at least.
const NAMES: usize = 22;

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let table = app.statistics_rows();
    if table.is_empty() {
        return super::nothing(app, "nothing that takes time was recorded", area, buffer);
    }
    let mut room = usize::from(area.width).saturating_sub(NAMES + 1);
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .take_while(|column| {
            let fits = room >= column.width;
            room = room.saturating_sub(column.width);
            fits
        })
        .collect();
    let names = NAMES + room.min(24);
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        let order = app.statistics_order();
        let mut head = vec![Span::styled(
            format!(" {:<names$}", if order == Order::Name { "name v" } else { "name" }),
            theme.name(),
        )];
        for column in &columns {
            let name = if column.order == Some(order) {
                format!("{} v", column.name)
            } else {
                column.name.to_owned()
            };
            head.push(Span::styled(format!("{name:>0$}", column.width), theme.name()));
        }
        Line::from(head).render(row, buffer);
    }
    let list = app.statistics_list();
    let selected = list.selected(table.len());
    for (row, (n, entry)) in rows.zip(table.iter().enumerate().skip(list.first())) {
        let name = text::escape(&entry.name);
        let mut spans = vec![Span::styled(format!(" {name:<names$.names$}"), Style::new())];
        spans.extend(
            columns.iter().map(|column| Span::raw(format!("{:>1$}", (column.of)(entry), column.width))),
        );
        Line::from(spans).render(row, buffer);
        if Some(n) == selected {
            buffer.set_style(row, theme.selected());
        }
    }
}

/// Which times, for the lower border.
pub(super) fn times(app: &App) -> Line<'static> {
    let exits =
        if app.shows_guest_time() { "exits: in the guest before them" } else { "exits: their handling" };
    Line::from(format!(" {exits}; IPIs: until the last EOI ")).right_aligned()
}

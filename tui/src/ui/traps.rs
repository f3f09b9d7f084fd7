//! Traps: from which code, through which vector, into which handler, and how long they stayed there.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::histogram::bar;
use super::text;
use crate::app::App;
use crate::model::flow::Flow;

/// Columns of numbers, and of bars.
const NUMBERS: usize = 28;
const BAR: usize = 8;

fn code(app: &App, gva: u64) -> String {
    match app.header().symbolize(gva) {
        Some((name, 0)) => text::escape(name).into_owned(),
        Some((name, offset)) => format!("{}+{offset:#x}", text::escape(name)),
        None => format!("{gva:#x}"),
    }
}

fn head(app: &App, what: &str, width: u16) -> Line<'static> {
    let names = usize::from(width).saturating_sub(NUMBERS + BAR + 2);
    let text = format!(" {what:<names$.names$} {:>BAR$}{:>9}{:>9}{:>9}", "", "count", "mean", "longest");
    Line::styled(text, app.theme().name())
}

fn line(app: &App, name: &str, flow: Flow, most: u64, width: u16) -> Line<'static> {
    let names = usize::from(width).saturating_sub(NUMBERS + BAR + 2);
    let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), text::duration);
    let longest = (flow.returned > 0).then_some(flow.longest_ns);
    Line::from(vec![
        Span::raw(format!(" {name:<names$.names$} ")),
        Span::styled(format!("{:<BAR$}", bar(flow.count, most, BAR)), app.theme().good()),
        Span::raw(format!("{:>9}{:>9}{:>9}", text::count(flow.count), time(flow.mean_ns()), time(longest))),
    ])
}

/// Vectors and their handlers.
pub(super) fn vectors(app: &App, area: Rect, buffer: &mut Buffer) {
    let flows = app.flows_to();
    if flows.is_empty() {
        return super::nothing(app, "no trap was seen; --traps says which are probed", area, buffer);
    }
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        head(app, "vector, from -> handler", area.width).render(row, buffer);
    }
    let (list, most) = (app.flow_list(), flows[0].1.count);
    let selected = list.selected(flows.len());
    for (row, (n, (way, flow))) in rows.zip(flows.iter().enumerate().skip(list.first())) {
        let name = format!("{}, cpl {} -> {}", super::vector(way.vector), way.cpl, code(app, way.handler));
        line(app, &name, *flow, most, area.width).render(row, buffer);
        if Some(n) == selected {
            buffer.set_style(row, app.theme().selected());
        }
    }
}

/// Where those of the selected one came from.
pub(super) fn origins(app: &App, area: Rect, buffer: &mut Buffer) {
    let flows = app.flows_from();
    let Some((_, first)) = flows.first() else { return super::nothing(app, "", area, buffer) };
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        head(app, "origin", area.width).render(row, buffer);
    }
    let list = app.origin_list();
    let selected = list.selected(flows.len());
    for (row, (n, (way, flow))) in rows.zip(flows.iter().enumerate().skip(list.first())) {
        line(app, &code(app, way.origin), *flow, first.count, area.width).render(row, buffer);
        if Some(n) == selected {
            buffer.set_style(row, app.theme().selected());
        }
    }
}

/// What could not be told apart, for the lower border.
pub(super) fn others(app: &App) -> Line<'static> {
    match app.analysis().map_or(0, |analysis| analysis.flows.others()) {
        0 => Line::default(),
        others => {
            Line::styled(format!(" {} more from elsewhere ", text::count(others)), app.theme().warning())
                .right_aligned()
        }
    }
}

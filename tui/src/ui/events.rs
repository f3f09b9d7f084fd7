//! The event list: number, time, vCPU, and a line of text.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use trace_format::event::{Event, MACHINE};

use super::{columns, text};
use crate::app::{App, Searching};
use crate::model::class::Class;

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let window = app.window();
    if window.events.is_empty() {
        let why = match app.sorted_by() {
            _ if app.known() == 0 => "no events yet".to_owned(),
            Some(by) => format!("no event in the list has {}; Esc has the trace's order", by.field),
            None => "no event matches the filter; Esc clears it".to_owned(),
        };
        Line::styled(why, theme.dim()).render(area, buffer);
        return;
    }
    let names = app.has_column_names();
    if names {
        columns::head(app, Rect { height: area.height.min(1), ..area }, buffer);
    }
    for ((number, event), row) in window.events.iter().zip(area.rows().skip(usize::from(names))) {
        let selected = *number == app.cursor();
        let debugger = app.debugger().and_then(|debugger| debugger.place);
        let mark = match (selected, debugger.is_some_and(|place| place.event == *number)) {
            (true, _) => "▸",
            (false, true) => "»",
            (false, false) if app.marks().get(*number).is_some() => "*",
            (false, false) => " ",
        };
        match event {
            Some(event) => {
                let line = match names {
                    true => columns::line(app, *number, event, mark, selected),
                    false => line(app, event, mark, selected),
                };
                let written =
                    Rect { width: row.width.min(u16::try_from(line.width()).unwrap_or(u16::MAX)), ..row };
                line.render(row, buffer);
                if app.is_found(*number) {
                    buffer.set_style(written, theme.found());
                }
            }
            None if window.is_missing(*number) => {
                Line::styled(format!("{mark}…"), theme.dim()).render(row, buffer);
            }
            None => Line::styled(" an event that cannot be read", theme.bad()).render(row, buffer),
        }
        if selected {
            buffer.set_style(row, theme.selected());
        }
    }
}

/// The filter, for the upper border.
pub(super) fn filter(app: &App) -> Line<'static> {
    match app.filter() {
        "" => Line::default(),
        filter => Line::styled(format!(" {} ", text::escape(filter)), app.theme().warning()).right_aligned(),
    }
}

/// The search, for the lower border.
pub(super) fn search(app: &App) -> Line<'static> {
    let Some(Searching { text: what, count, at, goes_on }) = app.searched() else { return Line::default() };
    let count = text::count(count);
    let of = at.map_or_else(|| count.clone(), |at| format!("{} of {count}", text::count(at)));
    let more = if goes_on { " so far" } else { "" };
    Line::styled(format!(" {of} found{more}: {} ", text::escape(what)), app.theme().found())
}

/// Where the cursor is, for the lower border.
pub(super) fn position(app: &App) -> Line<'static> {
    let listed = app.listed();
    let follows = if app.follows() && !app.reader().is_finished() { ", following" } else { "" };
    let at = if listed.here { text::count(listed.place + 1) } else { "between".to_owned() };
    if let (Some(by), Some(sorted)) = (app.sorted_by(), app.sorted()) {
        let direction = if by.descending { ", descending" } else { "" };
        let of = match (sorted.len(), sorted.having) {
            (all, having) if all == having => text::count(having),
            (first, having) => format!("the first {} of {}", text::count(first), text::count(having)),
        };
        return Line::from(format!(" {at} of {of} by {}{direction}{follows} ", by.field)).right_aligned();
    }
    let what = if listed.filter.is_empty() { "" } else { " matches" };
    let searched = match listed.searched {
        Some(share) => format!(", {} searched", text::percent(share)),
        None => String::new(),
    };
    let at = if app.known() == 0 { "0".to_owned() } else { at };
    Line::from(format!(" {at} of {}{what}{searched}{follows} ", text::count(listed.count))).right_aligned()
}

fn line(app: &App, event: &Event, mark: &'static str, selected: bool) -> Line<'static> {
    let theme = app.theme();
    let vcpu = if event.vcpu == MACHINE { " m".to_owned() } else { format!("{:>2}", event.vcpu) };
    // On the selected line the reversal has to be even.
    let dim = if selected { Style::new() } else { theme.dim() };
    let class = if selected { Style::new() } else { theme.class(Class::of(&event.payload)) };
    Line::from(vec![
        Span::raw(mark),
        Span::styled(text::seconds(event.time, app.summary().last_time), dim),
        Span::raw(format!(" {vcpu} ")),
        Span::styled(format!("{:<8} ", event.payload.kind().label()), class),
        Span::raw(event.describe(app.header()).to_string()),
    ])
}

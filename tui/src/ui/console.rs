//! The guest's console: its serial output as a terminal emulator has it, or its text screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tui_term::widget::{Cursor, PseudoTerminal};

use super::{screen, text};
use crate::app::{App, Mode};
use crate::model::find::Needle;
use crate::model::output::Display;

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    display(app, area, buffer);
    if let Some(needle) = app.console_needle() {
        found(needle, app.theme().found(), area, buffer);
    }
}

/// Highlights what is searched.
fn found(needle: &Needle, style: Style, area: Rect, buffer: &mut Buffer) {
    for row in area.rows() {
        let (line, columns) = characters(row, buffer);
        for place in needle.places(&line) {
            let (from, _) = columns[place];
            let (_, to) = columns[place + needle.len() - 1];
            let cells = Rect { x: from, width: to - from, ..row };
            buffer.set_style(cells.intersection(row), style.add_modifier(Modifier::REVERSED));
        }
    }
}

/// The characters of a row, and from which column to before which each is: several combine to one, and some are two
/// columns wide.
fn characters(row: Rect, buffer: &Buffer) -> (Vec<char>, Vec<(u16, u16)>) {
    let (mut line, mut columns) = (Vec::new(), Vec::new());
    let mut x = row.left();
    while x < row.right() {
        let symbol = match buffer[(x, row.y)].symbol() {
            "" => " ",
            symbol => symbol,
        };
        let width = u16::try_from(Span::raw(symbol).width()).unwrap_or(1).max(1);
        let end = x.saturating_add(width).min(row.right());
        for c in symbol.chars() {
            line.push(c);
            columns.push((x, end));
        }
        x = end;
    }
    (line, columns)
}

fn display(app: &App, area: Rect, buffer: &mut Buffer) {
    match app.display() {
        Display::Serial => serial(app, area, buffer),
        Display::Screen if app.screen().is_unused() => {
            let nothing =
                if app.summary().used.screen { "nothing on the screen yet" } else { "no text screen in use" };
            Line::styled(nothing, app.theme().dim()).render(area, buffer);
        }
        Display::Screen => screen::draw(app, area, buffer),
    }
}

fn serial(app: &App, area: Rect, buffer: &mut Buffer) {
    let console = &app.summary().console;
    let typing = matches!(app.mode(), Mode::Typing);
    if console.written() == 0 && !typing {
        Line::styled("no output yet", app.theme().dim()).render(area, buffer);
        return;
    }
    let cursor = Cursor::default().visibility(typing);
    PseudoTerminal::new(console.screen()).cursor(cursor).render(area, buffer);
    if !app.theme().has_color() {
        for position in area.positions() {
            buffer[position].fg = ratatui::style::Color::Reset;
            buffer[position].bg = ratatui::style::Color::Reset;
        }
    }
}

/// For the lower border: where keys go, or which displays there are.
pub(super) fn displays(app: &App) -> Line<'static> {
    let theme = app.theme();
    if let Mode::Typing = app.mode() {
        return Line::styled(format!(" typing to the {} ", device(app.display())), theme.warning());
    }
    if !app.summary().used.screen && app.display() == Display::Serial {
        return Line::default();
    }
    let mut spans = vec![Span::raw(" ")];
    for display in [Display::Serial, Display::Screen] {
        if spans.len() > 1 {
            spans.push(Span::styled(" · ", theme.dim()));
        }
        spans.push(if display == app.display() {
            Span::raw(format!("[{}]", display.name()))
        } else {
            Span::styled(display.name(), theme.dim())
        });
    }
    spans.push(Span::raw(" "));
    Line::from(spans)
}

/// Where what is typed goes.
pub(super) const fn device(display: Display) -> &'static str {
    match display {
        Display::Serial => "guest's serial port",
        Display::Screen => "guest's keyboard",
    }
}

/// For the lower border, too: as of when, and which part.
pub(super) fn position(app: &App) -> Line<'static> {
    let text = match (app.display(), app.summary().console.scrolled_back()) {
        (Display::Serial, 0) => return Line::default(),
        (Display::Serial, lines) => format!("{} lines above the newest", text::count(lines as u64)),
        (Display::Screen, _) => part(app),
    };
    Line::from(if text.is_empty() { text } else { format!(" {text} ") }).right_aligned()
}

/// The rows and columns in view, unless all are.
fn part(app: &App) -> String {
    if let Mode::Typing = app.mode() {
        // A narrow pane has no room for both.
        return String::new();
    }
    let (screen, part) = (app.screen(), app.screen_part());
    let rows = format!("{}-{}", part.row + 1, part.row + part.rows);
    let columns = format!("{}-{}", part.column + 1, part.column + part.columns);
    match (usize::from(part.rows) < screen.rows().len(), usize::from(part.columns) < screen.columns()) {
        (false, false) => String::new(),
        (true, false) => format!("rows {rows}"),
        (false, true) => format!("columns {columns}"),
        (true, true) => format!("{rows} × {columns}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_highlighted_where_it_is() {
        let mut screen = vt100::Parser::new(1, 20, 0);
        screen.process("日本 e\u{301}rr 日err".as_bytes());
        let area = Rect::new(3, 2, 20, 1);
        let highlighted = |text: &str| {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 30, 4));
            PseudoTerminal::new(screen.screen()).render(area, &mut buffer);
            found(&Needle::new(text).unwrap(), Style::new(), area, &mut buffer);
            let is = |x: &u16| buffer[(area.x + *x, area.y)].modifier.contains(Modifier::REVERSED);
            (0..area.width).filter(is).collect::<Vec<_>>()
        };
        assert_eq!(highlighted("日本"), [0, 1, 2, 3]);
        assert_eq!(highlighted("本 e"), [2, 3, 4, 5]);
        assert_eq!(highlighted("err"), [11, 12, 13]);
        assert_eq!(highlighted("日"), [0, 1, 9, 10]);
        assert!(highlighted("本e").is_empty());
    }
}

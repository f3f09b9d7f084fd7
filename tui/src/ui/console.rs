//! The guest's console, as its terminal emulator has it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;
use tui_term::widget::{Cursor, PseudoTerminal};

use super::text;
use crate::app::App;

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let console = &app.summary().console;
    if console.written() == 0 {
        Line::styled("no output yet", app.settings().theme.dim()).render(area, buffer);
        return;
    }
    let cursor = Cursor::default().visibility(false);
    PseudoTerminal::new(console.screen()).cursor(cursor).render(area, buffer);
    if !app.settings().theme.color {
        for position in area.positions() {
            buffer[position].fg = ratatui::style::Color::Reset;
            buffer[position].bg = ratatui::style::Color::Reset;
        }
    }
}

/// How far it is scrolled, for the lower border.
pub(super) fn position(app: &App) -> Line<'static> {
    match app.summary().console.scrolled_back() {
        0 => Line::default(),
        lines => {
            Line::from(format!(" {} lines above the newest ", text::count(lines as u64))).right_aligned()
        }
    }
}

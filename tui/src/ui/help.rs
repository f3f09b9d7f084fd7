//! The help, from the table of everything that can be done.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use super::text;
use crate::app::table::Entry;
use crate::app::{App, Help};

/// Lines for what the selected entry is for, and the height from which on they are there.
const ABOUT: u16 = 3;
const ROOM_FOR_ABOUT: u16 = 14;

/// Draws it and tells where the terminal's cursor belongs.
pub(super) fn draw(app: &App, help: &Help, body: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = app.theme();
    let entries = app.help_entries();
    let width = body.width.saturating_sub(2).min(92);
    // Room for all that is said of the selected one.
    let about = if body.height >= ROOM_FOR_ABOUT { ABOUT } else { 0 };
    let rows = u16::try_from(entries.len()).unwrap_or(u16::MAX).min(body.height.saturating_sub(3 + about));
    let height = (rows + 3 + about).min(body.height);
    let area =
        Rect::new(body.x + (body.width - width) / 2, body.y + (body.height - height) / 2, width, height);
    let block = Block::bordered()
        .border_type(BorderType::Thick)
        .border_style(theme.focused())
        .title(" keys ")
        .title_bottom(
            Line::from(format!(" {} of {} ", (help.selected() + 1).min(entries.len()), entries.len()))
                .right_aligned(),
        );
    let inner = block.inner(area);
    Clear.render(area, buffer);
    block.render(area, buffer);
    let [search, list, below] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(about)]).areas(inner);
    const LABEL: &str = " search: ";
    Line::from(vec![
        Span::styled(LABEL, theme.dim()),
        Span::styled(text::escape(help.text()).into_owned(), theme.key()),
    ])
    .render(search, buffer);
    if let Some(selected) = entries.get(help.selected().min(entries.len().saturating_sub(1))) {
        let lines = text::wrap(selected.help, usize::from(below.width).saturating_sub(2));
        for (row, line) in below.rows().zip(lines) {
            Line::styled(format!(" {line}"), theme.good()).render(row, buffer);
        }
    }
    let first = (help.selected() + 1).saturating_sub(usize::from(list.height));
    for (row, (n, entry)) in list.rows().zip(entries.into_iter().enumerate().skip(first)) {
        line(app, entry).render(row, buffer);
        if n == help.selected() {
            buffer.set_style(row, theme.selected());
        }
    }
    let before: String = help.text().chars().take(help.cursor()).collect();
    let column = u16::try_from(Line::from(format!("{LABEL}{before}")).width()).unwrap_or(u16::MAX);
    Some(Position::new(search.x + column.min(search.width.saturating_sub(1)), search.y))
}

fn line(app: &App, entry: &'static Entry) -> Line<'static> {
    let theme = app.theme();
    let keys: Vec<String> = app.settings().look.keymap.keys(entry).map(|key| key.to_string()).collect();
    Line::from(vec![
        Span::styled(format!(" {:<14}", keys.join("  ")), theme.key()),
        Span::styled(format!("{:<19}", entry.name), theme.name()),
        Span::styled(entry.help, Style::new()),
    ])
}

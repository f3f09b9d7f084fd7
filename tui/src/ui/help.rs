//! The help, from the table that binds the keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph, Widget};

use super::theme::Theme;
use crate::app::keys::{BINDINGS, Binding, Scope};

/// Lines of the help.
pub const LINES: u16 = {
    let mut lines = 0;
    let mut n = 0;
    while n < BINDINGS.len() {
        if shown(&BINDINGS[n]) {
            lines += 1;
        }
        n += 1;
    }
    lines
};

const fn shown(binding: &Binding) -> bool {
    matches!(binding.scope, Scope::Panes | Scope::Pane(_) | Scope::Typing)
}

pub(super) fn draw(theme: Theme, scroll: u16, body: Rect, buffer: &mut Buffer) {
    let width = body.width.saturating_sub(4).min(78);
    let height = body.height.saturating_sub(2).min(LINES + 2);
    let area =
        Rect::new(body.x + (body.width - width) / 2, body.y + (body.height - height) / 2, width, height);
    let rows = height.saturating_sub(2);
    let scroll = scroll.min(LINES.saturating_sub(rows));
    let block = Block::bordered()
        .border_type(BorderType::Thick)
        .border_style(theme.focused())
        .title(" keys ")
        .title_bottom(
            Line::from(format!(" {}-{} of {LINES} ", scroll + 1, scroll + rows.min(LINES))).right_aligned(),
        );
    let lines: Vec<Line<'_>> =
        BINDINGS.iter().filter(|b| shown(b)).map(|binding| line(theme, binding)).collect();
    Clear.render(area, buffer);
    Paragraph::new(lines).block(block).scroll((scroll, 0)).render(area, buffer);
}

fn line(theme: Theme, binding: &Binding) -> Line<'static> {
    let keys: Vec<String> = binding.keys.iter().map(ToString::to_string).collect();
    Line::from(vec![
        Span::styled(format!(" {:<15}", keys.join("  ")), theme.key()),
        Span::styled(binding.help, Style::new()),
    ])
}

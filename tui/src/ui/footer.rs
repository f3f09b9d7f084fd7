//! The last line: a message, a prompt, or the keys, from the table that binds them.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::{console, text};
use crate::app::keys::{BINDINGS, Scope};
use crate::app::{App, Mode};

const PROMPT: &str = " save the trace as: ";

/// Draws it and tells where the terminal's cursor belongs, if anywhere.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = app.settings().theme;
    let scope = match app.mode() {
        Mode::Prompt(input) => {
            let before: String = input.value().chars().take(input.cursor()).collect();
            let column = Line::from(format!("{PROMPT}{before}")).width();
            let column = u16::try_from(column).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
            let line = format!("{PROMPT}{}", text::escape(input.value()));
            Line::styled(line, theme.key()).render(area, buffer);
            if app.message().is_none() {
                return Some(Position::new(area.x + column, area.y));
            }
            Scope::Prompt
        }
        Mode::Help { .. } => Scope::Help,
        Mode::Panes => Scope::Panes,
        Mode::Typing => Scope::Typing,
    };
    if let Some(message) = app.message() {
        buffer.set_style(area, ratatui::style::Style::reset());
        let style = if message.error { theme.bad() } else { theme.warning() };
        let message = format!(" {:<1$}", text::escape(&message.text), usize::from(area.width));
        Line::styled(message, style).render(area, buffer);
        return None;
    }
    let mut spans = Vec::new();
    let mut scopes = vec![scope];
    match scope {
        Scope::Panes => scopes.insert(0, Scope::Pane(app.focused())),
        Scope::Typing => {
            let to = format!(" every key goes to the {} ", console::device(app.display()));
            spans.push(Span::styled(to, theme.warning()));
        }
        Scope::Pane(_) | Scope::Help | Scope::Prompt => {}
    }
    let bindings = scopes.iter().flat_map(|scope| BINDINGS.iter().filter(move |b| b.scope == *scope));
    let live = app.machine().is_some();
    for binding in bindings.filter(|b| !b.hint.is_empty() && (live || !b.action.needs_guest())) {
        let Some(key) = binding.keys.first() else { continue };
        spans.push(Span::styled(format!(" {key}"), theme.key()));
        spans.push(Span::raw(format!(" {} ", binding.hint)));
    }
    Line::from(spans).render(area, buffer);
    None
}

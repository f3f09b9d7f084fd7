//! The last line: a message, or the keys, from the table of everything that can be done.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::{console, progress, text};
use crate::app::keys::scopes;
use crate::app::press::Press;
use crate::app::table::TABLE;
use crate::app::{App, Mode};

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let area = progress::draw(app, area, buffer);
    if let Some(message) = app.message() {
        buffer.set_style(area, ratatui::style::Style::reset());
        let style = if message.error { theme.bad() } else { theme.warning() };
        let message = format!(" {:<1$}", text::escape(&message.text), usize::from(area.width));
        return Line::styled(message, style).render(area, buffer);
    }
    let mut line = Line::default();
    if let Mode::Typing = app.mode() {
        let to = format!(" every key goes to the {} ", console::device(app.display()));
        line.push_span(Span::styled(to, theme.warning()));
    }
    let live = app.machine().is_some();
    let mut nearer: Vec<Press> = Vec::new();
    for scope in scopes(app.mode(), app.focused()) {
        let entries = TABLE.iter().filter(|entry| entry.scope == scope && !entry.hint.is_empty());
        for entry in entries.filter(|entry| live || !entry.live) {
            // What a key does in one pane comes before what it does elsewhere.
            let Some(key) = app.settings().look.keymap.keys(entry).find(|key| !nearer.contains(key)) else {
                continue;
            };
            let (key, hint) = (format!(" {key}"), format!(" {} ", entry.hint));
            // What does not fit is left out as a whole.
            if line.width() + Line::from(format!("{key}{hint}")).width() > usize::from(area.width) {
                continue;
            }
            line.push_span(Span::styled(key, theme.key()));
            line.push_span(Span::raw(hint));
        }
        let here = TABLE.iter().filter(|entry| entry.scope == scope);
        nearer.extend(here.flat_map(|entry| app.settings().look.keymap.keys(entry)));
    }
    line.render(area, buffer);
}

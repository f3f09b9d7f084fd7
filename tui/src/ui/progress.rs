//! What is under way, at the footer's right: how far it is, and the key that stops it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::table::find;
use crate::app::{App, UnderWay};

/// Columns of the bar.
const BAR: usize = 10;
/// What else the footer shows has at least as many columns.
const OTHERS: u16 = 40;

/// Draws it, if there is something, and tells what of the footer is left.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) -> Rect {
    let Some(UnderWay { task, percent }) = app.under_way() else { return area };
    let theme = app.theme();
    let done = BAR * usize::from(percent) / 100;
    let key = find("back").and_then(|back| app.settings().look.keymap.keys(back).next());
    let name = Span::styled(format!(" {} {percent:>2} % ", task.name()), theme.warning());
    let bar = [
        Span::styled("━".repeat(done), theme.warning()),
        Span::styled("╌".repeat(BAR - done), theme.dim()),
        Span::raw(" "),
    ];
    let stop = match key.filter(|_| task.can_be_stopped()) {
        Some(key) => vec![Span::styled(key.to_string(), theme.key()), Span::raw(" stops it ")],
        None => Vec::new(),
    };
    // What is more than there is room for is left out as a whole.
    let forms = [
        [vec![name.clone()], bar.to_vec(), stop.clone()].concat(),
        [vec![name.clone()], stop].concat(),
        vec![name],
    ];
    let room = area.width.saturating_sub(OTHERS).max(area.width / 3);
    let fitting = forms.into_iter().map(Line::from).find(|line| line.width() <= usize::from(room));
    let Some(line) = fitting else { return area };
    let width = u16::try_from(line.width()).unwrap_or(u16::MAX);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(area);
    line.render(right, buffer);
    left
}

//! The second line: the views with their numbers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::text;
use crate::app::{App, SelectedRange, View};

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let mut spans = Vec::new();
    for (view, text) in tabs(app, area.width) {
        let style = if view == app.view_shown() { theme.selected() } else { theme.dim() };
        spans.push(Span::styled(text, style));
        spans.push(Span::raw(" "));
    }
    let line = Line::from(spans);
    let used = line.width();
    line.render(area, buffer);
    let about = about(app);
    if used + about.width() <= usize::from(area.width) {
        about.right_aligned().render(area, buffer);
    }
}

/// Each view's tab. Where not all names fit, not even close together, only that of the view that is shown is there.
fn tabs(app: &App, width: u16) -> Vec<(View, String)> {
    let wide = |view: View| format!(" {} {} ", view.number(), view.name());
    let close = |view: View| format!("{} {}", view.number(), view.name());
    let short =
        |view: View| if view == app.view_shown() { wide(view) } else { format!(" {} ", view.number()) };
    let all = |text: &dyn Fn(View) -> String| View::ALL.map(|view| (view, text(view))).to_vec();
    let fits = |tabs: &[(View, String)]| {
        tabs.iter().map(|(_, text)| text.len() + 1).sum::<usize>() <= usize::from(width)
    };
    [all(&wide), all(&close)].into_iter().find(|tabs| fits(tabs)).unwrap_or_else(|| all(&short))
}

/// The view whose tab is at column `x`.
pub(crate) fn tab_at(app: &App, x: u16) -> Option<View> {
    let width = app.panes()?.tabs?.width;
    let mut end = 0;
    tabs(app, width).into_iter().find_map(|(view, text)| {
        end += text.len() + 1;
        (usize::from(x) < end).then_some(view)
    })
}

/// What else is set: the selected range, and how the run is played.
fn about(app: &App) -> Line<'static> {
    let theme = app.theme();
    let mut spans = Vec::new();
    if let Some(SelectedRange { range, events }) = app.range() {
        let length = text::duration(range.to - range.from);
        let events =
            events.map_or_else(|| "...".to_owned(), |events| format!("{} events", text::count(events)));
        spans.push(Span::styled(format!(" range {length}, {events} "), theme.warning()));
    }
    if app.playback().is_on() {
        spans.push(Span::styled(format!(" plays at {} ", app.playback().speed()), theme.good()));
    }
    Line::from(spans)
}

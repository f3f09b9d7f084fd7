//! Drawing: a pure function of the state. Nothing here changes [`App`] or reads a file; [`App`] has brought what is
//! in view up to date before. One module a pane.

mod console;
pub mod detail;
mod events;
mod fields;
mod footer;
mod header;
pub mod help;
mod lanes;
mod screen;
pub mod statistics;
pub mod text;
pub mod theme;
mod timeline;
pub(crate) mod walk;

use ratatui::Frame;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect, Size};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders, Paragraph, Widget};

use crate::app::layout::{Panes, SMALLEST};
use crate::app::{App, Focus, Mode};

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let Some(panes) = app.panes().filter(|panes| panes.footer.bottom() <= area.bottom()) else {
        too_small(area, buffer);
        return;
    };
    header::draw(app, panes.header, buffer);
    for (focus, area) in &panes.shown {
        pane(app, &panes, *focus, *area, buffer);
    }
    if let Mode::Help { scroll } = app.mode() {
        help::draw(app.settings().theme, *scroll, panes.body, buffer);
    }
    let cursor = footer::draw(app, panes.footer, buffer);
    if let Some(position) = cursor {
        frame.set_cursor_position(position);
    }
}

/// Draws the screen as text, one line a row, as it would be on a terminal of `size`. For tests.
///
/// # Errors
/// None that a terminal in memory has.
pub fn snapshot(app: &mut App, size: Size) -> std::io::Result<String> {
    app.resize(size);
    let mut terminal =
        ratatui::Terminal::new(TestBackend::new(size.width, size.height)).map_err(std::io::Error::other)?;
    terminal.draw(|frame| draw(frame, app)).map_err(std::io::Error::other)?;
    let buffer = terminal.backend().buffer();
    let rows = (0..size.height).map(|y| {
        let row: String = (0..size.width).map(|x| buffer[(x, y)].symbol()).collect();
        row.trim_end().to_owned() + "\n"
    });
    Ok(rows.collect())
}

fn too_small(area: Rect, buffer: &mut Buffer) {
    let needed = format!("vmscope needs {}x{}", SMALLEST.width, SMALLEST.height);
    let has = format!("this terminal is {}x{}", area.width, area.height);
    let [middle] = Layout::vertical([Constraint::Length(2)]).flex(ratatui::layout::Flex::Center).areas(area);
    Paragraph::new(vec![Line::from(needed), Line::from(has)])
        .alignment(Alignment::Center)
        .render(middle, buffer);
}

fn pane(app: &App, panes: &Panes, focus: Focus, area: Rect, buffer: &mut Buffer) {
    let theme = app.settings().theme;
    let focused = app.focused() == focus;
    let (border, kind) =
        if focused { (theme.focused(), BorderType::Thick) } else { (theme.dim(), BorderType::Plain) };
    let block = Block::new()
        .borders(Borders::ALL)
        .border_type(kind)
        .border_style(border)
        .title(title(app, panes, focus))
        .title_style(Style::reset());
    let inner = block.inner(area);
    let block = match focus {
        Focus::Timeline => block.title_bottom(timeline::legend(app)),
        Focus::Events => block.title_bottom(events::position(app)),
        Focus::Console => block.title_bottom(console::displays(app)).title_bottom(console::position(app)),
        Focus::Detail | Focus::Statistics => block,
    };
    block.render(area, buffer);
    match focus {
        Focus::Timeline => timeline::draw(app, inner, buffer),
        Focus::Events => events::draw(app, inner, buffer),
        Focus::Detail => lines(detail::lines(app), app.scroll(focus), inner, buffer),
        Focus::Statistics => lines(statistics::lines(app, inner.width), app.scroll(focus), inner, buffer),
        Focus::Console => console::draw(app, inner, buffer),
    }
}

/// The pane's name; where panes share a place, all their names like tabs.
fn title(app: &App, panes: &Panes, focus: Focus) -> Line<'static> {
    let side = [Focus::Detail, Focus::Statistics, Focus::Console];
    let style = |name: Focus| {
        let style = if name == app.focused() { app.settings().theme.focused() } else { Style::new() };
        if name == focus { style.add_modifier(Modifier::BOLD) } else { app.settings().theme.dim() }
    };
    let mut spans = vec![Span::raw(" ")];
    if panes.tabbed && panes.shown.len() > 1 && side.contains(&focus) {
        for (n, name) in side.into_iter().enumerate() {
            if n > 0 {
                spans.push(Span::styled(" · ", app.settings().theme.dim()));
            }
            let text = if name == focus { format!("[{}]", name.name()) } else { name.name().to_owned() };
            spans.push(Span::styled(text, style(name)));
        }
    } else {
        spans.push(Span::styled(focus.name(), style(focus)));
    }
    spans.push(Span::raw(" "));
    Line::from(spans)
}

fn lines(lines: Vec<Line<'static>>, scroll: u16, area: Rect, buffer: &mut Buffer) {
    Paragraph::new(lines).scroll((scroll, 0)).render(area, buffer);
}

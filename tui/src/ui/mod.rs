//! Drawing: a pure function of the state. Nothing here changes [`App`] or reads a file; [`App`] has brought what is
//! in view up to date before. One module a pane.

mod ansi;
mod ascii;
mod code;
mod columns;
mod console;
pub mod detail;
mod events;
mod fields;
mod footer;
mod header;
mod help;
mod histogram;
mod ipis;
mod lanes;
mod line;
mod memory;
mod overview;
mod progress;
mod screen;
mod stalls;
mod statistics;
mod tabs;
pub mod text;
pub mod theme;
mod timeline;
mod traps;
pub(crate) mod walk;

use ratatui::Frame;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect, Size};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders, Paragraph, Widget};

use crate::app::layout::{Panes, SMALLEST};
use crate::app::{App, Mode, Pane};
pub(crate) use code::height as registers_height;
pub(crate) use columns::column_at;
pub(crate) use detail::vector;
pub(crate) use memory::walk_height;
pub(crate) use overview::run_height;
pub(crate) use tabs::tab_at;

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let Some(panes) = app.panes().filter(|panes| panes.footer.bottom() <= area.bottom()) else {
        return too_small(area, buffer);
    };
    header::draw(app, panes.header, buffer);
    if let Some(area) = panes.tabs {
        tabs::draw(app, area, buffer);
    }
    for (which, area) in &panes.shown {
        pane(app, &panes, *which, *area, buffer);
    }
    let cursor = match app.mode() {
        Mode::Help(help) => {
            footer::draw(app, panes.footer, buffer);
            help::draw(app, help, panes.body, buffer)
        }
        Mode::Line(line) if app.message().is_none() => {
            line::draw(app, line, panes.body, panes.footer, buffer)
        }
        Mode::Line(_) | Mode::Panes | Mode::Typing => {
            footer::draw(app, panes.footer, buffer);
            None
        }
    };
    if app.settings().look.ascii {
        ascii::replace(frame.buffer_mut());
    }
    if let Some(position) = cursor {
        frame.set_cursor_position(position);
    }
}

/// Draws the screen as text, one line a row, as it would be on a terminal of `size`. For tests.
///
/// # Errors
/// None that a terminal in memory has.
pub fn snapshot(app: &mut App, size: Size) -> std::io::Result<String> {
    let buffer = drawn(app, size)?;
    let rows = (0..size.height).map(|y| {
        let row: String = (0..size.width).map(|x| buffer[(x, y)].symbol()).collect();
        row.trim_end().to_owned() + "\n"
    });
    Ok(rows.collect())
}

/// The same with colours and attributes, as `cat` shows it on a terminal.
///
/// # Errors
/// None that a terminal in memory has.
pub fn coloured_snapshot(app: &mut App, size: Size) -> std::io::Result<String> {
    Ok(ansi::text(&drawn(app, size)?))
}

fn drawn(app: &mut App, size: Size) -> std::io::Result<Buffer> {
    app.resize(size);
    let mut terminal =
        ratatui::Terminal::new(TestBackend::new(size.width, size.height)).map_err(std::io::Error::other)?;
    terminal.draw(|frame| draw(frame, app)).map_err(std::io::Error::other)?;
    Ok(terminal.backend().buffer().clone())
}

fn too_small(area: Rect, buffer: &mut Buffer) {
    let needed = format!("vmscope needs {}x{}", SMALLEST.width, SMALLEST.height);
    let has = format!("this terminal is {}x{}", area.width, area.height);
    let [middle] = Layout::vertical([Constraint::Length(2)]).flex(ratatui::layout::Flex::Center).areas(area);
    Paragraph::new(vec![Line::from(needed), Line::from(has)])
        .alignment(Alignment::Center)
        .render(middle, buffer);
}

fn pane(app: &App, panes: &Panes, pane: Pane, area: Rect, buffer: &mut Buffer) {
    let inner = if panes.borders { border(app, pane, area, buffer) } else { area };
    match pane {
        Pane::Timeline => timeline::draw(app, inner, buffer),
        Pane::Events => events::draw(app, inner, buffer),
        Pane::Detail => lines(detail::lines(app), app.scroll(pane), inner, buffer),
        Pane::Rates => overview::rates(app, inner, buffer),
        Pane::Shares => overview::shares(app, inner, buffer),
        Pane::Vcpus => overview::vcpus(app, inner, buffer),
        Pane::Run => overview::run(app, inner, buffer),
        Pane::Statistics => statistics::draw(app, inner, buffer),
        Pane::Times | Pane::Handling | Pane::Latency => histogram::draw(app, pane, inner, buffer),
        Pane::Vectors => traps::vectors(app, inner, buffer),
        Pane::Origins => traps::origins(app, inner, buffer),
        Pane::Walk => lines(memory::walk_lines(app), app.scroll(pane), inner, buffer),
        Pane::Pages => memory::pages(app, inner, buffer),
        Pane::Space => memory::space(app, inner, buffer),
        Pane::Memory => memory::hex(app, inner, buffer),
        Pane::Shootdowns => ipis::shootdowns(app, inner, buffer),
        Pane::Targets => ipis::targets(app, inner, buffer),
        Pane::Matrix => ipis::matrix(app, inner, buffer),
        Pane::Console => console::draw(app, inner, buffer),
        Pane::Code => code::draw(app, inner, buffer),
        Pane::Registers => lines(code::registers(app), app.scroll(pane), inner, buffer),
    }
}

/// Draws a pane's border and tells what is inside.
fn border(app: &App, pane: Pane, area: Rect, buffer: &mut Buffer) -> Rect {
    let theme = app.theme();
    let focused = app.focused() == pane;
    let (border, kind) =
        if focused { (theme.focused(), BorderType::Thick) } else { (theme.dim(), BorderType::Plain) };
    let name = Span::styled(
        format!(" {} ", pane.name()),
        if focused { theme.focused() } else { Style::reset().add_modifier(Modifier::BOLD) },
    );
    let block = Block::new().borders(Borders::ALL).border_type(kind).border_style(border).title(name);
    let inner = block.inner(area);
    let block = match pane {
        Pane::Timeline => block.title_bottom(timeline::legend(app)),
        Pane::Events => block
            .title_top(events::filter(app))
            .title_bottom(events::search(app))
            .title_bottom(events::position(app)),
        Pane::Console => block.title_bottom(console::displays(app)).title_bottom(console::position(app)),
        Pane::Space => block.title_top(memory::which_space(app)).title_bottom(memory::space_source(app)),
        Pane::Memory => block.title_bottom(memory::hex_place(app)),
        Pane::Shootdowns => block.title_bottom(ipis::totals(app)),
        Pane::Statistics => block.title_bottom(statistics::times(app)),
        Pane::Times | Pane::Handling | Pane::Latency => block.title_bottom(histogram::about(app, pane)),
        Pane::Vectors => block.title_bottom(traps::others(app)),
        Pane::Code => block.title_bottom(code::place(app)),
        Pane::Registers => block.title_bottom(code::stale(app)),
        Pane::Rates
        | Pane::Shares
        | Pane::Vcpus
        | Pane::Run
        | Pane::Detail
        | Pane::Origins
        | Pane::Walk
        | Pane::Pages
        | Pane::Targets
        | Pane::Matrix => block,
    };
    block.render(area, buffer);
    inner
}

/// Where there is nothing to draw (yet).
fn nothing(app: &App, what: &str, area: Rect, buffer: &mut Buffer) {
    let why = match app.report() {
        Some(_) => what,
        None if app.is_not_analysed() => "not counted; the view's number has it counted once more",
        None => "counting",
    };
    Line::styled(format!(" {why}"), app.theme().dim()).render(area, buffer);
}

fn lines(lines: Vec<Line<'static>>, scroll: u16, area: Rect, buffer: &mut Buffer) {
    Paragraph::new(lines).scroll((scroll, 0)).render(area, buffer);
}

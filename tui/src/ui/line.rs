//! A line of text that is being edited, in place of the footer, and above it what could come next.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Clear, Widget};

use super::text;
use crate::app::{App, Line};

/// The most candidates on the screen.
const MOST: u16 = 8;

/// Draws it and tells where the terminal's cursor belongs.
pub(super) fn draw(app: &App, line: &Line, body: Rect, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = app.theme();
    let label = match line.label() {
        "" => ":".to_owned(),
        label => format!(" {label}: "),
    };
    Clear.render(area, buffer);
    let problem = line.problem();
    let style = if problem.is_some() { theme.warning() } else { theme.key() };
    let before: String = line.text().chars().take(line.cursor()).collect();
    let column = Text::from(format!("{label}{before}")).width();
    // A line that is too long is shown around its cursor.
    let skipped = column.saturating_sub(usize::from(area.width).saturating_sub(1));
    let written: String = format!("{label}{}", text::escape(line.text())).chars().skip(skipped).collect();
    Text::styled(written, style).render(area, buffer);
    candidates(app, line, problem, body, buffer);
    let column = u16::try_from(column - skipped).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    Some(Position::new(area.x + column, area.y))
}

fn candidates(app: &App, line: &Line, problem: Option<String>, body: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let all = line.candidates();
    let rows = u16::try_from(all.len()).unwrap_or(u16::MAX).min(MOST).min(body.height.saturating_sub(1));
    let taken = line.taken().unwrap_or(0);
    let first = (taken + 1).saturating_sub(usize::from(rows));
    let mut y = body.bottom();
    // While candidates are there, the line is not finished, and what is wrong is that.
    if let Some(problem) = problem.filter(|_| all.is_empty()) {
        y = y.saturating_sub(1);
        let row = Rect { y, height: 1, ..body };
        Clear.render(row, buffer);
        Text::styled(format!(" {}", text::escape(&problem)), theme.warning()).render(row, buffer);
        return;
    }
    y = y.saturating_sub(rows);
    let width = all.iter().map(|candidate| candidate.text.chars().count()).max().unwrap_or(0);
    for (n, candidate) in all.iter().enumerate().skip(first).take(usize::from(rows)) {
        let row = Rect { y, height: 1, ..body };
        y += 1;
        Clear.render(row, buffer);
        Text::from(vec![
            Span::styled(format!(" {:<width$} ", text::escape(&candidate.text)), theme.key()),
            Span::styled(format!(" {}", text::escape(&candidate.about)), Style::new()),
        ])
        .render(row, buffer);
        if line.taken() == Some(n) {
            buffer.set_style(row, theme.selected());
        }
    }
}

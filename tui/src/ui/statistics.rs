//! Totals by exit reason, then traps, IPIs and the guest's own counts, and what none of them can count.

use ratatui::text::{Line, Span};

use super::text;
use super::theme::Theme;
use crate::app::App;
use crate::model::statistics::Times;

/// Columns of a line of a sentence: as many as the narrowest pane has, so that the height does not depend on it.
const SENTENCE: usize = 34;

/// Lines of the pane's text.
#[must_use]
pub fn height(app: &App) -> u16 {
    u16::try_from(lines(app, u16::MAX).len()).unwrap_or(u16::MAX)
}

pub(super) fn lines(app: &App, width: u16) -> Vec<Line<'static>> {
    let theme = app.settings().theme;
    let statistics = &app.summary().statistics;
    let table = Table::new(theme, width);
    let mut lines = vec![table.heading("exit", &["gst p50", "gst p99", "hdl p50", "hdl p99"])];
    let all = statistics.exit_count();
    for exits in statistics.exits() {
        let times = [&exits.guest, &exits.handling].map(|times| [times.quantile(0.5), times.quantile(0.99)]);
        lines.push(table.row(exits.reason, exits.count, Some(all), times.as_flattened()));
    }
    lines.push(table.row("all", all, Some(all), &[]));
    if !statistics.traps().is_empty() {
        lines.push(Line::default());
        lines.push(table.heading("trap", &["p50", "p99"]));
        let all = statistics.traps().iter().map(|(_, traps)| traps.count).sum();
        for (vector, traps) in statistics.traps() {
            let name = super::detail::vector(vector);
            lines.push(table.row(&name, traps.count, Some(all), &quantiles(&traps.handler)));
        }
    }
    if statistics.ipis_sent > 0 {
        lines.push(Line::default());
        lines.push(table.heading("ipi", &["p50", "p99"]));
        lines.push(table.row("sent", statistics.ipis_sent, None, &[]));
        let latency = quantiles(&statistics.ipi_latency);
        lines.push(table.row("taken", statistics.ipis_taken, None, &latency));
    }
    if !app.summary().counters.is_empty() {
        lines.push(Line::default());
        lines.push(table.heading("guest's count", &[]));
        for (name, value) in &app.summary().counters {
            lines.push(table.row(&text::escape(name), *value, None, &[]));
        }
    }
    if !app.header().not_seen.is_empty() {
        lines.push(Line::default());
        lines.push(Line::styled("not seen", theme.warning()));
        for sentence in &app.header().not_seen {
            let wrapped = text::wrap(&text::escape(sentence), SENTENCE);
            let first = std::iter::once("- ").chain(std::iter::repeat("  "));
            lines.extend(first.zip(wrapped).map(|(indent, line)| Line::raw(format!("{indent}{line}"))));
        }
    }
    lines
}

fn quantiles(times: &Times) -> [Option<u64>; 2] {
    [times.quantile(0.5), times.quantile(0.99)]
}

/// Widths of the columns.
struct Table {
    theme: Theme,
    names: usize,
    counts: usize,
    shares: usize,
    times: usize,
    /// How many columns of times fit.
    time_columns: usize,
}

impl Table {
    fn new(theme: Theme, width: u16) -> Self {
        let (names, counts, shares, times) = if width < 60 { (12, 8, 8, 8) } else { (16, 11, 9, 11) };
        let time_columns = usize::from(width).saturating_sub(names + counts + shares) / times;
        Self { theme, names, counts, shares, times, time_columns }
    }

    fn heading(&self, name: &str, times: &[&str]) -> Line<'static> {
        let Self { names, counts, shares, times: width, .. } = *self;
        let mut text = format!("{name:<names$}{:>counts$}{:shares$}", "count", "");
        for time in times.iter().take(self.time_columns) {
            text.push_str(&format!("{time:>width$}"));
        }
        Line::styled(text, self.theme.name())
    }

    fn row(&self, name: &str, count: u64, of: Option<u64>, times: &[Option<u64>]) -> Line<'static> {
        let Self { names, counts, shares, times: width, .. } = *self;
        let share = match of {
            Some(all) if all > 0 => text::percent(count as f64 / all as f64),
            _ => String::new(),
        };
        let mut spans = vec![
            Span::raw(format!("{:<names$}", shorten(name, names))),
            Span::raw(format!("{:>counts$}", text::count(count))),
            Span::styled(format!("{share:>shares$}"), self.theme.dim()),
        ];
        for time in times.iter().take(self.time_columns) {
            let time = time.map_or_else(|| "-".to_owned(), text::duration);
            spans.push(Span::raw(format!("{time:>width$}")));
        }
        Line::from(spans)
    }
}

/// A name that leaves a space in a column of `width`.
fn shorten(name: &str, width: usize) -> String {
    if name.chars().count() < width {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(width.saturating_sub(2)).collect();
    short.push('…');
    short
}

//! Shootdowns and other conversations by IPIs: the slowest, target by target, how long they took, who sent to whom.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use trace_format::analysis::{Shootdown, VectorReport};

use super::text;
use crate::app::App;

/// Shades of a cell, from few to many.
const SHADES: [&str; 4] = ["░", "▒", "▓", "█"];

fn vector_of(app: &App, vector: u8) -> Option<&VectorReport> {
    app.report()?.details.shootdowns.iter().find(|report| report.vector == vector)
}

/// The handler's function, or the vector where it is not known.
fn name_of(app: &App, vector: u8) -> String {
    match vector_of(app, vector).and_then(|report| report.handler.as_deref()) {
        Some(handler) => text::escape(handler).into_owned(),
        None => format!("vector {vector:#04x}"),
    }
}

/// The conversations, a line each.
pub(super) fn shootdowns(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let all = app.shootdowns();
    if all.is_empty() {
        return super::nothing(app, "no IPI was acknowledged by all its targets", area, buffer);
    }
    let head = format!(" {:>8}  {:<5} {:<14} {:<5} {}", "stall", "from", "last to answer", "vec", "handler");
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        Line::styled(head, theme.name()).render(row, buffer);
    }
    let list = app.shootdown_list();
    let selected = list.selected(all.len());
    for (row, (n, shootdown)) in rows.zip(all.iter().enumerate().skip(list.first())) {
        shootdown_line(app, shootdown).render(row, buffer);
        if Some(n) == selected {
            buffer.set_style(row, theme.selected());
        }
    }
}

fn shootdown_line(app: &App, shootdown: &Shootdown) -> Line<'static> {
    let theme = app.theme();
    let stall = shootdown.stall_ns.map_or_else(|| "never".to_owned(), text::duration);
    let last = match shootdown.slowest() {
        Some(target) => format!("cpu{} of {}", target.vcpu, shootdown.targets.len()),
        None => String::new(),
    };
    Line::from(vec![
        Span::styled(format!(" {stall:>8}"), Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("  {:<5} {last:<14} ", format!("cpu{}", shootdown.initiator))),
        Span::styled(format!("{:#04x}  ", shootdown.vector), theme.dim()),
        Span::raw(name_of(app, shootdown.vector)),
    ])
}

/// How many there are, for the lower border.
pub(super) fn totals(app: &App) -> Line<'static> {
    let Some(report) = app.report() else { return Line::default() };
    let (all, open) = report
        .details
        .shootdowns
        .iter()
        .fold((0, 0), |(all, open), vector| (all + vector.count, open + vector.incomplete));
    let open = if open > 0 { format!(", {} without an end", text::count(open)) } else { String::new() };
    Line::from(format!(" {} in all{open} ", text::count(all))).right_aligned()
}

/// The selected one's targets.
pub(super) fn targets(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let Some(shootdown) = app.shootdown() else { return super::nothing(app, "", area, buffer) };
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        Line::styled(
            format!(" {:<6}{:>9}{:>10}{:>10}", "target", "accepted", "handled", "EOI"),
            theme.name(),
        )
        .render(row, buffer);
    }
    let list = app.target_list();
    let selected = list.selected(shootdown.targets.len());
    let slowest = shootdown.slowest().map(|target| target.vcpu);
    let bar = usize::from(area.width).saturating_sub(38);
    let whole = shootdown.stall_ns.unwrap_or(0).max(1);
    for (row, (n, target)) in (&mut rows).zip(shootdown.targets.iter().enumerate().skip(list.first())) {
        let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), text::duration);
        let handled = target.eoi_ns.zip(target.accept_ns).map(|(eoi, accept)| eoi.saturating_sub(accept));
        let style = if Some(target.vcpu) == slowest { theme.bad() } else { Style::new() };
        let part = |ns: Option<u64>| (ns.unwrap_or(0) as f64 / whole as f64 * bar as f64).round() as usize;
        let (waited, ended) = (part(target.accept_ns), part(target.eoi_ns));
        let line = Line::from(vec![
            Span::styled(format!(" {:<6}", format!("cpu{}", target.vcpu)), style),
            Span::raw(format!("{:>9}{:>10}", time(target.accept_ns), time(handled))),
            Span::styled(format!("{:>10}  ", time(target.eoi_ns)), style),
            Span::styled("╌".repeat(waited), theme.dim()),
            Span::styled("━".repeat(ended.saturating_sub(waited)), style),
        ]);
        line.render(row, buffer);
        if Some(n) == selected {
            buffer.set_style(row, theme.selected());
        }
    }
    let Some(slowest) = shootdown.slowest() else { return };
    let waited = slowest.accept_ns.unwrap_or(0);
    let handled = slowest.eoi_ns.unwrap_or(0).saturating_sub(waited);
    let why = if waited >= handled {
        format!("took it only after {}", text::duration(waited))
    } else {
        format!("handled it for {}", text::duration(handled))
    };
    let lines = [
        String::new(),
        format!(" cpu{} was last: it {why}", slowest.vcpu),
        format!(" handler {}", name_of(app, shootdown.vector)),
        format!(" sent at {} s, event #{}", text::timestamp(shootdown.time), text::count(shootdown.event)),
    ];
    for (row, line) in rows.zip(lines) {
        Line::raw(line).render(row, buffer);
    }
}

/// Who sent how many to whom.
pub(super) fn matrix(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let Some(matrix) =
        app.report().map(|report| &report.details.ipi_matrix).filter(|matrix| !matrix.is_empty())
    else {
        return super::nothing(app, "no IPI was accepted", area, buffer);
    };
    let most = matrix.iter().flatten().copied().max().unwrap_or(0).max(1);
    let width = text::count(most).len().max(5) + 3;
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        let head: String = (0..matrix.len()).map(|to| format!("{:>width$}", format!("cpu{to}"))).collect();
        Line::styled(format!("      {head}"), theme.name()).render(row, buffer);
    }
    let cell = app.matrix_cell(matrix.len());
    let first = cell.map_or(0, |(from, _)| (from + 2).saturating_sub(usize::from(area.height)));
    for (row, (from, counts)) in rows.zip(matrix.iter().enumerate().skip(first)) {
        let mut spans = vec![Span::styled(format!(" cpu{from:<2}"), theme.name())];
        for (to, &count) in counts.iter().enumerate() {
            let shade = match count {
                0 => " ",
                // On a scale of the square root, so that what is rare is still told apart.
                n => SHADES[(((n as f64 / most as f64).sqrt() * 4.0).ceil() as usize).clamp(1, 4) - 1],
            };
            let number = if count == 0 { "·".to_owned() } else { text::count(count) };
            let style = if Some((from, to)) == cell { theme.selected() } else { Style::new() };
            spans.push(Span::raw(" "));
            spans.push(Span::styled(shade, theme.warning()));
            spans.push(Span::styled(format!("{number:>0$}", width - 2), style));
        }
        Line::from(spans).render(row, buffer);
    }
}

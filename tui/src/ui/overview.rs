//! The run at a glance: rates, exit reasons by share, what each vCPU did, how it ended and what recording cost.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::histogram::bar;
use super::text;
use crate::app::App;
use crate::model::activity::LaneState;
use crate::model::class::Class;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How often each class of events was, over the whole run.
pub(super) fn rates(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let summary = app.summary();
    let columns = usize::from(area.width).saturating_sub(34);
    let seconds = summary.last_time.max(1) as f64 / 1e9;
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        let text = format!(" {:<10}{:>11}{:>11}", "class", "events", "a second");
        Line::styled(text, theme.name()).render(row, buffer);
    }
    let present = Class::ALL.into_iter().map(|class| (class, over_time(app, class, columns)));
    let present = present.filter(|(_, (total, _))| *total > 0);
    for (row, (class, (total, counts))) in rows.zip(present) {
        let most = counts.iter().copied().max().unwrap_or(0).max(1);
        let spark: String = counts
            .iter()
            .map(|&count| match count {
                0 => ' ',
                count => LEVELS[((count * 8).div_ceil(most) as usize).clamp(1, 8) - 1],
            })
            .collect();
        Line::from(vec![
            Span::styled(format!(" {:<10}", class.label()), theme.class(class)),
            Span::raw(format!(
                "{:>11}{:>11} ",
                text::count(total),
                text::count((total as f64 / seconds).round() as u64)
            )),
            Span::styled(spark, theme.class(class)),
        ])
        .render(row, buffer);
    }
}

/// Events of a class: all, and in each of so many parts of the run.
fn over_time(app: &App, class: Class, columns: usize) -> (u64, Vec<u64>) {
    let activity = &app.summary().activity;
    let span = u128::from(app.summary().last_time) + 1;
    let (mut total, mut counts) = (0, vec![0; columns]);
    for lane in 0..activity.lanes() {
        for (time, bucket) in activity.from(lane, 0) {
            let count = u64::from(bucket.mix.count(class));
            total += count;
            let column = u128::from(time) * columns as u128 / span;
            if let Some(sum) = usize::try_from(column).ok().and_then(|column| counts.get_mut(column)) {
                *sum += count;
            }
        }
    }
    (total, counts)
}

/// Exit reasons by share.
pub(super) fn shares(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let Some(report) = app.report().filter(|report| !report.exits.is_empty()) else {
        return super::nothing(app, "no exit was recorded", area, buffer);
    };
    let all: u64 = report.exits.iter().map(|exit| exit.count).sum();
    let room = usize::from(area.width).saturating_sub(45);
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        let text = format!(" {:<16}{:>9}{:<room$} {:>8} {:>8}", "exit", "count", "", "of exits", "of time");
        Line::styled(text, theme.name()).render(row, buffer);
    }
    for (row, exit) in rows.zip(&report.exits) {
        let share = exit.count as f64 / all.max(1) as f64;
        Line::from(vec![
            Span::raw(format!(" {:<16.16}{:>9}", exit.reason, text::count(exit.count))),
            Span::styled(format!(" {:<room$}", bar(exit.count, all, room)), theme.good()),
            Span::raw(format!(" {:>8} {:>8}", text::percent(share), text::percent(exit.handling_share))),
        ])
        .render(row, buffer);
    }
}

/// What each vCPU did.
pub(super) fn vcpus(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    let Some(report) = app.report().filter(|report| !report.details.by_vcpu.is_empty()) else {
        return super::nothing(app, "no vCPU has run", area, buffer);
    };
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        let text = format!(
            " {:<6}{:<9}{:>10}{:>9}{:>9}{:>9}{:>8}{:>8}",
            "vCPU", "now", "exits", "guest", "exits", "halted", "traps", "IPIs"
        );
        Line::styled(text, theme.name()).render(row, buffer);
    }
    let all = report.duration_ns.max(1) as f64;
    for (row, vcpu) in rows.zip(&report.details.by_vcpu) {
        let lane = usize::from(vcpu.vcpu);
        let (now, style) = match app.summary().activity.state_before(lane, u64::MAX) {
            LaneState::Absent => ("-", theme.dim()),
            LaneState::Running => ("runs", theme.good()),
            LaneState::Halted => ("halted", theme.dim()),
            LaneState::Paused => ("paused", theme.warning()),
        };
        let share = |ns: u64| text::percent(ns as f64 / all);
        Line::from(vec![
            Span::raw(format!(" {:<6}", format!("cpu{}", vcpu.vcpu))),
            Span::styled(format!("{now:<9}"), style),
            Span::raw(format!(
                "{:>10}{:>9}{:>9}{:>9}{:>8}{:>8}",
                text::count(vcpu.exits),
                share(vcpu.guest_ns),
                share(vcpu.handling_ns),
                share(vcpu.halted_ns),
                text::count(vcpu.traps),
                text::count(vcpu.ipis_sent)
            )),
        ])
        .render(row, buffer);
    }
}

/// How the run ended, what it said of itself, and what recording cost.
pub(super) fn run(app: &App, area: Rect, buffer: &mut Buffer) {
    for (row, line) in
        area.rows().zip(run_lines(app).into_iter().skip(usize::from(app.scroll(crate::app::Pane::Run))))
    {
        line.render(row, buffer);
    }
}

/// Lines of that.
pub(crate) fn run_height(app: &App) -> u16 {
    u16::try_from(run_lines(app).len()).unwrap_or(u16::MAX)
}

fn run_lines(app: &App) -> Vec<Line<'static>> {
    let theme = app.theme();
    let (summary, header, reader) = (app.summary(), app.header(), app.reader());
    let mut lines = Vec::new();
    let mut field = |name: &str, value: String, style: Style| {
        lines.push(Line::from(vec![
            Span::styled(format!(" {name:<11} "), theme.name()),
            Span::styled(value, style),
        ]));
    };
    let plain = Style::new();
    field("guest", text::escape(&header.guest).into_owned(), plain.add_modifier(Modifier::BOLD));
    if !header.guest_command_line.is_empty() {
        field("its line", text::escape(&header.guest_command_line).into_owned(), plain);
    }
    let (state, style) = super::header::state(app);
    field("state", state, style);
    field("memory", text::bytes(header.memory_bytes), plain);
    field(
        "recorded",
        format!("{} events in {}", text::count(summary.events), text::duration(summary.last_time)),
        plain,
    );
    let (bytes, events) = (reader.bytes(), reader.len().max(1));
    field(
        "trace",
        format!("{} bytes, {:.1} an event", text::count(bytes), bytes as f64 / events as f64),
        plain,
    );
    let share = summary.statistics.handling_share();
    field(
        "overhead",
        share.map_or_else(
            || "no exit yet".to_owned(),
            |share| format!("{} of the vCPUs' time in exits", text::percent(share)),
        ),
        plain,
    );
    if summary.lost > 0 {
        field("lost", format!("{} events", text::count(summary.lost)), theme.bad());
    } else {
        field("lost", "nothing".to_owned(), theme.good());
    }
    for damage in reader.damage() {
        field("damage", text::escape(&damage.to_string()).into_owned(), theme.bad());
    }
    for (name, value) in &summary.counters {
        field("counts", format!("{} {}", text::escape(name), text::count(*value)), plain);
    }
    for sentence in &header.not_seen {
        for (n, line) in text::wrap(&text::escape(sentence), 40).into_iter().enumerate() {
            field(if n == 0 { "not seen" } else { "" }, line, theme.warning());
        }
    }
    lines
}

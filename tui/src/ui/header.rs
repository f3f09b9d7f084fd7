//! The first line: which guest, what it is doing, how much is known, at which cost.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use trace_format::event::{Actor, StopReason};

use super::text;
use super::theme::Theme;
use crate::app::App;
use crate::debugger::Debugger;
use crate::guest::Machine;
use crate::model::summary::Stop;

const STOPPED_BY_GDB: &str = "stopped by GDB";

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    if let Some(banner) = &app.settings().banner {
        Line::styled(format!(" {banner}"), theme.warning().add_modifier(Modifier::REVERSED))
            .render(area, buffer);
        return;
    }
    let summary = app.summary();
    let header = app.header();
    let (state, style) = state(app);
    let mut parts = vec![
        Span::styled(
            format!(" {} · {} vCPU", text::escape(app.guest_name()), header.vcpus),
            Style::new().add_modifier(Modifier::BOLD),
        ),
        Span::styled(state, style),
    ];
    if let Some(debugger) = app.debugger() {
        // A warning comes before what may be too long beside it.
        let at = if debugger.open { 1 } else { parts.len() };
        parts.insert(at, gdb(debugger, theme));
    }
    if let Some(Machine::Paused { by: Actor::Gdb }) = app.machine()
        && parts.iter().map(|part| part.width() + 3).sum::<usize>() > usize::from(area.width)
    {
        // Better without the place than not at all.
        for part in parts.iter_mut().filter(|part| part.content.starts_with(STOPPED_BY_GDB)) {
            part.content = STOPPED_BY_GDB.into();
        }
    }
    parts.extend([
        Span::raw(format!("{} events", text::count(summary.events))),
        Span::raw(text::duration(summary.last_time)),
    ]);
    let damage = app.reader().damage();
    if app.reader().is_finished() && !damage.is_empty() {
        parts.push(Span::styled(format!("damaged in {} places", damage.len()), theme.bad()));
    }
    if summary.lost > 0 {
        parts.push(Span::styled(format!("{} lost", text::count(summary.lost)), theme.bad()));
    } else {
        parts.push(Span::raw("0 lost"));
    }
    if !header.not_seen.is_empty() {
        // The statistics' pane says what.
        parts.push(Span::styled("not all is seen", theme.warning()));
    }
    if let Some(share) = summary.statistics.handling_share() {
        parts.push(Span::raw(format!("{} in exits", text::percent(share))));
    }
    if !header.not_seen.is_empty() {
        let sentences: Vec<_> = header.not_seen.iter().map(|sentence| text::escape(sentence)).collect();
        parts.push(Span::styled(format!("not seen: {}", sentences.join(" ")), theme.warning()));
    }
    let mut line = Line::default();
    for part in parts {
        let separator = if line.spans.is_empty() { "" } else { " │ " };
        // What does not fit is left out as a whole: half a number would be another number.
        if line.width() + separator.chars().count() + part.width() <= usize::from(area.width) {
            line.push_span(Span::styled(separator, theme.dim()));
            line.push_span(part);
        }
    }
    line.render(area, buffer);
}

/// What the run is doing or how it ended.
pub(super) fn state(app: &App) -> (String, Style) {
    let theme = app.theme();
    let (known, len) = (app.known(), app.reader().len());
    let reading = known < len;
    let ended = |why: &StopReason| {
        let good = matches!(
            why,
            StopReason::GuestExit { status: 0 }
                | StopReason::Ended { .. }
                | StopReason::Reset { .. }
                | StopReason::PowerOff
        );
        (brief(why), if good { theme.good() } else { theme.bad() })
    };
    match (app.machine(), &app.summary().ended) {
        _ if reading && app.machine().is_none() => {
            (format!("reading, {}", text::percent(known as f64 / len as f64)), theme.warning())
        }
        (Some(Machine::Running), _) => ("running".into(), theme.good()),
        (Some(Machine::Paused { by: Actor::Gdb }), _) => (stopped_by_gdb(app), theme.warning()),
        (Some(Machine::Paused { by }), _) => (format!("paused by {}", by.name()), theme.warning()),
        (Some(Machine::Stopped { why }), _) | (None, Some(why)) => ended(why),
        (None, None) if app.reader().is_finished() => ("ended without a reason".into(), theme.warning()),
        (None, None) if app.follows() => ("growing".into(), theme.good()),
        (None, None) => ("unfinished".into(), theme.warning()),
    }
}

/// Where GDB connects, and whether one has.
fn gdb(debugger: &Debugger, theme: Theme) -> Span<'static> {
    let address = text::escape(&debugger.address);
    let does = match debugger.place {
        _ if !debugger.attached => "not attached".to_owned(),
        Some(place) => format!("at #{}", place.event),
        None => "attached".to_owned(),
    };
    if debugger.open {
        Span::styled(format!("gdb {address} PUBLIC, {does}"), theme.bad())
    } else {
        let style = if debugger.attached { theme.warning() } else { theme.dim() };
        Span::styled(format!("gdb {address} {does}"), style)
    }
}

/// Where GDB has stopped the guest, if at something.
fn stopped_by_gdb(app: &App) -> String {
    let Some(Stop { vcpu, rip, .. }) = app.summary().stop else { return STOPPED_BY_GDB.into() };
    match app.header().symbolize(rip) {
        Some((name, offset)) => {
            format!("{STOPPED_BY_GDB} at cpu{vcpu} {}+{offset:#x}", text::escape(name))
        }
        None => format!("{STOPPED_BY_GDB} at cpu{vcpu} {rip:#x}"),
    }
}

/// Few words for why a run ended; the event itself has more.
fn brief(why: &StopReason) -> String {
    match why {
        StopReason::GuestExit { status } => format!("exited with {status}"),
        StopReason::Reset { .. } => "ended: reset".into(),
        StopReason::PowerOff => "ended: powered off".into(),
        StopReason::TripleFault => "ended: triple fault".into(),
        StopReason::Deadlock => "ended: all halted for ever".into(),
        StopReason::HostError => "ended: KVM failed".into(),
        StopReason::Timeout => "ended: timeout".into(),
        StopReason::Ended { by } => format!("ended by {}", by.name()),
    }
}

//! The timeline: a lane for each vCPU, below them an axis with the cursor.
//!
//! ```text
//! stalls  ├12 µs──┤       from an ICR write to the last EOI
//! cpu0  ──●─█─────────█──   exits by colour, ● an IPI sent
//!         │ ━14━━━━━━━      handlers with their vector
//! cpu1  ··╰──▶█───█─────    ▶ an IPI taken, · halted
//!       ┬──◆═════╤════▲──   ▲ the selected event, ◆ a mark, ═ the selected range
//!       0 ns     100 µs
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use trace_format::event::Payload;

use super::{lanes, stalls, text};
use crate::app::layout::LANE_NAMES;
use crate::app::{App, SelectedRange};
use crate::model::class::Class;
use crate::model::strip::{Strip, View};

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let (Some(strip), Some(rows)) = (app.strip(), app.timeline_rows()) else { return };
    let time = Rect { x: area.x + LANE_NAMES, width: area.width.saturating_sub(LANE_NAMES), ..area };
    // The strip may be of a size that the terminal had before.
    if time.width == 0 || area.height < 2 || strip.columns != time.width {
        return;
    }
    let theme = app.theme();
    let axis = Rect { y: area.bottom() - 1, height: 1, ..time };
    let stall = app.selected().and_then(|event| stalls::of_event(&strip.brackets, event));
    if rows.stalls {
        Span::styled("stalls", theme.dim()).render(Rect { height: 1, ..area }, buffer);
        stalls::draw(&strip.brackets, stall, theme, Rect { height: 1, ..time }, buffer);
    }
    let top = area.y + u16::from(rows.stalls);
    let count = u16::try_from(strip.lanes.len()).unwrap_or(u16::MAX);
    let first = first_lane(app, count.max(1), rows.lanes);
    let shown = count.saturating_sub(first).min(rows.lanes);
    for lane in 0..shown {
        let name = format!("cpu{:<2}", first + lane);
        Span::raw(name).render(Rect { y: top + lane * rows.lane, height: 1, ..area }, buffer);
    }
    let lanes_area = Rect { y: top, height: shown * rows.lane, ..time };
    let highlighted = app.selected().and_then(|event| ipi(&event.payload));
    lanes::Lanes { theme, strip, first, shown, rows: rows.lane, highlighted, stall }.draw(lanes_area, buffer);
    draw_axis(app, strip, axis, buffer);
    draw_range(app, strip, axis, buffer);
    draw_marks(app, strip, axis, buffer);
    let cursor = app.selected().and_then(|event| Some((event, strip.view.column(event.time, time.width)?)));
    if let Some((event, column)) = cursor {
        let x = time.x + column;
        buffer[(x, axis.y)].set_symbol("▲").set_style(theme.focused());
        let lane = u16::from(event.vcpu);
        if (first..first + shown).contains(&lane) {
            for row in 0..rows.lane {
                buffer[(x, top + (lane - first) * rows.lane + row)].set_style(theme.selected());
            }
        }
    }
}

/// What the colours, or letters, of exits mean, for the lower border.
pub(super) fn legend(app: &App) -> Line<'static> {
    let theme = app.theme();
    let mut spans = vec![Span::raw(" ")];
    let Some(strip) = app.strip() else { return Line::default() };
    for class in &Class::ALL[..Class::EXITS] {
        if strip.lanes.iter().flatten().any(|cell| cell.mix.count(*class) > 0) {
            let mark = if theme.has_color() { '█' } else { class.letter() };
            spans.push(Span::styled(mark.to_string(), theme.class(*class)));
            spans.push(Span::raw(format!(" {} ", class.label())));
        }
    }
    spans.push(Span::raw("━ handler "));
    spans.push(Span::styled("●▶", theme.class(Class::Ipi)));
    spans.push(Span::raw(" ipi "));
    if !strip.brackets.is_empty() {
        spans.push(Span::styled("═", theme.bad()));
        spans.push(Span::raw(" waited for "));
    }
    if app.is_refining() {
        spans.push(Span::styled("(reading) ", theme.dim()));
    } else if !strip.exact {
        spans.push(Span::styled("(zoom in for single events) ", theme.dim()));
    }
    spans.push(Span::raw(format!("· {} ", text::duration(strip.view.span))));
    Line::from(spans)
}

/// The first lane to show, so that the selected event's is among the `room` shown.
fn first_lane(app: &App, count: u16, room: u16) -> u16 {
    let lane = app.selected().map_or(0, |event| u16::from(event.vcpu)).min(count - 1);
    (lane + 1).saturating_sub(room)
}

fn ipi(payload: &Payload) -> Option<u64> {
    match payload {
        Payload::Ipi(ipi) => Some(ipi.id),
        Payload::IpiAccepted(ipi) => Some(ipi.id),
        Payload::IpiEoi(ipi) => Some(ipi.id),
        _ => None,
    }
}

fn draw_axis(app: &App, strip: &Strip, area: Rect, buffer: &mut Buffer) {
    let theme = app.theme();
    buffer.set_string(area.x, area.y, "─".repeat(usize::from(area.width)), theme.dim());
    let step = tick(strip.view, area.width);
    let mut time = strip.view.start.div_ceil(step).saturating_mul(step);
    while let Some(column) = strip.view.column(time, area.width) {
        let label = format!("┬{}", label(time, step));
        let room = usize::from(area.width - column);
        if label.chars().count() <= room {
            buffer.set_string(area.x + column, area.y, label, theme.dim());
        }
        let Some(next) = time.checked_add(step) else { break };
        time = next;
    }
}

/// The selected range, with its length if there is room.
fn draw_range(app: &App, strip: &Strip, area: Rect, buffer: &mut Buffer) {
    let Some(SelectedRange { range, .. }) = app.range() else { return };
    let Some((from, to)) = strip.view.columns(range.from, range.to, area.width) else { return };
    let style = app.theme().warning();
    for column in from..=to {
        buffer[(area.x + column, area.y)].set_symbol("═").set_style(style);
    }
    let length = text::duration(range.to - range.from);
    if let Some(margin) = usize::from(to - from + 1).checked_sub(length.chars().count()) {
        let middle = area.x + from + u16::try_from(margin / 2).unwrap_or(0);
        buffer.set_string(middle, area.y, length, style);
    }
}

fn draw_marks(app: &App, strip: &Strip, area: Rect, buffer: &mut Buffer) {
    for time in app.mark_times() {
        if let Some(column) = strip.view.column(*time, area.width) {
            buffer[(area.x + column, area.y)].set_symbol("◆").set_style(app.theme().good());
        }
    }
}

/// The distance of ticks, ns: 1, 2 or 5 of a power of ten, with room for a label.
fn tick(view: View, columns: u16) -> u64 {
    const APART: u64 = 16;
    let least = (u128::from(view.span) * u128::from(APART) / u128::from(columns.max(1))).max(1);
    let mut power: u64 = 1;
    loop {
        for factor in [1, 2, 5] {
            if let Some(step) = power.checked_mul(factor)
                && u128::from(step) >= least
            {
                return step;
            }
        }
        match power.checked_mul(10) {
            Some(next) => power = next,
            None => return u64::MAX,
        }
    }
}

/// A tick's time in the unit that suits the distance of ticks, with the digits that tell neighbours apart.
fn label(time: u64, step: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns")];
    let (scale, unit) = UNITS
        .into_iter()
        .find(|(scale, _)| time >= *scale || (time == 0 && step >= *scale))
        .unwrap_or((1, "ns"));
    let mut digits: usize = 0;
    let mut rest = step % scale;
    let mut place = scale;
    while rest > 0 && place > 1 {
        place /= 10;
        rest %= place;
        digits += 1;
    }
    let whole = time / scale;
    if digits == 0 {
        return format!("{whole} {unit}");
    }
    let fraction = time % scale / place.max(1);
    format!("{whole}.{fraction:0digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_apart() {
        assert_eq!(tick(View { start: 0, span: 1_000_000 }, 160), 100_000);
        assert_eq!(tick(View { start: 0, span: 100 }, 160), 10);
        assert_eq!(tick(View { start: 0, span: u64::MAX }, 74), 5_000_000_000_000_000_000);
        assert!(tick(View { start: 0, span: u64::MAX }, 1) > 0);
    }

    #[test]
    fn labels_have_the_digits_that_tell_them_apart() {
        assert_eq!(label(0, 100_000), "0 µs");
        assert_eq!(label(100_000, 100_000), "100 µs");
        assert_eq!(label(1_200_000, 100_000), "1.2 ms");
        assert_eq!(label(1_000_000_020, 20), "1.00000002 s");
        assert_eq!(label(3_000_000_000, 500_000_000), "3.0 s");
    }
}

//! Conversations by IPIs in the timeline: a bracket for each in a line of their own, and the way of the target that
//! answered last in its lane.
//!
//! ```text
//! stalls  ├────0x40 cpu3 12.6 ms────┤
//! cpu1    ●
//! cpu3     ══════════════▶══════════╡
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use trace_format::event::{Event, Payload};

use super::text;
use super::theme::Theme;
use crate::model::bracket::Bracket;
use crate::model::class::Class;

/// The most ways that are drawn: with more they hide each other.
const LEGIBLE: usize = 12;

/// The one that `event` belongs to.
pub(super) fn of_event(brackets: &[Bracket], event: &Event) -> Option<Bracket> {
    let (sender, vector, sent) = match &event.payload {
        Payload::Ipi(ipi) => (event.vcpu, ipi.vector, event.time),
        Payload::IpiAccepted(ipi) => (ipi.sender, ipi.vector, event.time.saturating_sub(ipi.latency_ns)),
        Payload::IpiEoi(ipi) => (ipi.sender, ipi.vector, event.time.saturating_sub(ipi.latency_ns)),
        _ => return None,
    };
    brackets.iter().copied().find(|bracket| bracket.has(sender, vector, sent))
}

/// Brackets, the slowest over the others, `chosen` over all.
pub(super) fn draw(
    brackets: &[Bracket],
    chosen: Option<Bracket>,
    theme: Theme,
    line: Rect,
    buffer: &mut Buffer,
) {
    let plain = theme.class(Class::Ipi);
    let slowest = brackets.last().map(|bracket| bracket.event);
    for bracket in brackets {
        let style = if Some(bracket.event) == slowest { theme.bad() } else { plain };
        one(bracket, style, line, buffer);
    }
    if let Some(bracket) = chosen {
        let style = if Some(bracket.event) == slowest { theme.bad() } else { plain };
        one(&bracket, style.add_modifier(Modifier::REVERSED), line, buffer);
    }
}

fn one(bracket: &Bracket, style: Style, line: Rect, buffer: &mut Buffer) {
    for column in bracket.from..=bracket.to {
        let symbol = match column {
            _ if bracket.from == bracket.to => "┴",
            column if column == bracket.from && bracket.begins => "├",
            column if column == bracket.to && bracket.ends => "┤",
            _ => "─",
        };
        buffer[(line.x + column, line.y)].set_symbol(symbol).set_style(style);
    }
    let stall = text::duration(bracket.stall_ns);
    let full = format!("{:#04x} cpu{} {stall}", bracket.vector, bracket.slowest);
    let short = format!("cpu{} {stall}", bracket.slowest);
    let room = usize::from(bracket.to - bracket.from).saturating_sub(1);
    let label = [full, short, stall].into_iter().find(|label| label.chars().count() <= room);
    if let Some(label) = label {
        let margin = (room - label.chars().count()) / 2 + 1;
        let x = line.x + bracket.from + u16::try_from(margin).unwrap_or(0);
        buffer.set_string(x, line.y, label, style);
    }
}

/// The columns of a lane in which it was the one to be waited for, each with whether that ended there.
pub(super) fn ways(
    brackets: &[Bracket],
    chosen: Option<Bracket>,
    lane: u8,
) -> impl Iterator<Item = (u16, bool)> {
    let first = brackets.len().saturating_sub(LEGIBLE);
    let shown = brackets[first..].iter().copied().chain(chosen);
    shown.filter(move |bracket| bracket.slowest == lane && bracket.to > bracket.from).flat_map(|bracket| {
        (bracket.from..=bracket.to).map(move |column| (column, column == bracket.to && bracket.ends))
    })
}

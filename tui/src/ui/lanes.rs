//! The lanes of the timeline: states, handlers, exits, and the arrows of IPIs across them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use trace_format::event::{VECTOR_SYSCALL, vector_name};

use super::stalls;
use super::theme::Theme;
use crate::model::activity::LaneState;
use crate::model::bracket::Bracket;
use crate::model::class::Class;
use crate::model::strip::{Arrow, Cell, Strip};

/// The most arrows that are drawn; with more, only where IPIs begin and end.
const LEGIBLE: usize = 24;

/// The lanes that are on the screen.
pub(super) struct Lanes<'a> {
    pub(super) theme: Theme,
    pub(super) strip: &'a Strip,
    /// The first lane shown.
    pub(super) first: u16,
    /// How many are.
    pub(super) shown: u16,
    /// Lines of each: all in one; exits and IPIs, handlers; IPIs, exits, handlers.
    pub(super) rows: u16,
    /// The IPI to bring out.
    pub(super) highlighted: Option<u64>,
    /// Its conversation.
    pub(super) stall: Option<Bracket>,
}

impl Lanes<'_> {
    pub(super) fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let busiest = self.strip.busiest();
        for lane in 0..self.shown {
            let Some(cells) = self.strip.lanes.get(usize::from(self.first + lane)) else { return };
            for (cell, x) in cells.iter().zip(area.left()..area.right()) {
                self.cell(cell, busiest, x, area.y + lane * self.rows, buffer);
            }
            self.handler_names(cells, area, area.y + lane * self.rows + self.handler_row(), buffer);
        }
        self.ways(area, buffer);
        self.arrows(area, buffer);
    }

    /// Which target was waited for the longest.
    fn ways(&self, area: Rect, buffer: &mut Buffer) {
        for lane in 0..self.strip.lanes.len() {
            let Ok(lane) = u8::try_from(lane) else { return };
            let Some(y) = self.y(lane, area) else { continue };
            for (column, end) in stalls::ways(&self.strip.brackets, self.stall, lane) {
                let cell = &mut buffer[(area.x + column, y)];
                if self.rows == 3 || matches!(cell.symbol(), " " | "─" | "·") {
                    cell.set_symbol(if end { "╡" } else { "═" }).set_style(self.theme.bad());
                }
            }
        }
    }

    /// Lines of a lane: where exits, handlers and IPIs go.
    const fn exit_row(&self) -> u16 {
        if self.rows == 3 { 1 } else { 0 }
    }

    const fn handler_row(&self) -> u16 {
        self.rows - 1
    }

    fn cell(&self, cell: &Cell, busiest: u32, x: u16, y: u16, buffer: &mut Buffer) {
        let (state, style) = match cell.state {
            LaneState::Absent => (" ", self.theme.dim()),
            LaneState::Running => ("─", self.theme.dim()),
            LaneState::Halted => ("·", self.theme.dim()),
            LaneState::Paused => ("‖", self.theme.warning()),
        };
        let exits = (x, y + self.exit_row());
        let handler = (x, y + self.handler_row());
        buffer[exits].set_symbol(state).set_style(style);
        if cell.handler.is_some() {
            buffer[handler].set_symbol("━").set_style(self.theme.class(Class::Trap));
        } else if self.rows > 1 && cell.mix.count(Class::Trap) > 0 {
            buffer[handler].set_symbol("╹").set_style(self.theme.class(Class::Trap));
        }
        if let Some(class) = cell.mix.dominant_exit() {
            let symbol = self.exits(class, cell.mix.exits(), busiest);
            buffer[exits].set_char(symbol).set_style(self.theme.class(class));
        } else if let Some(class) = cell.handling {
            buffer[exits].set_symbol("░").set_style(self.theme.class(class));
        }
        if !self.strip.exact && cell.mix.count(Class::Ipi) > 0 {
            buffer[(x, y)].set_symbol("↕").set_style(self.theme.class(Class::Ipi));
        }
    }

    /// A bar as high as there are exits, on a scale of logarithms; a letter without colour.
    fn exits(&self, class: Class, count: u32, busiest: u32) -> char {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        if !self.theme.has_color() {
            return if count == 1 { class.letter() } else { class.letter().to_ascii_uppercase() };
        }
        let share = f64::from(count).ln_1p() / f64::from(busiest.max(1)).ln_1p();
        BARS[((share * 8.0).ceil() as usize).clamp(1, 8) - 1]
    }

    /// Names in those handlers that are long enough for them.
    fn handler_names(&self, cells: &[Cell], area: Rect, y: u16, buffer: &mut Buffer) {
        if self.rows == 1 {
            return;
        }
        let mut column = 0;
        for run in cells.chunk_by(|a, b| a.handler == b.handler) {
            let width = run.len();
            if let Some(vector) = run[0].handler {
                let full = match (vector, vector_name(vector)) {
                    (VECTOR_SYSCALL, _) => "syscall".to_owned(),
                    (_, Some(name)) => name.to_owned(),
                    (_, None) => format!("{vector:#04x}"),
                };
                let short = if vector == VECTOR_SYSCALL { "sys".to_owned() } else { format!("{vector}") };
                let name = [full, short].into_iter().find(|name| name.len() + 2 <= width);
                if let (Some(name), Ok(offset)) = (name, u16::try_from(column + 1)) {
                    let style = self.theme.class(Class::Trap).add_modifier(Modifier::BOLD);
                    buffer.set_string(area.x + offset, y, name, style);
                }
            }
            column += width;
        }
    }

    fn arrows(&self, area: Rect, buffer: &mut Buffer) {
        let all = self.strip.arrows.len() <= LEGIBLE;
        let plain = self.theme.class(Class::Ipi);
        for arrow in &self.strip.arrows {
            if all && Some(arrow.id) != self.highlighted {
                self.line(arrow, plain, false, area, buffer);
            }
        }
        for arrow in &self.strip.arrows {
            self.ends(arrow, plain, area, buffer);
        }
        for arrow in self.strip.arrows.iter().filter(|arrow| Some(arrow.id) == self.highlighted) {
            let style = plain.add_modifier(Modifier::BOLD);
            self.line(arrow, style, true, area, buffer);
            self.ends(arrow, style, area, buffer);
        }
    }

    /// The line of IPIs of a lane, if the lane is shown.
    fn y(&self, lane: u8, area: Rect) -> Option<u16> {
        let lane = u16::from(lane).checked_sub(self.first).filter(|lane| *lane < self.shown)?;
        Some(area.y + lane * self.rows)
    }

    /// Down or up from the sender, then along the target's lane. Unless it is `over` them, events stay visible.
    fn line(&self, arrow: &Arrow, style: Style, over: bool, area: Rect, buffer: &mut Buffer) {
        let Some(sent) = arrow.sent.map(|column| area.x + column) else { return };
        let (Some(from), Some(to)) = (self.y(arrow.from, area), self.y(arrow.to, area)) else { return };
        let taken = area.x + arrow.taken;
        let mut put = |x, y, symbol: &str| {
            let cell = &mut buffer[(x, y)];
            let free = matches!(cell.symbol(), " " | "─" | "·" | "│" | "╌" | "╰" | "╭" | "├");
            if free || (over && matches!(cell.symbol(), "━" | "░")) {
                // Where one target's line branches off another's.
                let branches = matches!((cell.symbol(), symbol), ("│", "╰" | "╭") | ("╰" | "╭" | "├", "│"));
                cell.set_symbol(if branches { "├" } else { symbol }).set_style(style);
            }
        };
        for y in from.min(to) + 1..from.max(to) {
            put(sent, y, "│");
        }
        if taken > sent {
            put(sent, to, if to > from { "╰" } else { "╭" });
            for x in sent + 1..taken {
                put(x, to, "╌");
            }
        }
    }

    fn ends(&self, arrow: &Arrow, style: Style, area: Rect, buffer: &mut Buffer) {
        let (from, to) = (self.y(arrow.from, area), self.y(arrow.to, area));
        if let (Some(column), Some(y)) = (arrow.sent, from) {
            buffer[(area.x + column, y)].set_symbol("●").set_style(style);
        }
        if let Some(y) = to {
            let head = match from {
                _ if arrow.sent != Some(arrow.taken) => "▶",
                Some(from) if from > y => "▲",
                _ => "▼",
            };
            buffer[(area.x + arrow.taken, y)].set_symbol(head).set_style(style);
        }
    }
}

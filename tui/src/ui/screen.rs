//! The guest's text screen.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use trace_format::screen::character;

use crate::app::App;

/// The adapter's sixteen colours, in its order, by the terminal's own palette.
const COLORS: [Color; 16] = [
    Color::Black,
    Color::Blue,
    Color::Green,
    Color::Cyan,
    Color::Red,
    Color::Magenta,
    Color::Yellow,
    Color::Gray,
    Color::DarkGray,
    Color::LightBlue,
    Color::LightGreen,
    Color::LightCyan,
    Color::LightRed,
    Color::LightMagenta,
    Color::LightYellow,
    Color::White,
];

/// The attribute of a cell (IBM VGA, alphanumeric modes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attribute(u8);

impl Attribute {
    const fn of(cell: u16) -> Self {
        Self(cell.to_le_bytes()[1])
    }

    const fn foreground(self) -> u8 {
        self.0 & 0xf
    }

    const fn background(self) -> u8 {
        self.0 >> 4 & 7
    }

    /// What is written in its own background's colour is not seen, without colours either.
    const fn hides(self) -> bool {
        self.foreground() == self.background()
    }

    fn style(self, color: bool, usual_background: u8) -> Style {
        let style = if color {
            let of = |n: u8| COLORS.get(usize::from(n)).copied().unwrap_or(Color::Reset);
            Style::new().fg(of(self.foreground())).bg(of(self.background()))
        } else {
            let bright = if self.foreground() & 8 != 0 { Modifier::BOLD } else { Modifier::empty() };
            let apart =
                if self.background() == usual_background { Modifier::empty() } else { Modifier::REVERSED };
            Style::new().add_modifier(bright | apart)
        };
        if self.0 & 0x80 != 0 { style.add_modifier(Modifier::SLOW_BLINK) } else { style }
    }
}

/// Draws the part of the screen that is in view at the top left of `area`.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let (screen, part) = (app.screen(), app.screen_part());
    let color = app.theme().has_color();
    let usual = usual_background(screen.rows());
    let columns = usize::from(part.column)..usize::from(part.column + part.columns);
    let rows = screen.rows().skip(part.row.into()).take(part.rows.into());
    for (y, row) in (area.y..area.bottom()).zip(rows) {
        for (x, column) in (area.x..area.right()).zip(columns.clone()) {
            let Some(place) = buffer.cell_mut(Position::new(x, y)) else { continue };
            let cell = row.get(column).copied().unwrap_or(0);
            let attribute = Attribute::of(cell);
            place.set_char(if attribute.hides() { ' ' } else { character(cell) });
            place.set_style(attribute.style(color, usual));
        }
    }
    let Some((row, column)) = screen.cursor() else { return };
    let at = |at: u8, first: u16, count: u16| u16::from(at).checked_sub(first).filter(|at| *at < count);
    if let (Some(y), Some(x)) = (at(row, part.row, part.rows), at(column, part.column, part.columns))
        && let Some(place) = buffer.cell_mut(Position::new(area.x + x, area.y + y))
    {
        // As a block of the text's colour. What is reversed already is seen by being the only one that is not.
        place.modifier.toggle(Modifier::REVERSED);
        if color && place.fg == place.bg {
            place.fg = Color::Gray;
        }
    }
}

/// The background that most cells have: without colours, only others are told apart.
fn usual_background<'a>(rows: impl Iterator<Item = &'a [u16]>) -> u8 {
    let mut counts = [0_u32; 8];
    for cell in rows.flatten() {
        if let Some(count) = counts.get_mut(usize::from(Attribute::of(*cell).background())) {
            *count += 1;
        }
    }
    (0_u8..).zip(counts).max_by_key(|&(n, count)| (count, std::cmp::Reverse(n))).map_or(0, |(n, _)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_colours() {
        let style = Attribute::of(0x1e41).style(true, 0);
        assert_eq!((style.fg, style.bg), (Some(Color::LightYellow), Some(Color::Blue)));
        assert!(Attribute::of(0x8741).style(true, 0).add_modifier.contains(Modifier::SLOW_BLINK));
        assert!(Attribute(0x00).hides() && Attribute(0x44).hides() && !Attribute(0x07).hides());
    }

    #[test]
    fn without_colours_there_are_attributes() {
        let blue = Attribute(0x1f).style(false, 1);
        assert_eq!((blue.fg, blue.bg, blue.add_modifier), (None, None, Modifier::BOLD));
        assert_eq!(Attribute(0x70).style(false, 1).add_modifier, Modifier::REVERSED);
        let row = [0x1f41, 0x1f42, 0x7043];
        assert_eq!(usual_background([&row[..]].into_iter()), 1);
    }
}

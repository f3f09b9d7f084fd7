//! The screen as text with the sequences that colour it (ECMA-48, SGR), as `cat` shows it.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier, Style};

/// A buffer's rows, without what is blank at their ends.
pub(super) fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    let plain = Cell::default().style();
    for y in buffer.area.top()..buffer.area.bottom() {
        let row = buffer.area.left()..buffer.area.right();
        let blank = |x: &u16| {
            let cell = &buffer[(*x, y)];
            cell.symbol() == " " && !cell.modifier.contains(Modifier::REVERSED) && cell.bg == Color::Reset
        };
        let used = row.end - row.clone().rev().take_while(blank).count() as u16;
        let mut now = plain;
        for x in row.start..used {
            let cell = &buffer[(x, y)];
            let style = cell.style();
            if style != now {
                text.push_str(&sequence(style));
                now = style;
            }
            text.push_str(cell.symbol());
        }
        if now != plain {
            text.push_str("\x1b[0m");
        }
        text.push('\n');
    }
    text
}

/// The sequence that sets `style` whatever was set before.
fn sequence(style: Style) -> String {
    let mut sequence = String::from("\x1b[0");
    let modifiers = [
        (Modifier::BOLD, 1),
        (Modifier::DIM, 2),
        (Modifier::ITALIC, 3),
        (Modifier::UNDERLINED, 4),
        (Modifier::REVERSED, 7),
    ];
    for (modifier, number) in modifiers {
        if style.add_modifier.contains(modifier) {
            let _ = write!(sequence, ";{number}");
        }
    }
    for (color, base) in [(style.fg, 30), (style.bg, 40)] {
        let _ = match color.unwrap_or(Color::Reset) {
            Color::Reset => Ok(()),
            Color::Indexed(index) => write!(sequence, ";{};5;{index}", base + 8),
            Color::Rgb(r, g, b) => write!(sequence, ";{};2;{r};{g};{b}", base + 8),
            named => write!(sequence, ";{}", base + number(named)),
        };
    }
    sequence.push('m');
    sequence
}

/// What a colour of the terminal's palette has above 30 or 40.
const fn number(color: Color) -> u16 {
    match color {
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 60,
        Color::LightRed => 61,
        Color::LightGreen => 62,
        Color::LightYellow => 63,
        Color::LightBlue => 64,
        Color::LightMagenta => 65,
        Color::LightCyan => 66,
        Color::White => 67,
        // No colours of the palette.
        Color::Reset | Color::Indexed(_) | Color::Rgb(..) => 9,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::*;

    #[test]
    fn a_style_is_set_once_and_taken_back() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 3));
        buffer.set_string(0, 0, "abc", Style::new());
        buffer.set_string(1, 0, "b", Style::new().fg(Color::Red).add_modifier(Modifier::BOLD));
        buffer.set_string(0, 1, "de", Style::new().fg(Color::Rgb(1, 2, 3)).bg(Color::Indexed(7)));
        buffer.set_string(2, 2, " ", Style::new().add_modifier(Modifier::REVERSED));
        assert_eq!(
            text(&buffer),
            "a\x1b[0;1;31mb\x1b[0mc\n\x1b[0;38;2;1;2;3;48;5;7mde\x1b[0m\n  \x1b[0;7m \x1b[0m\n"
        );
    }

    #[test]
    fn the_palette_is_numbered_as_terminals_do() {
        assert_eq!(sequence(Style::new().fg(Color::DarkGray)), "\x1b[0;90m");
        assert_eq!(sequence(Style::new().bg(Color::LightCyan)), "\x1b[0;106m");
        assert_eq!(sequence(Style::reset()), "\x1b[0m");
    }
}

//! For terminals and fonts with nothing but ASCII: what is drawn with other characters gets the nearest there is.

use ratatui::buffer::Buffer;

/// Replaces every character that is not ASCII.
pub(super) fn replace(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let c = cell.symbol().chars().next().unwrap_or('?');
            cell.set_char(nearest(c));
        }
    }
}

fn nearest(c: char) -> char {
    match c {
        '─' | '━' | '╌' | '—' => '-',
        '│' | '┃' | '‖' | '╹' | '▏' | '▎' => '|',
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '╡' | '┬' | '┴' | '┼' | '┏' | '┓' | '┗' | '┛' | '╭' | '╰'
        | '╮' | '╯' => '+',
        '▍' | '▌' | '▋' | '▊' | '▉' | '█' | '▇' | '▆' | '▅' | '▓' => '#',
        '▄' | '▃' | '▒' | '═' => '=',
        '▂' | '▁' | '░' => '.',
        '▶' | '▸' | '»' | '→' => '>',
        '▼' => 'v',
        '▲' => '^',
        '●' => 'o',
        '◆' => 'm',
        '·' => '.',
        '…' => '~',
        '↑' => '^',
        '↓' => 'v',
        '←' => '<',
        '↕' => ':',
        'µ' => 'u',
        '×' => 'x',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::*;

    #[test]
    fn nothing_but_ascii_is_left() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 1));
        buffer.set_string(0, 0, "┌▶µs日x", ratatui::style::Style::new());
        replace(&mut buffer);
        let text: String = (0..8).map(|x| buffer[(x, 0)].symbol()).collect();
        assert_eq!(text, "+>us? x ");
    }
}

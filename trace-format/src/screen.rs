//! The guest's VGA text screen.

use codepage_437::CP437_WINGDINGS;

use crate::event::Screen;

/// The most columns that a screen has.
pub const MOST_COLUMNS: usize = 80;
/// The most rows that a screen has.
pub const MOST_ROWS: usize = 60;
/// Rows of a screen on which nothing says that it has more.
const USUAL_ROWS: usize = 25;

/// The character that `cell` of text memory shows: its low byte in code page 437, whose control characters are
/// pictures. It is never one that a terminal obeys.
#[must_use]
pub fn character(cell: u16) -> char {
    match cell.to_le_bytes()[0] {
        // Shown blank.
        0 | 0xff => ' ',
        byte => CP437_WINGDINGS.decode(byte),
    }
}

/// The text screen as it stands after some of its changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextScreen {
    /// 0 before the first change.
    columns: usize,
    /// Rows one after the other, as many as have changed; a whole number of them.
    cells: Vec<u16>,
    cursor: Option<(u8, u8)>,
}

impl TextScreen {
    /// A screen on which nothing has changed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { columns: 0, cells: Vec::new(), cursor: None }
    }

    /// Takes a change in. What a damaged trace changes outside of any screen is ignored.
    pub fn apply(&mut self, change: &Screen) {
        let columns = usize::from(change.columns).clamp(1, MOST_COLUMNS);
        if columns != self.columns {
            self.cells.clear();
            self.columns = columns;
        }
        self.cursor = change.cursor;
        let (row, first) = (usize::from(change.row), usize::from(change.first));
        if row >= MOST_ROWS || change.cells.is_empty() {
            return;
        }
        let start = row * columns;
        if self.cells.len() < start + columns {
            self.cells.resize(start + columns, 0);
        }
        let cells = self.cells[start..start + columns].iter_mut().skip(first);
        for (cell, new) in cells.zip(&change.cells) {
            *cell = *new;
        }
    }

    /// Whether there has been no change.
    #[must_use]
    pub const fn is_unused(&self) -> bool {
        self.columns == 0
    }

    /// Whether it shows no character.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.cells.iter().all(|&cell| character(cell) == ' ')
    }

    /// Columns of a row: 80, or 40.
    #[must_use]
    pub const fn columns(&self) -> usize {
        if self.columns == 0 { MOST_COLUMNS } else { self.columns }
    }

    /// Its rows from the top, 25 at least. One that is empty has not been written to, which looks as zeros do; the
    /// others have [`Self::columns`] cells, each as in text memory.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u16]> {
        let columns = self.columns();
        let used = self.cells.chunks_exact(columns).rposition(|row| row.iter().any(|&cell| cell != 0));
        let count = used.map_or(0, |last| last + 1).max(USUAL_ROWS);
        (0..count).map(move |row| self.cells.get(row * columns..(row + 1) * columns).unwrap_or_default())
    }

    /// Row and column of the cursor; `None` if it is off or outside of the screen.
    #[must_use]
    pub const fn cursor(&self) -> Option<(u8, u8)> {
        self.cursor
    }

    /// Its characters, a line for each row, without blanks at the end of lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in self.rows() {
            let line: String = row.iter().map(|&cell| character(cell)).collect();
            text.push_str(line.trim_end_matches(' '));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(columns: u8, row: u8, first: u8, text: &str) -> Screen {
        let cells = text.bytes().map(|byte| 0x0700 | u16::from(byte)).collect();
        Screen { columns, row, first, cursor: Some((row, first)), cells }
    }

    #[test]
    fn no_character_is_one_that_a_terminal_obeys() {
        for byte in 0..=0xff {
            assert!(!character(0x1f00 | byte).is_control(), "{byte:#x}");
        }
        assert_eq!([0x41, 0x01, 0x1b, 0xc9, 0xdb].map(character), ['A', '☺', '←', '╔', '█']);
    }

    #[test]
    fn changes_add_up() {
        let mut screen = TextScreen::new();
        assert!(screen.is_unused() && screen.text() == "\n".repeat(25));
        screen.apply(&change(80, 2, 4, "hello"));
        screen.apply(&change(80, 2, 5, "u"));
        screen.apply(&change(80, 0, 79, "x"));
        let text = screen.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[2], lines[0].len()), (25, "    hullo", 80));
        assert_eq!(screen.cursor(), Some((0, 79)));
    }

    #[test]
    fn another_width_is_another_screen() {
        let mut screen = TextScreen::new();
        screen.apply(&change(80, 0, 0, "wide"));
        screen.apply(&change(40, 1, 0, "narrow"));
        assert_eq!((screen.columns(), screen.text().trim()), (40, "narrow"));
    }

    #[test]
    fn more_rows_are_shown_when_they_are_used() {
        let mut screen = TextScreen::new();
        screen.apply(&change(80, 49, 0, "below"));
        assert_eq!(screen.rows().len(), 50);
        let blank = Screen { cells: [0; 5].into_iter().collect(), ..change(80, 49, 0, "") };
        screen.apply(&blank);
        assert_eq!(screen.rows().len(), 25);
    }

    #[test]
    fn what_is_outside_is_ignored() {
        let mut screen = TextScreen::new();
        for (columns, row, first) in [(0, 0, 0), (255, 255, 255), (80, 60, 0), (40, 3, 39), (1, 59, 200)] {
            screen.apply(&change(columns, row, first, "0123456789"));
            assert!(screen.rows().len() <= MOST_ROWS && screen.columns() <= MOST_COLUMNS);
        }
    }
}

//! The VGA text screen on its way into the trace.
//!
//! Text memory is plain memory, so that writing to it does not exit. It is looked at from time to time, and what differs
//! from what was seen before is recorded, a row at a time.

use arrayvec::ArrayVec;
use trace_format::event::Screen;
use trace_format::screen::{MOST_COLUMNS, MOST_ROWS};

use crate::devices::TextMode;
use crate::memory::Memory;

/// Where text memory is, gpa (IBM VGA, memory map 3 of the graphics controller).
const TEXT_MEMORY: u64 = 0xb8000;
/// How much of it there is, in cells of 2 bytes: what is behind its end is its beginning.
const TEXT_CELLS: usize = 16 << 10;

/// What is on the screen, as far as it has been looked at.
#[derive(Debug)]
pub(crate) struct TextMemory {
    /// The screen's part of text memory as last read, and as the trace has it.
    read: Vec<u16>,
    recorded: Vec<u16>,
    layout: Layout,
    cursor: Option<(u8, u8)>,
    /// The guest has written to it.
    used: bool,
}

/// Columns and rows, within what a trace can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    columns: usize,
    rows: usize,
}

impl Layout {
    fn of(mode: &TextMode) -> Self {
        let columns = if mode.columns <= 40 { 40 } else { MOST_COLUMNS };
        Self { columns, rows: usize::from(mode.rows).clamp(1, MOST_ROWS) }
    }
}

impl TextMemory {
    pub(crate) fn new() -> Self {
        Self {
            read: Vec::with_capacity(MOST_COLUMNS * MOST_ROWS),
            recorded: Vec::new(),
            layout: Layout { columns: MOST_COLUMNS, rows: 0 },
            cursor: None,
            used: false,
        }
    }

    /// Looks at the screen that `mode` makes of `memory` and records what has changed. There is nothing to record before
    /// the guest has written something other than zeros to it.
    pub(crate) fn look(&mut self, mode: &TextMode, memory: &Memory, mut record: impl FnMut(Screen)) {
        let layout = Layout::of(mode);
        if !self.read_screen(mode, layout, memory) {
            return;
        }
        let cursor = cursor(mode, layout);
        if !self.used && self.read.iter().all(|&cell| cell == 0) {
            return;
        }
        if self.used && (layout, cursor) == (self.layout, self.cursor) && self.read == self.recorded {
            return;
        }
        self.used = true;
        let columns = layout.columns as u8;
        let mut recorded_any = false;
        if layout.columns != self.layout.columns {
            // To whoever reads the trace the screen is empty now.
            self.recorded.clear();
        }
        let rows = (self.recorded.len() / layout.columns).max(layout.rows);
        let blank = [0; MOST_COLUMNS];
        let part = |cells: &[u16], row: usize| {
            let start = row * layout.columns;
            let mut part = blank;
            for (to, from) in part.iter_mut().zip(cells.iter().skip(start).take(layout.columns)) {
                *to = *from;
            }
            part
        };
        for row in 0..rows {
            let (old, new) = (part(&self.recorded, row), part(&self.read, row));
            let differs = |&column: &usize| old[column] != new[column];
            let Some(first) = (0..layout.columns).find(differs) else { continue };
            let last = (first..layout.columns).rfind(differs).unwrap_or(first);
            let cells: ArrayVec<u16, 80> = new.iter().skip(first).take(last + 1 - first).copied().collect();
            record(Screen { columns, row: row as u8, first: first as u8, cursor, cells });
            recorded_any = true;
        }
        if !recorded_any && (layout.columns != self.layout.columns || cursor != self.cursor) {
            record(Screen { columns, row: 0, first: 0, cursor, cells: ArrayVec::new() });
        }
        self.recorded.clone_from(&self.read);
        (self.layout, self.cursor) = (layout, cursor);
    }

    /// Reads the cells on the screen; false if the guest has no such memory.
    fn read_screen(&mut self, mode: &TextMode, layout: Layout, memory: &Memory) -> bool {
        let Layout { columns, rows } = layout;
        self.read.clear();
        let mut bytes = [0; 2 * MOST_COLUMNS];
        let Some(bytes) = bytes.get_mut(..2 * columns) else { return false };
        for row in 0..rows {
            let first = (usize::from(mode.start) + row * usize::from(mode.pitch)) % TEXT_CELLS;
            let before_end = 2 * (TEXT_CELLS - first).min(columns);
            let (head, tail) = bytes.split_at_mut(before_end);
            if memory.read(TEXT_MEMORY + 2 * first as u64, head).is_err()
                || memory.read(TEXT_MEMORY, tail).is_err()
            {
                return false;
            }
            self.read.extend(bytes.as_chunks().0.iter().map(|cell| u16::from_le_bytes(*cell)));
        }
        true
    }
}

/// Row and column of the cursor; none if it is off or not on the screen.
fn cursor(mode: &TextMode, layout: Layout) -> Option<(u8, u8)> {
    let at = usize::from(mode.cursor?.wrapping_sub(mode.start));
    let pitch = usize::from(mode.pitch).max(1);
    let (row, column) = (at / pitch, at % pitch);
    (row < layout.rows && column < layout.columns).then_some((row as u8, column as u8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trace_format::screen::TextScreen;

    use super::*;
    use crate::devices::Vga;

    fn mode() -> TextMode {
        Vga::new().text_mode().unwrap()
    }

    fn write(memory: &Memory, cell: usize, text: &str) {
        for (n, byte) in text.bytes().enumerate() {
            memory.write(TEXT_MEMORY + 2 * (cell + n) as u64, &[byte, 0x07]).unwrap();
        }
    }

    fn changes(seen: &mut TextMemory, mode: &TextMode, memory: &Memory) -> Vec<Screen> {
        let mut changes = Vec::new();
        seen.look(mode, memory, |change| changes.push(change));
        changes
    }

    #[test]
    fn nothing_is_recorded_before_the_guest_writes() {
        let memory = Memory::new(1 << 20).unwrap();
        let mut seen = TextMemory::new();
        let moved = TextMode { cursor: Some(7), columns: 40, ..mode() };
        assert!(changes(&mut seen, &mode(), &memory).is_empty());
        assert!(changes(&mut seen, &moved, &memory).is_empty());
        write(&memory, 165, "boot");
        let found = changes(&mut seen, &mode(), &memory);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].row, found[0].first, found[0].cells.len()), (2, 5, 4));
        assert!(changes(&mut seen, &mode(), &memory).is_empty());
    }

    #[test]
    fn a_cursor_that_moves_is_a_change() {
        let memory = Memory::new(1 << 20).unwrap();
        let mut seen = TextMemory::new();
        write(&memory, 0, "x");
        changes(&mut seen, &mode(), &memory);
        let found = changes(&mut seen, &TextMode { cursor: Some(81), ..mode() }, &memory);
        assert_eq!((found.len(), found[0].cursor, found[0].cells.len()), (1, Some((1, 1)), 0));
        let found = changes(&mut seen, &TextMode { cursor: Some(80 * 25), ..mode() }, &memory);
        assert_eq!((found.len(), found[0].cursor), (1, None));
    }

    #[test]
    fn a_guest_without_text_memory_has_no_screen() {
        let memory = Memory::new(0xb8000).unwrap();
        assert!(changes(&mut TextMemory::new(), &mode(), &memory).is_empty());
    }

    #[test]
    fn the_end_of_text_memory_is_followed_by_its_beginning() {
        let memory = Memory::new(1 << 20).unwrap();
        write(&memory, TEXT_CELLS - 2, "ab");
        write(&memory, 0, "cd");
        let mut screen = TextScreen::new();
        let scrolled = TextMode { start: TEXT_CELLS as u16 - 2, ..mode() };
        changes(&mut TextMemory::new(), &scrolled, &memory).iter().for_each(|change| screen.apply(change));
        assert_eq!(screen.text().trim_end(), "abcd");
    }

    #[derive(Clone, Debug)]
    enum Act {
        Write(usize, u16),
        Scroll(u16),
        Columns(u16),
        Rows(u16),
        Cursor(Option<u16>),
        Look,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0..4200_usize, any::<u16>()).prop_map(|(cell, value)| Act::Write(cell, value)),
            1 => (0..300_u16).prop_map(Act::Scroll),
            1 => prop::sample::select(vec![40, 80, 132]).prop_map(Act::Columns),
            1 => prop::sample::select(vec![0, 25, 50, 600]).prop_map(Act::Rows),
            1 => any::<Option<u16>>().prop_map(Act::Cursor),
            3 => Just(Act::Look),
        ]
    }

    proptest! {
        /// Whatever the guest does, the changes add up to what is in text memory.
        #[test]
        fn changes_add_up(acts in prop::collection::vec(act(), 1..80)) {
            let memory = Memory::new(1 << 20).unwrap();
            let (mut seen, mut screen, mut mode) = (TextMemory::new(), TextScreen::new(), mode());
            for act in acts.into_iter().chain([Act::Look]) {
                match act {
                    Act::Write(cell, value) => {
                        memory.write(TEXT_MEMORY + 2 * cell as u64, &value.to_le_bytes()).unwrap();
                    }
                    Act::Scroll(start) => mode.start = start,
                    Act::Columns(columns) => (mode.columns, mode.pitch) = (columns, columns),
                    Act::Rows(rows) => mode.rows = rows,
                    Act::Cursor(cursor) => mode.cursor = cursor,
                    Act::Look => {
                        changes(&mut seen, &mode, &memory).iter().for_each(|change| screen.apply(change));
                        if screen.is_unused() {
                            continue;
                        }
                        let layout = Layout::of(&mode);
                        prop_assert_eq!(screen.columns(), layout.columns);
                        prop_assert_eq!(screen.cursor(), cursor(&mode, layout));
                        let rows: Vec<&[u16]> = screen.rows().collect();
                        for row in 0..rows.len().max(layout.rows) {
                            for column in 0..layout.columns {
                                let shown = rows.get(row).and_then(|cells| cells.get(column)).copied().unwrap_or(0);
                                let at = (usize::from(mode.start) + row * usize::from(mode.pitch) + column) % TEXT_CELLS;
                                let there = match row < layout.rows {
                                    true => memory.read_value::<u16>(TEXT_MEMORY + 2 * at as u64).unwrap(),
                                    false => 0,
                                };
                                prop_assert_eq!(shown, there, "row {} column {}", row, column);
                            }
                        }
                    }
                }
            }
        }
    }
}

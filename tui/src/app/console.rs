//! Which of the guest's displays the console shows, which part of it, and as of when.

use super::action::Motion;
use super::{App, Message, Mode, Pane, console_search};
use crate::guest::Machine;
use crate::model::output::Display;
use crate::model::screen::At;
use trace_format::screen::TextScreen;

/// Columns that the text screen moves aside at a time.
const ASIDE: u16 = 8;

/// What the console shows.
#[derive(Default)]
pub(super) struct View {
    /// The user's choice; otherwise it is what the guest used last.
    pub(super) chosen: Option<Display>,
    /// The text screen at the cursor.
    at: At,
    /// Its first row and column in view, if the user has moved it.
    corner: Option<(u16, u16)>,
    /// What is searched.
    pub(super) search: Option<console_search::Search>,
}

/// The part of the text screen that the pane shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its first row.
    pub row: u16,
    /// Its first column.
    pub column: u16,
    /// How many rows.
    pub rows: u16,
    /// How many columns.
    pub columns: u16,
}

impl App {
    /// The display that the console shows.
    #[must_use]
    pub fn display(&self) -> Display {
        self.console.chosen.unwrap_or_else(|| self.summary.used.latest())
    }

    /// The text screen: as of the selected event.
    #[must_use]
    pub const fn screen(&self) -> &TextScreen {
        self.console.at.screen()
    }

    /// The part of the text screen that there is room for. Unless the user moves it, the cursor is in it.
    #[must_use]
    pub fn screen_part(&self) -> Part {
        let area = self.panes().and_then(|panes| panes.inside(Pane::Console)).unwrap_or_default();
        let (all_rows, all_columns) = self.screen_size();
        let (rows, columns) = (area.height.min(all_rows), area.width.min(all_columns));
        let (row, column) = self.console.corner.unwrap_or_else(|| {
            let (row, column) = self.screen().cursor().unwrap_or((0, 0));
            ((u16::from(row) + 1).saturating_sub(rows), (u16::from(column) + 1).saturating_sub(columns))
        });
        Part { row: row.min(all_rows - rows), column: column.min(all_columns - columns), rows, columns }
    }

    /// Whether keys that move go to the text screen.
    pub(super) fn shows_screen(&self) -> bool {
        self.focus.pane() == Pane::Console && self.display() == Display::Screen
    }

    pub(super) fn switch_display(&mut self) {
        self.console.chosen = Some(self.display().other());
        self.console.corner = None;
    }

    pub(super) fn scroll_screen(&mut self, motion: Motion) {
        let part = self.screen_part();
        let places = self.screen_size().0 - part.rows + 1;
        let row = motion.apply(part.row.into(), places.into(), part.rows.into());
        self.console.corner = Some((u16::try_from(row).unwrap_or(0), part.column));
    }

    /// Scrolls the text screen so that `row` is in view.
    pub(super) fn show_screen_line(&mut self, row: usize) {
        let part = self.screen_part();
        let row = u16::try_from(row).unwrap_or(u16::MAX);
        if !(part.row..part.row + part.rows).contains(&row) {
            self.console.corner = Some((row.saturating_sub(part.rows / 2), part.column));
        }
    }

    pub(super) fn scroll_screen_aside(&mut self, right: bool) {
        let part = self.screen_part();
        let column = if right { part.column + ASIDE } else { part.column.saturating_sub(ASIDE) };
        self.console.corner = Some((part.row, column.min(self.screen_size().1 - part.columns)));
    }

    /// Brings the text screen to the selected event.
    pub(super) fn load_screen(&mut self) {
        if self.display() != Display::Screen {
            return;
        }
        let Self { summary, console, reader, cursor, .. } = self;
        if let Err(error) = summary.screens.go(&mut console.at, *cursor, reader) {
            self.message = Some(Message::of_error(&error));
        }
    }

    pub(super) fn start_typing(&mut self) {
        match &self.machine {
            Some(Machine::Running | Machine::Paused { .. }) => {
                // What is typed must not go elsewhere because the guest writes elsewhere.
                self.console.chosen = Some(self.display());
                self.mode = Mode::Typing;
            }
            Some(Machine::Stopped { why }) => self.tell(format!("nobody to type to: {why}")),
            None => self.tell("nobody to type to: this is a recorded trace"),
        }
    }

    /// Ends typing when the guest has ended.
    pub(super) fn stop_typing_to_nobody(&mut self) {
        if matches!(self.mode, Mode::Typing)
            && let None | Some(Machine::Stopped { .. }) = self.machine
        {
            self.mode = Mode::Panes;
        }
    }

    /// Rows and columns; neither is 0.
    fn screen_size(&self) -> (u16, u16) {
        let screen = self.screen();
        let size = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        (size(screen.rows().len()), size(screen.columns()))
    }
}

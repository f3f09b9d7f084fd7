//! The mouse: a click focuses and selects, the wheel scrolls what is under it, dragging in the timeline selects a range.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::action::{Action, Command, Motion};
use super::view::Pane;
use super::{App, Column, Mode, SortBy};

/// Lines that one turn of the wheel scrolls.
const WHEEL: usize = 3;

impl App {
    /// The mouse was used.
    pub fn mouse(&mut self, event: MouseEvent) -> Option<Command> {
        let at = Position::new(event.column, event.row);
        let command = match event.kind {
            MouseEventKind::Down(MouseButton::Left) => self.click(at),
            MouseEventKind::Drag(MouseButton::Left) => self.drag(at),
            MouseEventKind::Up(MouseButton::Left) => {
                self.drop_in_timeline();
                None
            }
            MouseEventKind::ScrollUp => self.wheel(at, Motion::Up),
            MouseEventKind::ScrollDown => self.wheel(at, Motion::Down),
            _ => return None,
        };
        self.refresh();
        command
    }

    fn pane_at(&self, at: Position) -> Option<(Pane, Rect)> {
        let panes = self.panes()?;
        panes.shown.iter().copied().find(|(_, area)| area.contains(at))
    }

    fn click(&mut self, at: Position) -> Option<Command> {
        self.message = None;
        self.forget_drag();
        if !matches!(self.mode, Mode::Panes) {
            return None;
        }
        let panes = self.panes()?;
        if panes.tabs.is_some_and(|tabs| tabs.contains(at)) {
            let view = crate::ui::tab_at(self, at.x)?;
            return self.act(Action::Show(view));
        }
        let (pane, _) = self.pane_at(at)?;
        self.focus(pane);
        let inside = panes.inside(pane).filter(|inside| inside.contains(at))?;
        let (row, column) = (usize::from(at.y - inside.y), at.x - inside.x);
        self.click_in(pane, row, column, inside.width);
        None
    }

    /// Goes on where a click has begun; only in the timeline does that mean something.
    fn drag(&mut self, at: Position) -> Option<Command> {
        if !matches!(self.mode, Mode::Panes) {
            return None;
        }
        let inside = self.panes()?.inside(Pane::Timeline)?;
        let column = at.x.clamp(inside.left(), inside.right().saturating_sub(1)) - inside.x;
        self.drag_in_timeline(column, inside.width);
        None
    }

    /// A click in a pane: on a row, or on a head, which sorts.
    fn click_in(&mut self, pane: Pane, row: usize, column: u16, width: u16) {
        match pane {
            Pane::Events if self.has_column_names() && row == 0 => {
                if let Some(field) = crate::ui::column_at(self, column).and_then(Column::field) {
                    self.sort_by(Some(SortBy { field: field.name, descending: false }));
                }
            }
            Pane::Events => {
                let row = row.checked_sub(self.has_column_names().into());
                if let Some((number, _)) = row.and_then(|row| self.window.events.get(row)) {
                    self.select(*number);
                }
            }
            Pane::Timeline => self.click_in_timeline(row, column, width),
            Pane::Statistics if row == 0 => self.sort_statistics(),
            Pane::Statistics
            | Pane::Vectors
            | Pane::Origins
            | Pane::Pages
            | Pane::Space
            | Pane::Shootdowns
            | Pane::Targets => {
                if let Some(row) = row.checked_sub(1) {
                    self.select_row(pane, row);
                }
            }
            Pane::Code => self.select_code(self.code_list().first() + row),
            Pane::Times | Pane::Handling | Pane::Latency => self.select_row(pane, row),
            _ => {}
        }
    }

    /// Selects the row of a list that is at line `row` of those on the screen.
    fn select_row(&mut self, pane: Pane, row: usize) {
        let list = match pane {
            Pane::Statistics => self.statistics_list(),
            Pane::Vectors => self.flow_list(),
            Pane::Origins => self.origin_list(),
            Pane::Shootdowns => self.shootdown_list(),
            Pane::Targets => self.target_list(),
            Pane::Pages => self.page_list(),
            Pane::Space => self.space_list(),
            pane => self.bucket_list(pane),
        };
        let to = list.first() + row;
        let at = list.selected(usize::MAX).unwrap_or(0);
        // As if somebody had moved there: what depends on the selection goes along.
        let (motion, steps) = if to >= at { (Motion::Down, to - at) } else { (Motion::Up, at - to) };
        for _ in 0..steps {
            self.move_by(motion);
        }
    }

    fn wheel(&mut self, at: Position, motion: Motion) -> Option<Command> {
        if let Mode::Help(_) = self.mode {
            self.move_by(motion);
            return None;
        }
        let (pane, _) = self.pane_at(at)?;
        if pane == Pane::Timeline {
            return self.act(if motion == Motion::Up { Action::ZoomIn } else { Action::ZoomOut });
        }
        let before = self.focus.clone();
        self.focus.set(pane);
        (0..WHEEL).for_each(|_| self.move_by(motion));
        self.focus = before;
        None
    }
}

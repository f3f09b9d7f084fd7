//! A list of which a part is on the screen and one row is selected.

use super::action::Motion;

/// Which row is selected, and which is the first on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List {
    selected: usize,
    first: usize,
}

impl List {
    /// The selected one of `count` rows; `None` if there are none.
    #[must_use]
    pub fn selected(self, count: usize) -> Option<usize> {
        count.checked_sub(1).map(|last| self.selected.min(last))
    }

    /// The first on the screen.
    #[must_use]
    pub const fn first(self) -> usize {
        self.first
    }

    /// Moves among `count` rows of which `page` are on the screen.
    pub(super) fn move_by(&mut self, motion: Motion, count: usize, page: u16) {
        let at = self.selected(count).unwrap_or(0);
        let to = motion.apply(at as u64, count as u64, u64::from(page));
        self.select(usize::try_from(to).unwrap_or(0));
    }

    pub(super) fn select(&mut self, row: usize) {
        self.selected = row;
    }

    /// Selects a row that is to be so far below the first on the screen, if there are that many above it.
    pub(super) fn place(&mut self, row: usize, below: usize) {
        *self = Self { selected: row, first: row.saturating_sub(below) };
    }

    /// Scrolls no further than it must for the selected one of `count` rows to be among `page` on the screen.
    pub(super) fn show(&mut self, count: usize, page: u16) {
        let page = usize::from(page.max(1));
        let selected = self.selected(count).unwrap_or(0);
        let lowest = (selected + 1).saturating_sub(page);
        self.first = self.first.clamp(lowest, selected).min(count.saturating_sub(page).max(lowest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_row_is_on_the_screen() {
        let mut list = List::default();
        assert_eq!(list.selected(0), None);
        for (motion, selected, first) in [
            (Motion::Last, 19, 15),
            (Motion::Up, 18, 15),
            (Motion::PageUp, 13, 13),
            (Motion::First, 0, 0),
            (Motion::PageDown, 5, 1),
        ] {
            list.move_by(motion, 20, 5);
            list.show(20, 5);
            assert_eq!((list.selected(20), list.first()), (Some(selected), first), "{motion:?}");
        }
        list.show(3, 5);
        assert_eq!((list.selected(3), list.first()), (Some(2), 0), "rows have gone");
    }
}

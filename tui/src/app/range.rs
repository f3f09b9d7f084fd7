//! The selected range of time: what the analyses are of, and what is measured between two events.

use super::App;
use crate::work::Range;

/// How far a selection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Chosen {
    /// Everything.
    #[default]
    All,
    /// From here to the cursor.
    From(u64),
    /// This, and so many events.
    Range(Range, u64),
}

/// The selected range, for views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectedRange {
    /// From where to where.
    pub range: Range,
    /// How many events it has; `None` while its end goes along with the cursor.
    pub events: Option<u64>,
}

impl App {
    /// The selected range, if there is one.
    #[must_use]
    pub fn range(&self) -> Option<SelectedRange> {
        match self.chosen {
            Chosen::All => None,
            Chosen::From(from) => {
                let to = self.selected.as_ref().map_or(from, |event| event.time);
                Some(SelectedRange { range: Range { from: from.min(to), to: from.max(to) }, events: None })
            }
            Chosen::Range(range, events) => Some(SelectedRange { range, events: Some(events) }),
        }
    }

    /// What the analyses are of.
    pub(super) const fn analysed_range(&self) -> Range {
        match self.chosen {
            Chosen::Range(range, _) => range,
            Chosen::All | Chosen::From(_) => Range::ALL,
        }
    }

    /// Begins a selection at the cursor, then ends it there, then takes it back.
    pub(super) fn select_range(&mut self) {
        self.chosen = match (self.chosen, &self.selected, self.range()) {
            (Chosen::All, Some(event), _) => {
                let from = event.time;
                self.tell("the range begins here: move to its end and do the same again; Esc takes it back");
                Chosen::From(from)
            }
            (Chosen::From(_), _, Some(SelectedRange { range, .. })) => return self.choose_range(range),
            _ => Chosen::All,
        };
    }

    /// Selects this one.
    pub(super) fn choose_range(&mut self, range: Range) {
        // The times of a trace that is not in order may be the other way round.
        let range = Range { from: range.from.min(range.to), to: range.from.max(range.to) };
        self.chosen = match self.count_in(range) {
            Ok(events) => Chosen::Range(range, events),
            Err(error) => {
                self.complain(&error);
                Chosen::All
            }
        };
    }

    /// Has a range begin at `from`, ns, which goes to the cursor until [`Self::end_drag`].
    pub(super) fn drag_range(&mut self, from: u64) {
        self.chosen = Chosen::From(from);
    }

    /// The range goes to where the cursor is now.
    pub(super) fn end_drag(&mut self) {
        if let (Chosen::From(_), Some(SelectedRange { range, .. })) = (self.chosen, self.range()) {
            self.choose_range(range);
        }
    }

    fn count_in(&mut self, range: Range) -> Result<u64, trace_format::Error> {
        let first = self.reader.seek_time(range.from)?;
        let end = self.reader.seek_time(range.to.saturating_add(1))?;
        Ok(end.saturating_sub(first))
    }

    /// Takes the selection back. Whether there was one.
    pub(super) fn forget_range(&mut self) -> bool {
        std::mem::take(&mut self.chosen) != Chosen::All
    }
}

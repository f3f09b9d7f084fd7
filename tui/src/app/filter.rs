//! The filter: which events the lists show.

use trace_format::Filter;
use trace_format::filter::Selection;

use super::App;
use super::action::Motion;
use crate::work::{Matches, Searched};

/// The events that the list shows.
#[derive(Default)]
pub(super) struct Filtered {
    /// What is wanted.
    selection: Selection,
    /// What has been found of it.
    matches: Matches,
    /// It searches. Started with the first filter.
    worker: Option<Searched>,
}

/// What the list shows, for views.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The filter as it was typed; empty for none.
    pub filter: &'a str,
    /// How many events it has, as far as is known.
    pub count: u64,
    /// Where the cursor is among them: how many come before it.
    pub place: u64,
    /// Whether the cursor is on one of them.
    pub here: bool,
    /// How far the trace has been searched, 0 to 1; `None` when all of it has been.
    pub searched: Option<f64>,
}

impl App {
    /// Shows only events that match `filter`; all if it is empty.
    pub(super) fn set_filter(&mut self, filter: Filter) {
        self.filtered.matches = Matches::default();
        self.filtered.selection.filter = filter;
        if self.is_filtered() {
            self.search();
        } else if let Some(worker) = &mut self.filtered.worker {
            worker.cancel();
        }
    }

    /// The filter that is set; an empty text if none is.
    #[must_use]
    pub fn filter(&self) -> &str {
        self.filtered.selection.filter.text()
    }

    /// It, understood.
    pub(super) const fn filtered_by(&self) -> &Filter {
        &self.filtered.selection.filter
    }

    pub(super) fn is_filtered(&self) -> bool {
        !self.filtered.selection.is_everything()
    }

    /// Has the trace searched, what has come since the last time at least.
    fn search(&mut self) {
        if self.filtered.worker.is_none() {
            match Searched::of(&self.reader) {
                Ok(worker) => self.filtered.worker = Some(worker),
                Err(error) => return self.complain(&error),
            }
        }
        if let Some(worker) = &mut self.filtered.worker {
            worker.ask(self.filtered.selection.clone());
        }
    }

    /// Takes what the search has found. Returns whether that is new.
    pub(super) fn take_matches(&mut self) -> bool {
        if !self.is_filtered() {
            return false;
        }
        let Some(worker) = &mut self.filtered.worker else { return false };
        let found = worker.take();
        let busy = worker.is_busy();
        let new = match found {
            Ok(Some(matches)) => {
                self.filtered.matches = matches;
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.complain(&error);
                return true;
            }
        };
        if !busy && self.filtered.matches.searched() < self.reader.len() {
            self.search();
        }
        new
    }

    /// Whether the search is under way.
    pub(super) fn is_searching(&self) -> bool {
        self.filtered.worker.as_ref().is_some_and(Searched::is_busy)
    }

    /// How far it is, if it is under way.
    pub(super) fn searching(&self) -> Option<u64> {
        self.filtered.worker.as_ref().and_then(Searched::reached)
    }

    /// Waits for what the search tells next.
    pub(super) fn wait_for_matches(&self) {
        if let Some(worker) = &self.filtered.worker {
            worker.wait();
        }
    }

    /// What the list shows.
    #[must_use]
    pub fn listed(&self) -> Listed<'_> {
        let filter = self.filter();
        if !self.is_filtered() {
            return Listed {
                filter,
                count: self.known,
                place: self.cursor,
                here: self.known > 0,
                searched: None,
            };
        }
        let matches = &self.filtered.matches;
        let all = self.reader.len();
        let searched = matches.searched() as f64 / all.max(1) as f64;
        Listed {
            filter,
            count: self.listed_count(),
            place: matches.place(self.cursor),
            here: matches.has(self.cursor),
            searched: (matches.searched() < all).then_some(searched),
        }
    }

    /// How many events the list has.
    pub(super) fn listed_count(&self) -> u64 {
        // What has been found but not been read is not shown yet.
        if self.is_filtered() { self.filtered.matches.place(self.known) } else { self.known }
    }

    /// The event at `place` of the list.
    pub(super) fn listed_event(&self, place: u64) -> Option<u64> {
        if self.is_filtered() { self.filtered.matches.event(place) } else { Some(place) }
    }

    /// The event to which `motion` leads in the list; `None` if the list has none.
    pub(super) fn moved_in_list(&self, motion: Motion, page: u64) -> Option<u64> {
        let Listed { count, place, here, .. } = self.listed();
        if count == 0 {
            return None;
        }
        let to = match motion {
            // The cursor is between two of the list: the one below it is the first one down.
            Motion::Down if !here => place.min(count - 1),
            motion => motion.apply(place.min(count), count, page),
        };
        self.listed_event(to)
    }
}

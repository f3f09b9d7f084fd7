//! The filter: which events the lists show.

use trace_format::Filter;
use trace_format::filter::Selection;

use super::App;
use super::action::Motion;

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
        let selection = Selection { filter, ..Selection::default() };
        if let Err(error) = self.filtered.look_for(selection, &self.reader) {
            self.complain(&error);
        }
        if self.is_sorted() {
            self.sort_list();
        }
        if self.is_searched() {
            self.search_in_list();
        }
    }

    /// The filter that is set; an empty text if none is.
    #[must_use]
    pub fn filter(&self) -> &str {
        self.filtered.selection().filter.text()
    }

    /// It, understood.
    pub(super) const fn filtered_by(&self) -> &Filter {
        &self.filtered.selection().filter
    }

    pub(super) fn is_filtered(&self) -> bool {
        self.filtered.is_wanted()
    }

    /// Takes what the search has found. Returns whether that is new.
    pub(super) fn take_matches(&mut self) -> bool {
        self.filtered.take(&self.reader).unwrap_or_else(|error| {
            self.complain(&error);
            true
        })
    }

    /// What the list shows.
    #[must_use]
    pub fn listed(&self) -> Listed<'_> {
        let filter = self.filter();
        if let Some(sorted) = self.sorted() {
            let place = sorted.place(self.cursor);
            return Listed {
                filter,
                count: sorted.len(),
                place: place.unwrap_or(0),
                here: place.is_some(),
                searched: None,
            };
        }
        if !self.is_filtered() {
            return Listed {
                filter,
                count: self.known,
                place: self.cursor,
                here: self.known > 0,
                searched: None,
            };
        }
        let matches = self.filtered.matches();
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
        if let Some(sorted) = self.sorted() {
            return sorted.len();
        }
        // What has been found but not been read is not shown yet.
        if self.is_filtered() { self.filtered.matches().place(self.known) } else { self.known }
    }

    /// The event at `place` of the list.
    pub(super) fn listed_event(&self, place: u64) -> Option<u64> {
        if let Some(sorted) = self.sorted() {
            return sorted.event(place);
        }
        if self.is_filtered() { self.filtered.matches().event(place) } else { Some(place) }
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

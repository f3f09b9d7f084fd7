//! Searching in the event list: from match to match, with the others in view.

use trace_format::Filter;
use trace_format::filter::Selection;

use super::finder::Finder;
use super::{App, Message};

/// What is searched.
#[derive(Default)]
pub(super) struct Search {
    /// As it was typed; everything while nothing is.
    wanted: Filter,
    /// The events that match it and are in the list.
    finder: Finder,
    /// Where to go when it is found: to a later match, or an earlier one.
    pending: Option<bool>,
}

impl Search {
    /// Whether it is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.finder.is_busy()
    }

    /// How far it is, if it is.
    pub(super) fn reached(&self) -> Option<u64> {
        self.finder.reached()
    }

    /// Waits for what it tells next.
    pub(super) fn wait(&self) {
        self.finder.wait();
    }
}

/// The search, for views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Searching<'a> {
    /// What is searched.
    pub text: &'a str,
    /// How many matches there are, as far as is known.
    pub count: u64,
    /// Which of them the cursor is at, counted from 1.
    pub at: Option<u64>,
    /// Not all of the trace has been searched.
    pub goes_on: bool,
}

impl App {
    /// The search, if there is one.
    #[must_use]
    pub fn searched(&self) -> Option<Searching<'_>> {
        if !self.is_searched() {
            return None;
        }
        let matches = self.search.finder.matches();
        Some(Searching {
            text: self.search.wanted.text(),
            count: matches.len(),
            at: matches.has(self.cursor).then(|| matches.place(self.cursor) + 1),
            goes_on: matches.searched() < self.reader.len(),
        })
    }

    /// Whether event `number` has been found.
    #[must_use]
    pub fn is_found(&self, number: u64) -> bool {
        self.search.finder.matches().has(number)
    }

    pub(super) fn is_searched(&self) -> bool {
        !self.search.wanted.is_everything()
    }

    /// What is searched, as it was typed.
    pub(super) fn search_text(&self) -> &str {
        self.search.wanted.text()
    }

    /// Goes to the next event that matches `wanted`; no longer searches if that is everything.
    pub(super) fn search(&mut self, wanted: Filter) {
        self.search.wanted = wanted;
        self.search.pending = None;
        if self.search_in_list() && self.is_searched() {
            self.find_match(true);
        }
    }

    /// Searches the list as it is filtered now. Returns whether it can be.
    pub(super) fn search_in_list(&mut self) -> bool {
        let both = match (self.is_searched(), self.is_filtered()) {
            (true, true) => Filter::parse(&format!("({}) and ({})", self.filter(), self.search.wanted)),
            _ => Ok(self.search.wanted.clone()),
        };
        let looks = match both {
            Ok(filter) => {
                let selection = Selection { filter, ..Selection::default() };
                self.search
                    .finder
                    .look_for(selection, &self.reader)
                    .map_err(|error| Message::of_error(&error))
            }
            // Both together are longer than a filter may be.
            Err(error) => {
                Err(Message { text: format!("cannot search what is filtered: {error}"), error: true })
            }
        };
        let wrong = looks.err();
        let can_be = wrong.is_none();
        if !can_be {
            self.search = Search::default();
            self.message = wrong;
        }
        can_be
    }

    /// Ends the search. Whether there was one.
    pub(super) fn forget_search(&mut self) -> bool {
        let was = self.is_searched();
        if was {
            self.search(Filter::default());
        }
        was
    }

    /// Goes to the next match or the one before, from the other end if there is none; if it is not known yet, when it is.
    pub(super) fn find_match(&mut self, forward: bool) {
        let matches = self.search.finder.matches();
        let complete = matches.searched() >= self.reader.len();
        let cursor = self.cursor;
        let (found, known) = if forward {
            (matches.event(matches.place(cursor + 1)), true)
        } else {
            let before = matches.place(cursor).checked_sub(1);
            (before.and_then(|place| matches.event(place)), matches.searched() >= cursor)
        };
        let around = if forward {
            matches.event(0)
        } else {
            matches.len().checked_sub(1).and_then(|last| matches.event(last))
        };
        self.search.pending = None;
        match (found.filter(|_| known), around) {
            (Some(number), _) if number < self.known => self.select_found(number, None),
            (None, Some(number)) if complete && number < self.known => {
                let end = if forward {
                    "past the last match: on from the first"
                } else {
                    "past the first match: on from the last"
                };
                self.select_found(number, Some(end));
            }
            (None, None) if complete => {
                let text = format!("no event matches {}", self.search.wanted);
                self.tell(text);
            }
            _ => self.search.pending = Some(forward),
        }
    }

    /// Selects what was found, and says whether it is at an end, or not in the list as that is sorted.
    pub(super) fn select_found(&mut self, number: u64, end: Option<&str>) {
        self.select(number);
        let told: Vec<String> = end.map(str::to_owned).into_iter().chain(self.out_of_order(number)).collect();
        if !told.is_empty() {
            self.tell(told.join("; "));
        }
    }

    /// No longer goes to what is found.
    pub(super) fn stay(&mut self) {
        self.search.pending = None;
    }

    /// Takes what the search has found, and goes there if that is wanted. Returns whether something is new.
    pub(super) fn take_found(&mut self) -> bool {
        let new = self.search.finder.take(&self.reader).unwrap_or_else(|error| {
            self.complain(&error);
            true
        });
        match self.search.pending {
            Some(forward) => self.find_match(forward),
            None => return new,
        }
        new || self.search.pending.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Settings;
    use crate::app::action::{Action, Wanted};

    fn searching(text: &str) -> App {
        let reader = trace_format::Reader::from_bytes(crate::embedded::TRACE).unwrap();
        let mut app = App::new(reader, Settings::plain());
        app.resize((80, 24).into());
        app.read_all();
        app.update(Action::Search(Wanted(Filter::parse(text).unwrap())));
        app.read_all();
        app
    }

    fn said(app: &App) -> &str {
        app.message().map_or("", |message| message.text.as_str())
    }

    #[test]
    fn it_goes_from_match_to_match_and_around() {
        let mut app = searching("number in {7, 100, 1000}");
        let mut visited = vec![app.cursor()];
        for action in [Action::NextOfKind, Action::NextOfKind, Action::NextOfKind] {
            app.update(action);
            visited.push(app.cursor());
        }
        assert_eq!(visited, [7, 100, 1000, 7]);
        assert_eq!(said(&app), "past the last match: on from the first");
        app.update(Action::PreviousOfKind);
        assert_eq!((app.cursor(), said(&app)), (1000, "past the first match: on from the last"));
        assert!(app.is_found(100) && !app.is_found(101));
        let found = app.searched().unwrap();
        assert_eq!((found.count, found.at, found.goes_on), (3, Some(3), false));
        app.update(Action::Back);
        assert!(app.searched().is_none() && !app.is_found(100));
    }

    #[test]
    fn it_stays_in_the_filtered_list() {
        let mut app = searching("number in {7, 100, 1000}");
        app.update(Action::Filter(Wanted(Filter::parse("number > 50 and number < 900").unwrap())));
        app.read_all();
        app.update(Action::NextOfKind);
        app.read_all();
        assert_eq!((app.cursor(), app.searched().unwrap().count), (100, 1));
        app.update(Action::Filter(Wanted(Filter::default())));
        app.read_all();
        assert_eq!(app.searched().unwrap().count, 3);
    }

    #[test]
    fn what_is_nowhere_is_said() {
        let app = searching("vcpu == 15");
        assert_eq!((app.cursor(), said(&app)), (0, "no event matches vcpu == 15"));
    }

    #[test]
    fn who_moves_on_is_not_moved_later() {
        let reader = trace_format::Reader::from_bytes(crate::embedded::TRACE).unwrap();
        let mut app = App::new(reader, Settings::plain());
        app.resize((80, 24).into());
        app.read_all();
        app.search.pending = Some(true);
        app.search.wanted = Filter::parse("number == 1000").unwrap();
        assert!(app.search_in_list());
        app.update(Action::Goto(crate::app::place::Place::Event(3)));
        app.read_all();
        assert_eq!(app.cursor(), 3);
    }

    #[test]
    fn what_is_not_in_the_sorted_list_is_said() {
        // Event 98 is of a kind that has no vector.
        let mut app = searching("number in {7, 98}");
        app.update(Action::Filter(Wanted(Filter::parse("number > 50").unwrap())));
        app.update(Action::SortBy(Some(crate::app::SortBy { field: "number", descending: true })));
        app.read_all();
        app.update(Action::NextOfKind);
        assert_eq!((app.cursor(), said(&app)), (98, "past the last match: on from the first"));
        app.update(Action::Filter(Wanted(Filter::default())));
        app.update(Action::SortBy(Some(crate::app::SortBy { field: "ipi.vector", descending: true })));
        app.read_all();
        app.update(Action::NextOfKind);
        assert_eq!(said(&app), "event 98 is not in the list by ipi.vector");
    }
}

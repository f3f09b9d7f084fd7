//! The order of the event list: that of the trace, or of a field.

use std::time::{Duration, Instant};

use trace_format::filter::{Candidate, Field, field, fields};

use super::App;
use crate::ui::text;
use crate::work::{Sorted, Sorter, Sorting};

/// Of a trace that grows, events are sorted anew after this many times the time that it took.
const REST: u32 = 4;
/// And not sooner than this.
const SOONEST: Duration = Duration::from_secs(1);

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortBy {
    /// The field's name.
    pub field: &'static str,
    /// The largest first.
    pub descending: bool,
}

impl SortBy {
    /// Understands a field's name, with `-` before it for the largest first; nothing is the order of the trace.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        let (descending, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name.trim()));
        if text.is_empty() {
            return Ok(None);
        }
        let known = field(name)
            .ok_or_else(|| format!("`{name}` is no field to sort by; 'vmscope help filter' lists them"))?;
        Ok(Some(Self { field: known.name, descending }))
    }

    fn known(self) -> Option<&'static Field> {
        field(self.field)
    }
}

/// Which order, and how far it is there.
#[derive(Default)]
pub(super) struct Order {
    by: Option<SortBy>,
    sorted: Option<Sorted>,
    worker: Option<Sorter>,
    asked: Option<Instant>,
    /// Not before.
    next: Option<Instant>,
}

impl Order {
    /// How far sorting is, if it is under way.
    pub(super) fn reached(&self) -> Option<u64> {
        self.worker.as_ref().and_then(Sorter::reached)
    }

    /// Whether it is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.worker.as_ref().is_some_and(Sorter::is_busy)
    }

    /// Waits for it.
    pub(super) fn wait(&self) {
        if let Some(worker) = &self.worker {
            worker.wait();
        }
    }
}

impl App {
    /// What the event list is to be sorted by.
    #[must_use]
    pub const fn sorted_by(&self) -> Option<SortBy> {
        self.order.by
    }

    /// The events in that order; `None` while they are sorted.
    #[must_use]
    pub const fn sorted(&self) -> Option<&Sorted> {
        self.order.sorted.as_ref()
    }

    pub(super) const fn is_sorted(&self) -> bool {
        self.order.by.is_some()
    }

    /// Sorts the list; the same field once more the other way round.
    pub(super) fn sort_by(&mut self, by: Option<SortBy>) {
        self.order.by = match (by, self.order.by) {
            (Some(by), Some(before)) if by == before => {
                Some(SortBy { descending: !before.descending, ..before })
            }
            (by, _) => by,
        };
        self.sort_list();
    }

    /// Sorts what the list has now.
    pub(super) fn sort_list(&mut self) {
        self.order.sorted = None;
        self.ask_for_order();
    }

    fn ask_for_order(&mut self) {
        let Some(SortBy { descending, .. }) = self.order.by else {
            if let Some(worker) = &mut self.order.worker {
                worker.cancel();
            }
            return;
        };
        let Some(field) = self.order.by.and_then(SortBy::known) else { return };
        let selection = self.filtered.selection().clone();
        let worker = match &mut self.order.worker {
            Some(worker) => worker,
            None => match Sorter::of(&self.reader) {
                Ok(worker) => self.order.worker.insert(worker),
                Err(error) => {
                    self.order.by = None;
                    return self.complain(&error);
                }
            },
        };
        worker.ask(Sorting { selection, field, descending });
        self.order.asked = Some(Instant::now());
    }

    /// The order of the trace again. Whether there was another.
    pub(super) fn forget_order(&mut self) -> bool {
        let was = self.is_sorted();
        if was {
            self.sort_by(None);
        }
        was
    }

    /// Why event `number` is not in the sorted list, if it is not.
    pub(super) fn out_of_order(&self, number: u64) -> Option<String> {
        let (by, sorted) = (self.order.by?, self.order.sorted.as_ref()?);
        if sorted.place(number).is_some() {
            return None;
        }
        let number = text::count(number);
        Some(if sorted.len() < sorted.having {
            format!("event {number} is not among the first {} by {}", text::count(sorted.len()), by.field)
        } else {
            format!("event {number} is not in the list by {}", by.field)
        })
    }

    /// Takes what was sorted. Returns whether there is something new.
    pub(super) fn take_order(&mut self) -> bool {
        let Some(worker) = &mut self.order.worker else { return false };
        let found = match worker.take() {
            Ok(found) => found,
            Err(error) => {
                self.order.by = None;
                self.complain(&error);
                return true;
            }
        };
        if let Some(sorted) = found {
            let took = self.order.asked.map_or(Duration::ZERO, |asked| asked.elapsed());
            self.order.next = Instant::now().checked_add((took * REST).max(SOONEST));
            let first = sorted.event(0).filter(|_| self.order.sorted.is_none());
            self.order.sorted = Some(sorted);
            if let Some(first) = first {
                // What is sorted is looked at from its beginning.
                self.select(first);
            }
            return true;
        }
        let rested = self.order.next.is_some_and(|next| Instant::now() >= next);
        let grown = self.order.sorted.as_ref().is_some_and(|sorted| sorted.events < self.reader.len());
        if self.is_sorted() && !self.order.is_busy() && grown && (rested || self.reader.is_finished()) {
            self.ask_for_order();
        }
        false
    }
}

/// Fields to sort by.
pub(super) fn complete_sort(app: &App, text: &str) -> Vec<Candidate> {
    let sign = text.starts_with('-');
    let name = text.trim_start_matches('-');
    let columns: Vec<&str> = app.columns().names().collect();
    let mut found: Vec<&Field> =
        fields().iter().filter(|field| field.name.contains(name) && field.name != name).collect();
    found.sort_by_key(|field| (!field.name.starts_with(name), !columns.contains(&field.name)));
    let candidate = |field: &Field| Candidate {
        text: field.name.to_owned(),
        about: field.documentation.to_owned(),
        replaces: usize::from(sign)..text.len(),
    };
    found.into_iter().map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Settings;
    use crate::app::action::{Action, Motion, Wanted};

    #[test]
    fn an_order_is_a_field_and_a_direction() {
        let by = |field, descending| Ok(Some(SortBy { field, descending }));
        assert_eq!(SortBy::parse("latency"), by("latency", false));
        assert_eq!(SortBy::parse(" - latency"), by("latency", true));
        assert_eq!(SortBy::parse(" "), Ok(None));
        assert!(SortBy::parse("event").is_err());
    }

    #[test]
    fn the_list_is_in_order_and_back_again() {
        let reader = trace_format::Reader::from_bytes(crate::embedded::TRACE).unwrap();
        let mut app = App::new(reader, Settings::plain());
        app.resize((80, 24).into());
        app.read_all();
        let exits = trace_format::Filter::parse("kind == exit").unwrap();
        app.update(Action::Filter(Wanted(exits)));
        app.update(Action::SortBy(SortBy::parse("-latency").unwrap()));
        app.read_all();
        let sorted = app.sorted().unwrap().clone();
        assert_eq!(app.cursor(), sorted.event(0).unwrap());
        assert_eq!(app.listed().count, sorted.len());
        let shown: Vec<u64> = app.window().events.iter().map(|(number, _)| *number).collect();
        let first: Vec<u64> = (0..shown.len() as u64).filter_map(|place| sorted.event(place)).collect();
        assert_eq!(shown, first);
        app.update(Action::Move(Motion::Down));
        assert_eq!(app.cursor(), first[1]);
        app.update(Action::Move(Motion::Last));
        assert_eq!((Some(app.cursor()), app.follows()), (sorted.event(sorted.len() - 1), false));
        app.update(Action::SortBy(SortBy::parse("-latency").unwrap()));
        app.read_all();
        assert_eq!(app.sorted_by(), Some(SortBy { field: "latency", descending: false }));
        let largest = sorted.event(0).unwrap();
        assert!(app.sorted().unwrap().place(largest).unwrap() > 0);
        app.update(Action::Back);
        assert!(app.sorted_by().is_none());
        assert_eq!(app.filter(), "kind == exit");
    }
}

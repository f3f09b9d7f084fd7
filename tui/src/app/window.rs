//! The part of the event list that is on the screen.

use std::time::{Duration, Instant};

use trace_format::Event;

use super::layout::Panes;
use super::{App, Pane};
use crate::work::{Found, Listing};

/// How long events are read before a frame. Neighbours are in one block and there at once; what is far apart may need a
/// block each, and is read on a thread.
const AT_ONCE: Duration = Duration::from_millis(4);

/// Events in view.
#[derive(Debug, Default)]
pub struct Window {
    /// The place of the first one in the list.
    first: u64,
    /// The events with their numbers; `None` for one that is damaged in the file, or not read yet.
    pub events: Vec<(u64, Option<Event>)>,
    /// Numbers of those that are not read yet, in their order.
    missing: Vec<u64>,
    worker: Option<Listing>,
}

impl Window {
    /// Whether event `number` is still to be read.
    #[must_use]
    pub fn is_missing(&self, number: u64) -> bool {
        self.missing.contains(&number)
    }

    fn put(&mut self, found: Found) {
        self.missing.retain(|missing| !found.iter().any(|(number, _)| number == missing));
        for (number, event) in found {
            if let Some(row) = self.events.iter_mut().find(|(row, _)| *row == number) {
                row.1 = event;
            }
        }
    }
}

impl App {
    /// How many events the list has room for.
    pub(super) fn list_rows(&self, panes: &Panes) -> u16 {
        panes.rows(Pane::Events).saturating_sub(self.has_column_names().into())
    }

    /// Reads the `rows` events around the cursor that are to be shown. The view moves no further than it must.
    pub(super) fn load_window(&mut self, rows: u16) {
        let rows = u64::from(rows);
        let count = self.listed_count();
        let cursor = self.listed().place.min(count.saturating_sub(1));
        let lowest = (cursor + 1).saturating_sub(rows);
        let first = self.window.first.clamp(lowest, cursor.max(lowest)).min(count.saturating_sub(rows));
        let wanted: Vec<u64> =
            (first..(first + rows).min(count)).filter_map(|place| self.listed_event(place)).collect();
        self.window.first = first;
        if self.window.events.iter().map(|(number, _)| number).eq(&wanted) {
            return;
        }
        let before = std::mem::take(&mut self.window.events);
        let mut missing = Vec::new();
        let begun = Instant::now();
        for number in wanted {
            let known = before.iter().find(|(old, _)| *old == number && !self.window.is_missing(number));
            let event = match known {
                Some((_, event)) => event.clone(),
                None if begun.elapsed() >= AT_ONCE => {
                    missing.push(number);
                    None
                }
                None => self.reader.event(number).unwrap_or_else(|error| {
                    self.complain(&error);
                    None
                }),
            };
            self.window.events.push((number, event));
        }
        self.window.missing.clone_from(&missing);
        self.read_missing(missing);
    }

    /// Has events read on the thread, instead of those before.
    fn read_missing(&mut self, missing: Vec<u64>) {
        if missing.is_empty() {
            if let Some(worker) = self.window.worker.as_mut().filter(|worker| worker.is_busy()) {
                worker.cancel();
            }
            return;
        }
        if self.window.worker.is_none() {
            match Listing::of(&self.reader) {
                Ok(worker) => self.window.worker = Some(worker),
                Err(error) => return self.complain(&error),
            }
        }
        if let Some(worker) = &mut self.window.worker {
            worker.ask(missing);
        }
    }

    /// Takes events that were read. Returns whether there are some.
    pub(super) fn take_listed(&mut self) -> bool {
        let Some(worker) = &mut self.window.worker else { return false };
        match worker.take() {
            Ok(None) => false,
            Ok(Some(found)) => {
                self.window.put(found);
                true
            }
            Err(error) => {
                self.window.missing.clear();
                self.complain(&error);
                true
            }
        }
    }

    /// Whether events in view are still to be read.
    pub(super) fn is_listing(&self) -> bool {
        self.window.worker.as_ref().is_some_and(Listing::is_busy)
    }

    /// How many of them are, if some are.
    pub(super) fn listing(&self) -> Option<u64> {
        self.is_listing().then_some(self.window.missing.len() as u64)
    }

    /// Waits for them.
    pub(super) fn wait_for_listed(&self) {
        if let Some(worker) = &self.window.worker {
            worker.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Settings;

    #[test]
    fn what_takes_longer_is_read_on_the_thread() {
        let reader = trace_format::Reader::from_bytes(crate::embedded::TRACE).unwrap();
        let mut app = App::new(reader, Settings::plain());
        app.read_all();
        let numbers = [0, 5, 1000];
        app.window.events = numbers.map(|number| (number, None)).to_vec();
        app.window.missing = numbers.to_vec();
        app.read_missing(numbers.to_vec());
        assert!(app.is_listing() && app.window.is_missing(5));
        while app.is_listing() {
            app.wait_for_listed();
            app.take_listed();
        }
        assert!(app.window.missing.is_empty());
        for (number, event) in app.window.events.clone() {
            assert_eq!(event, app.reader.event(number).unwrap(), "{number}");
        }
    }
}

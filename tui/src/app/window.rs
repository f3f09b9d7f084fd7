//! The part of the event list that is on the screen.

use trace_format::Event;

use super::App;

/// Events in view.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// The place of the first one in the list.
    first: u64,
    /// The events with their numbers; `None` for one that is damaged in the file.
    pub events: Vec<(u64, Option<Event>)>,
}

impl App {
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
        let mut before = std::mem::take(&mut self.window.events).into_iter().peekable();
        for number in wanted {
            while before.next_if(|(old, _)| *old < number).is_some() {}
            let known = before.next_if(|(old, event)| *old == number && event.is_some());
            let event = known.unwrap_or_else(|| {
                let event = self.reader.event(number).unwrap_or_else(|error| {
                    self.complain(&error);
                    None
                });
                (number, event)
            });
            self.window.events.push(event);
        }
    }
}

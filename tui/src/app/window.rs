//! The part of the event list that is on the screen.

use trace_format::Event;

use super::App;

/// Events in view.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// The number of the first.
    pub first: u64,
    /// The events; `None` for one that is damaged in the file.
    pub events: Vec<Option<Event>>,
}

impl App {
    /// Reads the `rows` events around the cursor that are to be shown. The view moves no further than it must.
    pub(super) fn load_window(&mut self, rows: u16) {
        let rows = u64::from(rows);
        let lowest = (self.cursor + 1).saturating_sub(rows);
        let first =
            self.window.first.clamp(lowest, self.cursor.max(lowest)).min(self.known.saturating_sub(rows));
        let wanted = rows.min(self.known - first);
        if self.window.first == first && self.window.events.len() as u64 == wanted {
            return;
        }
        self.window.first = first;
        self.window.events.clear();
        for number in first..first + wanted {
            let event = self.reader.event(number).unwrap_or_else(|error| {
                self.message = Some(super::Message::of_error(&error));
                None
            });
            self.window.events.push(event);
        }
    }
}

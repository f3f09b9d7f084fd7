//! Marking events, and going back to those that are marked.

use trace_format::filter::Candidate;

use super::App;
use crate::marks::{Mark, Marks};

impl App {
    /// The marks.
    #[must_use]
    pub const fn marks(&self) -> &Marks {
        &self.marks
    }

    /// These are the trace's marks.
    pub fn set_marks(&mut self, marks: Marks) {
        self.marks = marks;
    }

    /// The note of the cursor's event.
    pub(super) fn note(&self) -> Result<String, String> {
        if self.known == 0 {
            return Err("there is no event to mark yet".to_owned());
        }
        Ok(self.marks.get(self.cursor).map(|mark| mark.note.clone()).unwrap_or_default())
    }

    /// Marks the cursor's event.
    pub(super) fn mark(&mut self, note: String) {
        let done = self.marks.set(Mark { event: self.cursor, note });
        self.said(done);
    }

    /// Takes the mark of the cursor's event away.
    pub(super) fn unmark(&mut self) {
        if self.marks.get(self.cursor).is_none() {
            return self.tell("this event is not marked");
        }
        let done = self.marks.remove(self.cursor);
        self.said(done);
    }

    fn said(&mut self, done: Result<(), crate::marks::MarksError>) {
        if let Err(error) = done {
            self.complain(&error);
        }
    }

    /// Goes to the next marked event, or the one before.
    pub(super) fn find_mark(&mut self, forward: bool) {
        let marks = self.marks.all();
        let found = if forward {
            marks.iter().find(|mark| mark.event > self.cursor)
        } else {
            marks.iter().rfind(|mark| mark.event < self.cursor)
        };
        match found.map(|mark| mark.event) {
            Some(event) => self.select(event),
            None => self.tell(format!("no {} mark", if forward { "later" } else { "earlier" })),
        }
    }

    /// The marks that go on with `text`, an event's number or words of a note.
    pub(super) fn complete_mark(&self, text: &str) -> Vec<Candidate> {
        let wanted = text.to_lowercase();
        let matches = |mark: &&Mark| {
            mark.event.to_string().starts_with(&wanted) || mark.note.to_lowercase().contains(&wanted)
        };
        let candidate = |mark: &Mark| Candidate {
            text: mark.event.to_string(),
            about: mark.note.clone(),
            replaces: 0..text.len(),
        };
        self.marks.all().iter().filter(matches).map(candidate).collect()
    }
}

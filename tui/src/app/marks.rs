//! Marking events, and going back to those that are marked.

use trace_format::filter::Candidate;

use super::App;
use crate::marks::{Mark, Marks};
use crate::model::strip::View;
use crate::ui::text::duration;
use crate::work::Range;

/// More marks than that are not drawn in one view of the timeline.
const MOST_IN_VIEW: usize = 100;

impl App {
    /// The marks.
    #[must_use]
    pub const fn marks(&self) -> &Marks {
        &self.marks
    }

    /// These are the trace's marks.
    pub fn set_marks(&mut self, marks: Marks) {
        self.marks = marks;
        self.draw_timeline_anew();
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
        self.draw_timeline_anew();
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

    /// Selects the range between the marks around the cursor, or the last two, to measure it.
    pub(super) fn select_between_marks(&mut self) {
        let marks = self.marks.all();
        let Some(last) = marks.len().checked_sub(1).filter(|last| *last > 0) else {
            return self.refuse(
                "this measures between two marks: go to an event and press m, then do so at another",
            );
        };
        let after = marks.partition_point(|mark| mark.event <= self.cursor).clamp(1, last);
        let [from, to] = [marks[after - 1].event, marks[after].event];
        match (self.time_of(from), self.time_of(to)) {
            (Ok(Some(start)), Ok(Some(end))) => {
                self.choose_range(Range { from: start, to: end });
                self.tell(format!("{} from #{from} to #{to}", duration(end.saturating_sub(start))));
            }
            (Err(error), _) | (_, Err(error)) => self.complain(&error),
            (Ok(None), _) => self.refuse(format!("event {from}, which is marked, cannot be read")),
            (_, Ok(None)) => self.refuse(format!("event {to}, which is marked, cannot be read")),
        }
    }

    /// When the marked events in view were, ns.
    pub(super) fn mark_times_in(&mut self, view: View) -> Result<Vec<u64>, trace_format::Error> {
        if self.marks.all().is_empty() {
            return Ok(Vec::new());
        }
        let events = self.reader.seek_time(view.start)?..self.reader.seek_time(view.end())?;
        let marks = self.marks.all();
        let first = marks.partition_point(|mark| mark.event < events.start);
        let end = marks.partition_point(|mark| mark.event < events.end);
        let seen: Vec<u64> = marks[first..end].iter().map(|mark| mark.event).take(MOST_IN_VIEW).collect();
        let times = seen.into_iter().map(|event| self.time_of(event));
        times.filter_map(Result::transpose).collect()
    }

    fn time_of(&mut self, event: u64) -> Result<Option<u64>, trace_format::Error> {
        Ok(self.reader.event(event)?.map(|event| event.time))
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

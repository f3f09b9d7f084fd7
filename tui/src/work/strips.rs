//! The events of a part of the run as the timeline shows them.

use trace_format::{Error, Reader};

use super::{Progress, Worker};
use crate::model::activity::LaneState;
use crate::model::strip::{Builder, Strip, View};

/// Events before the view, and behind it, that are read with it: what began or ends there reaches into it.
const AROUND: u64 = 64;

/// Which part, and how.
#[derive(Clone, Debug)]
pub struct Part {
    /// Of the run.
    pub view: View,
    /// How many columns it has.
    pub columns: u16,
    /// What the vCPUs did before.
    pub before: Vec<LaneState>,
    /// How many events there are, if all are not to be looked at yet.
    pub known: u64,
}

/// A thread that reads parts.
pub type Strips = Worker<Part, Strip>;

impl Strips {
    /// Starts it for the trace of `reader`.
    ///
    /// # Errors
    /// As [`Worker::start`]; if the trace cannot be opened once more.
    pub fn of(reader: &Reader) -> Result<Self, Error> {
        Self::start("timeline", reader.again()?, |reader, part: Part, _: &Progress<'_, _, _>| {
            let events = part.events(reader)?;
            part.strip(reader, events)
        })
    }
}

impl Part {
    /// The numbers of its events and of those around it, the end not included.
    ///
    /// # Errors
    /// As [`Reader::seek_time`].
    pub fn events(&self, reader: &mut Reader) -> Result<std::ops::Range<u64>, Error> {
        let first = reader.seek_time(self.view.start)?.saturating_sub(AROUND);
        let end = reader.seek_time(self.view.end())?.saturating_add(AROUND).min(self.known);
        Ok(first..end)
    }

    /// Its strip, made of these events.
    ///
    /// # Errors
    /// As [`Reader::forward`].
    pub fn strip(self, reader: &mut Reader, events: std::ops::Range<u64>) -> Result<Strip, Error> {
        let mut builder = Builder::new(self.before, self.view, self.columns);
        for found in reader.forward(events.start) {
            let (number, event) = found?;
            if number >= events.end {
                break;
            }
            builder.add(number, &event);
        }
        Ok(builder.finish())
    }
}

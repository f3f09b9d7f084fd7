//! Events by their numbers, far apart: each may need a block of its own read.

use std::time::{Duration, Instant};

use trace_format::{Error, Event, Reader};

use super::{Progress, Worker};

/// How often it is told what was read so far.
const TELL: Duration = Duration::from_millis(30);

/// Events with their numbers; `None` for one that is damaged in the file.
pub type Found = Vec<(u64, Option<Event>)>;

/// A thread that reads them.
pub type Listing = Worker<Vec<u64>, Found>;

impl Listing {
    /// Starts it for the trace of `reader`.
    ///
    /// # Errors
    /// As [`Worker::start`]; if the trace cannot be opened once more.
    pub fn of(reader: &Reader) -> Result<Self, Error> {
        Self::start("list", reader.again()?, |reader, numbers: Vec<u64>, progress: &Progress<'_, _, _>| {
            let mut found = Found::with_capacity(numbers.len());
            let mut told = Instant::now();
            for number in numbers {
                found.push((number, reader.event(number)?));
                if told.elapsed() >= TELL {
                    progress.tell(found.clone());
                    told = Instant::now();
                }
            }
            Ok(found)
        })
    }
}

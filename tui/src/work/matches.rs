//! Which events match a filter.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roaring::RoaringTreemap;
use trace_format::filter::{Selection, Subject};
use trace_format::{Error, Reader};

use super::{Progress, Worker};

/// How often it is told what was found so far.
const TELL: Duration = Duration::from_millis(50);

/// The events of a selection, as far as the trace has been searched.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    /// Their numbers.
    numbers: Arc<RoaringTreemap>,
    /// Events before this have been looked at.
    searched: u64,
}

impl Matches {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.numbers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Events with numbers below this have been looked at.
    #[must_use]
    pub const fn searched(&self) -> u64 {
        self.searched
    }

    /// The number of the event that is match `place`, counted from 0.
    #[must_use]
    pub fn event(&self, place: u64) -> Option<u64> {
        self.numbers.select(place)
    }

    /// How many matches come before event `number`: the place of the first that does not.
    #[must_use]
    pub fn place(&self, number: u64) -> u64 {
        number.checked_sub(1).map_or(0, |before| self.numbers.rank(before))
    }

    /// Whether event `number` is one.
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        self.numbers.contains(number)
    }

    /// How many there are among the events from `first` to `last`.
    #[must_use]
    pub fn within(&self, first: u64, last: u64) -> u64 {
        self.numbers.range_cardinality(first..=last)
    }
}

/// A search that goes on where the trace has grown.
#[derive(Default)]
struct Search {
    selection: Selection,
    found: Matches,
}

impl Search {
    fn go_on(&mut self, reader: &mut Reader, mut tell: impl FnMut(&Matches)) -> Result<(), Error> {
        let Self { selection, found } = self;
        let from = found.searched;
        let mut told = Instant::now();
        let wanted = |block: &trace_format::Summary| block.end() > from && selection.may_have(block);
        let read = |block: trace_format::reader::BlockEvents<'_>| {
            let matching = block.iter().filter(|(number, event)| {
                *number >= from && selection.has(&Subject { number: *number, event, header: block.header })
            });
            (block.summary.end(), matching.map(|(number, _)| number).collect::<Vec<u64>>())
        };
        let take = |(end, numbers): (u64, Vec<u64>)| {
            let all = Arc::make_mut(&mut found.numbers);
            for number in numbers {
                all.insert(number);
            }
            found.searched = found.searched.max(end);
            if told.elapsed() >= TELL {
                tell(found);
                told = Instant::now();
            }
            ControlFlow::<()>::Continue(())
        };
        // It only ever continues.
        let (ControlFlow::Continue(()) | ControlFlow::Break(())) = reader.read_blocks(wanted, read, take)?;
        found.searched = reader.len();
        Ok(())
    }
}

/// A thread that searches.
pub type Searched = Worker<Selection, Matches>;

impl Searched {
    /// Starts it for the trace of `reader`.
    ///
    /// # Errors
    /// As [`Worker::start`]; if the trace cannot be opened once more.
    pub fn of(reader: &Reader) -> Result<Self, Error> {
        let mut search = Search::default();
        Self::start(
            "search",
            reader.again()?,
            move |reader, selection: Selection, progress: &Progress<'_, _, _>| {
                let same = search.selection.filter.text() == selection.filter.text()
                    && (search.selection.from, search.selection.to) == (selection.from, selection.to);
                if !same {
                    search = Search { selection, found: Matches::default() };
                }
                search.go_on(reader, |found| progress.tell(found.clone()))?;
                Ok(search.found.clone())
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use trace_format::event::{Payload, VcpuState};
    use trace_format::{Event, Filter, Header, Writer};

    use super::*;

    fn found(worker: &mut Searched, filter: &str) -> Matches {
        worker.ask(Selection { filter: Filter::parse(filter).unwrap(), ..Selection::default() });
        let mut last = None;
        while worker.is_busy() {
            worker.wait();
            last = worker.take().unwrap().or(last);
        }
        last.unwrap()
    }

    #[test]
    fn matches_are_counted_and_found_by_place_and_number() {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, &Header { vcpus: 3, ..Header::default() }).unwrap();
        for n in 0..40_000 {
            let vcpu = (n % 3) as u8;
            writer.append(&Event { time: n, vcpu, payload: Payload::State(VcpuState::Running) }).unwrap();
        }
        writer.finish().unwrap();
        let reader = Reader::from_bytes(file).unwrap();
        let mut worker = Searched::of(&reader).unwrap();
        let matches = found(&mut worker, "vcpu == 1");
        assert_eq!((matches.len(), matches.searched()), (13_333, 40_000));
        assert_eq!((matches.event(0), matches.event(2), matches.event(13_333)), (Some(1), Some(7), None));
        assert_eq!((matches.place(0), matches.place(1), matches.place(2), matches.place(7)), (0, 0, 1, 2));
        assert!(matches.has(4) && !matches.has(5));
        assert_eq!(matches.within(1, 7), 3);
        assert!(found(&mut worker, "vcpu == 9").is_empty());
        assert_eq!(found(&mut worker, "").len(), 40_000);
    }

    #[test]
    fn a_search_goes_on_where_the_trace_has_grown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap(), &Header::default()).unwrap();
        let mut append = |from: u64, to: u64| {
            for time in from..to {
                writer.append(&Event { time, vcpu: 0, payload: Payload::State(VcpuState::Running) }).unwrap();
            }
            writer.flush().unwrap();
        };
        append(0, 10);
        let reader = Reader::open(file.path()).unwrap();
        let mut worker = Searched::of(&reader).unwrap();
        assert_eq!(found(&mut worker, "time >= 5ns").len(), 5);
        append(10, 30_000);
        let matches = found(&mut worker, "time >= 5ns");
        assert_eq!((matches.len(), matches.searched()), (29_995, 30_000));
    }
}

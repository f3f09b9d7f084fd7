//! The events of a selection in the order of a field, the first of them.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use trace_format::filter::{Field, Selection, Subject, Value};
use trace_format::{Error, Reader};

use super::{Progress, Worker};

/// How many there are: more than somebody looks through, and few enough to be kept whatever the trace has.
pub const MOST_SORTED: usize = 100_000;

/// What is to be sorted.
#[derive(Clone, Debug)]
pub struct Sorting {
    /// Which events.
    pub selection: Selection,
    /// By this.
    pub field: &'static Field,
    /// The largest first.
    pub descending: bool,
}

/// Events in order.
#[derive(Clone, Debug, Default)]
pub struct Sorted {
    /// The first ones' numbers.
    numbers: Vec<u64>,
    /// Numbers and places, by number.
    places: Vec<(u64, u32)>,
    /// How many have the field.
    pub having: u64,
    /// How many events the trace had.
    pub events: u64,
}

impl Sorted {
    /// How many are in order.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.numbers.len() as u64
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The number of the event at `place`, counted from 0.
    #[must_use]
    pub fn event(&self, place: u64) -> Option<u64> {
        self.numbers.get(usize::try_from(place).ok()?).copied()
    }

    /// The place of event `number`.
    #[must_use]
    pub fn place(&self, number: u64) -> Option<u64> {
        let at = self.places.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.places.get(at).map(|(_, place)| u64::from(*place))
    }
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u64),
    Text(Box<str>),
}

impl Key {
    fn of(value: Value<'_>) -> Self {
        match value {
            Value::Number(value) => Self::Number(value),
            Value::Truth(value) => Self::Number(value.into()),
            Value::Vcpus(vcpus) => Self::Number(vcpus.into()),
            Value::Name(name) => Self::Text(name.into()),
            Value::Text(text) => Self::Text(text.into()),
        }
    }
}

type Row = (Key, u64);

/// The first `most` of rows that come in any order.
struct First {
    rows: Vec<Row>,
    most: usize,
    descending: bool,
}

impl First {
    /// What is equal stays in the order of the trace.
    fn compare(descending: bool, (a, first): &Row, (b, second): &Row) -> Ordering {
        let by_key = if descending { b.cmp(a) } else { a.cmp(b) };
        by_key.then(first.cmp(second))
    }

    fn add(&mut self, rows: Vec<Row>) {
        for row in rows {
            self.rows.push(row);
            if self.rows.len() >= 2 * self.most {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        let descending = self.descending;
        if self.rows.len() > self.most {
            self.rows.select_nth_unstable_by(self.most, |a, b| Self::compare(descending, a, b));
            self.rows.truncate(self.most);
        }
    }

    fn numbers(mut self) -> Vec<u64> {
        self.cut();
        let descending = self.descending;
        self.rows.sort_unstable_by(|a, b| Self::compare(descending, a, b));
        self.rows.into_iter().map(|(_, number)| number).collect()
    }
}

/// A thread that sorts.
pub type Sorter = Worker<Sorting, Sorted>;

impl Sorter {
    /// Starts it for the trace of `reader`.
    ///
    /// # Errors
    /// As [`Worker::start`]; if the trace cannot be opened once more.
    pub fn of(reader: &Reader) -> Result<Self, Error> {
        Self::start("sort", reader.again()?, |reader, sorting: Sorting, _: &Progress<'_, _, _>| {
            sort(reader, &sorting, MOST_SORTED)
        })
    }
}

fn sort(reader: &mut Reader, sorting: &Sorting, most: usize) -> Result<Sorted, Error> {
    let Sorting { selection, field, descending } = sorting;
    let mut first = First { rows: Vec::new(), most, descending: *descending };
    let mut having = 0;
    let ended = reader.read_blocks(
        |block| selection.may_have(block) && field.kinds.iter().any(|kind| block.has_kind(*kind)),
        |block| {
            let rows = block.iter().filter_map(|(number, event)| {
                let subject = Subject { number, event, header: block.header };
                let value = selection.has(&subject).then(|| field.value(&subject)).flatten()?;
                Some((Key::of(value), number))
            });
            rows.collect::<Vec<Row>>()
        },
        |rows| {
            having += rows.len() as u64;
            first.add(rows);
            ControlFlow::<()>::Continue(())
        },
    )?;
    // It only ever continues.
    let (ControlFlow::Continue(()) | ControlFlow::Break(())) = ended;
    let numbers = first.numbers();
    let mut places: Vec<(u64, u32)> = numbers.iter().copied().zip(0..).collect();
    places.sort_unstable();
    Ok(Sorted { numbers, places, having, events: reader.len() })
}

#[cfg(test)]
mod tests {
    use trace_format::Filter;
    use trace_format::filter::field;

    use super::*;

    #[test]
    fn the_first_of_all_are_kept() {
        let mut reader = Reader::from_bytes(crate::embedded::TRACE).unwrap();
        let filter = Filter::parse("kind == exit").unwrap();
        let latency = field("latency").unwrap();
        let mut all: Vec<(u64, u64)> = Vec::new();
        let header = reader.header().clone();
        reader
            .for_each(|number, event| {
                let subject = Subject { number, event, header: &header };
                if let (true, Some(Value::Number(ns))) = (filter.matches(&subject), latency.value(&subject)) {
                    all.push((ns, number));
                }
            })
            .unwrap();
        assert!(all.len() > 100);
        let selection = Selection { filter, ..Selection::default() };
        for descending in [false, true] {
            let sorting = Sorting { selection: selection.clone(), field: latency, descending };
            all.sort_by_key(|(ns, number)| (if descending { u64::MAX - ns } else { *ns }, *number));
            for most in [1, 7, all.len(), usize::MAX / 4] {
                let sorted = sort(&mut reader, &sorting, most).unwrap();
                let expected: Vec<u64> = all.iter().take(most).map(|(_, number)| *number).collect();
                assert_eq!(sorted.numbers, expected, "{most} of {}", all.len());
                assert_eq!(sorted.having, all.len() as u64);
                for (place, number) in expected.iter().enumerate() {
                    assert_eq!(sorted.place(*number), Some(place as u64));
                }
                assert_eq!((sorted.event(sorted.len()), sorted.place(u64::MAX)), (None, None));
            }
        }
    }

    #[test]
    fn names_are_sorted_as_text() {
        let mut reader = Reader::from_bytes(crate::embedded::TRACE).unwrap();
        let sorting =
            Sorting { selection: Selection::default(), field: field("kind").unwrap(), descending: false };
        let sorted = sort(&mut reader, &sorting, usize::MAX / 4).unwrap();
        let header = reader.header().clone();
        let kinds: Vec<String> = (0..sorted.len())
            .filter_map(|place| sorted.event(place))
            .map(|number| {
                let event = reader.event(number).unwrap().unwrap();
                sorting.field.cell(&Subject { number, event: &event, header: &header }).into_owned()
            })
            .collect();
        assert!(kinds.is_sorted() && kinds.len() > 100, "{} events", kinds.len());
    }
}

//! Events by the value of a field.

use std::borrow::Cow;

use serde::Serialize;

use super::TimeLine;
use super::counts::{Counts, MOST, Sum};
use crate::filter::{Field, Subject, Value};

/// The longest value that is told apart by all of it, bytes.
const LONGEST: usize = 256;

/// Counts events by a field, in one pass over a trace or two.
///
/// Guests and traces choose the values, and there may be any number. In the first pass those are found that may be frequent:
/// each that more than one event in [`MOST_GROUPS`](super::MOST_GROUPS) has is among them. If that left out any, or if
/// there was no room for the times of all, a second pass counts these alone. So what is shown is exact.
#[derive(Clone, Debug)]
pub struct Groups {
    field: &'static Field,
    numbers: Counts<u64>,
    names: Counts<Box<str>>,
}

/// A group of events.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GroupReport {
    /// The field's value; `None` for all those that are too rare to be told apart.
    pub value: Option<String>,
    /// How many events.
    pub count: u64,
    /// The sum of the latencies of those that have one, ns.
    pub total_ns: u128,
    /// Their mean; `None` if there is none.
    pub mean_ns: Option<f64>,
    /// Their median; `None` if there is none, or for all but the largest groups if there are many.
    pub p50_ns: Option<u64>,
    /// What 99 % do not exceed; `None` as for the median.
    pub p99_ns: Option<u64>,
    /// The longest; `None` if there is none.
    pub max_ns: Option<u64>,
    /// How many events there were in each window, if a time line was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<u64>>,
}

impl Groups {
    /// Groups by `field`.
    #[must_use]
    pub fn new(field: &'static Field) -> Self {
        Self { field, numbers: Counts::default(), names: Counts::default() }
    }

    /// What the groups have in common.
    #[must_use]
    pub const fn field(&self) -> &'static Field {
        self.field
    }

    /// Takes an event in if it has the field, with the time that it took, ns.
    pub fn add(&mut self, subject: &Subject<'_>, latency: Option<u64>) {
        match self.field.value(subject) {
            None => {}
            Some(Value::Number(number)) => self.add_number(number, latency),
            Some(Value::Name(name)) => self.add_name(name, latency),
            Some(value) => self.add_name(&self.field.show(value), latency),
        }
    }

    pub(super) fn add_number(&mut self, number: u64, latency: Option<u64>) {
        self.numbers.add(&number, || number, latency);
    }

    pub(super) fn add_name(&mut self, name: &str, latency: Option<u64>) {
        let name = shortened(name);
        self.names.add(name, || name.into(), latency);
    }

    /// Ends a pass. Whether all events are to be shown to it once more; if not, it takes no notice of any.
    #[must_use]
    pub fn again(&mut self) -> bool {
        let again = self.numbers.is_incomplete() || self.names.is_incomplete();
        self.numbers.again();
        self.names.again();
        again
    }

    /// The `most` largest groups, and the one of all others if there is such. All counts are exact.
    #[must_use]
    pub fn largest(&self, most: usize) -> Vec<GroupReport> {
        let numbers = self.numbers.iter().map(|(number, sum)| (self.field.show(Value::Number(*number)), sum));
        let names = self.names.iter().map(|(name, sum)| (Cow::Borrowed(&**name), sum));
        let mut groups: Vec<(Cow<'_, str>, &Sum)> = numbers.chain(names).collect();
        // By value if they are equal, so that it is the same each time.
        groups.sort_unstable_by(|(a, x), (b, y)| y.count.cmp(&x.count).then_with(|| a.cmp(b)));
        let mut largest: Vec<GroupReport> =
            groups.into_iter().take(most).map(|(value, sum)| sum.report(Some(value.into_owned()))).collect();
        let mut others = self.numbers.others().clone();
        others.count_in(self.names.others());
        if others.count > 0 {
            largest.push(others.report(None));
        }
        largest
    }

    /// Groups as a table, for people, and as time lines if they have those.
    #[must_use]
    pub fn text(&self, groups: &[GroupReport], time_line: Option<TimeLine>) -> String {
        struct Table<'g>(&'g str, &'g [GroupReport], Option<TimeLine>);
        impl std::fmt::Display for Table<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                super::tables::groups(f, self.0, "latency", self.1)?;
                self.2.map_or(Ok(()), |line| super::tables::group_lines(f, line.window_ns, self.1))
            }
        }
        Table(self.field.name, groups, time_line).to_string().trim_start().to_owned()
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len() + self.names.len()
    }

    /// Whether no event had the field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// By how much quantiles are too high at most, as a fraction of themselves.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.numbers.error().max(self.names.error())
    }
}

/// As much of a value as is told apart.
pub(super) fn shortened(value: &str) -> &str {
    value.get(..value.floor_char_boundary(LONGEST)).unwrap_or_default()
}

impl GroupReport {
    /// Without times.
    pub(super) fn counted(value: &str, count: u64) -> Self {
        Self { value: Some(value.to_owned()), count, ..Self::default() }
    }
}

/// As many values are told apart.
pub const MOST_GROUPS: usize = MOST;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Header;
    use crate::event::{Event, Marker, Payload, Text};
    use crate::filter::field;

    fn add(groups: &mut Groups, texts: impl Iterator<Item = u64>) {
        let header = Header::default();
        for n in texts {
            let text = Text::from(&n.to_string()).unwrap();
            let payload = Payload::Marker(Marker { by_guest: true, text, value: 0 });
            let event = Event { time: n, vcpu: 0, payload };
            groups.add(&Subject { number: n, event: &event, header: &header }, Some(n));
        }
    }

    /// What comes often is found even if it comes late, among values that are made up.
    #[test]
    fn values_that_are_made_up_are_bounded_and_the_frequent_ones_exact() {
        let mut groups = Groups::new(field("text").unwrap());
        let made_up = 3 * MOST_GROUPS as u64;
        let texts = || (10..made_up).chain((0..500).map(|n| n % 5)).chain(10..20);
        add(&mut groups, texts());
        assert!(groups.again());
        add(&mut groups, texts());
        assert!(!groups.again(), "it is enough");
        let largest = groups.largest(5);
        assert!(groups.len() <= MOST_GROUPS);
        let found: Vec<_> = largest.iter().map(|row| (row.value.as_deref(), row.count)).collect();
        let five = ["0", "1", "2", "3", "4"].map(|value| (Some(value), 100));
        assert_eq!(found[..5], five);
        let all: u64 = groups.largest(usize::MAX).iter().map(|row| row.count).sum();
        assert_eq!(all, texts().count() as u64, "none is left out");
        assert_eq!(largest[4].p50_ns, Some(4));
        assert_eq!(found[5].0, None);
    }

    #[test]
    fn few_values_need_one_pass() {
        let mut groups = Groups::new(field("text").unwrap());
        add(&mut groups, (0..1000).map(|n| n % 20));
        assert!(!groups.again());
        add(&mut groups, 0..10);
        let largest = groups.largest(100);
        assert_eq!(largest.len(), 20);
        assert!(largest.iter().all(|row| row.count == 50 && row.p99_ns == row.max_ns));
    }
}

//! Events by the value of a field.

use std::collections::HashMap;

use serde::Serialize;

use crate::filter::{Field, Subject};

/// Different values that are told apart; the events with others are counted together. Guests and traces choose the values.
const MOST_GROUPS: usize = 1 << 16;
/// The longest value that is told apart by all of it, bytes.
const LONGEST: usize = 256;

/// Counts events by a field.
#[derive(Clone, Debug)]
pub struct Groups {
    field: &'static Field,
    groups: HashMap<Box<str>, Sum>,
    others: Sum,
}

/// What the events of a group come to.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u64,
    timed: u64,
    total: u128,
    max: u64,
}

/// A group of events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupReport {
    /// The field's value; `None` for all those for which there was no room.
    pub value: Option<String>,
    /// How many events.
    pub count: u64,
    /// The sum of the latencies of those that have one, ns.
    pub total_ns: u128,
    /// Their mean; `None` if there is none.
    pub mean_ns: Option<f64>,
    /// The longest; `None` if there is none.
    pub max_ns: Option<u64>,
}

impl Groups {
    /// Groups by `field`.
    #[must_use]
    pub fn new(field: &'static Field) -> Self {
        Self { field, groups: HashMap::new(), others: Sum::default() }
    }

    /// What the groups have in common.
    #[must_use]
    pub const fn field(&self) -> &'static Field {
        self.field
    }

    /// Takes an event in if it has the field, with the time that it took, ns.
    pub fn add(&mut self, subject: &Subject<'_>, latency: Option<u64>) {
        if self.field.value(subject).is_some() {
            self.add_as(&self.field.cell(subject), latency);
        }
    }

    /// Takes an event in as one with `value`.
    pub(super) fn add_as(&mut self, value: &str, latency: Option<u64>) {
        let value = value.get(..value.floor_char_boundary(LONGEST)).unwrap_or_default();
        let room = self.groups.len() < MOST_GROUPS;
        let sum = match self.groups.get_mut(value) {
            Some(sum) => sum,
            None if room => self.groups.entry(value.into()).or_default(),
            None => &mut self.others,
        };
        sum.count += 1;
        if let Some(ns) = latency {
            sum.timed += 1;
            sum.total += u128::from(ns);
            sum.max = sum.max.max(ns);
        }
    }

    /// The `most` largest groups, and the one for which there was no room if there is such. All counts are exact.
    #[must_use]
    pub fn largest(&self, most: usize) -> Vec<GroupReport> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        // By value if they are equal, so that it is the same each time.
        groups.sort_unstable_by_key(|(value, sum)| (std::cmp::Reverse(sum.count), *value));
        let mut largest: Vec<GroupReport> =
            groups.iter().take(most).map(|(value, sum)| sum.report(Some(value.to_string()))).collect();
        if self.others.count > 0 {
            largest.push(self.others.report(None));
        }
        largest
    }

    /// The largest groups as a table, for people.
    #[must_use]
    pub fn text(&self, most: usize) -> String {
        struct Table<'g>(&'g Groups, usize);
        impl std::fmt::Display for Table<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                super::tables::groups(f, self.0.field.name, "latency", &self.0.largest(self.1))
            }
        }
        Table(self, most).to_string().trim_start().to_owned()
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether no event had the field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl Sum {
    fn report(&self, value: Option<String>) -> GroupReport {
        let mean = (self.timed > 0).then(|| self.total as f64 / self.timed as f64);
        let max = (self.timed > 0).then_some(self.max);
        GroupReport { value, count: self.count, total_ns: self.total, mean_ns: mean, max_ns: max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Header;
    use crate::event::{Event, Marker, Payload, Text};
    use crate::filter::field;

    #[test]
    fn values_that_are_made_up_are_bounded_and_counted() {
        let header = Header::default();
        let mut groups = Groups::new(field("text").unwrap());
        let events = MOST_GROUPS as u64 + 100;
        for n in 0..events {
            let text = Text::from(&n.to_string()).unwrap();
            let payload = Payload::Marker(Marker { by_guest: true, text, value: 0 });
            let event = Event { time: n, vcpu: 0, payload };
            groups.add(&Subject { number: n, event: &event, header: &header }, Some(n));
        }
        let largest = groups.largest(3);
        assert_eq!(largest.len(), 4);
        assert_eq!((largest[3].value.clone(), largest[3].count), (None, 100));
        assert_eq!(groups.len(), MOST_GROUPS);
    }
}

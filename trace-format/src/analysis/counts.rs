//! How often there was which of any number of values, in bounded memory.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use super::quantiles::FINE;
use super::spans::error;
use super::{Durations, GroupReport};

/// As many values are told apart.
pub(super) const MOST: usize = 10_000;
/// Bytes that the distributions of the times of all of them may take.
const MEMORY: usize = 8 << 20;
/// As many values have such a distribution if there is no room for those of all.
const MOST_TIMED: usize = 256;

/// Counts values.
///
/// Those to be counted are found as Misra and Gries do it: a value for which there is no room takes one from the weight of
/// each, and those without weight leave. What more than one in [`MOST`] is, stays. Then the sums are not exact, and those
/// that have stayed are counted in another pass.
#[derive(Clone, Debug)]
pub(super) struct Counts<K> {
    rows: HashMap<K, Row>,
    pass: Pass,
    /// In the second pass, what has no row.
    others: Sum,
    /// What the distributions take.
    bytes: usize,
    digits: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// So far, everything has its row and distribution.
    First,
    /// No longer.
    Incomplete,
    /// Rows are given, and some have distributions.
    Second,
    /// Nothing is counted any more: the first pass was complete.
    Done,
}

#[derive(Clone, Debug, Default)]
struct Row {
    weight: u64,
    sum: Sum,
}

/// What the events of a group come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    pub(super) count: u64,
    timed: u64,
    total: u128,
    max: u64,
    times: Option<Box<Durations>>,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { rows: HashMap::new(), pass: Pass::First, others: Sum::default(), bytes: 0, digits: FINE }
    }
}

impl<K: Hash + Eq + Ord + Clone> Counts<K> {
    /// Counts the value `key`, which `make` makes one to keep of.
    pub(super) fn add<Q>(&mut self, key: &Q, make: impl FnOnce() -> K, latency: Option<u64>)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.pass == Pass::Done {
            return;
        }
        let room = self.pass != Pass::Second && self.rows.len() < MOST;
        let row = match self.rows.get_mut(key) {
            Some(row) => row,
            None if room => self.rows.entry(make()).or_default(),
            None if self.pass == Pass::Second => return self.others.add(latency),
            None => return self.make_room(),
        };
        row.weight += 1;
        row.sum.add(latency);
        let Some(ns) = latency else { return };
        if self.pass == Pass::First && row.sum.times.is_none() {
            let times = Durations::default();
            self.bytes += times.bytes();
            row.sum.times = Some(Box::new(times));
        }
        if let Some(times) = &mut row.sum.times {
            let before = times.bytes();
            times.add(ns);
            self.bytes += times.bytes();
            self.bytes -= before;
            if self.bytes > MEMORY {
                self.save();
            }
        }
    }

    fn make_room(&mut self) {
        self.pass = Pass::Incomplete;
        self.rows.retain(|_, row| {
            row.sum.times = None;
            row.weight -= 1;
            row.weight > 0
        });
        self.bytes = 0;
    }

    /// The distributions take too much.
    fn save(&mut self) {
        let times = self.rows.values_mut().filter_map(|row| row.sum.times.as_mut());
        if self.pass == Pass::First {
            self.pass = Pass::Incomplete;
            self.bytes = 0;
            self.rows.values_mut().for_each(|row| row.sum.times = None);
        } else if self.digits > 1 {
            self.digits -= 1;
            let digits = self.digits;
            self.bytes = times
                .map(|times| {
                    times.coarsen(digits);
                    times.bytes()
                })
                .sum();
        }
    }

    /// Whether all has to be counted once more.
    pub(super) fn is_incomplete(&self) -> bool {
        self.pass == Pass::Incomplete
    }

    /// Ends a pass. In the second one only what is incomplete is counted, from 0.
    pub(super) fn again(&mut self) {
        if self.pass != Pass::Incomplete {
            self.pass = Pass::Done;
            return;
        }
        self.pass = Pass::Second;
        self.bytes = 0;
        let mut rows: Vec<(&K, &mut Row)> = self.rows.iter_mut().collect();
        rows.sort_by(|(a, x), (b, y)| y.weight.cmp(&x.weight).then_with(|| a.cmp(b)));
        for (n, (_, row)) in rows.into_iter().enumerate() {
            let timed = n < MOST_TIMED && row.sum.timed > 0;
            row.sum = Sum { times: timed.then(Box::default), ..Sum::default() };
            self.bytes += row.sum.times.as_ref().map_or(0, |times| times.bytes());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &Sum)> {
        self.rows.iter().map(|(key, row)| (key, &row.sum)).filter(|(_, sum)| sum.count > 0)
    }

    pub(super) const fn others(&self) -> &Sum {
        &self.others
    }

    pub(super) fn len(&self) -> usize {
        self.iter().count()
    }

    pub(super) fn error(&self) -> f64 {
        error(self.digits)
    }
}

impl Sum {
    fn add(&mut self, latency: Option<u64>) {
        self.count += 1;
        if let Some(ns) = latency {
            self.timed += 1;
            self.total += u128::from(ns);
            self.max = self.max.max(ns);
        }
    }

    /// All but the distribution of `other`.
    pub(super) fn count_in(&mut self, other: &Self) {
        self.count += other.count;
        self.timed += other.timed;
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub(super) fn report(&self, value: Option<String>) -> GroupReport {
        let timed = self.timed > 0;
        let quantile = |quantile| self.times.as_ref().and_then(|times| times.quantile(quantile));
        GroupReport {
            value,
            count: self.count,
            total_ns: self.total,
            mean_ns: timed.then(|| self.total as f64 / self.timed as f64),
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            max_ns: timed.then_some(self.max),
            windows: None,
        }
    }
}

//! Distributions of many things within a bounded memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Durations;
use super::quantiles::FINE;

/// `N` distributions for each of many keys. A trace may name as many as there are, with times of any length; so all of them
/// together have a limit, and where they reach it they go on with one significant digit less.
#[derive(Clone, Debug)]
pub(super) struct Spans<K, const N: usize> {
    rows: BTreeMap<K, [Durations; N]>,
    digits: u8,
    bytes: usize,
    limit: usize,
}

impl<K: Ord, const N: usize> Spans<K, N> {
    /// None, that may take `limit` bytes.
    pub(super) const fn new(limit: usize) -> Self {
        Self { rows: BTreeMap::new(), digits: FINE, bytes: 0, limit }
    }

    /// Adds a span of `ns` to the first distribution of `key`, and so on; `None` adds nothing.
    pub(super) fn add(&mut self, key: K, ns: [Option<u64>; N]) {
        let row = match self.rows.entry(key) {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(place) => {
                let mut row: [Durations; N] = std::array::from_fn(|_| Durations::default());
                row.iter_mut().filter(|_| self.digits < FINE).for_each(|each| each.coarsen(self.digits));
                self.bytes += row.iter().map(Durations::bytes).sum::<usize>();
                place.insert(row)
            }
        };
        for (each, ns) in row.iter_mut().zip(ns) {
            let Some(ns) = ns else { continue };
            let before = each.bytes();
            each.add(ns);
            // A coarse one may take less than the spans that it is made of.
            self.bytes += each.bytes();
            self.bytes -= before;
        }
        while self.bytes > self.limit && self.digits > 1 {
            self.digits -= 1;
            let all = self.rows.values_mut().flatten();
            self.bytes = all
                .map(|each| {
                    each.coarsen(self.digits);
                    each.bytes()
                })
                .sum();
        }
    }

    /// The distributions of `key`, if it was seen.
    pub(super) fn get(&self, key: &K) -> Option<&[Durations; N]> {
        self.rows.get(key)
    }

    /// All of them in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &[Durations; N])> {
        self.rows.iter()
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// By how much quantiles are too high at most, as a fraction of themselves.
    pub(super) fn error(&self) -> f64 {
        error(self.digits)
    }
}

/// The error of so many significant digits.
pub(super) fn error(digits: u8) -> f64 {
    match digits {
        FINE.. => 0.001,
        2 => 0.01,
        _ => 0.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_any_length_have_less_digits_and_are_all_there() {
        let mut spans: Spans<u32, 2> = Spans::new(1 << 20);
        spans.add(0, [Some(1234), None]);
        assert_eq!(spans.error(), 0.001);
        let mut errors = vec![];
        for n in 0..400_000_u32 {
            let ns = 1 << (n / 64 % 64);
            spans.add(n % 64, [Some(ns), (n % 2 == 0).then_some(ns + u64::from(n % 100))]);
            assert!(spans.bytes <= 1 << 20 || spans.digits == 1);
            errors.push(spans.error());
        }
        errors.dedup();
        assert_eq!(errors, [0.001, 0.01, 0.1]);
        assert_eq!(spans.bytes, spans.rows.values().flatten().map(Durations::bytes).sum::<usize>());
        assert_eq!(spans.iter().map(|(_, [all, _])| all.count()).sum::<u64>(), 400_001);
        assert_eq!(spans.iter().map(|(_, [_, some])| some.count()).sum::<u64>(), 200_000);
        let [first, _] = spans.get(&0).unwrap();
        assert!(first.quantile(0.5).unwrap() > 1 << 30);
    }
}

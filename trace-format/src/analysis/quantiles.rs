//! Distributions of time spans.

use std::borrow::Cow;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Significant digits of a distribution, unless there is no room for them.
pub(super) const FINE: u8 = 3;

/// As many spans are kept as they are. Of what is named in a trace, most things are rare.
const FEW: usize = 64;

/// Collects time spans. It takes at most a quarter MiB, however many there are.
#[derive(Clone, Debug)]
pub struct Durations {
    spans: Spans,
    digits: u8,
    count: u64,
    min: u64,
    max: u64,
    sum: u128,
}

#[derive(Clone, Debug)]
enum Spans {
    Few(Vec<u64>),
    /// Of the first `u32::MAX` spans, which a trace of some ten GB has.
    Many(Histogram<u32>),
}

/// A distribution of time spans, ns. `min`, `mean` and `max` are exact; the quantiles are at most 0.1 % too high, or as much
/// as [`Details::quantile_error`](super::Details::quantile_error) says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Quantiles {
    pub min: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Default for Durations {
    fn default() -> Self {
        let spans = Spans::Few(Vec::new());
        Self { spans, digits: FINE, count: 0, min: u64::MAX, max: 0, sum: 0 }
    }
}

impl Durations {
    /// Adds a span of `ns`.
    pub fn add(&mut self, ns: u64) {
        self.count += 1;
        self.min = self.min.min(ns);
        self.max = self.max.max(ns);
        self.sum += u128::from(ns);
        match &mut self.spans {
            Spans::Many(histogram) => record(histogram, ns, 1),
            Spans::Few(few) if few.len() < FEW => few.push(ns),
            Spans::Few(_) => {
                let mut histogram = self.histogram().into_owned();
                record(&mut histogram, ns, 1);
                self.spans = Spans::Many(histogram);
            }
        }
    }

    /// Goes on with fewer significant digits: what was added before is as exact as what comes.
    pub(super) fn coarsen(&mut self, digits: u8) {
        self.digits = digits;
        if let Spans::Many(fine) = &self.spans {
            let mut coarse = histogram(digits, self.max);
            for bucket in fine.iter_recorded() {
                record(&mut coarse, bucket.value_iterated_to(), bucket.count_at_value());
            }
            self.spans = Spans::Many(coarse);
        }
    }

    /// Bytes of memory that it takes at most beyond its own.
    pub(super) fn bytes(&self) -> usize {
        match &self.spans {
            Spans::Few(few) => size_of::<u64>() * few.capacity(),
            Spans::Many(histogram) => size_of::<u32>() * histogram.distinct_values(),
        }
    }

    fn histogram(&self) -> Cow<'_, Histogram<u32>> {
        match &self.spans {
            Spans::Many(histogram) => Cow::Borrowed(histogram),
            Spans::Few(few) => {
                let mut histogram = histogram(self.digits, self.max);
                few.iter().for_each(|ns| record(&mut histogram, *ns, 1));
                Cow::Owned(histogram)
            }
        }
    }

    /// How many spans there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The exact sum of all spans, ns.
    #[must_use]
    pub const fn total_ns(&self) -> u128 {
        self.sum
    }

    /// The shortest and the longest span; `None` if there are none.
    #[must_use]
    pub fn extremes(&self) -> Option<(u64, u64)> {
        (self.count() > 0).then_some((self.min, self.max))
    }

    /// The span that the fraction `quantile` of all, 0 to 1, do not exceed, at most 0.1 % too high; `None` if there are
    /// none.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let (min, max) = self.extremes()?;
        Some(self.histogram().value_at_quantile(quantile).clamp(min, max))
    }

    /// Spans that are alike to 0.1 % and how many there are of each, the shortest first.
    pub(crate) fn buckets(&self) -> Vec<(u64, u64)> {
        let histogram = self.histogram();
        let buckets = histogram.iter_recorded();
        buckets.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value().into())).collect()
    }

    /// The distribution; `None` if there are no spans.
    #[must_use]
    pub fn quantiles(&self) -> Option<Quantiles> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let histogram = self.histogram();
        let at = |quantile| histogram.value_at_quantile(quantile).clamp(self.min, self.max);
        Some(Quantiles {
            min: self.min,
            mean: self.sum as f64 / count as f64,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.max,
        })
    }
}

/// One with room for spans of `ns`.
fn histogram(digits: u8, ns: u64) -> Histogram<u32> {
    Histogram::new_with_bounds(1, ns.max(2), digits).expect("a histogram offers one to five digits")
}

fn record(histogram: &mut Histogram<u32>, ns: u64, count: u32) {
    // A bucket that is full would make quantiles wrong.
    if histogram.len() + u64::from(count) > u64::from(u32::MAX) {
        return;
    }
    if histogram.record_n(ns, count).is_err() {
        // By itself it would take room for as much again.
        let mut larger = self::histogram(histogram.sigfig(), ns);
        if larger.add(&*histogram).is_ok() {
            *histogram = larger;
        }
        histogram.saturating_record_n(ns, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_their_bound() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantiles(), None);
        (1..=100_000).for_each(|n| durations.add(n * 100));
        let q = durations.quantiles().unwrap();
        assert_eq!((q.min, q.mean, q.max), (100, 5_000_050.0, 10_000_000));
        for (value, exact) in
            [(q.p50, 5_000_000), (q.p90, 9_000_000), (q.p99, 9_900_000), (q.p999, 9_990_000)]
        {
            assert!((exact..=exact + exact / 1000).contains(&value), "{value} for {exact}");
        }
    }

    #[test]
    fn extremes_are_recorded() {
        let mut durations = Durations::default();
        durations.add(0);
        durations.add(u64::MAX);
        let q = durations.quantiles().unwrap();
        assert_eq!((q.min, q.max, q.p50), (0, u64::MAX, 0));
    }

    #[test]
    fn fewer_digits_are_less_exact_by_as_much_as_they_say() {
        for (digits, error) in [(3, 1000), (2, 100), (1, 10)] {
            let [mut early, mut late] = [(); 2].map(|()| Durations::default());
            early.coarsen(digits);
            for n in 0..100_000 {
                early.add(n * n);
                late.add(n * n);
            }
            late.coarsen(digits);
            let q = late.quantiles().unwrap();
            assert_eq!(Some(q), early.quantiles(), "it does not matter when");
            for (value, exact) in
                [(q.p50, 49_999 * 49_999_u64), (q.p90, 89_999 * 89_999), (q.p999, 99_899 * 99_899)]
            {
                assert!(
                    (exact..=exact + exact / error).contains(&value),
                    "{value} for {exact}, {digits} digits"
                );
            }
            assert_eq!(late.count(), 100_000);
        }
    }

    /// The quantiles do not tell whether spans are kept as they are.
    #[test]
    fn few_spans_are_as_exact_as_many() {
        let mut durations = Durations::default();
        let [mut before, mut after] = [None; 2];
        for n in 1..=FEW as u64 + 1 {
            before = after;
            durations.add(n * n * 1001);
            after = durations.quantile(0.25);
        }
        assert!(matches!(durations.spans, Spans::Many(_)));
        let exact = |n: u64| n * n * 1001..=n * n * 1002;
        assert!(exact(16).contains(&before.unwrap()) && exact(17).contains(&after.unwrap()));
        assert_eq!(durations.buckets().len(), FEW + 1);
        assert_eq!(durations.buckets().iter().map(|(_, count)| count).sum::<u64>(), FEW as u64 + 1);
    }
}

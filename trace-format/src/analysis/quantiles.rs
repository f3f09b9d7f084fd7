//! Distributions of time spans.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Collects time spans. It takes at most half a MiB, however many there are.
#[derive(Clone, Debug)]
pub struct Durations {
    histogram: Histogram<u64>,
    min: u64,
    max: u64,
    sum: u128,
}

/// A distribution of time spans, ns. `min`, `mean` and `max` are exact; the quantiles are at most 0.1 % too high.
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
        let histogram = Histogram::new(3).expect("three digits are among those that a histogram offers");
        Self { histogram, min: u64::MAX, max: 0, sum: 0 }
    }
}

impl Durations {
    /// Adds a span of `ns`.
    pub fn add(&mut self, ns: u64) {
        self.min = self.min.min(ns);
        self.max = self.max.max(ns);
        self.sum += u128::from(ns);
        // It grows with its values; where it cannot, it takes the longest that it has room for.
        if self.histogram.record(ns).is_err() {
            self.histogram.saturating_record(ns);
        }
    }

    /// How many spans there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
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
        Some(self.histogram.value_at_quantile(quantile).clamp(min, max))
    }

    /// Spans that are alike to 0.1 % and how many there are of each, the shortest first.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.histogram.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
    }

    /// The distribution; `None` if there are no spans.
    #[must_use]
    pub fn quantiles(&self) -> Option<Quantiles> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let at = |quantile| self.histogram.value_at_quantile(quantile).clamp(self.min, self.max);
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
}

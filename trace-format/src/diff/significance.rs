//! Tests of whether two counts, or two distributions, differ by more than chance makes them.

use libm::{erfc, lgamma};

use crate::analysis::Durations;

/// With fewer values than this on either side, their distribution is not tested.
pub(super) const FEWEST: u64 = 8;
/// Up to so many, binomial probabilities are added up; above they are those of a normal distribution.
const EXACT: u64 = 2000;

/// How likely it is that of `a + b` things `b` or something as far off are in the second part, if each is there with
/// probability `share`: a two-sided binomial test, of twice the smaller tail.
pub(super) fn binomial(a: u64, b: u64, share: f64) -> f64 {
    let n = a.saturating_add(b);
    if n == 0 || !(share > 0.0 && share < 1.0) {
        return 1.0;
    }
    if n > EXACT {
        let mean = n as f64 * share;
        let deviation = (mean * (1.0 - share)).sqrt();
        // Counts are whole: half of one is not yet the next.
        let distance = ((b as f64 - mean).abs() - 0.5).max(0.0);
        return two_sided(distance / deviation);
    }
    let (ln_share, ln_rest) = (share.ln(), (1.0 - share).ln());
    let ln_n = lgamma(n as f64 + 1.0);
    let exactly = |k: u64| {
        let (k, rest) = (k as f64, (n - k) as f64);
        (ln_n - lgamma(k + 1.0) - lgamma(rest + 1.0) + k * ln_share + rest * ln_rest).exp()
    };
    let (below, above): (f64, f64) = ((0..=b).map(exactly).sum(), (b..=n).map(exactly).sum());
    (2.0 * below.min(above)).min(1.0)
}

/// Where one distribution lies relative to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shift {
    /// How likely a value of the second is larger than one of the first; equal ones count half.
    pub(super) larger: f64,
    /// How likely it is as far from one half by chance.
    pub(super) p: f64,
}

/// The Mann-Whitney test, with ties: what a histogram holds in one bucket is equal. `None` with too few values.
pub(super) fn mann_whitney(a: &Durations, b: &Durations) -> Option<Shift> {
    let (count_a, count_b) = (a.count(), b.count());
    if count_a.min(count_b) < FEWEST {
        return None;
    }
    let (n_a, n_b) = (count_a as f64, count_b as f64);
    let n = n_a + n_b;
    let (mut u, mut ties, mut before) = (0.0, 0.0, 0.0);
    for (in_a, in_b) in merged(a, b) {
        let (in_a, in_b) = (in_a as f64, in_b as f64);
        u += in_b * (before + in_a / 2.0);
        before += in_a;
        let equal = in_a + in_b;
        ties += equal * (equal * equal - 1.0);
    }
    let mean = n_a * n_b / 2.0;
    let variance = n_a * n_b / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
    // All values are one.
    let p = match variance > 0.0 {
        true => two_sided(((u - mean).abs() - 0.5).max(0.0) / variance.sqrt()),
        false => 1.0,
    };
    Some(Shift { larger: u / (n_a * n_b), p })
}

/// How likely it is that the longest hundredth of all values is spread over both sides like this by chance. `None` with too
/// few values.
pub(super) fn tail(a: &Durations, b: &Durations) -> Option<f64> {
    let (count_a, count_b) = (a.count(), b.count());
    if count_a.min(count_b) < FEWEST {
        return None;
    }
    let longest = count_a.saturating_add(count_b).div_ceil(100);
    let (mut in_a, mut in_b) = (count_a, count_b);
    for (here_a, here_b) in merged(a, b) {
        let (left_a, left_b) = (in_a.saturating_sub(here_a), in_b.saturating_sub(here_b));
        // What is equal to the first of them belongs to them.
        if left_a.saturating_add(left_b) < longest {
            break;
        }
        (in_a, in_b) = (left_a, left_b);
    }
    Some(binomial(in_a, in_b, count_b as f64 / (count_a as f64 + count_b as f64)))
}

/// For each bucket with values, in their order, how many `a` and `b` have there.
fn merged(a: &Durations, b: &Durations) -> impl Iterator<Item = (u64, u64)> {
    let (mut a, mut b) = (a.buckets().into_iter().peekable(), b.buckets().into_iter().peekable());
    std::iter::from_fn(move || {
        let value = match (a.peek(), b.peek()) {
            (Some((left, _)), Some((right, _))) => *left.min(right),
            (Some((value, _)), None) | (None, Some((value, _))) => *value,
            (None, None) => return None,
        };
        let here = |(_, count): (u64, u64)| count;
        let in_a = a.next_if(|(next, _)| *next == value).map_or(0, here);
        let in_b = b.next_if(|(next, _)| *next == value).map_or(0, here);
        Some((in_a, in_b))
    })
}

/// How likely a value of a normal distribution is at least so many deviations from its mean.
fn two_sided(deviations: f64) -> f64 {
    erfc(deviations / std::f64::consts::SQRT_2)
}

/// Corrects probabilities for how many of them there are (Holm): a corrected one below 0.01 means that the chance of even
/// one such among all of them is below that.
pub(super) fn holm(probabilities: &mut [&mut f64]) {
    probabilities.sort_by(|one, other| one.total_cmp(other));
    let count = probabilities.len();
    let mut least = 0.0_f64;
    for (n, p) in probabilities.iter_mut().enumerate() {
        least = least.max((**p * (count - n) as f64).min(1.0));
        **p = least;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn durations(values: impl IntoIterator<Item = u64>) -> Durations {
        let mut durations = Durations::default();
        values.into_iter().for_each(|value| durations.add(value));
        durations
    }

    fn about(value: f64, expected: f64) {
        assert!((value - expected).abs() <= expected.abs() * 1e-3, "{value} for {expected}");
    }

    /// Values from tables: ten throws of a coin, and many.
    #[test]
    fn binomial_probabilities() {
        about(binomial(5, 5, 0.5), 1.0);
        about(binomial(2, 8, 0.5), 2.0 * 56.0 / 1024.0);
        about(binomial(0, 10, 0.5), 2.0 / 1024.0);
        about(binomial(0, 3, 0.25), 2.0 / 64.0);
        assert_eq!(binomial(0, 0, 0.5), 1.0);
        about(binomial(4900, 5100, 0.5), 0.04659);
        assert!(binomial(0, u64::MAX, 0.5) < 1e-12);
        // Where one way of computing it becomes the other, they agree.
        let (exact, normal) = (binomial(950, 1050, 0.5), binomial(950, 1051, 0.5));
        assert!((exact - normal).abs() < 0.002, "{exact} {normal}");
    }

    #[test]
    fn shifts_of_distributions() {
        // The classic example without ties: U = 11 of 8 and 8 values.
        let a = durations([1, 2, 3, 4, 5, 6, 7, 8]);
        let b = durations([11, 12, 13, 14, 15, 16, 17, 18]);
        let shift = mann_whitney(&a, &b).unwrap();
        assert_eq!(shift.larger, 1.0);
        about(shift.p, 0.000_939);
        assert_eq!(mann_whitney(&a, &a).unwrap(), Shift { larger: 0.5, p: 1.0 });
        let same = durations([7; 20]);
        assert_eq!(mann_whitney(&same, &same).unwrap(), Shift { larger: 0.5, p: 1.0 });
        assert_eq!(mann_whitney(&a, &durations([1; 7])), None);
    }

    /// Two per cent of long ones do not move the middle, but the tail.
    #[test]
    fn tails_of_distributions() {
        let a = durations((0..10_000).map(|n| 1000 + n % 100));
        let b = durations((0..10_000).map(|n| if n % 50 == 0 { 50_000 } else { 1000 + n % 100 }));
        assert!(tail(&a, &b).unwrap() < 1e-9);
        assert!(tail(&a, &a).unwrap() > 0.5);
    }

    #[test]
    fn many_probabilities_are_corrected() {
        let mut p = [0.04, 0.01, 0.03, 0.5];
        holm(&mut p.iter_mut().collect::<Vec<_>>());
        assert_eq!(p, [0.09, 0.04, 0.09, 0.5]);
    }

    proptest! {
        #[test]
        fn probabilities_are_some(a in any::<u64>(), b in any::<u64>(), share in 0.0..=1.0_f64, small in 0..3000_u64) {
            for p in [binomial(a, b, share), binomial(small, b % 3000, share)] {
                prop_assert!((0.0..=1.0).contains(&p), "{}", p);
            }
        }

        #[test]
        fn what_is_exchanged_is_as_likely(
            a in prop::collection::vec(any::<u64>(), 8..60),
            b in prop::collection::vec(0..50_u64, 8..60),
        ) {
            let (a, b) = (durations(a), durations(b));
            let (one, other) = (mann_whitney(&a, &b).unwrap(), mann_whitney(&b, &a).unwrap());
            prop_assert!((one.p - other.p).abs() < 1e-9 && (one.larger + other.larger - 1.0).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&one.p));
            let (one, other) = (tail(&a, &b).unwrap(), tail(&b, &a).unwrap());
            prop_assert!((one - other).abs() < 1e-9 && (0.0..=1.0).contains(&one));
        }
    }
}

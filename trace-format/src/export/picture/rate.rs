//! How often something happens.

/// A picture shows about so many windows of a whole trace.
const WINDOWS: u64 = 500;
/// The shortest window, ns.
const SHORTEST: u64 = 100_000;

/// The width of a window for a trace of so many ns: 1, 2 or 5 times a power of ten.
pub(super) fn window(duration_ns: u64) -> u64 {
    let wanted = (duration_ns / WINDOWS).max(SHORTEST);
    let mut width = SHORTEST;
    for factor in [2, 5, 10].into_iter().cycle() {
        if width >= wanted {
            break;
        }
        let power = 10_u64.pow(width.ilog10());
        width = power.saturating_mul(factor);
    }
    width
}

/// Counts what happens in windows of time, in order of time.
#[derive(Debug)]
pub(super) struct Rate {
    window: u64,
    /// The number of the window, and how often in it.
    current: Option<(u64, u64)>,
}

impl Rate {
    pub(super) const fn new(window: u64) -> Self {
        Self { window, current: None }
    }

    /// It happens at `time`, ns. What is known now: times and rates a second from then on.
    pub(super) fn add(&mut self, time: u64) -> impl Iterator<Item = (u64, u64)> {
        let index = time / self.window;
        match &mut self.current {
            Some((current, count)) if *current >= index => {
                *count += 1;
                Points::default()
            }
            current => {
                let points = current.map_or(Points::default(), |(window, count)| {
                    let zero = (window + 1 < index).then(|| (self.window.saturating_mul(window + 1), 0));
                    Points([Some(rate(window, count, self.window)), zero])
                });
                *current = Some((index, 1));
                points
            }
        }
        .into_iter()
    }

    /// Nothing happens any more.
    pub(super) fn finish(&mut self) -> impl Iterator<Item = (u64, u64)> {
        let points = self.current.take().map_or(Points::default(), |(window, count)| {
            let end = self.window.saturating_mul(window.saturating_add(1));
            Points([Some(rate(window, count, self.window)), Some((end, 0))])
        });
        points.into_iter()
    }
}

fn rate(window: u64, count: u64, width: u64) -> (u64, u64) {
    let rate = u128::from(count) * 1_000_000_000 / u128::from(width);
    (width.saturating_mul(window), u64::try_from(rate).unwrap_or(u64::MAX))
}

#[derive(Default)]
struct Points([Option<(u64, u64)>; 2]);

impl Points {
    fn into_iter(self) -> impl Iterator<Item = (u64, u64)> {
        self.0.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_round() {
        let windows = [0, 1, 50_000_500, 300_000_000, 1_000_000_000, 20_000_000_000, u64::MAX].map(window);
        let expected = [100_000, 100_000, 200_000, 1_000_000, 2_000_000, 50_000_000, 50_000_000_000_000_000];
        assert_eq!(windows, expected);
    }

    #[test]
    fn rates_begin_and_end() {
        let mut rate = Rate::new(1_000_000);
        assert_eq!(rate.add(100).count(), 0);
        assert_eq!(rate.add(200).count(), 0);
        assert_eq!(rate.add(1_000_000).collect::<Vec<_>>(), [(0, 2000)]);
        assert_eq!(rate.add(5_500_000).collect::<Vec<_>>(), [(1_000_000, 1000), (2_000_000, 0)]);
        assert_eq!(rate.finish().collect::<Vec<_>>(), [(5_000_000, 1000), (6_000_000, 0)]);
        assert_eq!(rate.add(u64::MAX).count() + rate.finish().count(), 2);
    }
}

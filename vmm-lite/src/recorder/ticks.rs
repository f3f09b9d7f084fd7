//! What a time-stamp counter says of the host's clock, for the next millisecond.
//!
//! The counter is read in half the time that the clock takes. How fast it goes is found by comparing the two, over
//! windows that grow; what it says is believed for a millisecond after each look at the clock, so that the two never
//! drift apart, whatever NTP does to the clock.

/// How long the counter is believed after a look at the clock, ns.
const BELIEVED_NS: u64 = 1_000_000;
/// A look at the clock that took longer, in ticks, was interrupted and tells nothing.
const LONGEST_LOOK: u64 = 4_000;
/// The first and the longest time over which the counter's speed is measured, ns.
const FIRST_WINDOW_NS: u64 = 1_000_000;
const LONGEST_WINDOW_NS: u64 = 256_000_000;
/// Speeds that a counter may have: 250 MHz to 16 GHz, as 32.32 fixed-point ns a tick.
const POSSIBLE: std::ops::RangeInclusive<u64> = 1 << 28..=1 << 34;

/// A moment on both.
#[derive(Clone, Copy, Debug)]
struct Moment {
    ticks: u64,
    ns: u64,
}

/// The clock's time by the counter.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// The last look at the clock.
    last: Option<Moment>,
    /// Ticks after it for which the counter is believed; 0 while its speed is not known.
    believed: u64,
    /// 32.32 fixed-point ns a tick; 0 while it is not known.
    scale: u64,
    /// Where the present window began, and how long it is to be, ns.
    window: Option<(Moment, u64)>,
}

impl Ticks {
    /// The clock's time, ns, when the counter shows `ticks`; `None` when it is time for a look at the clock.
    #[inline]
    pub(super) fn time(&self, ticks: u64) -> Option<u64> {
        let last = self.last?;
        let since = ticks.wrapping_sub(last.ticks);
        // A counter that goes backwards is far ahead here.
        (since < self.believed).then(|| last.ns + ((since * self.scale) >> 32))
    }

    /// The clock showed `ns` between two readings of the counter.
    pub(super) fn learn(&mut self, before: u64, ns: u64, after: u64) {
        let took = after.wrapping_sub(before);
        if took > LONGEST_LOOK {
            return;
        }
        let now = Moment { ticks: before.wrapping_add(took / 2), ns };
        let (begin, length) = *self.window.get_or_insert((now, FIRST_WINDOW_NS));
        if ns.saturating_sub(begin.ns) >= length {
            let ticks = now.ticks.wrapping_sub(begin.ticks);
            let scale = (u128::from(ns - begin.ns) << 32).checked_div(ticks.into());
            let scale = scale.and_then(|scale| u64::try_from(scale).ok()).filter(|s| POSSIBLE.contains(s));
            self.scale = scale.unwrap_or(0);
            self.believed = scale.map_or(0, |scale| (BELIEVED_NS << 32) / scale);
            self.window = Some((now, (2 * length).min(LONGEST_WINDOW_NS)));
        }
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A counter of `hz` that showed `first` when the clock showed 0.
    fn counter(hz: u64, first: u64, ns: u64) -> u64 {
        first.wrapping_add((u128::from(ns) * u128::from(hz) / 1_000_000_000) as u64)
    }

    #[test]
    fn it_is_silent_until_it_knows_the_speed_and_from_time_to_time() {
        let mut ticks = Ticks::default();
        let at = |ns| counter(2_000_000_000, 77, ns);
        assert_eq!(ticks.time(at(0)), None);
        ticks.learn(at(0), 0, at(0));
        assert_eq!(ticks.time(at(10)), None);
        ticks.learn(at(1_000_000), 1_000_000, at(1_000_000));
        assert_eq!(ticks.time(at(1_000_000)), Some(1_000_000));
        assert_eq!(ticks.time(at(1_999_998)), Some(1_999_998));
        assert_eq!(ticks.time(at(2_000_000)), None);
    }

    #[test]
    fn a_look_that_was_interrupted_tells_nothing() {
        let mut ticks = Ticks::default();
        let at = |ns| counter(2_000_000_000, 0, ns);
        ticks.learn(at(0), 0, at(0));
        ticks.learn(at(1_000_000), 1_000_000, at(1_500_000));
        assert_eq!(ticks.time(at(1_500_000)), None);
    }

    proptest! {
        /// At any speed, with looks that take their time, and a clock that is slewed by up to 500 ppm: what it says is
        /// right within 2 us in the first milliseconds and 0.6 us later.
        #[test]
        fn it_tells_the_clock_s_time(
            hz in 500_000_000_u64..6_000_000_000,
            first in any::<u64>(),
            slew in -500_i64..500,
            waits in prop::collection::vec((0_u64..400_000, 0_u64..300), 1..3000),
        ) {
            let mut ticks = Ticks::default();
            let mut true_ns = 0;
            let clock = |ns: u64| 1_000 + ns.saturating_add_signed(ns as i64 / 1_000_000 * slew);
            for (wait, look) in waits {
                true_ns += wait;
                let now = counter(hz, first, true_ns);
                match ticks.time(now) {
                    Some(told) => {
                        let bound = if true_ns < 10_000_000 { 2_000 } else { 600 };
                        prop_assert!(told.abs_diff(clock(true_ns)) < bound, "{told} at {}", clock(true_ns));
                    }
                    None => {
                        let after = counter(hz, first, true_ns + 2 * look);
                        ticks.learn(now, clock(true_ns + look), after);
                        true_ns += 2 * look;
                    }
                }
            }
        }

        /// A counter that jumps is believed for a millisecond at most, and nothing it shows is too much.
        #[test]
        fn any_counter_is_survived(readings in prop::collection::vec((any::<u64>(), any::<u64>(), 0_u64..5000), 1..100)) {
            let mut ticks = Ticks::default();
            let mut clock = 0;
            for (counter, step, look) in readings {
                clock += step >> 24;
                ticks.learn(counter, clock, counter.wrapping_add(look));
                for shown in [counter, counter.wrapping_add(look), counter.wrapping_sub(1), step] {
                    if let Some(told) = ticks.time(shown) {
                        prop_assert!(told <= clock + BELIEVED_NS);
                    }
                }
            }
        }
    }
}

//! The run's clock.

use super::ticks::Ticks;
use crate::kvm::{monotonic_ns, time_stamp, time_stamps_are_clock};

/// Nanoseconds since the start of the run, on the host's monotonic clock. Copies agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// `CLOCK_MONOTONIC`, ns.
    start: u64,
    /// Whether the host's clock goes by the time-stamp counter.
    by_ticks: bool,
}

impl Clock {
    /// Starts a clock at 0.
    #[must_use]
    pub(crate) fn start() -> Self {
        let by_ticks = time_stamps_are_clock();
        Self { start: monotonic_ns(), by_ticks }
    }

    /// What the host's `CLOCK_MONOTONIC` showed at the start, ns.
    #[must_use]
    pub(crate) fn start_monotonic_ns(&self) -> u64 {
        self.start
    }

    /// ns since the start.
    #[must_use]
    pub(crate) fn now(&self) -> u64 {
        monotonic_ns() - self.start
    }
}

/// A [`Clock`] for one thread that reads it twice at every exit: never more than a microsecond off, and in half the
/// time where the host's own clock goes by the time-stamp counter.
#[derive(Debug)]
pub(super) struct QuickClock {
    clock: Clock,
    ticks: Ticks,
    /// The latest time that it has told: it does not go back when the counter was a little ahead of the clock.
    told: u64,
}

impl QuickClock {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, ticks: Ticks::default(), told: 0 }
    }

    /// As [`Clock::now`].
    #[inline]
    pub(super) fn now(&mut self) -> u64 {
        let quick = if self.clock.by_ticks { self.ticks.time(time_stamp()) } else { None };
        let now = quick.unwrap_or_else(|| self.look());
        self.told = self.told.max(now);
        self.told
    }

    #[inline(never)]
    fn look(&mut self) -> u64 {
        if !self.clock.by_ticks {
            return self.clock.now();
        }
        let before = time_stamp();
        let now = self.clock.now();
        self.ticks.learn(before, now, time_stamp());
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_clock_shows_what_the_clock_shows() {
        // Far more than it may be off, and less than a mistake would make it.
        const TOLERANCE: u64 = 20_000;
        let clock = Clock::start();
        let mut quick = QuickClock::new(clock);
        let mut last = 0;
        while last < 20_000_000 {
            let before = clock.now();
            let now = quick.now();
            let after = clock.now();
            assert!(before <= now + TOLERANCE && now <= after + TOLERANCE, "{before} {now} {after}");
            assert!(last <= now);
            last = now;
        }
    }
}

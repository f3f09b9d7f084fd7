//! The run's clock.

use std::time::Instant;

use crate::kvm::monotonic_ns;

/// Nanoseconds since the start of the run, on the host's monotonic clock. Copies agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts a clock at 0.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What the host's `CLOCK_MONOTONIC` showed at the start, ns. The two are read one after the other, and of a few
    /// tries the quickest counts.
    #[must_use]
    pub(crate) fn start_monotonic_ns(&self) -> u64 {
        const TRIES: usize = 8;
        let tries = (0..TRIES).map(|_| {
            let before = self.now();
            let monotonic = monotonic_ns();
            (self.now() - before, monotonic.saturating_sub(before))
        });
        tries.min().map_or(0, |(_, start)| start)
    }

    /// ns since the start.
    #[must_use]
    pub(crate) fn now(&self) -> u64 {
        // 584 years fit.
        self.start.elapsed().as_nanos() as u64
    }
}

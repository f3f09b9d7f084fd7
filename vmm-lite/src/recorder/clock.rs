//! The run's clock.

use std::time::Instant;

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

    /// ns since the start.
    #[must_use]
    pub(crate) fn now(&self) -> u64 {
        // 584 years fit.
        self.start.elapsed().as_nanos() as u64
    }
}

//! The run's clock.

use crate::kvm::monotonic_ns;

/// Nanoseconds since the start of the run, on the host's monotonic clock. Copies agree.
///
/// Two are read at every exit, so this goes to the C library's clock directly: the standard library's takes half as
/// long again to make a `Duration` of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// `CLOCK_MONOTONIC`, ns.
    start: u64,
}

impl Clock {
    /// Starts a clock at 0.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self { start: monotonic_ns() }
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

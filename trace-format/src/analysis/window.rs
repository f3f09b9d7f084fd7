//! How much happened when.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Kind;
use crate::event::Event;

/// Windows that a time line has at most; it must fit memory and a page.
pub const MOST_WINDOWS: u64 = 10_000;

/// Counts of each kind of event in windows of one length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Windows {
    /// Length of a window, ns.
    pub window_ns: u64,
    /// When the first begins, ns.
    pub from_ns: u64,
    /// Kind to the number of events in each window.
    pub counts: BTreeMap<&'static str, Vec<u64>>,
    #[serde(skip)]
    windows: usize,
}

impl Windows {
    /// Windows of `window_ns` from `from_ns` on, for a trace that ends at `to_ns`; `None` if that makes more than
    /// [`MOST_WINDOWS`], or if the length is 0.
    #[must_use]
    pub fn new(window_ns: u64, from_ns: u64, to_ns: u64) -> Option<Self> {
        let windows = Self::count(window_ns, from_ns, to_ns)?;
        Some(Self { window_ns, from_ns, counts: BTreeMap::new(), windows })
    }

    /// How many windows that makes; `None` as for [`new`](Self::new).
    pub(super) fn count(window_ns: u64, from_ns: u64, to_ns: u64) -> Option<usize> {
        let last = to_ns.saturating_sub(from_ns).checked_div(window_ns)?;
        Some(usize::try_from(last).ok().filter(|_| last < MOST_WINDOWS)? + 1)
    }

    /// Takes an event in.
    pub fn add(&mut self, event: &Event) {
        let kind: Kind = event.payload.kind();
        let windows = self.windows;
        let counts = self.counts.entry(kind.name()).or_insert_with(|| vec![0; windows]);
        let at = event.time.saturating_sub(self.from_ns) / self.window_ns;
        if let Some(count) = usize::try_from(at).ok().and_then(|at| counts.get_mut(at)) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Payload, VcpuState};

    #[test]
    fn every_event_is_in_its_window() {
        let mut windows = Windows::new(10, 5, 34).unwrap();
        for time in [5, 14, 15, 34] {
            windows.add(&Event { time, vcpu: 0, payload: Payload::State(VcpuState::Running) });
        }
        assert_eq!(windows.counts["state"], [2, 1, 1]);
        assert_eq!(Windows::new(0, 0, 10), None);
        assert_eq!(Windows::new(1, 0, MOST_WINDOWS), None);
        assert!(Windows::new(1, 0, MOST_WINDOWS - 1).is_some());
    }
}

//! A part of a trace: by a filter, and by time.

use super::{Filter, Subject};
use crate::Summary;

/// Which part of a trace is meant.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Only what matches.
    pub filter: Filter,
    /// Nothing before, ns.
    pub from: u64,
    /// Nothing after, ns.
    pub to: u64,
}

impl Selection {
    /// Whether it is the whole trace.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.filter.is_everything() && self.from == 0 && self.to == u64::MAX
    }

    /// Whether an event is in it.
    #[must_use]
    #[inline]
    pub fn has(&self, subject: &Subject<'_>) -> bool {
        (self.from..=self.to).contains(&subject.event.time) && self.filter.matches(subject)
    }

    /// Whether an event of a block with this head can be in it. False is certain.
    #[must_use]
    pub fn may_have(&self, block: &Summary) -> bool {
        block.first_time <= self.to && block.last_time >= self.from && self.filter.may_match(block)
    }
}

impl Default for Selection {
    /// Everything.
    fn default() -> Self {
        Self { filter: Filter::default(), from: 0, to: u64::MAX }
    }
}

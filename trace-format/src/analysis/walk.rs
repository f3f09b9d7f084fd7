//! Page-table walks by how they ended and how deep they went.

use std::collections::BTreeMap;

use serde::Serialize;

use super::GroupReport;
use crate::event::{Payload, WalkOutcome};
use crate::filter::{Field, Subject, Value};

/// Page sizes that there are, bytes.
const SIZES: [u64; 4] = [4 << 10, 2 << 20, 4 << 20, 1 << 30];

/// Walks that ended alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WalkReport {
    /// As the field `walk.outcome`.
    pub outcome: &'static str,
    /// How many entries were read.
    pub depth: u8,
    /// The size of the page that was found, bytes; `None` if there is none.
    pub page_size: Option<u64>,
    /// How many.
    pub count: u64,
}

/// Counts walks.
#[derive(Clone, Debug)]
pub struct Walks {
    outcome: &'static Field,
    counts: BTreeMap<(&'static str, u8, Option<u64>), u64>,
}

impl Walks {
    /// By that field.
    pub(super) const fn new(outcome: &'static Field) -> Self {
        Self { outcome, counts: BTreeMap::new() }
    }

    /// Takes an event in.
    pub fn add(&mut self, subject: &Subject<'_>) {
        let Payload::Walk(walk) = &subject.event.payload else { return };
        let Some(Value::Name(outcome)) = self.outcome.value(subject) else { return };
        let page = match walk.outcome {
            WalkOutcome::Mapped { page_size, .. } => Some(page_size).filter(|size| SIZES.contains(size)),
            WalkOutcome::Fault { .. } => None,
        };
        *self.counts.entry((outcome, walk.levels.len() as u8, page)).or_default() += 1;
    }

    /// By outcome, depth and page size, the most frequent first.
    #[must_use]
    pub fn report(&self) -> Vec<WalkReport> {
        let row = |(&(outcome, depth, page_size), &count): (&(&'static str, u8, Option<u64>), &u64)| {
            WalkReport { outcome, depth, page_size, count }
        };
        let mut rows: Vec<WalkReport> = self.counts.iter().map(row).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows
    }

    /// By outcome alone, the `most` most frequent first.
    #[must_use]
    pub fn outcomes(&self, most: usize) -> Vec<GroupReport> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for ((outcome, ..), count) in &self.counts {
            *counts.entry(outcome).or_default() += count;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.into_iter().take(most).map(|(outcome, count)| GroupReport::counted(outcome, count)).collect()
    }
}

//! What a trace, or a part of it, amounts to.

use std::sync::Arc;

use trace_format::analysis::Plan;
use trace_format::filter::Selection;
use trace_format::{Error, Reader, Report};

use super::{Progress, Worker};
use crate::model::flow::Flows;
use crate::model::histogram::Histograms;

/// The most rows of each table: more than somebody looks through.
const TOP: usize = 1000;

/// A range of time, both ends included, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Nothing before.
    pub from: u64,
    /// Nothing after.
    pub to: u64,
}

impl Range {
    /// The whole run.
    pub const ALL: Self = Self { from: 0, to: u64::MAX };
}

/// The analysis of a range.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// Of what.
    pub range: Range,
    /// How many events the trace had then.
    pub events: u64,
    /// Counts, times, conversations.
    pub report: Report,
    /// Times by how long they are.
    pub histograms: Histograms,
    /// Which code trapped where.
    pub flows: Flows,
}

/// A thread that analyses.
pub type Analyst = Worker<Range, Arc<Analysis>>;

impl Analyst {
    /// Starts it for the trace of `reader`.
    ///
    /// # Errors
    /// As [`Worker::start`]; if the trace cannot be opened once more.
    pub fn of(reader: &Reader) -> Result<Self, Error> {
        Self::start("analysis", reader.again()?, |reader, range: Range, _: &Progress<'_, _, _>| {
            let selection = Selection { from: range.from, to: range.to, ..Selection::default() };
            let plan = Plan { selection, top: TOP, window_ns: None };
            let mut histograms = Histograms::default();
            let mut flows = Flows::default();
            let report = Report::of_plan_and(reader, &plan, |subject| {
                histograms.add(subject.event);
                flows.add(subject);
            })?;
            Ok(Arc::new(Analysis { range, events: reader.len(), report, histograms, flows }))
        })
    }
}

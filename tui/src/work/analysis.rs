//! What a trace, or a part of it, amounts to.

use std::ops::ControlFlow;
use std::sync::Arc;

use trace_format::analysis::Plan;
use trace_format::event::Payload;
use trace_format::filter::Selection;
use trace_format::{Error, Event, Kind, Reader, Report};

use super::{Progress, Worker};
use crate::model::flow::Flows;
use crate::model::histogram::Histograms;
use crate::model::space::Spaces;

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
    /// What address spaces had mapped, as far as walks tell.
    pub spaces: Spaces,
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
            let mut spaces = spaces_before(reader, range.from)?;
            let report = Report::of_plan_and(reader, &plan, |subject| {
                histograms.add(subject.event);
                flows.add(subject);
                if let Payload::Walk(walk) = &subject.event.payload {
                    spaces.add(walk);
                }
            })?;
            Ok(Arc::new(Analysis { range, events: reader.len(), report, histograms, flows, spaces }))
        })
    }
}

/// What walks before `from`, ns, tell: they are all that is read.
fn spaces_before(reader: &mut Reader, from: u64) -> Result<Spaces, Error> {
    let mut spaces = Spaces::default();
    let end = if from == 0 { 0 } else { reader.seek_time(from)? };
    let walks = |block: &trace_format::Summary| block.has_kind(Kind::Walk);
    let before = |number, event: &Event| {
        if number >= end {
            return ControlFlow::Break(());
        }
        if let Payload::Walk(walk) = &event.payload {
            spaces.add(walk);
        }
        ControlFlow::Continue(())
    };
    if end > 0 {
        // Where it ended makes no difference.
        let _ = reader.go_through(0, walks, before)?;
    }
    spaces.begin_range();
    Ok(spaces)
}

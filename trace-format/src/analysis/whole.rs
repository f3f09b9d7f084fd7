//! Everything that a report tells, in one pass.

use serde::Serialize;

use super::cpu::{VcpuReport, Vcpus};
use super::group::{GroupReport, Groups};
use super::shootdown::{Shootdown, Shootdowns, VectorReport};
use super::window::Windows;
use super::{Report, Tally};
use crate::filter::{Selection, Subject, Value, field};
use crate::{Error, Reader};

/// What a report is to tell.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of which events.
    pub selection: Selection,
    /// How many rows lists have at most.
    pub top: usize,
    /// The length of the windows of a time line, ns.
    pub window_ns: Option<u64>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { selection: Selection::default(), top: 10, window_ns: None }
    }
}

/// The parts of a report beyond totals.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Details {
    /// By how much quantiles are too high at most, as a fraction of themselves.
    pub quantile_error: f64,
    /// What each vCPU did.
    pub by_vcpu: Vec<VcpuReport>,
    /// Shootdowns and other conversations by IPIs, by vector.
    pub shootdowns: Vec<VectorReport>,
    /// The slowest of them.
    pub slowest_shootdowns: Vec<Shootdown>,
    /// IPIs accepted, a row for each sender and a column for each target.
    pub ipi_matrix: Vec<Vec<u64>>,
    /// Functions of the guest by exits.
    pub symbols: Vec<GroupReport>,
    /// Pages by page faults.
    pub pages: Vec<GroupReport>,
    /// Handlers by traps.
    pub handlers: Vec<GroupReport>,
    /// Walks by outcome, and by how many entries they read.
    pub walks: Vec<GroupReport>,
    /// The time line, if one was asked for.
    pub windows: Option<Windows>,
}

/// Collects all of it.
struct Collector<'p> {
    plan: &'p Plan,
    tally: Tally,
    vcpus: Vcpus,
    shootdowns: Shootdowns,
    symbols: Option<Groups>,
    pages: Option<Groups>,
    handlers: Option<Groups>,
    walks: Option<Groups>,
    windows: Option<Windows>,
}

impl Collector<'_> {
    fn add(&mut self, subject: &Subject<'_>) {
        use crate::Payload;
        let event = subject.event;
        self.tally.add(event);
        self.vcpus.add(event);
        self.shootdowns.add(subject.number, event);
        let of_interest = match &event.payload {
            Payload::Exit(exit) => self.symbols.as_mut().map(|groups| (groups, Some(exit.handling_ns))),
            Payload::Walk(_) => self.walks.as_mut().map(|groups| (groups, None)),
            Payload::Trap(_) => {
                if let Some(handlers) = &mut self.handlers {
                    handlers.add(subject, None);
                }
                self.pages.as_mut().map(|groups| (groups, None))
            }
            _ => None,
        };
        if let Some((groups, latency)) = of_interest {
            groups.add(subject, latency);
        }
        if let Some(windows) = &mut self.windows {
            windows.add(event);
        }
    }

    fn details(&self, reader: &Reader) -> Details {
        let top = self.plan.top;
        let largest =
            |groups: &Option<Groups>| groups.as_ref().map(|groups| groups.largest(top)).unwrap_or_default();
        Details {
            quantile_error: 0.001,
            by_vcpu: self.vcpus.report(),
            shootdowns: self.shootdowns.vectors(reader.header()),
            slowest_shootdowns: self.shootdowns.slowest().to_vec(),
            ipi_matrix: self.shootdowns.matrix().to_vec(),
            symbols: largest(&self.symbols),
            pages: largest(&self.pages),
            handlers: largest(&self.handlers),
            walks: largest(&self.walks),
            windows: self.windows.clone(),
        }
    }
}

impl Report {
    /// Reads what `plan` selects of a trace, in one pass; memory does not grow with the trace.
    ///
    /// # Errors
    /// If the file cannot be read. Damage is no error: it is in the report.
    pub fn of_plan(reader: &mut Reader, plan: &Plan) -> Result<Self, Error> {
        let (first, last) = reader.time_range().unwrap_or_default();
        let (from, to) = (first.max(plan.selection.from), last.min(plan.selection.to));
        let groups = |name| field(name).map(Groups::new);
        let mut collector = Collector {
            plan,
            tally: Tally::default(),
            vcpus: Vcpus::default(),
            shootdowns: Shootdowns::new(plan.top),
            symbols: groups("symbol"),
            pages: groups("trap.page"),
            handlers: groups("trap.handler.symbol"),
            walks: groups("walk.outcome"),
            windows: plan.window_ns.and_then(|window| Windows::new(window, from, to)),
        };
        visit(reader, &plan.selection, |subject| collector.add(subject))?;
        let mut report = collector.tally.report(reader);
        report.details = collector.details(reader);
        Ok(report)
    }
}

/// Groups the selected events by a field.
///
/// # Errors
/// If the file cannot be read.
pub fn grouped(reader: &mut Reader, selection: &Selection, mut groups: Groups) -> Result<Groups, Error> {
    let latency = field("latency");
    visit(reader, selection, |subject| {
        let ns = match latency.and_then(|latency| latency.value(subject)) {
            Some(Value::Number(ns)) => Some(ns),
            _ => None,
        };
        groups.add(subject, ns);
    })?;
    Ok(groups)
}

/// Shows the selected events, in order.
fn visit(
    reader: &mut Reader,
    selection: &Selection,
    mut show: impl FnMut(&Subject<'_>),
) -> Result<(), Error> {
    let everything = selection.is_everything();
    reader.for_each_of(
        |block| everything || selection.may_have(block),
        |header, number, event| {
            let subject = Subject { number, event, header };
            if everything || selection.has(&subject) {
                show(&subject);
            }
        },
    )
}

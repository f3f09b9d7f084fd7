//! Everything that a report tells, in one pass.

use serde::Serialize;

use super::cpu::{VcpuReport, Vcpus};
use super::group::{GroupReport, Groups};
use super::shootdown::{Shootdown, Shootdowns, VectorReport};
use super::window::Windows;
use super::{Report, Tally};
use crate::event::{Kind, Payload};
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
    /// Walks by outcome.
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
    /// Takes an event in that is selected.
    fn add(&mut self, subject: &Subject<'_>) {
        let event = subject.event;
        self.tally.add(event);
        self.vcpus.add(event);
        match &event.payload {
            Payload::Exit(exit) => add_code(&mut self.symbols, subject, exit.rip, Some(exit.handling_ns)),
            Payload::Walk(_) => add_value(&mut self.walks, subject),
            Payload::Trap(trap) => {
                add_code(&mut self.handlers, subject, trap.handler, None);
                add_value(&mut self.pages, subject);
            }
            _ => {}
        }
        if let Some(windows) = &mut self.windows {
            windows.add(event);
        }
    }

    /// The details of a trace, or a part of it, that ends at `end`, ns.
    fn details(&self, reader: &Reader, end: u64) -> Details {
        let top = self.plan.top;
        let largest =
            |groups: &Option<Groups>| groups.as_ref().map(|groups| groups.largest(top)).unwrap_or_default();
        Details {
            quantile_error: 0.001,
            by_vcpu: self.vcpus.report(end),
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

fn add_value(groups: &mut Option<Groups>, subject: &Subject<'_>) {
    if let Some(groups) = groups {
        groups.add(subject, None);
    }
}

/// By the function at `address`, or by the address where it has no symbol.
fn add_code(groups: &mut Option<Groups>, subject: &Subject<'_>, address: u64, latency: Option<u64>) {
    let Some(groups) = groups else { return };
    match subject.header.symbolize(address) {
        Some((name, _)) => groups.add_as(name, latency),
        None => groups.add_as(&format!("{address:#x}"), latency),
    }
}

impl Report {
    /// Reads what `plan` selects of a trace, in one pass; memory does not grow with the trace. A conversation by IPIs counts
    /// as a whole if its ICR write is selected.
    ///
    /// # Errors
    /// If the file cannot be read. Damage is no error: it is in the report.
    pub fn of_plan(reader: &mut Reader, plan: &Plan) -> Result<Self, Error> {
        let selection = &plan.selection;
        let (first, last) = reader.time_range().unwrap_or_default();
        let (from, to) = (first.max(selection.from), last.min(selection.to));
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
        let everything = selection.is_everything();
        let answers = [Kind::IpiAccepted, Kind::IpiEoi, Kind::Trap];
        reader.for_each_of(
            |block| {
                everything || selection.may_have(block) || answers.iter().any(|kind| block.has_kind(*kind))
            },
            |header, number, event| {
                let subject = Subject { number, event, header };
                let selected = everything || selection.has(&subject);
                collector.shootdowns.add(number, event, selected);
                if selected {
                    collector.add(&subject);
                }
            },
        )?;
        let mut report = collector.tally.report_of(reader, to.saturating_sub(from));
        report.details = collector.details(reader, to);
        Ok(report)
    }
}

/// Groups the selected events by a field.
///
/// # Errors
/// If the file cannot be read.
pub fn grouped(reader: &mut Reader, selection: &Selection, mut groups: Groups) -> Result<Groups, Error> {
    let latency = field("latency");
    reader.for_each_of(
        |block| selection.may_have(block),
        |header, number, event| {
            let subject = Subject { number, event, header };
            if selection.has(&subject) {
                let ns = match latency.and_then(|latency| latency.value(&subject)) {
                    Some(Value::Number(ns)) => Some(ns),
                    _ => None,
                };
                groups.add(&subject, ns);
            }
        },
    )?;
    Ok(groups)
}

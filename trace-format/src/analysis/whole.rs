//! Everything that a report tells, in one pass.

use serde::Serialize;

use super::cpu::{VcpuReport, Vcpus};
use super::group::{GroupReport, Groups};
use super::handler::{HandlerReport, Handlers};
use super::shootdown::{Shootdown, Shootdowns, VectorReport};
use super::walk::{WalkReport, Walks};
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
    /// Traps by vector, privilege level and handler.
    pub trap_handlers: Vec<HandlerReport>,
    /// Walks by outcome.
    pub walks: Vec<GroupReport>,
    /// Walks by outcome, depth and page size.
    pub walks_by_depth: Vec<WalkReport>,
    /// The time line, if one was asked for.
    pub windows: Option<Windows>,
}

/// Collects all of it.
struct Collector<'p> {
    plan: &'p Plan,
    tally: Tally,
    vcpus: Vcpus,
    shootdowns: Shootdowns,
    trap_handlers: Handlers,
    symbols: Option<Groups>,
    pages: Option<Groups>,
    handlers: Option<Groups>,
    walks: Option<Walks>,
    windows: Option<Windows>,
}

impl Collector<'_> {
    /// Takes an event in that is selected.
    fn add(&mut self, subject: &Subject<'_>) {
        let event = subject.event;
        self.tally.add(event);
        self.vcpus.add(event);
        self.group(subject);
        if let Some(walks) = &mut self.walks {
            walks.add(subject);
        }
        if let Some(windows) = &mut self.windows {
            windows.add(event);
        }
    }

    /// Takes it into the groups.
    fn group(&mut self, subject: &Subject<'_>) {
        match &subject.event.payload {
            Payload::Exit(exit) => add_code(&mut self.symbols, subject, exit.rip, Some(exit.handling_ns)),
            Payload::Trap(trap) => {
                add_code(&mut self.handlers, subject, trap.handler, None);
                if let Some(pages) = &mut self.pages {
                    pages.add(subject, None);
                }
            }
            _ => {}
        }
    }

    /// Whether groups need another pass.
    fn again(&mut self) -> bool {
        // All are to know that it begins.
        let groups = [&mut self.symbols, &mut self.pages, &mut self.handlers];
        groups.into_iter().flatten().map(Groups::again).fold(false, |any, each| any | each)
    }

    fn error(&self) -> f64 {
        let groups = self.symbols.as_ref().map_or(0.0, Groups::error);
        [self.vcpus.error(), self.shootdowns.error(), self.trap_handlers.error(), groups]
            .into_iter()
            .fold(self.tally.error(), f64::max)
    }

    /// The details of a trace, or a part of it, that ends at `end`, ns.
    fn details(&self, reader: &Reader, end: u64) -> Details {
        let top = self.plan.top;
        let largest =
            |groups: &Option<Groups>| groups.as_ref().map(|groups| groups.largest(top)).unwrap_or_default();
        Details {
            quantile_error: self.error(),
            by_vcpu: self.vcpus.report(end),
            shootdowns: self.shootdowns.vectors(reader.header()),
            slowest_shootdowns: self.shootdowns.slowest().to_vec(),
            ipi_matrix: self.shootdowns.matrix().to_vec(),
            symbols: largest(&self.symbols),
            pages: largest(&self.pages),
            handlers: largest(&self.handlers),
            trap_handlers: self.trap_handlers.report(reader.header(), top),
            walks: self.walks.as_ref().map(|walks| walks.outcomes(top)).unwrap_or_default(),
            walks_by_depth: self.walks.as_ref().map(Walks::report).unwrap_or_default(),
            windows: self.windows.clone(),
        }
    }
}

/// By the function at `address`, or by the address where it has no symbol.
fn add_code(groups: &mut Option<Groups>, subject: &Subject<'_>, address: u64, latency: Option<u64>) {
    let Some(groups) = groups else { return };
    match subject.header.symbolize(address) {
        Some((name, _)) => groups.add_name(name, latency),
        None => groups.add_number(address, latency),
    }
}

impl Report {
    /// Reads what `plan` selects of a trace, in one pass, or in two if it has many functions or pages; memory does not grow
    /// with the trace. A conversation by IPIs counts as a whole if its ICR write is selected, and a trap if its entry is.
    ///
    /// # Errors
    /// If the file cannot be read. Damage is no error: it is in the report.
    pub fn of_plan(reader: &mut Reader, plan: &Plan) -> Result<Self, Error> {
        Self::of_plan_and(reader, plan, |_| {})
    }

    /// The same; every selected event is shown to `also` once, in order.
    ///
    /// # Errors
    /// As [`of_plan`](Self::of_plan).
    pub fn of_plan_and(
        reader: &mut Reader,
        plan: &Plan,
        mut also: impl FnMut(&Subject<'_>),
    ) -> Result<Self, Error> {
        let selection = &plan.selection;
        let (first, last) = reader.time_range().unwrap_or_default();
        let (from, to) = (first.max(selection.from), last.min(selection.to));
        let groups = |name| field(name).map(Groups::new);
        let mut collector = Collector {
            plan,
            tally: Tally::default(),
            vcpus: Vcpus::default(),
            shootdowns: Shootdowns::new(plan.top),
            trap_handlers: Handlers::default(),
            symbols: groups("symbol"),
            pages: groups("trap.page"),
            handlers: groups("trap.handler.symbol"),
            walks: field("walk.outcome").map(Walks::new),
            windows: plan.window_ns.and_then(|window| Windows::new(window, from, to)),
        };
        let everything = selection.is_everything();
        let answers = [Kind::IpiAccepted, Kind::IpiEoi, Kind::Trap, Kind::TrapReturn];
        reader.for_each_of(
            |block| {
                everything || selection.may_have(block) || answers.iter().any(|kind| block.has_kind(*kind))
            },
            |header, number, event| {
                let subject = Subject { number, event, header };
                let selected = everything || selection.has(&subject);
                collector.shootdowns.add(number, event, selected);
                collector.trap_handlers.add(event, selected);
                if selected {
                    collector.add(&subject);
                    also(&subject);
                }
            },
        )?;
        if collector.again() {
            reader.for_each_of(
                |block| {
                    selection.may_have(block) && (block.has_kind(Kind::Exit) || block.has_kind(Kind::Trap))
                },
                |header, number, event| {
                    let subject = Subject { number, event, header };
                    if everything || selection.has(&subject) {
                        collector.group(&subject);
                    }
                },
            )?;
        }
        let mut report = collector.tally.report_of(reader, to.saturating_sub(from));
        report.details = collector.details(reader, to);
        Ok(report)
    }
}

/// Groups the selected events by a field, in one pass or two.
///
/// # Errors
/// If the file cannot be read.
pub fn grouped(reader: &mut Reader, selection: &Selection, mut groups: Groups) -> Result<Groups, Error> {
    let latency = field("latency");
    let kinds = groups.field().kinds;
    loop {
        reader.for_each_of(
            |block| selection.may_have(block) && kinds.iter().any(|kind| block.has_kind(*kind)),
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
        if !groups.again() {
            return Ok(groups);
        }
    }
}

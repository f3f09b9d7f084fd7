//! The report for people.

use std::fmt::{self, Write};

use super::Quantiles;
use super::report::Report;
use super::tables::{Percent, Rate};
use crate::describe::{Escaped, Span};

impl Report {
    /// The report as text of up to about 105 columns.
    #[must_use]
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// One table of it, as [`Self::text`] has it, after an empty line. There is nothing if there is nothing in it.
    #[must_use]
    pub fn table(&self, table: Table) -> impl fmt::Display + '_ {
        Part { report: self, table }
    }
}

/// Tables of the report that make sense alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Exits by reason.
    Exits,
    /// Traps by vector and by handler.
    Traps,
    /// IPIs and other interrupts, and who sent IPIs to whom.
    Interrupts,
    /// Shootdowns and other conversations by IPIs.
    Shootdowns,
}

/// One table of a report; empty if there is nothing in it.
struct Part<'r> {
    report: &'r Report,
    table: Table,
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, table } = self;
        match table {
            Table::Exits => report.exits(f),
            Table::Traps => {
                report.traps(f)?;
                report.details.handlers(f)
            }
            Table::Interrupts => {
                report.interrupts(f)?;
                report.details.matrix(f)
            }
            Table::Shootdowns => report.details.shootdowns(f),
        }
    }
}

/// With `{:#}` the headings are bold, for terminals.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.kinds(f)?;
        self.exits(f)?;
        self.traps(f)?;
        self.interrupts(f)?;
        self.details.write(self.duration_ns, f)?;
        self.counters(f)?;
        self.damage(f)
    }
}

impl Report {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace = &self.trace;
        let guest = if trace.guest.is_empty() { "not known" } else { &trace.guest };
        let vcpus = if self.vcpus == 1 { "vCPU" } else { "vCPUs" };
        write!(f, "guest     {}, {} {vcpus}", Escaped(guest.as_bytes()), self.vcpus)?;
        match trace.memory_bytes >> 20 {
            0 => writeln!(f, ", memory not known")?,
            mib => writeln!(f, ", {mib} MiB")?,
        }
        if !trace.command.is_empty() {
            writeln!(f, "recorded  {}", Escaped(trace.command.join(" ").as_bytes()))?;
        }
        let stopped = self.guest.stopped.as_deref();
        let end = if trace.finished { "the trace does not tell" } else { "the recording did not end" };
        writeln!(f, "end       {}", stopped.unwrap_or(end))?;
        for sentence in &trace.not_seen {
            writeln!(f, "not seen  {}", Escaped(sentence.as_bytes()))?;
        }
        writeln!(f, "time      {}", Span(self.duration_ns))?;
        let each = if self.events == 0 { 0.0 } else { self.bytes as f64 / self.events as f64 };
        writeln!(f, "events    {} in {} bytes, {each:.2} bytes an event", self.events, self.bytes)?;
        if self.lost != 0 {
            writeln!(f, "lost      {} events", self.lost)?;
        }
        if self.unknown != 0 {
            writeln!(f, "unknown   {} events of kinds that this version does not know", self.unknown)?;
        }
        if self.details.quantile_error > 0.001 {
            let error = Percent(self.details.quantile_error);
            writeln!(
                f,
                "quantiles up to {error} too high: too many different things are timed for finer ones"
            )?;
        }
        Ok(())
    }

    fn kinds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.by_kind.is_empty() {
            return Ok(());
        }
        heading_of(f, &format!("{:<18} {:>10}", "kind", "count"))?;
        let mut kinds: Vec<_> = self.by_kind.iter().collect();
        kinds.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
        kinds.iter().try_for_each(|(name, count)| writeln!(f, "{name:<18} {count:>10}"))
    }

    fn exits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.exits.is_empty() {
            return Ok(());
        }
        heading(f, "exit", "of all")?;
        for exit in &self.exits {
            let share = Percent(exit.handling_share).to_string();
            row(f, exit.reason, exit.count, "handling", Some(&exit.handling_ns), &share)?;
            let rate = format!("{}/s", Rate(exit.per_second));
            row(f, "", rate, "guest", Some(&exit.guest_ns), &Percent(exit.guest_share).to_string())?;
        }
        Ok(())
    }

    fn traps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.traps.is_empty() {
            return Ok(());
        }
        heading(f, "trap", "")?;
        for trap in &self.traps {
            let name = format!("{} {}", trap.vector, trap.name);
            row(f, &name, trap.count, "handler", trap.duration_ns.as_ref(), "")?;
        }
        Ok(())
    }

    fn interrupts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ipis = &self.ipis;
        if ipis.sent == 0 && ipis.accepted == 0 && self.irqs.is_empty() {
            return Ok(());
        }
        heading(f, "interrupt", "a second")?;
        if ipis.sent != 0 || ipis.accepted != 0 {
            row(f, "ipi sent", ipis.sent, "", None, &Rate(ipis.sent_per_second).to_string())?;
            let rate = Rate(ipis.accepted_per_second).to_string();
            row(f, "ipi accepted", ipis.accepted, "accept", ipis.latency_ns.as_ref(), &rate)?;
            if let Some(eoi) = &ipis.eoi_latency_ns {
                row(f, "", "", "eoi", Some(eoi), "")?;
            }
            row(f, "ipi merged", ipis.merged, "", None, "")?;
        }
        for irq in &self.irqs {
            let rate = Rate(irq.per_second).to_string();
            row(f, &irq.source, irq.count, "accept", irq.latency_ns.as_ref(), &rate)?;
            if let Some(eoi) = &irq.eoi_latency_ns {
                row(f, "", "", "eoi", Some(eoi), "")?;
            }
        }
        Ok(())
    }

    fn counters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.guest.counters.is_empty() {
            return Ok(());
        }
        heading_of(f, &format!("{:<18} {:>10}", "counted by guest", "count"))?;
        for (name, value) in &self.guest.counters {
            writeln!(f, "{:<18} {value:>10}", Escaped(name.as_bytes()).to_string())?;
        }
        Ok(())
    }

    fn damage(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.trace.damage.is_empty() {
            return Ok(());
        }
        heading_of(f, "damage")?;
        self.trace.damage.iter().try_for_each(|damage| writeln!(f, "{damage}"))
    }
}

/// A line of its own that begins a table.
pub(super) fn heading_of(f: &mut fmt::Formatter<'_>, line: &str) -> fmt::Result {
    let line = line.trim_end();
    if f.alternate() { writeln!(f, "\n\x1b[1m{line}\x1b[0m") } else { writeln!(f, "\n{line}") }
}

/// A line of a table.
pub(super) fn finish(f: &mut fmt::Formatter<'_>, line: &str) -> fmt::Result {
    writeln!(f, "{}", line.trim_end())
}

pub(super) fn heading(f: &mut fmt::Formatter<'_>, what: &str, share: &str) -> fmt::Result {
    let line = format!(
        "{what:<18} {:>10}  {:<8} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {share:>8}",
        "count", "time", "min", "mean", "p50", "p90", "p99", "p99.9", "max",
    );
    heading_of(f, &line)
}

pub(super) fn row(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    count: impl fmt::Display,
    time: &str,
    quantiles: Option<&Quantiles>,
    share: &str,
) -> fmt::Result {
    let mut line = format!("{name:<18} {count:>10}  ");
    match quantiles {
        Some(q) => {
            write!(line, "{time:<8}")?;
            for ns in [q.min, q.mean.round() as u64, q.p50, q.p90, q.p99, q.p999, q.max] {
                write!(line, " {:>7}", Span(ns))?;
            }
        }
        None => write!(line, "{:64}", "")?,
    }
    write!(line, " {share:>8}")?;
    finish(f, &line)
}

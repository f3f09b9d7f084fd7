//! The report's tables beyond totals, for people.

use std::fmt::{self, Write};

use super::text::{finish, heading, heading_of, row};
use super::{Details, GroupReport, HandlerReport, Quantiles, Shootdown, VectorReport, WalkReport, Windows};
use crate::describe::{Escaped, Span};

impl Details {
    pub(super) fn write(&self, duration_ns: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handlers(f)?;
        self.shootdowns(f)?;
        self.vcpus(duration_ns, f)?;
        self.matrix(f)?;
        groups(f, "exits of", "handling", &self.symbols)?;
        groups(f, "page faults of", "", &self.pages)?;
        self.walks(f)?;
        self.windows.as_ref().map_or(Ok(()), |windows| windows.write(f))
    }

    pub(super) fn shootdowns(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shootdowns.is_empty() {
            return Ok(());
        }
        let width = self.shootdowns.iter().map(|vector| vector.name().chars().count()).max().unwrap_or(0);
        let width = width.clamp(18, 40);
        let head = format!(
            "{:<width$} {:>8} {:>8} {:>8} {:>10} {:>10} {:>8} {:>8} {:>8}",
            "ipi round", "count", "targets", "not over", "accept p50", "stall p50", "p99", "max", "sum"
        );
        heading_of(f, &head)?;
        self.shootdowns.iter().try_for_each(|vector| vector.write(width, f))?;
        if self.slowest_shootdowns.is_empty() {
            return Ok(());
        }
        let head = format!(
            "{:<18} {:>10} {:>8} {:>8} {:>8}  targets: accepted, acknowledged",
            "slowest ipi rounds", "event", "vector", "from", "stall"
        );
        heading_of(f, &head)?;
        self.slowest_shootdowns.iter().try_for_each(|shootdown| shootdown.write(f))
    }

    fn vcpus(&self, duration_ns: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.by_vcpu.len() < 2 {
            return Ok(());
        }
        let head = format!(
            "{:<18} {:>10} {:>10}  {:>8} {:>8} {:>8}  {:>8} {:>8} {:>8} {:>8}",
            "vCPU", "events", "exits", "in guest", "in exits", "halted", "traps", "ipis", "accepted", "irqs"
        );
        heading_of(f, &head)?;
        for vcpu in &self.by_vcpu {
            let part = |ns: u64| Percent(ns as f64 / duration_ns.max(1) as f64);
            let line = format!(
                "{:<18} {:>10} {:>10}  {:>8} {:>8} {:>8}  {:>8} {:>8} {:>8} {:>8}",
                format!("cpu{}", vcpu.vcpu),
                vcpu.events,
                vcpu.exits,
                part(vcpu.guest_ns),
                part(vcpu.handling_ns),
                part(vcpu.halted_ns),
                vcpu.traps,
                vcpu.ipis_sent,
                vcpu.ipis_accepted,
                vcpu.irqs,
            );
            finish(f, &line)?;
        }
        heading(f, "exits of", "of vCPU")?;
        for vcpu in self.by_vcpu.iter().filter(|vcpu| vcpu.exits > 0) {
            let part = |ns: u64| Percent(ns as f64 / duration_ns.max(1) as f64).to_string();
            let name = format!("cpu{}", vcpu.vcpu);
            let (guest, handling) = (vcpu.exit_guest_ns.as_ref(), vcpu.exit_handling_ns.as_ref());
            row(f, &name, vcpu.exits, "handling", handling, &part(vcpu.handling_ns))?;
            row(f, "", "", "guest", guest, &part(vcpu.guest_ns))?;
        }
        Ok(())
    }

    pub(super) fn handlers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.trap_handlers.is_empty() {
            return Ok(());
        }
        let head = format!(
            "{:<18} {:<7} {:>10} {:>10} {:>7} {:>7} {:>7} {:>7}  handler",
            "trap", "from", "count", "returned", "p50", "p90", "p99", "max"
        );
        heading_of(f, &head)?;
        self.trap_handlers.iter().try_for_each(|handler| handler.write(f))
    }

    fn walks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.walks_by_depth.is_empty() {
            return Ok(());
        }
        heading_of(f, &format!("{:<18} {:>10} {:>8} {:>8}", "walk", "count", "entries", "page"))?;
        self.walks_by_depth.iter().try_for_each(|walk| walk.write(f))
    }

    pub(super) fn matrix(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ipi_matrix.is_empty() {
            return Ok(());
        }
        let mut head = format!("{:<18}", "ipis from, to");
        for target in 0..self.ipi_matrix.len() {
            write!(head, " {:>8}", format!("cpu{target}"))?;
        }
        heading_of(f, &head)?;
        for (sender, row) in self.ipi_matrix.iter().enumerate() {
            let mut line = format!("{:<18}", format!("cpu{sender}"));
            row.iter().try_for_each(|count| write!(line, " {count:>8}"))?;
            finish(f, &line)?;
        }
        Ok(())
    }
}

impl HandlerReport {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trap = match (self.vector, self.name) {
            (None, _) => "(others)".to_owned(),
            (Some(vector), None) => vector.to_string(),
            (Some(vector), Some(name)) => format!("{vector} {name}"),
        };
        let from = match self.cpl {
            None => "-".to_owned(),
            Some(0) => "kernel".to_owned(),
            Some(3) => "user".to_owned(),
            Some(cpl) => format!("cpl {cpl}"),
        };
        let mut line = format!("{trap:<18} {from:<7} {:>10} {:>10}", self.count, self.returned);
        for ns in self.duration_ns.iter().flat_map(|q| [q.p50, q.p90, q.p99, q.max]) {
            write!(line, " {:>7}", Span(ns))?;
        }
        if self.duration_ns.is_none() {
            write!(line, "{:32}", "")?;
        }
        // The symbol was made printable when it was looked up.
        let unknown = if self.vector.is_some() { "(entry not seen)" } else { "" };
        write!(line, "  {}", self.handler.as_deref().unwrap_or(unknown))?;
        finish(f, &line)
    }
}

impl WalkReport {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = match self.page_size {
            None => "-".to_owned(),
            Some(size) if size >= 1 << 30 => format!("{} GiB", size >> 30),
            Some(size) if size >= 1 << 20 => format!("{} MiB", size >> 20),
            Some(size) => format!("{} KiB", size >> 10),
        };
        finish(f, &format!("{:<18} {:>10} {:>8} {page:>8}", self.outcome, self.count, self.depth))
    }
}

impl VectorReport {
    fn name(&self) -> String {
        // The symbol was made printable when it was looked up.
        format!("{:#x} {}", self.vector, self.handler.as_deref().unwrap_or("(handler not seen)"))
    }

    fn write(&self, width: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |quantiles: &Option<Quantiles>, which: fn(&Quantiles) -> u64| {
            quantiles.as_ref().map_or_else(|| "-".to_owned(), |quantiles| Span(which(quantiles)).to_string())
        };
        let line = format!(
            "{:<width$} {:>8} {:>8} {:>8} {:>10} {:>10} {:>8} {:>8} {:>8}",
            self.name(),
            self.count,
            self.targets,
            self.incomplete,
            of(&self.accept_ns, |q| q.p50),
            of(&self.stall_ns, |q| q.p50),
            of(&self.stall_ns, |q| q.p99),
            of(&self.stall_ns, |q| q.max),
            Span(u64::try_from(self.total_stall_ns).unwrap_or(u64::MAX)).to_string(),
        );
        finish(f, &line)
    }
}

impl Shootdown {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.time;
        let (seconds, ms) = (time / 1_000_000_000, time / 1_000_000 % 1000);
        let slowest = self.slowest().map(|target| target.vcpu);
        let shown = |ns: Option<u64>| ns.map_or_else(|| "never".to_owned(), |ns| Span(ns).to_string());
        let mut line = format!(
            "{:<18} {:>10} {:>8} {:>8} {:>8} ",
            format!("at {seconds}.{ms:03} s"),
            format!("#{}", self.event),
            format!("{:#x}", self.vector),
            format!("cpu{}", self.initiator),
            shown(self.stall_ns),
        );
        for (n, target) in self.targets.iter().enumerate() {
            let comma = if n == 0 { "" } else { ";" };
            let last = if slowest == Some(target.vcpu) && self.targets.len() > 1 { " last" } else { "" };
            let (accept, eoi) = (shown(target.accept_ns), shown(target.eoi_ns));
            write!(line, "{comma} cpu{} {accept}, {eoi}{last}", target.vcpu)?;
        }
        finish(f, &line)
    }
}

/// A table of groups; `time` is what their latencies are, if they have any.
pub(super) fn groups(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    time: &str,
    groups: &[GroupReport],
) -> fmt::Result {
    if groups.is_empty() {
        return Ok(());
    }
    let timed = groups.iter().any(|group| group.mean_ns.is_some());
    let width =
        groups.iter().map(|group| shown_value(group).chars().count()).max().unwrap_or(0).clamp(18, 48);
    let mut head = format!("{what:<width$} {:>10}", "count");
    if timed {
        write!(head, "  {time:<8} {:>7} {:>7} {:>7} {:>7} {:>7}", "sum", "mean", "p50", "p99", "max")?;
    }
    heading_of(f, &head)?;
    for group in groups {
        let mut line = format!("{:<width$} {:>10}", shown_value(group), group.count);
        if let (Some(mean), Some(max)) = (group.mean_ns, group.max_ns) {
            let sum = u64::try_from(group.total_ns).unwrap_or(u64::MAX);
            write!(line, "  {:<8} {:>7} {:>7}", "", Span(sum), Span(mean.round() as u64))?;
            for quantile in [group.p50_ns, group.p99_ns] {
                let shown = quantile.map_or_else(|| "-".to_owned(), |ns| Span(ns).to_string());
                write!(line, " {shown:>7}")?;
            }
            write!(line, " {:>7}", Span(max))?;
        }
        finish(f, &line)?;
    }
    Ok(())
}

fn shown_value(group: &GroupReport) -> String {
    match &group.value {
        None => "(others)".to_owned(),
        Some(value) if value.is_empty() => "\"\"".to_owned(),
        Some(value) => Escaped(value.as_bytes()).to_string(),
    }
}

impl Windows {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(
            f,
            self.window_ns,
            self.counts.iter().map(|(kind, counts)| ((*kind).to_owned(), counts.as_slice())),
        )
    }
}

/// The time lines of a table of groups.
pub(super) fn group_lines(f: &mut fmt::Formatter<'_>, window_ns: u64, groups: &[GroupReport]) -> fmt::Result {
    lines(
        f,
        window_ns,
        groups.iter().filter_map(|group| Some((shown_value(group), group.windows.as_deref()?))),
    )
}

fn lines<'c>(
    f: &mut fmt::Formatter<'_>,
    window_ns: u64,
    rows: impl Iterator<Item = (String, &'c [u64])> + Clone,
) -> fmt::Result {
    let width = rows.clone().map(|(name, _)| name.chars().count()).max().unwrap_or(0).clamp(18, 48);
    heading_of(f, &format!("{:<width$} {:>10}  windows of {}", "rate", "most", Span(window_ns)))?;
    for (name, counts) in rows {
        let most = counts.iter().copied().max().unwrap_or(0);
        finish(f, &format!("{name:<width$} {most:>10}  {}", Sparkline(counts, most)))?;
    }
    Ok(())
}

/// Counts as blocks of eight heights; where there are too many for a line, the highest of several.
struct Sparkline<'c>(&'c [u64], u64);

impl fmt::Display for Sparkline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDTH: usize = 80;
        const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let Self(counts, most) = self;
        for part in counts.chunks(counts.len().div_ceil(WIDTH).max(1)) {
            let highest = part.iter().copied().max().unwrap_or(0);
            let level = (u128::from(highest) * 8).div_ceil(u128::from(*most).max(1)) as usize;
            f.write_char(level.checked_sub(1).and_then(|level| BLOCKS.get(level)).copied().unwrap_or(' '))?;
        }
        Ok(())
    }
}

/// How often in a second.
pub(super) struct Rate(pub(super) f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = usize::from(self.0 < 99.95);
        f.pad(&format!("{:.decimals$}", self.0))
    }
}

/// A part of the whole.
pub(super) struct Percent(pub(super) f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.1} %", 100.0 * self.0))
    }
}

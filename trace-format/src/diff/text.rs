//! A comparison for people.

use std::fmt::{self, Write as _};

use super::{CountChange, Diff, Parting, SIGNIFICANT, Side, TimeChange};
use crate::analysis::Quantiles;
use crate::describe::{Escaped, Lane, Span};

/// What is printed of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Text<'d> {
    pub(super) diff: &'d Diff,
    /// What has not changed, too.
    pub(super) all: bool,
    /// At most so many rows of a table.
    pub(super) top: usize,
}

impl Diff {
    /// The comparison as text of up to about 110 columns: what has changed or, if `all`, everything, with at most `top` rows
    /// in a table, those that changed most first.
    #[must_use]
    pub const fn text(&self, all: bool, top: usize) -> Text<'_> {
        Text { diff: self, all, top }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diff { a, b, counts, times, partings, .. } = self.diff;
        side(f, "A", a)?;
        side(f, "B", b)?;
        self.counts(f, counts)?;
        self.times(f, times)?;
        let of = |changed: usize, all: usize, what: &str| format!("{changed} of {all} {what}");
        let changed_counts = counts.iter().filter(|count| count.changed).count();
        let changed_times = times.iter().filter(|time| time.changed).count();
        writeln!(
            f,
            "\nchanged: {} and {}, by {:.0} % or more and p < {SIGNIFICANT} (corrected)",
            of(changed_counts, counts.len(), "counts"),
            of(changed_times, times.len(), "times"),
            self.diff.threshold * 100.0,
        )?;
        if !partings.is_empty() {
            writeln!(f, "\nsteps alike")?;
        }
        partings.iter().try_for_each(|each| parting(f, each))
    }
}

impl Text<'_> {
    fn counts(&self, f: &mut fmt::Formatter<'_>, counts: &[CountChange]) -> fmt::Result {
        let mut rows: Vec<&CountChange> = counts.iter().filter(|count| self.all || count.changed).collect();
        let size = |count: &CountChange| count.change.map_or(f64::INFINITY, f64::abs);
        rows.sort_by(|one, other| one.p.total_cmp(&other.p).then(size(other).total_cmp(&size(one))));
        if rows.is_empty() {
            return Ok(());
        }
        let head = if self.diff.rates { "count (change: of those a second)" } else { "count" };
        writeln!(f, "\n  {head:<52} {:>10} {:>10} {:>9} {:>8}", "A", "B", "change", "p")?;
        for row in rows.iter().take(self.top) {
            let CountChange { subject, a, b, change, p, changed } = row;
            let name = name(&format!("{} {}", subject.what, subject.of));
            let mark = if *changed { '!' } else { ' ' };
            writeln!(
                f,
                "{mark} {name:<52} {a:>10} {b:>10} {:>9} {:>8}",
                percent(*change, *a == 0),
                Chance(*p)
            )?;
        }
        rest(f, rows.len(), self.top)
    }

    fn times(&self, f: &mut fmt::Formatter<'_>, times: &[TimeChange]) -> fmt::Result {
        let mut rows: Vec<&TimeChange> = times.iter().filter(|time| self.all || time.changed).collect();
        let p = |time: &TimeChange| [time.p_median, time.p_tail].into_iter().flatten().fold(2.0, f64::min);
        rows.sort_by(|one, other| p(one).total_cmp(&p(other)));
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n  {:<30} {:>9} {:>9} {:>9} {:>7}   {:>9} {:>9} {:>9} {:>7}",
            "time", "A p50", "B p50", "change", "p", "A p99", "B p99", "change", "p"
        )?;
        for row in rows.iter().take(self.top) {
            let name = name(&format!("{} {}", row.subject.what, row.subject.of));
            let mark = if row.changed { '!' } else { ' ' };
            let mut line = format!("{mark} {name:<30}");
            part(&mut line, row, |quantiles| quantiles.p50, row.median, row.p_median)?;
            line.push_str("  ");
            part(&mut line, row, |quantiles| quantiles.p99, row.tail, row.p_tail)?;
            writeln!(f, "{}", line.trim_end())?;
        }
        rest(f, rows.len(), self.top)
    }
}

/// The half of a row that is about one quantile.
fn part(
    line: &mut String,
    row: &TimeChange,
    of: fn(&Quantiles) -> u64,
    change: Option<f64>,
    p: Option<f64>,
) -> fmt::Result {
    let span = |quantiles: &Option<Quantiles>| {
        quantiles.as_ref().map_or("-".to_owned(), |q| Span(of(q)).to_string())
    };
    let p = p.map_or("-".to_owned(), |p| Chance(p).to_string());
    let change = match row.a.is_some() && row.b.is_some() {
        true => percent(change, false),
        false => "-".to_owned(),
    };
    write!(line, " {:>9} {:>9} {change:>9} {p:>7}", span(&row.a), span(&row.b))
}

fn side(f: &mut fmt::Formatter<'_>, name: &str, side: &Side) -> fmt::Result {
    let Side { guest, vcpus, events, duration_ns, lost, damage } = side;
    let plural = if *vcpus == 1 { "" } else { "s" };
    write!(
        f,
        "{name}  {}, {vcpus} vCPU{plural}: {events} events in {}",
        Escaped(guest.as_bytes()),
        Span(*duration_ns)
    )?;
    if *lost > 0 {
        write!(f, ", {lost} more were lost")?;
    }
    if !damage.is_empty() {
        let plural = if damage.len() == 1 { "" } else { "s" };
        write!(f, ", damaged in {} place{plural}", damage.len())?;
    }
    writeln!(f)
}

fn parting(f: &mut fmt::Formatter<'_>, parting: &Parting) -> fmt::Result {
    let Parting { vcpu, steps, same, a, b } = parting;
    if *same {
        return writeln!(f, "  {:<5} all {steps}", Lane(*vcpu));
    }
    writeln!(f, "  {:<5} {steps}, then", Lane(*vcpu))?;
    for (name, place) in [("A", a), ("B", b)] {
        match place {
            Some(place) => writeln!(f, "        {name} {}", place.line)?,
            None => writeln!(f, "        {name} ends")?,
        }
    }
    Ok(())
}

fn rest(f: &mut fmt::Formatter<'_>, rows: usize, top: usize) -> fmt::Result {
    match rows.saturating_sub(top) {
        0 => Ok(()),
        more => writeln!(f, "  and {more} more"),
    }
}

/// A name of something, cut.
fn name(text: &str) -> String {
    const LONGEST: usize = 52;
    let shown = Escaped(text.as_bytes()).to_string();
    match shown.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", shown.get(..end).unwrap_or_default().trim_end()),
        None => shown,
    }
}

fn percent(change: Option<f64>, new: bool) -> String {
    match change {
        None if new => "new".to_owned(),
        None => "from 0".to_owned(),
        Some(change) if change >= 10.0 => format!("x {:.1}", change + 1.0),
        Some(change) => format!("{:+.1} %", change * 100.0),
    }
}

/// A probability: with its size if it is small.
struct Chance(f64);

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self.0 {
            ..1e-9 => "<1e-9".to_owned(),
            p @ ..0.001 => format!("{p:.0e}"),
            p => format!("{p:.3}"),
        })
    }
}

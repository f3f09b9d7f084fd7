//! `vmscope report`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use trace_format::analysis::{Groups, MOST_GROUPS, MOST_WINDOWS, Plan, grouped, over_time};
use trace_format::filter::{Field, field};
use trace_format::{Reader, Report as Whole};

use super::failure::{Code, Failure};
use super::progress::Bar;
use super::selection::SelectionOptions;
use super::{events, output};

/// What to tell of which events.
#[derive(Args, Debug)]
pub struct Report {
    /// The trace
    pub file: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub selection: SelectionOptions,
    /// Only a table of the events that have FIELD by its values, for instance symbol or io.port (see 'vmscope help filter')
    ///
    /// Short names: reason for exit.reason, vector for trap.vector, page for trap.page, handler for trap.handler.symbol, port
    /// for io.port, msr for msr.index. Every event that has the field counts: of a trap, for instance, entry and return, if
    /// --filter does not say which. Times are the field latency. Counts are exact; values that fewer than one event in
    /// 10 000 has may be counted together, as '(others)'.
    #[arg(long, value_name = "FIELD", value_parser = group_field)]
    pub by: Option<&'static Field>,
    /// How many rows lists have at most
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Add a time line of how many events of each kind, or with --by of each group, there were in windows of TIME, for
    /// instance 10ms
    #[arg(long, value_name = "TIME", value_parser = super::guest::duration)]
    pub window: Option<Duration>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Short names of fields that reports are often by.
const SHORT: [(&str, &str); 6] = [
    ("reason", "exit.reason"),
    ("vector", "trap.vector"),
    ("page", "trap.page"),
    ("handler", "trap.handler.symbol"),
    ("port", "io.port"),
    ("msr", "msr.index"),
];

/// A field by its name or a short one.
fn group_field(name: &str) -> Result<&'static Field, String> {
    let long = SHORT.iter().find(|(short, _)| *short == name.trim()).and_then(|(_, long)| field(long));
    long.map_or_else(|| events::known_field(name), Ok)
}

/// Reports on a trace.
pub(super) fn report(arguments: &Report) -> Result<Code, Failure> {
    let mut reader = Reader::open(&arguments.file)?;
    let window_ns = arguments.window.map(|window| u64::try_from(window.as_nanos()).unwrap_or(u64::MAX));
    match arguments.by {
        Some(field) => write_groups(&mut reader, field, window_ns, arguments)?,
        None => {
            let plan = Plan { selection: arguments.selection.selection(), top: arguments.top, window_ns };
            let bar = Bar::of_events("counting", &mut [&mut reader]);
            let report = Whole::of_plan(&mut reader, &plan)?;
            drop(bar);
            if window_ns.is_some() && report.details.windows.is_none() {
                return Err(too_many_windows("take longer ones"));
            }
            write(&report, arguments.json)?;
        }
    }
    output::warn_of_damage(&reader)
}

/// Writes the report of a trace.
pub(super) fn write_report(reader: &mut Reader, json: bool) -> Result<(), Failure> {
    write(&Whole::of(reader)?, json)
}

fn write(report: &Whole, json: bool) -> Result<(), Failure> {
    let mut out = output::out();
    if json {
        serde_json::to_writer_pretty(&mut out, report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else if output::is_coloured() {
        write!(out, "{report:#}")?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(out.flush()?)
}

fn too_many_windows(advice: &str) -> Failure {
    let message = format!("--window: a time line has at most {MOST_WINDOWS} windows; {advice}");
    Failure::new(Code::Usage, anyhow::Error::msg(message))
}

fn write_groups(
    reader: &mut Reader,
    field: &'static Field,
    window_ns: Option<u64>,
    arguments: &Report,
) -> Result<(), Failure> {
    let selection = arguments.selection.selection();
    let bar = Bar::of_events("counting", &mut [&mut *reader]);
    let groups = grouped(reader, &selection, Groups::new(field))?;
    let mut rows = groups.largest(arguments.top);
    let time_line = match window_ns {
        None => None,
        Some(window_ns) => Some(
            over_time(reader, &selection, field, window_ns, &mut rows)?
                .ok_or_else(|| too_many_windows("take longer ones, or fewer groups with --top"))?,
        ),
    };
    drop(bar);
    let mut out = output::out();
    if arguments.json {
        let mut report = json!({
            "schema": 1,
            "by": field.name,
            "values": groups.len(),
            "quantile_error": groups.error(),
            "groups": rows,
        });
        if let Some(line) = time_line {
            report["window_ns"] = line.window_ns.into();
            report["from_ns"] = line.from_ns.into();
        }
        serde_json::to_writer_pretty(&mut out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else if groups.is_empty() {
        output::progress(&format_args!("no event that matches has {}", field.name))?;
    } else {
        out.write_all(groups.text(&rows, time_line).as_bytes())?;
        if rows.iter().any(|row| row.value.is_none()) {
            writeln!(out, "((others): values that each at most one event in {MOST_GROUPS} has)")?;
        }
        let left_out = groups.len().saturating_sub(arguments.top);
        if left_out > 0 {
            writeln!(out, "({left_out} more; --top shows them)")?;
        }
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_fields() {
        for (short, long) in SHORT {
            assert_eq!(group_field(short).map(|field| field.name), Ok(long));
            assert!(field(short).is_none(), "{short} is a field's own name");
        }
        assert!(group_field("nothing").is_err());
    }
}

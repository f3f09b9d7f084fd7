//! `vmscope report`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use trace_format::analysis::{Groups, MOST_WINDOWS, Plan, grouped};
use trace_format::filter::Field;
use trace_format::{Reader, Report as Whole};

use super::failure::{Code, Failure};
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
    #[arg(long, value_name = "FIELD", value_parser = events::known_field, conflicts_with = "window")]
    pub by: Option<&'static Field>,
    /// How many rows lists have at most
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Add a time line of how many events of each kind there were in windows of TIME, for instance 10ms
    #[arg(long, value_name = "TIME", value_parser = super::guest::duration)]
    pub window: Option<Duration>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Reports on a trace.
pub(super) fn report(arguments: &Report) -> Result<Code, Failure> {
    let mut reader = Reader::open(&arguments.file)?;
    match arguments.by {
        Some(field) => write_groups(&mut reader, field, arguments)?,
        None => {
            let window_ns =
                arguments.window.map(|window| u64::try_from(window.as_nanos()).unwrap_or(u64::MAX));
            let plan = Plan { selection: arguments.selection.selection(), top: arguments.top, window_ns };
            let report = Whole::of_plan(&mut reader, &plan)?;
            if window_ns.is_some() && report.details.windows.is_none() {
                let message =
                    format!("--window: a trace has at most {MOST_WINDOWS} windows; take longer ones");
                return Err(Failure::new(Code::Usage, anyhow::Error::msg(message)));
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

fn write_groups(reader: &mut Reader, field: &'static Field, arguments: &Report) -> Result<(), Failure> {
    let groups = grouped(reader, &arguments.selection.selection(), Groups::new(field))?;
    let mut out = output::out();
    if arguments.json {
        let report = json!({ "schema": 1, "by": field.name, "groups": groups.largest(arguments.top) });
        serde_json::to_writer_pretty(&mut out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else if groups.is_empty() {
        output::progress(&format_args!("no event that matches has {}", field.name))?;
    } else {
        out.write_all(groups.text(arguments.top).as_bytes())?;
        let left_out = groups.len().saturating_sub(arguments.top);
        if left_out > 0 {
            writeln!(out, "({left_out} more; --top shows them)")?;
        }
    }
    Ok(out.flush()?)
}

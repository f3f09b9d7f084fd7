//! What a trace tells, as text.

use trace_format::analysis::{Plan, Report, Table};
use trace_format::describe::Line;
use trace_format::filter::{Filter, Selection};
use trace_format::{Error, Reader};

use crate::gdb::debuggee::Failure;

/// A table of statistics of all that happened up to event number `last`. An IPI that was sent before counts with all
/// that came of it.
///
/// # Errors
/// If the trace cannot be read.
pub(in crate::gdb) fn table(reader: &mut Reader, last: u64, table: Table) -> Result<String, Failure> {
    let end = reader.event(last).map_err(|error| unreadable(&error))?;
    let to = end.map_or(u64::MAX, |event| event.time);
    // Events of the same time may come after it.
    let filter = Filter::parse(&format!("number <= {last}")).unwrap_or_default();
    let plan = Plan { selection: Selection { filter, to, ..Selection::default() }, ..Plan::default() };
    let report = Report::of_plan(reader, &plan).map_err(|error| unreadable(&error))?;
    let text = report.table(table).to_string();
    Ok(if text.is_empty() { "there were none until now".to_owned() } else { text.trim_start().to_owned() })
}

/// The lines of `count` events, of which number `last` is the last.
///
/// # Errors
/// If the trace cannot be read.
pub(in crate::gdb) fn events(reader: &mut Reader, last: u64, count: u64) -> Result<String, Failure> {
    let header = reader.header().clone();
    let from = last.saturating_add(1).saturating_sub(count);
    let mut lines = String::new();
    for found in reader.forward(from) {
        let (number, event) = found.map_err(|error| unreadable(&error))?;
        if number > last {
            break;
        }
        lines.push_str(&Line { number, event: &event, header: &header }.to_string());
        lines.push('\n');
    }
    Ok(if lines.is_empty() { "the trace has no events yet".to_owned() } else { lines })
}

/// Why there is nothing to be told.
pub(in crate::gdb) fn unreadable(error: &Error) -> Failure {
    Failure(format!("the trace cannot be read: {error}"))
}

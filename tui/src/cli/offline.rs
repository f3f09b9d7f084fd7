//! Commands that read a trace from beginning to end.

use std::io::Write as _;

use trace_format::{Reader, verify};

use super::failure::{Code, Failure};
use super::options;
use super::output;

/// `vmscope filter`.
pub(super) fn filter() -> Result<Code, Failure> {
    let mut out = output::out();
    out.write_all(trace_format::filter::documentation().as_bytes())?;
    out.flush()?;
    Ok(Code::Done)
}

/// `vmscope check`.
pub(super) fn check(arguments: &options::TraceFile) -> Result<Code, Failure> {
    let found = verify(&mut Reader::open(&arguments.file)?)?;
    let mut out = output::out();
    for damage in &found.damage {
        writeln!(out, "{damage}")?;
    }
    let problems = [
        (found.out_of_order, "events are older than the one before them"),
        (found.wrong_summaries, "blocks say something else of themselves than their events"),
        (found.unknown_events, "events are of kinds that this version does not know"),
        (found.unknown_frames, "frames are of kinds that this version does not know"),
        (found.lost, "events were dropped by the recorder, which was told to"),
    ];
    for (count, problem) in problems.iter().filter(|(count, _)| *count > 0) {
        writeln!(out, "{count} {problem}")?;
    }
    let finished =
        if found.finished { "finished" } else { "not finished: it grows, or its recorder was killed" };
    let verdict = if found.is_sound() { "intact" } else { "damaged" };
    writeln!(
        out,
        "{verdict}, {finished}: {} events in {} blocks, {} bytes",
        found.events, found.blocks, found.bytes
    )?;
    out.flush()?;
    Ok(if found.is_sound() { Code::Done } else { Code::Trace })
}

/// Says on standard error what could not be read.
pub(super) fn warn_of_damage(reader: &Reader) -> Result<Code, Failure> {
    for damage in reader.damage() {
        output::error(&damage)?;
    }
    Ok(Code::Done)
}

//! `vmscope check`: whether a trace is intact, and what is intact of one that is not.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use trace_format::{Reader, Repaired, Verification, repair, verify};

use super::failure::{Code, Failure};
use super::output;
use super::progress::Bar;
use crate::new_file::NewFile;

/// `check`.
#[derive(Args, Debug)]
pub struct Check {
    /// The trace
    pub file: PathBuf,
    /// Write what is intact to OUT, as a finished trace without damage
    ///
    /// Every intact block is in it as it was; where events are missing and it is known how many, an event 'lost' says
    /// so. An existing OUT is replaced once the new trace is complete; FILE itself is never written to. The exit code is
    /// 0 then, whatever is lost.
    #[arg(long, value_name = "OUT")]
    pub repair: Option<PathBuf>,
}

/// `vmscope check`.
pub(super) fn check(arguments: &Check) -> Result<Code, Failure> {
    let mut reader = Reader::open(&arguments.file)?;
    let mut out = output::out();
    let code = match &arguments.repair {
        None => {
            let bar = Bar::of_events("checking", &mut [&mut reader]);
            let found = verify(&mut reader)?;
            drop(bar);
            write_found(&mut out, &found)?;
            if found.is_sound() { Code::Done } else { Code::Trace }
        }
        Some(path) => {
            let file = NewFile::create(path, Some(&arguments.file))?;
            let (file, done) = repair(&mut reader, file)?;
            file.keep()?;
            write_found(&mut out, &done.found)?;
            write_done(&mut out, &done, path)?;
            Code::Done
        }
    };
    out.flush()?;
    Ok(code)
}

fn write_found(out: &mut impl Write, found: &Verification) -> std::io::Result<()> {
    for damage in &found.damage {
        writeln!(out, "{damage}")?;
    }
    let problems = [
        (found.out_of_order, "events are older than the one before them"),
        (found.wrong_summaries, "blocks say something else of themselves than their events"),
        (found.unknown_events, "events are of kinds that this version does not know"),
        (found.unknown_frames, "frames are of kinds that this version does not know"),
        (
            found.lost,
            "events are missing by what the trace says: dropped when it was recorded, or lost before a repair",
        ),
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
    )
}

fn write_done(out: &mut impl Write, done: &Repaired, path: &Path) -> std::io::Result<()> {
    let path = path.to_string_lossy();
    write!(out, "{}: {} events", crate::ui::text::escape(&path), done.events)?;
    match (done.lost, done.gaps) {
        (0, _) => {}
        (lost, 1) => write!(out, ", {lost} lost in one place")?,
        (lost, gaps) => write!(out, ", {lost} lost in {gaps} places")?,
    }
    if done.open_end {
        write!(out, "; nothing tells how many there were behind the last")?;
    }
    if !done.header {
        write!(out, "; what it said of guest and host, and all symbols, are lost")?;
    }
    let left = [
        (done.rewritten_blocks, "blocks had to be written anew"),
        (done.disordered_blocks, "blocks are left out because their times go back"),
        (done.found.unknown_frames, "frames that this version does not know are left out"),
    ];
    for (count, what) in left.iter().filter(|(count, _)| *count > 0) {
        write!(out, "; {count} {what}")?;
    }
    writeln!(out)
}

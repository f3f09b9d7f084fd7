//! `vmscope slice`.

use std::path::PathBuf;

use clap::Args;
use trace_format::{Reader, slice};

use super::failure::{Code, Failure};
use super::output;
use super::progress::Bar;
use super::selection::SelectionOptions;
use crate::new_file::NewFile;

/// What to cut out, and where to put it.
#[derive(Args, Debug)]
pub struct Slice {
    /// The trace
    pub file: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub selection: SelectionOptions,
    /// The trace to write; an existing file is replaced when all is written
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Writes a part of a trace as a trace.
pub(super) fn cut(arguments: &Slice) -> Result<Code, Failure> {
    let Slice { file, output, selection } = arguments;
    let mut reader = Reader::open(file)?;
    let source = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let mut new = NewFile::create(output, Some(file))?;
    let bar = Bar::of_events("slicing", &mut [&mut reader]);
    let (sliced, _) = slice(&mut reader, &selection.selection(), &source, &mut new)?;
    new.keep()?;
    drop(bar);
    output::progress(&format_args!("{}: {} of {} events", output.display(), sliced.kept, reader.len()))?;
    output::warn_of_damage(&reader)
}

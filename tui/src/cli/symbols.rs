//! `vmscope symbols`: a trace's symbols for GDB.

use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use trace_format::{Reader, elf};

use super::failure::{Code, Failure};
use super::output;
use crate::new_file::NewFile;
use crate::ui::text;

/// `symbols`.
#[derive(Args, Debug)]
pub struct Symbols {
    /// The trace
    pub file: PathBuf,
    /// The ELF file to write; an existing file is replaced when all is written
    #[arg(short, long, value_name = "ELF")]
    pub output: PathBuf,
}

/// Writes them.
pub(super) fn write(arguments: &Symbols) -> Result<Code, Failure> {
    let Symbols { file, output } = arguments;
    let reader = Reader::open(file)?;
    let symbols = &reader.header().symbols;
    if symbols.is_empty() {
        output::warn_of_damage(&reader)?;
        let none = anyhow!(
            "{} has no symbols: neither the guest's image nor a file of --symbols had any",
            file.display()
        );
        return Err(Failure::new(Code::Failed, none));
    }
    let mut new = BufWriter::with_capacity(64 << 10, NewFile::create(output, Some(file))?);
    elf::write(symbols, &mut new).with_context(|| format!("cannot write {}", output.display()))?;
    let new = new.into_inner().map_err(|error| Failure::from(error.into_error()))?;
    new.keep()?;
    let (count, slide) = (text::count(symbols.placed().count() as u64), symbols.slide());
    let moved = if slide == 0 { String::new() } else { format!(", the kernel's moved by {slide:#x}") };
    output::progress(&format_args!("{}: {count} symbols{moved}", output.display()))?;
    output::warn_of_damage(&reader)
}

//! `vmscope slice`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use tempfile::NamedTempFile;
use trace_format::{Error, Reader, slice};

use super::failure::{Code, Failure};
use super::offline::warn_of_damage;
use super::output;
use super::selection::SelectionOptions;

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
    let sliced = write_whole(output, |out| {
        let (sliced, _) = slice(&mut reader, &selection.selection(), &source, out)?;
        Ok(sliced)
    })?;
    output::progress(&format_args!("{}: {} of {} events", output.display(), sliced.kept, reader.len()))?;
    warn_of_damage(&reader)
}

/// Writes a trace with `write`, so that `path` is replaced only by one that is whole. The file that is read may be the one
/// that is replaced: what has been opened stays what it was.
pub(super) fn write_whole<T>(
    path: &Path,
    write: impl FnOnce(&mut NamedTempFile) -> Result<T, Error>,
) -> Result<T, Failure> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let create = || format!("cannot create {}", path.display());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".vmscope-");
    // What a new file gets, minus the process's mask: temporary files are otherwise their owner's only.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file =
        builder.tempfile_in(folder).with_context(create).map_err(|error| Failure::new(Code::Usage, error))?;
    let result = write(&mut file).map_err(|error| match error {
        error @ Error::Write(_) => Failure::from(anyhow::Error::new(error).context(create())),
        other => Failure::from(other),
    })?;
    file.persist(path).map_err(|error| error.error).with_context(create)?;
    Ok(result)
}

//! The temporary trace of a live run, which the user may want to keep.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempPath;

/// A trace file that goes away with this unless it is kept.
#[derive(Debug)]
pub struct Temporary {
    file: TempPath,
    wanted: Option<(PathBuf, File)>,
    kept: Option<PathBuf>,
}

impl Temporary {
    /// An empty file in the directory for such.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new() -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix("vmscope-").suffix(".vmt").tempfile()?;
        Ok(Self { file: file.into_temp_path(), wanted: None, kept: None })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Wants it kept under this name, which is taken at once; [`Self::write`] fills it when the trace is complete.
    ///
    /// # Errors
    /// If there is such a file already, or it cannot be made.
    pub fn keep_as(&mut self, path: PathBuf) -> anyhow::Result<()> {
        let file = File::create_new(&path).with_context(|| format!("cannot save as {}", path.display()))?;
        self.wanted = Some((path, file));
        Ok(())
    }

    /// Writes the trace to where it is wanted, if it is, and tells where that was.
    ///
    /// # Errors
    /// If that fails; the temporary file is still there then.
    pub fn write(&mut self) -> anyhow::Result<Option<PathBuf>> {
        let Some((path, mut to)) = self.wanted.take() else { return Ok(None) };
        let copied = File::open(&self.file).and_then(|mut from| {
            io::copy(&mut from, &mut to)?;
            to.sync_all()
        });
        if let Err(error) = copied {
            // Half a trace under the wanted name is worse than none; the error below is what matters.
            let _ = fs::remove_file(&path);
            return Err(error).with_context(|| format!("cannot save as {}", path.display()));
        }
        self.kept = Some(path.clone());
        Ok(Some(path))
    }

    /// Leaves the file where it is, for when something has gone wrong, and tells where.
    ///
    /// # Errors
    /// If the system refuses; the file goes away then.
    pub fn leave(self) -> anyhow::Result<PathBuf> {
        self.file.keep().context("cannot leave the temporary trace")
    }

    /// Where the trace was kept.
    #[must_use]
    pub fn kept(&self) -> Option<&Path> {
        self.kept.as_deref()
    }
}

/// Copies what a trace has so far to a new file, and tells how many bytes that are.
///
/// # Errors
/// If there is such a file already, or either cannot be read or written; no new file is left then.
pub fn copy_so_far(trace: &Path, path: &Path) -> anyhow::Result<u64> {
    let said = || format!("cannot copy the trace to {}", path.display());
    let mut to = File::create_new(path).with_context(said)?;
    let copied = File::open(trace).and_then(|from| {
        // Not what is recorded meanwhile: it could go on for ever.
        let length = from.metadata()?.len();
        let copied = io::copy(&mut from.take(length), &mut to)?;
        to.sync_all().map(|()| copied)
    });
    if copied.is_err() {
        // The error is what matters.
        let _ = fs::remove_file(path);
    }
    copied.with_context(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_kept_only_where_it_was_wanted() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let target = directory.path().join("kept.vmt");
        let mut temporary = Temporary::new()?;
        fs::write(temporary.path(), b"trace")?;
        assert_eq!(temporary.write()?, None);
        temporary.keep_as(target.clone())?;
        assert_eq!(temporary.write()?, Some(target.clone()));
        assert_eq!(fs::read(&target)?, b"trace");
        assert!(temporary.keep_as(target).is_err(), "an existing file is not replaced");
        let path = temporary.path().to_owned();
        drop(temporary);
        assert!(!path.exists());
        Ok(())
    }
}

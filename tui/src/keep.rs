//! The temporary trace of a live run, which the user may want to keep.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tempfile::TempPath;

use crate::work::Watch;

/// Bytes that are copied between two looks whether it is to stop.
const AT_ONCE: u64 = 8 << 20;

/// A trace file that goes away with this unless it is kept.
#[derive(Debug)]
pub struct Temporary {
    file: TempPath,
    wanted: Option<(PathBuf, File)>,
    kept: Option<PathBuf>,
    /// Writing it has begun.
    begun: bool,
    /// It has been written.
    done: Arc<AtomicBool>,
}

impl Temporary {
    /// An empty file in the directory for such.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new() -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix("vmscope-").suffix(".vmt").tempfile()?;
        Ok(Self { file: file.into_temp_path(), wanted: None, kept: None, begun: false, done: Arc::default() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Wants it kept under this name, which is taken at once; [`Self::begin`] or [`Self::write`] fill it when the trace is
    /// complete. If it was wanted before and that has failed, it is no longer wanted there.
    ///
    /// # Errors
    /// If there is such a file already, but for the one that failed, or it cannot be made.
    pub fn keep_as(&mut self, path: PathBuf) -> anyhow::Result<()> {
        if self.wanted.as_ref().is_none_or(|(before, _)| *before != path) {
            let file =
                File::create_new(&path).with_context(|| format!("cannot save as {}", path.display()))?;
            if let Some((before, _)) = self.wanted.replace((path, file)) {
                // Half a trace; where there is no room it may be what takes it.
                let _ = fs::remove_file(before);
            }
        }
        self.begun = false;
        self.done = Arc::default();
        Ok(())
    }

    /// What writes the trace to where it is wanted, on whatever thread; `None` if it is not wanted, or this was asked
    /// before.
    ///
    /// # Errors
    /// If the system has no more files to give.
    pub fn begin(&mut self) -> anyhow::Result<Option<Saving>> {
        let Some((path, to)) = self.wanted.as_ref().filter(|_| !self.begun) else { return Ok(None) };
        self.begun = true;
        let to = to.try_clone().with_context(|| format!("cannot save as {}", path.display()))?;
        let (from, path) = (self.file.to_path_buf(), path.clone());
        Ok(Some(Saving { from, path, to, done: Arc::clone(&self.done) }))
    }

    /// Writes the trace to where it is wanted, if it is and that has not been done.
    ///
    /// # Errors
    /// If that fails; the temporary file is still there then.
    pub fn write(&mut self) -> anyhow::Result<()> {
        let Some((path, to)) = self.wanted.take() else { return Ok(()) };
        if !self.done.load(Ordering::Acquire) {
            let (from, done) = (self.file.to_path_buf(), Arc::clone(&self.done));
            let saving = Saving { from, path: path.clone(), to, done };
            if let Err(error) = saving.run(&Watch::default()) {
                // Half a trace under the wanted name is worse than none; the error is what matters.
                let _ = fs::remove_file(&path);
                return Err(error);
            }
        }
        self.kept = Some(path);
        Ok(())
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

/// Writing a temporary trace to where it is wanted.
#[derive(Debug)]
pub struct Saving {
    from: PathBuf,
    path: PathBuf,
    to: File,
    done: Arc<AtomicBool>,
}

impl Saving {
    /// Bytes that there are to write.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.from).map_or(0, |metadata| metadata.len())
    }

    /// Does it, and tells where it is.
    ///
    /// # Errors
    /// If it fails, or `watch` stops it; it can be done once more then.
    pub fn run(mut self, watch: &Watch) -> anyhow::Result<PathBuf> {
        let copied = File::open(&self.from).and_then(|from| {
            // What was written by one that was stopped.
            self.to.rewind()?;
            self.to.set_len(0)?;
            copy(from, &mut self.to, watch)
        });
        copied.with_context(|| format!("cannot save as {}", self.path.display()))?;
        self.done.store(true, Ordering::Release);
        Ok(self.path)
    }
}

/// Copies what a trace has so far to a new file, and tells how many bytes that are.
///
/// # Errors
/// If there is such a file already, either cannot be read or written, or `watch` stops it; no new file is left then.
pub fn copy_so_far(trace: &Path, path: &Path, watch: &Watch) -> anyhow::Result<u64> {
    let said = || format!("cannot copy the trace to {}", path.display());
    let mut to = File::create_new(path).with_context(said)?;
    let copied = File::open(trace).and_then(|from| copy(from, &mut to, watch));
    if copied.is_err() {
        // The error is what matters.
        let _ = fs::remove_file(path);
    }
    copied.with_context(said)
}

/// Copies what `from` has now, and not what is recorded meanwhile: it could go on for ever.
fn copy(from: File, to: &mut File, watch: &Watch) -> io::Result<u64> {
    let length = from.metadata()?.len();
    let mut from = from.take(length);
    let mut copied = 0;
    loop {
        if watch.is_stopped() {
            return Err(io::Error::other("it was stopped"));
        }
        match io::copy(&mut from.by_ref().take(AT_ONCE), to)? {
            0 => break,
            more => copied += more,
        }
        watch.tell(copied);
    }
    to.sync_all().map(|()| copied)
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
        temporary.write()?;
        assert!(temporary.begin()?.is_none() && temporary.kept().is_none());
        temporary.keep_as(target.clone())?;
        let stopped = temporary.begin()?.context("it is wanted")?;
        let watch = Watch::default();
        watch.stop();
        assert!(stopped.run(&watch).is_err());
        assert!(temporary.begin()?.is_none(), "it has begun");
        // Whoever leaves meanwhile has it written all the same.
        temporary.write()?;
        assert_eq!(temporary.kept(), Some(target.as_path()));
        assert_eq!(fs::read(&target)?, b"trace");
        assert!(temporary.keep_as(target).is_err(), "an existing file is not replaced");
        let path = temporary.path().to_owned();
        drop(temporary);
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn what_failed_can_be_wanted_once_more() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let [first, second] = ["first.vmt", "second.vmt"].map(|name| directory.path().join(name));
        let mut temporary = Temporary::new()?;
        fs::write(temporary.path(), b"trace")?;
        let watch = Watch::default();
        watch.stop();
        for again in [&first, &first, &second] {
            temporary.keep_as(again.clone())?;
            assert!(temporary.begin()?.context("it is wanted")?.run(&watch).is_err());
        }
        assert!(!first.exists(), "nothing is left under the name that failed");
        temporary.keep_as(second.clone())?;
        assert_eq!(temporary.begin()?.context("it is wanted")?.run(&Watch::default())?, second);
        assert_eq!(fs::read(&second)?, b"trace");
        Ok(())
    }
}

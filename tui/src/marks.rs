//! Bookmarks with notes, in a file beside the trace.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A marked event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Its number.
    pub event: u64,
    /// What the user says of it; perhaps nothing.
    #[serde(default)]
    pub note: String,
}

/// The marks of a trace, in the order of their events.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Where they are kept; `None` for a trace that is no file.
    path: Option<PathBuf>,
    marks: Vec<Mark>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    mark: Vec<Mark>,
}

/// Why marks could not be read or written.
#[derive(Debug)]
pub struct MarksError {
    path: PathBuf,
    what: String,
}

impl std::fmt::Display for MarksError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bookmarks in {}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for MarksError {}

/// Where the marks of the trace at `path` are.
fn beside(trace: &Path) -> PathBuf {
    let mut name = trace.as_os_str().to_owned();
    name.push(".marks");
    name.into()
}

impl Marks {
    /// Those of the trace at `trace`.
    ///
    /// # Errors
    /// If there is such a file that cannot be read, or is none of marks.
    pub fn of(trace: &Path) -> Result<Self, MarksError> {
        let path = beside(trace);
        let error = |what: String| MarksError { path: path.clone(), what };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(none) if none.kind() == ErrorKind::NotFound => String::new(),
            Err(failed) => return Err(error(failed.to_string())),
        };
        let File { mark: mut marks } = toml::from_str(&text).map_err(|odd| error(odd.to_string()))?;
        marks.sort_by_key(|mark| mark.event);
        Ok(Self { path: Some(path), marks })
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Mark] {
        &self.marks
    }

    /// That of `event`.
    #[must_use]
    pub fn get(&self, event: u64) -> Option<&Mark> {
        self.marks.binary_search_by_key(&event, |mark| mark.event).ok().and_then(|at| self.marks.get(at))
    }

    /// Marks an event, or gives its mark another note.
    ///
    /// # Errors
    /// If the file cannot be written; the mark is there all the same.
    pub fn set(&mut self, mark: Mark) -> Result<(), MarksError> {
        match self.marks.binary_search_by_key(&mark.event, |mark| mark.event) {
            Ok(at) => self.marks[at] = mark,
            Err(at) => self.marks.insert(at, mark),
        }
        self.write()
    }

    /// Takes the mark of `event` away, if it has one.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn remove(&mut self, event: u64) -> Result<(), MarksError> {
        self.marks.retain(|mark| mark.event != event);
        self.write()
    }

    /// The trace is now at `trace`.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn keep_beside(&mut self, trace: &Path) -> Result<(), MarksError> {
        self.path = Some(beside(trace));
        if self.marks.is_empty() { Ok(()) } else { self.write() }
    }

    fn write(&self) -> Result<(), MarksError> {
        let Some(path) = &self.path else { return Ok(()) };
        let error = |what: String| MarksError { path: path.clone(), what };
        if self.marks.is_empty() {
            return match fs::remove_file(path) {
                Err(failed) if failed.kind() != ErrorKind::NotFound => Err(error(failed.to_string())),
                _ => Ok(()),
            };
        }
        let text =
            toml::to_string(&File { mark: self.marks.clone() }).map_err(|odd| error(odd.to_string()))?;
        replace(path, text.as_bytes()).map_err(|failed| error(failed.to_string()))
    }
}

/// Whoever reads it sees what was there before or all that is now.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    io::Write::write_all(&mut file, bytes)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(event: u64, note: &str) -> Mark {
        Mark { event, note: note.to_owned() }
    }

    #[test]
    fn marks_are_kept_beside_the_trace() {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("t.vmt");
        let mut marks = Marks::of(&trace).unwrap();
        marks.set(mark(70, "the \"slow\" one\n")).unwrap();
        marks.set(mark(3, "")).unwrap();
        marks.set(mark(70, "slow")).unwrap();
        let mut again = Marks::of(&trace).unwrap();
        assert_eq!(again.all(), [mark(3, ""), mark(70, "slow")]);
        assert_eq!(again.get(70), Some(&mark(70, "slow")));
        again.remove(3).unwrap();
        again.remove(70).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn marks_of_a_trace_without_a_file_are_kept_when_it_gets_one() {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("t.vmt");
        let mut marks = Marks::default();
        marks.set(mark(1, "one")).unwrap();
        marks.keep_beside(&trace).unwrap();
        assert_eq!(Marks::of(&trace).unwrap().all(), [mark(1, "one")]);
    }

    #[test]
    fn what_is_no_file_of_marks_is_said_and_left() {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("t.vmt");
        std::fs::write(beside(&trace), "[[mark]]\nevent = \"x\"").unwrap();
        let error = Marks::of(&trace).unwrap_err().to_string();
        assert!(error.contains("t.vmt.marks") && error.contains("event"), "{error}");
    }
}

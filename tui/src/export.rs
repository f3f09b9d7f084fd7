//! A part of a trace for other tools: what `vmscope export` and the UI's `:export` share.

use std::io::Write;
use std::path::Path;

use clap::ValueEnum;
use trace_format::export::{Error, chrome, csv, perfetto};
use trace_format::filter::{Field, Selection};
use trace_format::{Reader, slice};

/// What a trace is exported to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Perfetto's own format, for ui.perfetto.dev and its trace processor
    Perfetto,
    /// Chrome's Trace Event Format, JSON, for chrome://tracing and what else reads it
    Chrome,
    /// Comma-separated values, a line an event
    Csv,
    /// Apache Parquet, a row an event, for DuckDB, Spark and data warehouses
    Parquet,
    /// A trace of vmscope's own; on the command line that is `vmscope slice`
    #[value(skip)]
    Trace,
}

impl Format {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Csv, Self::Perfetto, Self::Chrome, Self::Parquet, Self::Trace];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Perfetto => "perfetto",
            Self::Chrome => "chrome",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Trace => "trace",
        }
    }

    /// What names of such files end with, the usual one first.
    #[must_use]
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Perfetto => &["perfetto-trace", "pftrace"],
            Self::Chrome => &["json"],
            Self::Csv => &["csv"],
            Self::Parquet => &["parquet"],
            Self::Trace => &["vmt"],
        }
    }

    /// What it is for, in a few words.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Perfetto => "for ui.perfetto.dev and its trace processor",
            Self::Chrome => "Chrome's JSON, for chrome://tracing and other viewers",
            Self::Csv => "comma-separated values, a line an event",
            Self::Parquet => "Apache Parquet, a row an event",
            Self::Trace => "a trace with just these events, for vmscope",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format of files with a name like that.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Self::ALL.into_iter().find(|format| format.extensions().contains(&extension.as_str()))
    }

    /// Says so if this program cannot write it.
    pub(crate) const fn check(self) -> Result<(), &'static str> {
        match self {
            Self::Parquet if cfg!(not(feature = "parquet")) => Err(
                "this vmscope was built without Parquet: build it with 'cargo build --release --features parquet'",
            ),
            _ => Ok(()),
        }
    }
}

/// Writes the events of `selection`, of CSV these fields or all, and tells how many there are. `name` is what the trace
/// is called.
///
/// # Errors
/// If the trace cannot be read, or `out` not be written to.
pub(crate) fn write(
    reader: &mut Reader,
    to: Format,
    selection: &Selection,
    fields: Option<&[&'static Field]>,
    name: &str,
    mut out: &mut (dyn Write + Send),
) -> Result<u64, Error> {
    let written = match to {
        Format::Perfetto => perfetto(reader, selection, &mut out)?.events,
        Format::Chrome => chrome(reader, selection, &mut out)?.events,
        Format::Csv => csv(reader, selection, fields, &mut out)?.events,
        #[cfg(feature = "parquet")]
        Format::Parquet => trace_format::export::parquet(reader, selection, &mut out)?.events,
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => {
            let why = to.check().err().unwrap_or_default();
            return Err(Error::Write(std::io::Error::new(std::io::ErrorKind::Unsupported, why)));
        }
        Format::Trace => slice(reader, selection, name, &mut out)?.0.kept,
    };
    out.flush().map_err(Error::Write)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_format() {
        for format in Format::ALL {
            assert_eq!(Format::of_name(format.name()), Some(format));
            for extension in format.extensions() {
                assert_eq!(Format::of_path(Path::new(&format!("a.b/x.{extension}"))), Some(format));
            }
        }
        assert_eq!(Format::of_path(Path::new("X.CSV")), Some(Format::Csv));
        for none in ["csv", "x.txt", ".csv", "x."] {
            assert_eq!(Format::of_path(Path::new(none)), None, "{none}");
        }
    }
}

//! Traces in other tools' formats; `EXPORT.md` documents them.
//!
//! Perfetto's format and Chrome's show a trace as pictures of time; both draw what `picture` makes of it. CSV and Parquet
//! have a row an event, with the fields of [filters](crate::filter) as columns. All of them are written as the trace is
//! read, in memory that does not grow with it.

mod chrome;
mod columns;
mod csv;
#[cfg(feature = "parquet")]
mod parquet;
mod perfetto;
mod picture;

use std::io::{self, Write};

use self::chrome::Chrome;
pub use self::csv::csv;
#[cfg(feature = "parquet")]
pub use self::parquet::parquet;
use self::perfetto::Perfetto;
use self::picture::{Canvas, Picture, Seen};
use crate::Reader;
use crate::filter::{Filter, Subject};

/// What an export amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events that the filter wanted.
    pub events: u64,
}

/// Why a trace was not exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] crate::Error),
    /// What it is written to cannot be.
    #[error("cannot write the exported events")]
    Write(#[source] io::Error),
    /// A Parquet file cannot be made of it.
    #[cfg(feature = "parquet")]
    #[error("cannot write Parquet")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

/// Draws the events that `filter` wants in Perfetto's own format: packets of protobuf.
///
/// # Errors
///
/// If the trace cannot be read, or `out` not be written to.
pub fn perfetto<W: Write>(reader: &mut Reader, filter: &Filter, out: W) -> Result<Written, Error> {
    let canvas = Perfetto::new(out, reader.header()).map_err(Error::Write)?;
    let (canvas, written) = draw(reader, filter, canvas)?;
    canvas.finish().map_err(Error::Write)?;
    Ok(written)
}

/// Draws the events that `filter` wants in Chrome's Trace Event Format: JSON.
///
/// # Errors
///
/// If the trace cannot be read, or `out` not be written to.
pub fn chrome<W: Write>(reader: &mut Reader, filter: &Filter, out: W) -> Result<Written, Error> {
    let canvas = Chrome::new(out, reader.header()).map_err(Error::Write)?;
    let (canvas, written) = draw(reader, filter, canvas)?;
    canvas.finish().map_err(Error::Write)?;
    Ok(written)
}

fn draw<C: Canvas>(reader: &mut Reader, filter: &Filter, canvas: C) -> Result<(C, Written), Error> {
    let header = reader.header().clone();
    let mut picture = Picture::new(canvas, reader.duration_ns());
    let mut written = Written::default();
    // In sequence and not only what is wanted: what an event is the end of may have been wanted.
    for event in reader.forward(0) {
        let (number, event) = event?;
        let subject = Subject { number, event: &event, header: &header };
        let shown = filter.matches(&subject);
        written.events += u64::from(shown);
        picture.add(Seen { subject, shown }).map_err(Error::Write)?;
    }
    let canvas = picture.finish().map_err(Error::Write)?;
    Ok((canvas, written))
}

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
use std::ops::{ControlFlow, Range};

use self::chrome::Chrome;
pub use self::csv::csv;
#[cfg(feature = "parquet")]
pub use self::parquet::parquet;
use self::perfetto::Perfetto;
use self::picture::{Canvas, Picture, Seen};
use crate::Reader;
use crate::filter::{Selection, Subject};
use crate::reader::BlockEvents;

/// What an export amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events that were wanted.
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

/// Draws the events of `selection` in Perfetto's own format: packets of protobuf.
///
/// # Errors
///
/// If the trace cannot be read, or `out` not be written to.
pub fn perfetto<W: Write>(reader: &mut Reader, selection: &Selection, out: W) -> Result<Written, Error> {
    let canvas = Perfetto::new(out, reader.header()).map_err(Error::Write)?;
    let (canvas, written) = draw(reader, selection, canvas)?;
    canvas.finish().map_err(Error::Write)?;
    Ok(written)
}

/// Draws the events of `selection` in Chrome's Trace Event Format: JSON.
///
/// # Errors
///
/// If the trace cannot be read, or `out` not be written to.
pub fn chrome<W: Write>(reader: &mut Reader, selection: &Selection, out: W) -> Result<Written, Error> {
    let canvas = Chrome::new(out, reader.header()).map_err(Error::Write)?;
    let (canvas, written) = draw(reader, selection, canvas)?;
    canvas.finish().map_err(Error::Write)?;
    Ok(written)
}

fn draw<C: Canvas>(reader: &mut Reader, selection: &Selection, canvas: C) -> Result<(C, Written), Error> {
    let (first, last) = reader.time_range().unwrap_or_default();
    let shown_ns = last.min(selection.to).saturating_sub(first.max(selection.from));
    let mut picture = Picture::new(canvas, shown_ns);
    let mut written = Written::default();
    let ended = reader.read_in_order(
        // Not only what is wanted: what an event is the end of may have been wanted.
        |_| true,
        |block| Ahead::of::<C>(&block, selection),
        |block, ahead| {
            for ((number, event), Said { shown, at }) in block.iter().zip(ahead.events) {
                if event.time > selection.to && picture.is_complete() {
                    return ControlFlow::Break(Ok(()));
                }
                written.events += u64::from(shown);
                let subject = Subject { number, event, header: block.header };
                let said = ahead.said.get(at).unwrap_or_default();
                if let Err(error) = picture.add(Seen { subject, shown, said }) {
                    return ControlFlow::Break(Err(error));
                }
            }
            ControlFlow::Continue(())
        },
    )?;
    if let ControlFlow::Break(result) = ended {
        result.map_err(Error::Write)?;
    }
    let canvas = picture.finish().map_err(Error::Write)?;
    Ok((canvas, written))
}

/// What can be told of a block's events without those before them.
struct Ahead {
    events: Vec<Said>,
    /// What those say that are shown, one after the other.
    said: Vec<u8>,
}

/// Of one event: whether it is shown, and where what it says is.
struct Said {
    shown: bool,
    at: Range<usize>,
}

impl Ahead {
    fn of<C: Canvas>(block: &BlockEvents<'_>, selection: &Selection) -> Self {
        let mut said = Vec::new();
        let events = block.iter().map(|(number, event)| {
            let subject = Subject { number, event, header: block.header };
            let shown = selection.has(&subject);
            let start = said.len();
            if let Some(say) = C::SAY.filter(|_| shown) {
                say(&subject, &mut said);
            }
            Said { shown, at: start..said.len() }
        });
        Self { events: events.collect(), said }
    }
}

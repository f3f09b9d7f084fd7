//! Comma-separated values (RFC 4180): a line of names, then a line an event.

use std::borrow::Cow;
use std::io::Write;
use std::ops::ControlFlow;

use csv::{Terminator, WriterBuilder};

use super::columns::every_field;
use super::{Error, Written};
use crate::Reader;
use crate::describe::Escaped;
use crate::event::MACHINE;
use crate::filter::{Field, Filter, Subject, Type};

/// Writes the events that `filter` wants as CSV, with these fields or all.
///
/// What an event does not have is empty; cells are otherwise those of [`Field::cell`], but `vcpu` is empty for what no vCPU
/// did, and in text what does not print by itself is escaped as in Rust.
///
/// # Errors
///
/// If the trace cannot be read, or `out` not be written to.
pub fn csv<W: Write>(
    reader: &mut Reader,
    filter: &Filter,
    fields: Option<&[&'static Field]>,
    mut out: W,
) -> Result<Written, Error> {
    let fields = fields.map_or_else(every_field, <[_]>::to_vec);
    let mut head = lines();
    head.write_record(fields.iter().map(|field| field.name)).map_err(csv_error)?;
    out.write_all(&bytes(head)?).map_err(Error::Write)?;
    let mut written = Written::default();
    let ended = reader.read_blocks(
        |block| filter.may_match(block),
        |block| -> Result<(u64, Vec<u8>), Error> {
            let mut rows = lines();
            let mut count = 0;
            for (number, event) in block.iter() {
                let subject = Subject { number, event, header: block.header };
                if !filter.matches(&subject) {
                    continue;
                }
                for field in &fields {
                    rows.write_field(cell(field, &subject).as_ref()).map_err(csv_error)?;
                }
                rows.write_record(None::<&[u8]>).map_err(csv_error)?;
                count += 1;
            }
            Ok((count, bytes(rows)?))
        },
        |rows| {
            let rows = rows.and_then(|(count, rows)| {
                written.events += count;
                out.write_all(&rows).map_err(Error::Write)
            });
            match rows {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            }
        },
    )?;
    if let ControlFlow::Break(error) = ended {
        return Err(error);
    }
    out.flush().map_err(Error::Write)?;
    Ok(written)
}

fn lines() -> csv::Writer<Vec<u8>> {
    WriterBuilder::new().terminator(Terminator::Any(b'\n')).from_writer(Vec::new())
}

fn bytes(lines: csv::Writer<Vec<u8>>) -> Result<Vec<u8>, Error> {
    lines.into_inner().map_err(|error| Error::Write(error.into_error()))
}

fn csv_error(error: csv::Error) -> Error {
    Error::Write(error.into())
}

/// What stands in a column for an event. No number stands for what no vCPU did, so that the column has numbers only.
fn cell<'a>(field: &Field, subject: &Subject<'a>) -> Cow<'a, str> {
    match (field.name, field.of) {
        ("vcpu", _) if subject.event.vcpu == MACHINE => "".into(),
        (_, Type::Text) => Escaped(field.cell(subject).as_bytes()).to_string().into(),
        _ => field.cell(subject),
    }
}

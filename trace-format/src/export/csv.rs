//! Comma-separated values (RFC 4180): a line of names, then a line an event.

use std::io::Write;
use std::ops::ControlFlow;

use csv::{Terminator, WriterBuilder};

use super::columns::{column_name, every_field};
use super::{Error, Written};
use crate::Reader;
use crate::describe::Escaped;
use crate::event::MACHINE;
use crate::filter::{Field, Filter, Subject, Type, Value};

/// Writes the events that `filter` wants as CSV, with these fields or all.
///
/// What an event does not have is empty. Times are in ns; addresses and contents of registers are hexadecimal (`0x1f`),
/// other numbers decimal; `vcpu` is empty for what no vCPU did. In text, control characters and invalid UTF-8 are escaped
/// as in Rust.
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
    head.write_record(fields.iter().map(|field| column_name(field))).map_err(csv_error)?;
    out.write_all(&bytes(head)?).map_err(Error::Write)?;
    let mut written = Written::default();
    let ended = reader.read_blocks(
        |block| filter.may_match(block),
        |block| -> Result<(u64, Vec<u8>), Error> {
            let mut rows = lines();
            let (mut count, mut cell) = (0, String::new());
            for (number, event) in block.iter() {
                let subject = Subject { number, event, header: block.header };
                if !filter.matches(&subject) {
                    continue;
                }
                for field in &fields {
                    cell.clear();
                    write_cell(field, &subject, &mut cell);
                    rows.write_field(&cell).map_err(csv_error)?;
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

fn write_cell(field: &Field, subject: &Subject<'_>, cell: &mut String) {
    use std::fmt::Write as _;
    let Some(value) = field.value(subject) else { return };
    // Writing to a string does not fail.
    let _ = match value {
        Value::Number(number) if field.name == "vcpu" && number == u64::from(MACHINE) => return,
        Value::Number(number) if field.of == Type::Address => write!(cell, "{number:#x}"),
        Value::Number(number) => write!(cell, "{number}"),
        Value::Name(name) => cell.write_str(name),
        Value::Text(text) => write!(cell, "{}", Escaped(text.as_bytes())),
        Value::Truth(truth) => write!(cell, "{truth}"),
        Value::Vcpus(vcpus) => (0..16)
            .filter(|vcpu| vcpus >> vcpu & 1 != 0)
            .enumerate()
            .try_for_each(|(n, vcpu)| write!(cell, "{}{vcpu}", if n == 0 { "" } else { " " })),
    };
}

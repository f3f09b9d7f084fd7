//! Comma-separated values (RFC 4180): a line of names, then a line an event.

use std::fmt::Write as _;
use std::io::Write;
use std::ops::ControlFlow;

use super::columns::{ByKind, every_field};
use super::{Error, Written};
use crate::Reader;
use crate::describe::Escaped;
use crate::describe::fields::push_hex;
use crate::event::MACHINE;
use crate::filter::{Field, Selection, Subject, Type, Value};

/// Writes the events of `selection` as CSV, with these fields or all.
///
/// What an event does not have is empty; cells are otherwise those of [`Field::cell`], but `vcpu` is empty for what no vCPU
/// did, and in text what does not print by itself is escaped as in Rust.
///
/// # Errors
///
/// If the trace cannot be read, or `out` not be written to.
pub fn csv<W: Write>(
    reader: &mut Reader,
    selection: &Selection,
    fields: Option<&[&'static Field]>,
    mut out: W,
) -> Result<Written, Error> {
    let fields = fields.map_or_else(every_field, <[_]>::to_vec);
    let mut head = String::new();
    for (column, field) in fields.iter().enumerate() {
        head.push_str(if column == 0 { "" } else { "," });
        put(&mut head, field.name);
    }
    head.push('\n');
    out.write_all(head.as_bytes()).map_err(Error::Write)?;
    let columns = ByKind::of(&fields);
    let last = fields.len().saturating_sub(1);
    let mut written = Written::default();
    let ended = reader.read_blocks(
        |block| selection.may_have(block),
        |block| {
            let (mut count, mut text) = (0, String::new());
            for (number, event) in block.iter() {
                let subject = Subject { number, event, header: block.header };
                if selection.has(&subject) {
                    append(&columns, last, &subject, &mut text);
                    count += 1;
                }
            }
            (count, text)
        },
        |(count, text): (u64, String)| {
            written.events += count;
            match out.write_all(text.as_bytes()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Error::Write(error)),
            }
        },
    )?;
    if let ControlFlow::Break(error) = ended {
        return Err(error);
    }
    out.flush().map_err(Error::Write)?;
    Ok(written)
}

/// Appends a row, whose last column is number `last`.
fn append(columns: &ByKind<'_>, last: usize, subject: &Subject<'_>, out: &mut String) {
    let start = out.len();
    let mut at = 0;
    for (column, field) in columns.columns(subject.event.payload.kind()) {
        out.extend(std::iter::repeat_n(',', column - at));
        at = column;
        cell(field, subject, out);
    }
    out.extend(std::iter::repeat_n(',', last - at));
    // A line with nothing in it would be no row.
    if out.len() == start {
        out.push_str("\"\"");
    }
    out.push('\n');
}

/// Appends what stands in a column for an event. No number stands for what no vCPU did, so that the column has numbers
/// only.
fn cell(field: &Field, subject: &Subject<'_>, out: &mut String) {
    match (field.value(subject), field.of) {
        (None, _) => {}
        (Some(Value::Number(_)), _) if field.name == "vcpu" && subject.event.vcpu == MACHINE => {}
        (Some(Value::Number(number)), Type::Address) => push_hex(out, number),
        (Some(Value::Number(number)), _) => out.push_str(itoa::Buffer::new().format(number)),
        (Some(Value::Name(name)), _) => out.push_str(name),
        (Some(Value::Text(text)), _) if prints(&text) => put(out, &text),
        (Some(Value::Text(text)), _) => put(out, &Escaped(text.as_bytes()).to_string()),
        (Some(Value::Truth(_) | Value::Vcpus(_)), _) => out.push_str(&field.cell(subject)),
    }
}

/// Whether nothing in `text` is escaped.
fn prints(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\')
}

/// Appends text, in quotes if it needs them.
fn put(out: &mut String, text: &str) {
    if text.contains([',', '"', '\n', '\r']) {
        // Writing to a string does not fail.
        let _ = write!(out, "\"{}\"", text.replace('"', "\"\""));
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Marker, Payload, Text, VcpuState};
    use crate::filter::field;
    use crate::{Header, Writer};

    #[test]
    fn any_text_is_one_cell() {
        let texts = ["plain", "a,b", "\"", "say \"a\", please", "a\r\nb", "\\", "\u{1b}[2J", "", "é", " x "];
        let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
        for (time, text) in (0..).zip(texts) {
            let marker = Marker { by_guest: true, text: Text::from(text).unwrap(), value: 0 };
            writer.append(&Event { time, vcpu: MACHINE, payload: Payload::Marker(marker) }).unwrap();
            writer.append(&Event { time, vcpu: 1, payload: Payload::State(VcpuState::Halted) }).unwrap();
        }
        let bytes = writer.finish().unwrap();
        for names in [["vcpu", "text", "time"].as_slice(), &["text"], &["state", "text"]] {
            let fields: Vec<&Field> = names.iter().map(|name| field(name).unwrap()).collect();
            let mut reader = Reader::from_bytes(bytes.clone()).unwrap();
            let mut out = Vec::new();
            csv(&mut reader, &Selection::default(), Some(&fields), &mut out).unwrap();
            let mut rows = ::csv::Reader::from_reader(out.as_slice());
            assert_eq!(rows.headers().unwrap(), names);
            let text = names.iter().position(|name| *name == "text").unwrap();
            let found: Vec<String> = rows.records().map(|row| row.unwrap()[text].to_owned()).collect();
            let expected =
                texts.iter().flat_map(|text| [Escaped(text.as_bytes()).to_string(), String::new()]);
            assert_eq!(found, expected.collect::<Vec<_>>(), "{names:?}");
        }
    }
}

//! `vmscope events`.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use trace_format::describe::{Escaped, Line};
use trace_format::filter::{Field, Selection, Subject, Type, field, fields};
use trace_format::reader::BlockEvents;
use trace_format::{Header, Reader};

use super::failure::{Code, Failure};
use super::output;
use super::selection::SelectionOptions;

/// The columns of a table unless told.
const COLUMNS: [&str; 8] = ["number", "time", "vcpu", "kind", "rip", "symbol", "latency", "description"];

/// What to print of which events.
#[derive(Args, Debug)]
pub struct Events {
    /// The trace
    pub file: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub selection: SelectionOptions,
    /// How each event is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Only these fields, in this order, with commas between them (see 'vmscope help filter')
    ///
    /// In text they are separated by tabs; in JSON each event is an object with just these, null where an event does not
    /// have one. Times are in ns.
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = known_field)]
    pub fields: Vec<&'static Field>,
    /// Stop after N events
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// A JSON object a line
    Json,
    /// A table with a head
    Csv,
}

/// A field by its name.
pub(super) fn known_field(name: &str) -> Result<&'static Field, String> {
    field(name.trim()).ok_or_else(|| {
        let known: Vec<&str> = fields().iter().map(|field| field.name).collect();
        format!("there is no such field; there are {}", known.join(", "))
    })
}

/// Prints events.
pub(super) fn events(arguments: &Events) -> Result<Code, Failure> {
    let mut reader = Reader::open(&arguments.file)?;
    let selection = arguments.selection.selection();
    let page = Page { format: arguments.format, columns: columns(arguments) };
    let mut out = output::out();
    page.begin(&mut out)?;
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let print = |block: BlockEvents<'_>| page.lines(block, &selection);
    let ended = reader.read_blocks(
        |block| selection.may_have(block),
        print,
        |lines| match lines.and_then(|lines| lines.write(&mut left, &mut out)) {
            Ok(()) if left == 0 => ControlFlow::Break(Ok(())),
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Err(error)),
        },
    )?;
    if let ControlFlow::Break(result) = ended {
        result?;
    }
    out.flush()?;
    output::warn_of_damage(&reader)
}

fn columns(arguments: &Events) -> Vec<&'static Field> {
    match arguments.format {
        Format::Csv if arguments.fields.is_empty() => COLUMNS.into_iter().filter_map(field).collect(),
        _ => arguments.fields.clone(),
    }
}

/// How events are written.
struct Page {
    format: Format,
    /// Empty for all there is to say.
    columns: Vec<&'static Field>,
}

/// The lines of a block, and where each ends.
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Lines {
    /// Writes as many as are `left`.
    fn write(&self, left: &mut usize, out: &mut impl Write) -> io::Result<()> {
        let count = self.ends.len().min(*left);
        *left -= count;
        let end = count.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        out.write_all(self.bytes.get(..end).unwrap_or_default())
    }
}

impl Page {
    fn begin(&self, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            Format::Csv => self.csv(out, |column| column.name.into()),
            Format::Text | Format::Json => Ok(()),
        }
    }

    fn lines(&self, block: BlockEvents<'_>, selection: &Selection) -> io::Result<Lines> {
        let mut lines = Lines { bytes: Vec::new(), ends: Vec::new() };
        for (number, event) in block.iter() {
            let subject = Subject { number, event, header: block.header };
            if selection.has(&subject) {
                self.line(&subject, block.header, &mut lines.bytes)?;
                lines.ends.push(lines.bytes.len());
            }
        }
        Ok(lines)
    }

    fn line(&self, subject: &Subject<'_>, header: &Header, out: &mut Vec<u8>) -> io::Result<()> {
        let &Subject { number, event, .. } = subject;
        match self.format {
            Format::Csv => return self.csv(out, |column| printable(column, subject)),
            Format::Text if self.columns.is_empty() => write!(out, "{}", Line { number, event, header })?,
            Format::Text => {
                for (n, column) in self.columns.iter().enumerate() {
                    let tab = if n == 0 { "" } else { "\t" };
                    write!(out, "{tab}{}", Escaped(column.cell(subject).as_bytes()))?;
                }
            }
            Format::Json if self.columns.is_empty() => {
                serde_json::to_writer(&mut *out, &event.json(number, header))?;
            }
            Format::Json => serde_json::to_writer(&mut *out, &Row { columns: &self.columns, subject })?,
        }
        writeln!(out)
    }

    /// A row with a cell for each column.
    fn csv<'c>(
        &self,
        out: &mut impl Write,
        cell: impl Fn(&'static Field) -> std::borrow::Cow<'c, str>,
    ) -> io::Result<()> {
        let mut row = csv::Writer::from_writer(out);
        row.write_record(self.columns.iter().map(|column| cell(column).into_owned()))?;
        row.flush()
    }
}

/// A cell that nothing obeys: a table may be sent to a terminal.
fn printable<'s>(column: &Field, subject: &Subject<'s>) -> std::borrow::Cow<'s, str> {
    let cell = column.cell(subject);
    match column.of {
        Type::Text => Escaped(cell.as_bytes()).to_string().into(),
        _ => cell,
    }
}

/// Some fields of an event as an object.
struct Row<'r> {
    columns: &'r [&'static Field],
    subject: &'r Subject<'r>,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.columns.iter().map(|column| (column.name, json(column, self.subject))))
    }
}

/// A field's value; addresses are strings, as JSON numbers end at 2^53.
fn json(column: &Field, subject: &Subject<'_>) -> Value {
    use trace_format::filter::Value as Found;
    match column.value(subject) {
        None => Value::Null,
        Some(Found::Number(number)) if column.of != Type::Address => number.into(),
        Some(Found::Truth(truth)) => truth.into(),
        Some(Found::Vcpus(vcpus)) => (0..16).filter(|vcpu| vcpus >> vcpu & 1 != 0).collect(),
        Some(_) => column.cell(subject).into(),
    }
}

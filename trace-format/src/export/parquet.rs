//! Apache Parquet: a column a field, for DuckDB, Spark and whatever else holds tables of many traces.
//!
//! `EXPORT.md` documents the schema.

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type as Schema};

use super::columns::{ByKind, column_name, every_field};
use super::{Error, Written};
use crate::event::MACHINE;
use crate::filter::{Field, Selection, Subject, Type, Value};
use crate::reader::BlockEvents;
use crate::{Header, Reader};

/// A row group has so many rows, or the events of one block more.
const ROWS: usize = 128 << 10;

/// Writes the events of `selection` as Parquet.
///
/// # Errors
///
/// If the trace cannot be read, or `out` not be written to.
pub fn parquet<W: Write + Send>(
    reader: &mut Reader,
    selection: &Selection,
    out: W,
) -> Result<Written, Error> {
    let fields = every_field();
    let columns = ByKind::of(&fields);
    let mut table = Table::new(&fields, reader.header(), out)?;
    let mut written = Written::default();
    let ended = reader.read_blocks(
        |block| selection.may_have(block),
        |block| Rows::of(&block, selection, &fields, &columns),
        |rows| {
            written.events += rows.count as u64;
            match table.append(rows) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            }
        },
    )?;
    match ended {
        ControlFlow::Break(error) => Err(error.into()),
        ControlFlow::Continue(()) => {
            table.finish()?;
            Ok(written)
        }
    }
}

/// The file that is being written.
struct Table<W: Write + Send> {
    file: SerializedFileWriter<W>,
    guest: ByteArray,
    start: i64,
    waiting: Rows,
}

impl<W: Write + Send> Table<W> {
    fn new(fields: &[&Field], header: &Header, out: W) -> Result<Self, ParquetError> {
        let required = |name: &str, physical, logical| {
            Schema::primitive_type_builder(name, physical)
                .with_logical_type(logical)
                .with_repetition(Repetition::REQUIRED)
                .build()
        };
        let mut columns = vec![
            Arc::new(required("trace_guest", Physical::BYTE_ARRAY, Some(LogicalType::String))?),
            Arc::new(required("trace_start_unix_ns", Physical::INT64, None)?),
        ];
        for field in fields {
            let (physical, logical) = stored_as(field.of);
            let name = column_name(field);
            let column = Schema::primitive_type_builder(&name, physical)
                .with_logical_type(logical)
                .with_repetition(Repetition::OPTIONAL);
            columns.push(Arc::new(column.build()?));
        }
        let schema = Schema::group_type_builder("event").with_fields(columns).build()?;
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties(fields, header)))?;
        Ok(Self {
            file,
            guest: header.guest.as_str().into(),
            start: header.start_unix_ns as i64,
            waiting: Rows::new(fields),
        })
    }

    fn append(&mut self, rows: Rows) -> Result<(), ParquetError> {
        self.waiting.append(rows);
        if self.waiting.count < ROWS { Ok(()) } else { self.flush() }
    }

    /// Writes what waits as a row group.
    fn flush(&mut self) -> Result<(), ParquetError> {
        let count = self.waiting.count;
        let mut group = self.file.next_row_group()?;
        write(&mut group, &Values::Bytes(vec![self.guest.clone(); count]), None)?;
        write(&mut group, &Values::Longs(vec![self.start; count]), None)?;
        for column in &self.waiting.columns {
            write(&mut group, &column.values, Some(&column.present))?;
        }
        group.close()?;
        self.waiting.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), ParquetError> {
        if self.waiting.count > 0 {
            self.flush()?;
        }
        self.file.close()?;
        Ok(())
    }
}

type Group<'a, W> = parquet::file::writer::SerializedRowGroupWriter<'a, W>;

fn write<W: Write + Send>(
    group: &mut Group<'_, W>,
    values: &Values,
    present: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let general = |what: &str| ParquetError::General(what.to_owned());
    let mut column = group.next_column()?.ok_or_else(|| general("a column that the schema does not have"))?;
    match (column.untyped(), values) {
        (ColumnWriter::BoolColumnWriter(column), Values::Truths(values)) => {
            column.write_batch(values, present, None)?
        }
        (ColumnWriter::Int64ColumnWriter(column), Values::Longs(values)) => {
            column.write_batch(values, present, None)?
        }
        (ColumnWriter::ByteArrayColumnWriter(column), Values::Bytes(values)) => {
            column.write_batch(values, present, None)?
        }
        _ => return Err(general("a column of another type than its values")),
    };
    column.close()
}

/// What the file says about the trace, and how columns are written.
fn properties(fields: &[&Field], header: &Header) -> WriterProperties {
    let entry = |name: &str, value: String| KeyValue::new(format!("vmscope.{name}"), value);
    let about = vec![
        entry("schema", "1".to_owned()),
        entry("guest", header.guest.clone()),
        entry("command", header.command.join(" ")),
        entry("guest_command_line", header.guest_command_line.clone()),
        entry("vcpus", header.vcpus.to_string()),
        entry("memory_bytes", header.memory_bytes.to_string()),
        entry("start_unix_ns", header.start_unix_ns.to_string()),
        entry("tsc_khz", header.tsc_khz.to_string()),
        entry("recorder", header.recorder.clone()),
        entry("not_seen", header.not_seen.join("\n")),
    ];
    let level = ZstdLevel::default();
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(concat!("vmscope ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(about));
    for field in fields.iter().filter(|field| matches!(field.name, "number" | "time" | "exit.guest")) {
        // They hardly ever repeat.
        let path = ColumnPath::from(column_name(field));
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}

/// How values of a type are stored, and what they mean.
fn stored_as(of: Type) -> (Physical, Option<LogicalType>) {
    match of {
        Type::Number | Type::Address | Type::Vcpus => {
            (Physical::INT64, Some(LogicalType::integer(64, false)))
        }
        // Signed, so that differences of times are what one expects of them.
        Type::Time => (Physical::INT64, None),
        Type::Name | Type::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Type::Truth => (Physical::BOOLEAN, None),
    }
}

/// Rows that are not written yet, by columns.
struct Rows {
    count: usize,
    columns: Vec<Column>,
}

struct Column {
    /// For each row 1 if it has a value.
    present: Vec<i16>,
    /// Those that there are.
    values: Values,
}

enum Values {
    Truths(Vec<bool>),
    Longs(Vec<i64>),
    Bytes(Vec<ByteArray>),
}

impl Rows {
    fn new(fields: &[&Field]) -> Self {
        let values = |of| match stored_as(of).0 {
            Physical::BOOLEAN => Values::Truths(Vec::new()),
            Physical::BYTE_ARRAY => Values::Bytes(Vec::new()),
            _ => Values::Longs(Vec::new()),
        };
        let columns = fields.iter().map(|field| Column { present: Vec::new(), values: values(field.of) });
        Self { count: 0, columns: columns.collect() }
    }

    fn of(block: &BlockEvents<'_>, selection: &Selection, fields: &[&Field], columns: &ByKind<'_>) -> Self {
        let mut rows = Self::new(fields);
        for (number, event) in block.iter() {
            let subject = Subject { number, event, header: block.header };
            if !selection.has(&subject) {
                continue;
            }
            for (place, field) in columns.columns(event.payload.kind()) {
                let Some(column) = rows.columns.get_mut(place) else { continue };
                let of_machine =
                    |value: &Value<'_>| field.name == "vcpu" && *value == Value::Number(u64::from(MACHINE));
                if let Some(value) = field.value(&subject).filter(|value| !of_machine(value)) {
                    // The rows before that do not have it.
                    column.present.resize(rows.count, 0);
                    column.push(value, field.of);
                }
            }
            rows.count += 1;
        }
        for column in &mut rows.columns {
            column.present.resize(rows.count, 0);
        }
        rows
    }

    fn append(&mut self, more: Self) {
        self.count += more.count;
        for (column, more) in self.columns.iter_mut().zip(more.columns) {
            column.present.extend(more.present);
            match (&mut column.values, more.values) {
                (Values::Truths(values), Values::Truths(more)) => values.extend(more),
                (Values::Longs(values), Values::Longs(more)) => values.extend(more),
                (Values::Bytes(values), Values::Bytes(more)) => values.extend(more),
                // Both are of the same fields.
                _ => {}
            }
        }
    }

    fn clear(&mut self) {
        self.count = 0;
        for column in &mut self.columns {
            column.present.clear();
            match &mut column.values {
                Values::Truths(values) => values.clear(),
                Values::Longs(values) => values.clear(),
                Values::Bytes(values) => values.clear(),
            }
        }
    }
}

impl Column {
    fn push(&mut self, value: Value<'_>, of: Type) {
        let present = match (&mut self.values, value) {
            (Values::Longs(values), Value::Number(number)) => {
                let most = if of == Type::Time { i64::MAX as u64 } else { u64::MAX };
                values.push(number.min(most) as i64);
                1
            }
            (Values::Longs(values), Value::Vcpus(vcpus)) => {
                values.push(vcpus.into());
                1
            }
            (Values::Bytes(values), Value::Name(name)) => {
                values.push(name.into());
                1
            }
            (Values::Bytes(values), Value::Text(text)) => {
                values.push(text.as_ref().into());
                1
            }
            (Values::Truths(values), Value::Truth(truth)) => {
                values.push(truth);
                1
            }
            _ => 0,
        };
        self.present.push(present);
    }
}

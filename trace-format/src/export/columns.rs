//! Events as rows: the columns of CSV and Parquet, which are the fields of filters.

use crate::filter::{Field, fields};

/// A column's name: the field's, with `_` for `.` and `-`, so that SQL needs no quotes.
#[must_use]
pub fn column_name(field: &Field) -> String {
    field.name.replace(['.', '-'], "_")
}

/// The columns of a Parquet file and, unless others are asked for, of CSV: every field.
pub(super) fn every_field() -> Vec<&'static Field> {
    fields().iter().collect()
}

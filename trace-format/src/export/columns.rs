//! Events as rows: the columns of CSV and Parquet, which are the fields of filters.

use crate::filter::{Field, fields};

/// A column's name in Parquet: the field's, with `_` for `.` and `-`, so that SQL needs no quotes.
#[cfg(feature = "parquet")]
pub(super) fn column_name(field: &Field) -> String {
    field.name.replace(['.', '-'], "_")
}

/// The columns of a Parquet file and, unless others are asked for, of CSV: every field but the description, which only
/// says again what the others do.
pub(super) fn every_field() -> Vec<&'static Field> {
    fields().iter().filter(|field| field.name != "description").collect()
}

//! Events as rows: the columns of CSV and Parquet, which are the fields of filters.

use crate::event::Kind;
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

/// Which columns an event of each kind can have something in: a few of many.
pub(super) struct ByKind<'f>(Vec<Vec<(usize, &'f Field)>>);

impl<'f> ByKind<'f> {
    pub(super) fn of(fields: &[&'f Field]) -> Self {
        let of_kind = |kind: Kind| {
            let columns = fields.iter().copied().enumerate();
            columns.filter(|(_, field)| field.kinds.contains(&kind)).collect()
        };
        Self(Kind::ALL.into_iter().map(of_kind).collect())
    }

    /// Their numbers, from 0, in order.
    pub(super) fn columns(&self, kind: Kind) -> impl Iterator<Item = (usize, &'f Field)> {
        self.0.get(kind as usize).into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Type, field};

    /// A row of the table in `EXPORT.md`.
    fn row(column: &Field) -> String {
        let kinds = field("kind").unwrap().names();
        let kinds = match column.kinds {
            all if all.len() == Kind::ALL.len() => "every event".to_owned(),
            some => some.iter().map(|kind| kinds[*kind as usize]).collect::<Vec<_>>().join(", "),
        };
        let of = match column.of {
            Type::Number => "UINT_64",
            Type::Address => "UINT_64, address",
            Type::Time => "INT64, ns",
            Type::Name => "STRING, name",
            Type::Text => "STRING",
            Type::Truth => "BOOLEAN",
            Type::Vcpus => "UINT_64, a bit a vCPU",
        };
        let parquet = column.name.replace(['.', '-'], "_");
        format!("| `{}` | `{parquet}` | {of} | {kinds} | {} |", column.name, column.documentation)
    }

    #[test]
    fn every_column_is_documented() {
        let expected: Vec<String> = every_field().into_iter().map(row).collect();
        let document = include_str!("../../EXPORT.md");
        let documented: Vec<&str> = document.lines().filter(|line| line.ends_with(". |")).collect();
        assert_eq!(documented, expected, "EXPORT.md should have\n{}", expected.join("\n"));
    }
}

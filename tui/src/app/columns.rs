//! The columns of the event list.

use trace_format::filter::{Candidate, Field, field, fields};

use super::App;

/// What an event says in words, which is no field: always what is left of the line.
const TEXT: &str = "event";
/// As it is if nobody has chosen.
const USUAL: [Column; 4] =
    [Column::Field("time"), Column::Field("vcpu"), Column::Field("kind"), Column::Text];

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The field of that name.
    Field(&'static str),
    /// What the event says.
    Text,
}

impl Column {
    fn parse(name: &str) -> Result<Self, String> {
        if name == TEXT {
            return Ok(Self::Text);
        }
        let known = field(name).ok_or_else(|| {
            format!("there is no column `{name}`: it is {TEXT}, or a field of 'vmscope help filter'")
        })?;
        Ok(Self::Field(known.name))
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Field(name) => name,
            Self::Text => TEXT,
        }
    }

    /// The field that it shows.
    #[must_use]
    pub fn field(self) -> Option<&'static Field> {
        match self {
            Self::Field(name) => field(name),
            Self::Text => None,
        }
    }
}

/// Columns, from left to right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns(Vec<Column>);

impl Default for Columns {
    fn default() -> Self {
        Self(USUAL.to_vec())
    }
}

impl Columns {
    /// These, by their names. None at all are the usual ones.
    ///
    /// # Errors
    /// If one is no field, or there twice.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut columns = Vec::new();
        for name in names {
            let column = Column::parse(name)?;
            if columns.contains(&column) {
                return Err(format!("the column `{name}` is there twice"));
            }
            columns.push(column);
        }
        Ok(if columns.is_empty() { Self::default() } else { Self(columns) })
    }

    /// Those named in `text`, with commas between them.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Self::of(text.split(',').map(str::trim).filter(|name| !name.is_empty()))
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Column> {
        self.0.iter().copied()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.iter().map(Column::name)
    }
}

impl App {
    /// The columns of the event list.
    #[must_use]
    pub const fn columns(&self) -> &Columns {
        &self.settings.look.columns
    }

    /// They, and what the list is sorted by.
    #[must_use]
    pub fn shown_columns(&self) -> Columns {
        let Columns(mut columns) = self.columns().clone();
        let sorted = self.sorted_by().map(|by| Column::Field(by.field));
        if let Some(sorted) = sorted.filter(|sorted| !columns.contains(sorted)) {
            let text = columns.iter().position(|column| *column == Column::Text);
            columns.insert(text.unwrap_or(columns.len()), sorted);
        }
        Columns(columns)
    }

    pub(super) fn set_columns(&mut self, columns: Columns) {
        self.settings.look.columns = columns;
    }

    /// Whether the event list has a line with the columns' names: where they are not the usual ones, or in an order.
    #[must_use]
    pub fn has_column_names(&self) -> bool {
        self.is_sorted() || *self.columns() != Columns::default()
    }
}

/// Names for the last of several columns.
pub(super) fn complete_columns(text: &str) -> Vec<Candidate> {
    let start = text.rfind(',').map_or(0, |comma| comma + 1);
    let (before, last) = text.split_at(start);
    let there: Vec<&str> = before.split(',').map(str::trim).collect();
    let last = last.trim();
    let words = [(TEXT, "what the event says, in words")].into_iter();
    let all = words.chain(fields().iter().map(|field| (field.name, field.documentation)));
    let mut found: Vec<_> =
        all.filter(|(name, _)| name.contains(last) && *name != last && !there.contains(name)).collect();
    found.sort_by_key(|(name, _)| !name.starts_with(last));
    let candidate = |(name, about): (&str, &str)| Candidate {
        text: name.to_owned(),
        about: about.to_owned(),
        replaces: start..text.len(),
    };
    found.into_iter().map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_fields_and_text() {
        let names = |text: &str| Columns::parse(text).map(|columns| columns.names().collect::<Vec<_>>());
        assert_eq!(names(" time , exit.reason,event"), Ok(vec!["time", "exit.reason", "event"]));
        assert_eq!(Columns::parse(""), Ok(Columns::default()));
        assert_eq!(names(&USUAL.map(Column::name).join(",")), Ok(USUAL.map(Column::name).to_vec()));
        assert!(field(TEXT).is_none(), "what it says is no field");
        assert!(names("time,tim").unwrap_err().contains("no column `tim`"));
        assert!(names("vcpu,vcpu").unwrap_err().contains("twice"));
    }

    #[test]
    fn the_last_name_is_completed() {
        let names = |text: &str| -> Vec<String> {
            complete_columns(text).into_iter().map(|candidate| candidate.text).collect()
        };
        assert_eq!(names("time,exit.rea"), ["exit.reason"]);
        assert!(names("latency,laten").is_empty(), "it is there already");
        assert_eq!(names("").len(), fields().len() + 1);
        assert_eq!(complete_columns("time,ev")[0].replaces, 5..7);
    }
}

//! The fields that a filter can ask for.

use super::Subject;
use std::borrow::Cow;

use super::table::TABLE;
use super::value::{Type, Value};
use crate::event::{Kind, VECTOR_SYSCALL, vector_name};

/// A field of events.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in filters, columns and exports. Names are kept.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub documentation: &'static str,
    /// What kind of values it has.
    pub of: Type,
    /// The kinds of events that may have it.
    pub kinds: &'static [Kind],
    /// Names that stand for values.
    pub(super) names: Names,
    pub(super) get: for<'a> fn(&Subject<'a>) -> Option<Value<'a>>,
}

/// Names that a field's values have, or may be given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Names {
    None,
    /// All that there are, of a field of names; and names for several of them.
    Choice(&'static [&'static str], &'static [(&'static str, &'static [&'static str])]),
    /// Some numbers.
    Numbers(&'static [(&'static str, u64)]),
    /// Exceptions and system calls.
    Vectors,
}

impl Field {
    /// The value in an event; `None` if the event does not have the field.
    #[must_use]
    pub fn value<'a>(&self, subject: &Subject<'a>) -> Option<Value<'a>> {
        (self.get)(subject)
    }

    /// The value in an event as text for tables: addresses in hexadecimal, times in ns, several vCPUs with blanks between
    /// them; empty if the event does not have the field. It may hold what a terminal obeys.
    #[must_use]
    pub fn cell<'a>(&self, subject: &Subject<'a>) -> Cow<'a, str> {
        self.value(subject).map_or(Cow::Borrowed(""), |value| self.show(value))
    }

    /// A value of the field as [`cell`](Self::cell) has it.
    pub(crate) fn show<'a>(&self, value: Value<'a>) -> Cow<'a, str> {
        match value {
            Value::Number(value) => match self.names {
                Names::Numbers([(name, number)]) if *number == value => Cow::Borrowed(*name),
                // Of text, the address of code that has no name.
                _ if matches!(self.of, Type::Address | Type::Text) => Cow::Owned(format!("{value:#x}")),
                _ => Cow::Owned(value.to_string()),
            },
            Value::Name(name) => Cow::Borrowed(name),
            Value::Text(text) => text,
            Value::Truth(value) => Cow::Borrowed(if value { "true" } else { "false" }),
            Value::Vcpus(vcpus) => {
                let vcpus = (0..16).filter(|vcpu| vcpus >> vcpu & 1 != 0);
                Cow::Owned(vcpus.map(|vcpu| vcpu.to_string()).collect::<Vec<_>>().join(" "))
            }
        }
    }

    /// Names that can be used instead of values.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        match self.names {
            Names::None => Vec::new(),
            Names::Choice(names, groups) => {
                let groups = groups.iter().map(|(group, _)| *group).filter(|group| !names.contains(group));
                names.iter().copied().chain(groups).collect()
            }
            Names::Numbers(names) => names.iter().map(|(name, _)| *name).collect(),
            Names::Vectors => (0..=VECTOR_SYSCALL).filter_map(vector_name).collect(),
        }
    }

    /// The number that `name` stands for.
    pub(super) fn number_of(&self, name: &str) -> Option<u64> {
        match self.names {
            Names::Numbers(names) => {
                names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
            }
            Names::Vectors => (0..=VECTOR_SYSCALL).find(|&n| vector_name(n) == Some(name)).map(u64::from),
            Names::None | Names::Choice(..) => None,
        }
    }

    /// The names that `name` stands for: itself, or those of its group.
    pub(super) fn names_of(&self, name: &str) -> Option<Vec<&'static str>> {
        let Names::Choice(names, groups) = self.names else { return None };
        if let Some((_, group)) = groups.iter().find(|(group, _)| *group == name) {
            return Some(group.to_vec());
        }
        names.iter().find(|known| **known == name).map(|name| vec![*name])
    }
}

/// Every field, in the order of the documentation.
#[must_use]
pub fn fields() -> &'static [Field] {
    TABLE
}

/// The field of that name.
#[must_use]
pub fn field(name: &str) -> Option<&'static Field> {
    TABLE.iter().find(|field| field.name == name)
}

//! Amounts: what many events come to.

use std::cmp::Ordering;
use std::fmt;

use crate::analysis::Durations;
use crate::describe::Span;
use crate::filter::{Field, Filter, Subject, Type, Value};

/// What is to be computed, over which events.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// As it was written.
    pub text: String,
    pub(super) function: Function,
    /// Of the functions that have one.
    pub(super) field: Option<&'static Field>,
    pub(super) filter: Filter,
}

/// What is done with the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Function {
    Count,
    Rate,
    Sum,
    Min,
    Max,
    Mean,
    /// From 0 to 1.
    Quantile(f64),
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "count" => Self::Count,
            "rate" => Self::Rate,
            "sum" => Self::Sum,
            "min" => Self::Min,
            "max" => Self::Max,
            "mean" => Self::Mean,
            _ => {
                let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
                (0.0..=100.0).contains(&percent).then_some(Self::Quantile(percent / 100.0))?
            }
        })
    }

    /// Whether it is about events, not a field's values.
    pub(super) const fn is_of_events(self) -> bool {
        matches!(self, Self::Count | Self::Rate)
    }
}

/// A number that came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// A whole number; ns of a time.
    Whole(u128),
    /// A mean or a rate.
    Real(f64),
}

impl Amount {
    /// As near as a float comes.
    #[must_use]
    pub fn value(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Real(value) => value,
        }
    }

    /// A float that may stand for a whole number.
    pub(crate) fn of(value: f64) -> Self {
        // All whole numbers that a float tells apart are below.
        let is_whole = value.fract() == 0.0 && (0.0..1e15).contains(&value);
        if is_whole { Self::Whole(value as u128) } else { Self::Real(value) }
    }

    /// In words, with the unit that [`Aggregate::unit`] tells: times in the one that fits.
    #[must_use]
    pub fn shown(self, unit: &str) -> String {
        match (self, unit) {
            (Self::Whole(ns), "ns") => Span(u64::try_from(ns).unwrap_or(u64::MAX)).to_string(),
            (Self::Real(ns), "ns") => Span(ns.round() as u64).to_string(),
            (amount, "1/s") => format!("{:.1} a second", amount.value()),
            (Self::Whole(value), _) => value.to_string(),
            (Self::Real(value), _) => format!("{value:.3}"),
        }
    }

    pub(super) fn compare(self, with: u64) -> Option<Ordering> {
        match self {
            Self::Whole(value) => Some(value.cmp(&with.into())),
            Self::Real(value) => value.partial_cmp(&(with as f64)),
        }
    }
}

impl Aggregate {
    /// What the amount is measured in: `ns`, `1/s`, or nothing.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match (self.function, self.field) {
            (Function::Rate, _) => "1/s",
            (_, Some(field)) if field.of == Type::Time => "ns",
            _ => "",
        }
    }

    /// The type of the values that it is compared with.
    pub(super) fn of(&self) -> Type {
        self.field.map_or(Type::Number, |field| field.of)
    }

    /// The value that an event adds, if it matches and has one.
    pub(super) fn value(&self, subject: &Subject<'_>) -> Option<u64> {
        if !self.filter.matches(subject) {
            return None;
        }
        match self.field?.value(subject)? {
            Value::Number(value) => Some(value),
            _ => None,
        }
    }
}

/// What an aggregate's events have come to so far.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) count: u64,
    /// Of functions of a field.
    values: Durations,
}

impl Sum {
    pub(super) fn add(&mut self, value: u64) {
        self.values.add(value);
    }

    /// What it comes to, in a trace of `duration_ns`. Nothing sums up to 0; of the rest there is none over no values.
    pub(super) fn amount(&self, function: Function, duration_ns: u64) -> Option<Amount> {
        let values = &self.values;
        let (min, max) = values.extremes().unzip();
        let whole = |value: Option<u64>| value.map(|value| Amount::Whole(value.into()));
        match function {
            Function::Count => Some(Amount::Whole(self.count.into())),
            Function::Rate => {
                (duration_ns > 0).then(|| Amount::Real(self.count as f64 * 1e9 / duration_ns as f64))
            }
            Function::Sum => Some(Amount::Whole(values.total_ns())),
            Function::Min => whole(min),
            Function::Max => whole(max),
            Function::Mean => min.map(|_| Amount::Real(values.total_ns() as f64 / values.count() as f64)),
            Function::Quantile(quantile) => whole(values.quantile(quantile)),
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

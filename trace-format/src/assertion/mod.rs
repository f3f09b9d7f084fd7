//! Claims about a trace, for tests of hypervisors and kernels.
//!
//! ```
//! use trace_format::assertion::{Assertion, check};
//! # use trace_format::{Event, Header, Payload, Reader, Writer, event::VcpuState};
//! # let mut writer = Writer::new(Vec::new(), &Header::default())?;
//! # writer.append(&Event { time: 0, vcpu: 0, payload: Payload::State(VcpuState::Halted) })?;
//! # let mut reader = Reader::from_bytes(writer.finish()?)?;
//! let claims = ["count(state == halted) == 1", "not max(latency) > 50us"].map(|text| Assertion::parse(text).unwrap());
//! let verdicts = check(&mut reader, &claims)?;
//! assert!(verdicts[0].holds);
//! // There is no latency in this trace, about which nothing can be claimed.
//! assert!(!verdicts[1].holds && verdicts[1].values[0].is_none());
//! # Ok::<(), trace_format::Error>(())
//! ```

mod aggregate;
mod check;
mod syntax;

use std::cmp::Ordering;
use std::str::FromStr;

pub use aggregate::{Aggregate, Amount};
pub(crate) use check::amounts;
pub use check::{Verdict, check};
pub(crate) use syntax::{WrittenAmount, compared, written_amount};

use crate::filter::FilterError;
use crate::filter::lexer::Operator;
use crate::filter::syntax::Tree;

/// The language, for `vmscope help assert`.
pub const DOCUMENTATION: &str = "\
An assertion compares an amount with a value: `count(exit.reason == mmio) < 1000`. Several are
joined by `and`, `or` and `not` and grouped by parentheses. Amounts are, over the events that
match FILTER (see 'vmscope help filter'):

  count(FILTER)                how many there are; count() is all events
  rate(FILTER)                 how many there are for each second of the trace
  sum(FIELD where FILTER)      the sum of a field; likewise min, max, mean
  p99(FIELD where FILTER)      a quantile, at most 0.1 % too high: p50, p90, p99.9, ...

`where FILTER` can be left out. Values are numbers or, for fields that are times, times with a
unit, compared by ==, !=, <, <=, > and >=. Where no event has FIELD the sum is 0, but there is no
min, max, mean or quantile, and an assertion that depends on it fails, whatever it says. What may
be missing is asked for:
`count(kind == ipi) == 0 or p99(latency where kind == ipi) < 50us`.

The events of an IPI are ipi-sent, ipi-accepted and ipi-eoi; the latter two have a latency, both
since it was sent: until the target was interrupted, and until it was done. `kind == ipi` is all.

Examples:
  count(exit.reason == mmio) < 1000
  p99(latency where kind == ipi) < 50us
  max(trap.duration where trap.vector == page-fault) < 1ms and count(kind == lost) == 0
";

/// A claim that has been understood.
#[derive(Clone, Debug)]
pub struct Assertion {
    text: String,
    tree: Tree<Comparison>,
}

/// An amount, and what it must be.
#[derive(Clone, Debug)]
struct Comparison {
    aggregate: Aggregate,
    operator: Operator,
    value: u64,
}

impl Assertion {
    /// Understands `text`.
    ///
    /// # Errors
    /// If it is no assertion: where, and what was expected there.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        Ok(Self { text: text.to_owned(), tree: syntax::parse(text)? })
    }

    /// As it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The amounts that it is about, in the order of the text.
    #[must_use]
    pub fn aggregates(&self) -> Vec<&Aggregate> {
        self.tree.leaves().into_iter().map(|comparison| &comparison.aggregate).collect()
    }

    /// Whether it holds of these amounts, which are those of [`Self::aggregates`]; false if that depends on one that is
    /// missing.
    fn holds(&self, amounts: &[Option<Amount>]) -> bool {
        let mut amounts = amounts.iter().copied();
        let mut is_true = |comparison: &Comparison| {
            let amount = amounts.next().flatten()?;
            amount.compare(comparison.value).map(|order| accepts(comparison.operator, order))
        };
        self.tree.decide(&mut is_true) == Some(true)
    }
}

impl FromStr for Assertion {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

/// Whether `operator` is true of what compares like this.
pub(crate) const fn accepts(operator: Operator, order: Ordering) -> bool {
    match operator {
        Operator::Equal => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
        // The grammar takes none of these.
        Operator::Matches | Operator::MatchesNot | Operator::In => false,
    }
}

#[cfg(test)]
mod tests;

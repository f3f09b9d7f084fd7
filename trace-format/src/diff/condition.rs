//! What makes a comparison of two traces fail.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use winnow::combinator::{alt, cut_err, peek};
use winnow::prelude::*;

use super::Diff;
use crate::assertion::{Aggregate, Amount, WrittenAmount, accepts, amounts, compared, written_amount};
use crate::describe::Escaped;
use crate::filter::error::suggestion;
use crate::filter::lexer::{Operator, Token, tokens};
use crate::filter::syntax::{
    Input, Literal, Tree, Word, all_of, connected, expected, literal, nested, token, word,
};
use crate::filter::{FilterError, MAX_LENGTH, Selection};
use crate::{Error, Reader};

/// The language, for `vmscope help diff`.
pub const DOCUMENTATION: &str = "\
A condition compares an amount of B with that of A: `count(exit.reason == mmio) > 105%` is true if B
has more than 105 % of the MMIO exits of A. Amounts are those of 'vmscope help assert'. `changed` is
true if anything has changed by more than the threshold and noise, `parted` if a vCPU did something
else. They are joined by `and`, `or` and `not`. What is missing in A or B is not compared.

Examples:
  changed or parted
  p99(latency where kind == ipi) > 110%
  count(exit.reason == mmio) != 100% and rate(kind == exit) > 102.5%
";

/// What `and` and `or` join.
const OPERAND: &str = "`changed`, `parted`, an amount such as `count(...)`, `not` or `(`";

/// A condition that has been understood.
#[derive(Clone, Debug)]
pub struct Condition {
    text: String,
    tree: Tree<Test>,
}

#[derive(Clone, Debug)]
enum Test {
    Changed,
    Parted,
    Amount { aggregate: Aggregate, operator: Operator, percent: f64 },
}

#[derive(Clone, Debug)]
enum Written {
    Word(Word),
    Amount(Box<WrittenAmount>, Operator, Literal),
}

/// Whether a condition is true.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// As it was given.
    pub condition: String,
    /// Whether it is; false if that depends on what is missing.
    pub is_true: bool,
    /// The amounts in it, in the order of the text.
    pub amounts: Vec<Compared>,
}

/// An amount in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The amount as it was written.
    pub amount: String,
    /// `ns`, `1/s` or nothing.
    pub unit: &'static str,
    /// Of the first run; none over no values.
    pub a: Option<f64>,
    /// Of the second.
    pub b: Option<f64>,
    /// The second in per cent of the first: 100 if both are nothing, and none if just the first is, or either is missing.
    pub percent: Option<f64>,
}

impl Condition {
    /// Understands `text`.
    ///
    /// # Errors
    /// If it is no condition: where, and what was expected there.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > MAX_LENGTH {
            let message = format!("a condition has at most {MAX_LENGTH} bytes; this one has {}", text.len());
            return Err(FilterError::new("", 0..0, message));
        }
        let tokens = tokens(text)?;
        let tree = all_of(text, &tokens, tests, OPERAND)?.try_map(&mut |written| test(text, written))?;
        Ok(Self { text: text.to_owned(), tree })
    }

    /// Whether it is true of two traces, of which `diff` tells the difference. What it is about besides is read once more.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn judge(
        &self,
        diff: &Diff,
        a: &mut Reader,
        b: &mut Reader,
        selection: &Selection,
    ) -> Result<Judgement, Error> {
        let aggregates: Vec<&Aggregate> =
            self.tree.leaves().into_iter().filter_map(Test::aggregate).collect();
        let (of_a, of_b) = match aggregates.is_empty() {
            true => (Vec::new(), Vec::new()),
            false => (amounts(a, &aggregates, selection)?, amounts(b, &aggregates, selection)?),
        };
        let pairs: Vec<(Option<f64>, Option<f64>)> =
            of_a.into_iter().zip(of_b).map(|(a, b)| (a.map(Amount::value), b.map(Amount::value))).collect();
        let mut left = pairs.iter();
        let mut is_true = |test: &Test| match test {
            Test::Changed => Some(diff.changed()),
            Test::Parted => Some(diff.parted()),
            Test::Amount { operator, percent, .. } => {
                let (a, b) = left.next().copied()?;
                let order = ratio(a?, b?).partial_cmp(percent)?;
                Some(accepts(*operator, order))
            }
        };
        let is_true = self.tree.decide(&mut is_true) == Some(true);
        let amounts = aggregates.iter().zip(&pairs).map(|(aggregate, &(a, b))| Compared {
            amount: aggregate.text.clone(),
            unit: aggregate.unit(),
            a,
            b,
            percent: a.zip(b).map(|(a, b)| ratio(a, b)).filter(|percent| percent.is_finite()),
        });
        Ok(Judgement { condition: self.text.clone(), is_true, amounts: amounts.collect() })
    }
}

/// What `b` is in per cent of `a`. What is nothing in both is the same.
fn ratio(a: f64, b: f64) -> f64 {
    match a.total_cmp(&b) {
        Ordering::Equal => 100.0,
        _ => b / a * 100.0,
    }
}

impl Test {
    const fn aggregate(&self) -> Option<&Aggregate> {
        match self {
            Self::Amount { aggregate, .. } => Some(aggregate),
            Self::Changed | Self::Parted => None,
        }
    }
}

fn tests(input: &mut Input<'_>) -> ModalResult<Tree<Written>> {
    connected(operand).parse_next(input)
}

fn operand(input: &mut Input<'_>) -> ModalResult<Tree<Written>> {
    let nested = |input: &mut Input<'_>| nested(input, tests);
    alt((nested, amount.map(Tree::Leaf), word.map(|word| Tree::Leaf(Written::Word(word)))))
        .context(expected(OPERAND))
        .parse_next(input)
}

fn amount(input: &mut Input<'_>) -> ModalResult<Written> {
    peek((word, token(Token::Open))).parse_next(input)?;
    let amount = written_amount.parse_next(input)?;
    let operator = compared(input)?;
    let percent = cut_err(literal).context(expected("a percentage, such as 105%")).parse_next(input)?;
    Ok(Written::Amount(Box::new(amount), operator, percent))
}

/// Looks up what the words mean.
fn test(text: &str, written: &Written) -> Result<Test, FilterError> {
    match written {
        Written::Word(word) => match word.text.as_str() {
            "changed" => Ok(Test::Changed),
            "parted" => Ok(Test::Parted),
            other => {
                let suggestion = suggestion(other, &["changed", "parted"]);
                let message = format!("`{other}` is no condition{suggestion}");
                Err(FilterError::new(text, word.at.clone(), message))
            }
        },
        Written::Amount(amount, operator, literal) => {
            let aggregate = amount.ready(text)?;
            let percent = percentage(literal).ok_or_else(|| {
                let message =
                    format!("`{aggregate}` of B is compared with a percentage of that of A, such as 105%");
                FilterError::new(text, literal.at.clone(), message)
            })?;
            Ok(Test::Amount { aggregate, operator: *operator, percent })
        }
    }
}

fn percentage(literal: &Literal) -> Option<f64> {
    let Token::Number(number) = &literal.token else { return None };
    let digits = number.strip_suffix('%')?.replace('_', "");
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { digits.parse().ok() } else { None }
}

impl FromStr for Condition {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = if self.is_true { "is true" } else { "is not true" };
        writeln!(f, "{} {answer}", Escaped(self.condition.as_bytes()))?;
        for Compared { amount, unit, a, b, percent } in &self.amounts {
            let shown = |value: &Option<f64>| match *value {
                None => "nothing".to_owned(),
                Some(value) => Amount::of(value).shown(unit),
            };
            let (a, b) = (shown(a), shown(b));
            write!(f, "  {} is {a} in A and {b} in B", Escaped(amount.as_bytes()))?;
            match percent {
                Some(percent) => writeln!(f, ": {percent:.1} %")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

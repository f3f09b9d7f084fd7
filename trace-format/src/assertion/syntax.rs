//! The grammar of assertions, around that of filters.

use std::ops::Range;

use winnow::combinator::{alt, cut_err, opt, preceded};
use winnow::prelude::*;
use winnow::token::any;

use super::Comparison;
use super::aggregate::{Aggregate, Function};
use crate::filter::check::{Rule, named, quantity, rule};
use crate::filter::error::suggestion;
use crate::filter::lexer::{Operator, Placed, Token, tokens};
use crate::filter::syntax::{
    Expression, Input, Literal, Tree, Word, all_of, any_expression, connected, expected, literal, nested,
    operator, token, word,
};
use crate::filter::table::kind_name;
use crate::filter::{Field, Filter, FilterError, MAX_LENGTH, Type};

/// An amount and what it is compared with, as written.
#[derive(Clone, Debug)]
struct Claim {
    amount: WrittenAmount,
    operator: Operator,
    value: Literal,
}

/// An amount as written.
#[derive(Clone, Debug)]
pub(crate) struct WrittenAmount {
    function: Word,
    field: Option<Word>,
    filter: Option<Expression>,
    /// Where it is in the text.
    at: Range<usize>,
}

/// What `and` and `or` join.
const OPERAND: &str = "an amount such as `count(...)`, `not` or `(`";

pub(super) fn parse(text: &str) -> Result<Tree<Comparison>, FilterError> {
    if text.len() > MAX_LENGTH {
        let message = format!("an assertion has at most {MAX_LENGTH} bytes; this one has {}", text.len());
        return Err(FilterError::new("", 0..0, message));
    }
    let tokens = tokens(text)?;
    let tree = all_of(text, &tokens, claims, OPERAND)?;
    tree.try_map(&mut |claim| comparison(text, claim))
}

fn claims(input: &mut Input<'_>) -> ModalResult<Tree<Claim>> {
    connected(operand).parse_next(input)
}

fn operand(input: &mut Input<'_>) -> ModalResult<Tree<Claim>> {
    let nested = |input: &mut Input<'_>| nested(input, claims);
    alt((nested, claim.map(Tree::Leaf))).context(expected(OPERAND)).parse_next(input)
}

fn claim(input: &mut Input<'_>) -> ModalResult<Claim> {
    let amount = written_amount.parse_next(input)?;
    let operator = compared(input)?;
    let value = cut_err(literal).context(expected("a value")).parse_next(input)?;
    Ok(Claim { amount, operator, value })
}

/// How an amount is compared.
pub(crate) fn compared(input: &mut Input<'_>) -> ModalResult<Operator> {
    let operator = operator.verify(is_comparison);
    cut_err(operator).context(expected("==, !=, <, <=, > or >=")).parse_next(input)
}

pub(crate) fn written_amount(input: &mut Input<'_>) -> ModalResult<WrittenAmount> {
    let function = word.parse_next(input)?;
    let (field, filter, end) = match Function::named(&function.text) {
        Some(function) if !function.is_of_events() => of_field.parse_next(input)?,
        // Whatever it is: that there is no such function is said later, where there is a place for it.
        _ => of_events.parse_next(input)?,
    };
    let at = function.at.start..end;
    Ok(WrittenAmount { function, field, filter, at })
}

const fn is_comparison(operator: &Operator) -> bool {
    !matches!(operator, Operator::Matches | Operator::MatchesNot | Operator::In)
}

type Arguments = (Option<Word>, Option<Expression>, usize);

/// `(FILTER)`
fn of_events(input: &mut Input<'_>) -> ModalResult<Arguments> {
    cut_err(token(Token::Open)).context(expected("`(` and a filter")).parse_next(input)?;
    let filter = opt(any_expression).parse_next(input)?;
    Ok((None, filter, close(input, "`)`, `and` or `or`")?))
}

/// `(FIELD where FILTER)`
fn of_field(input: &mut Input<'_>) -> ModalResult<Arguments> {
    cut_err(token(Token::Open)).context(expected("`(` and a field")).parse_next(input)?;
    let field = cut_err(word).context(expected("a field")).parse_next(input)?;
    let is_where = word.verify(|word: &Word| word.text == "where");
    let filter = opt(preceded(is_where, cut_err(any_expression))).parse_next(input)?;
    let next = if filter.is_some() { "`)`, `and` or `or`" } else { "`where` or `)`" };
    Ok((Some(field), filter, close(input, next)?))
}

/// The end of the parenthesis, in bytes; `next` is what can come here.
fn close(input: &mut Input<'_>, next: &'static str) -> ModalResult<usize> {
    let close =
        any.verify(|placed: &&Placed| placed.token == Token::Close).map(|placed: &Placed| placed.at.end);
    cut_err(close).context(expected(next)).parse_next(input)
}

fn comparison(text: &str, claim: &Claim) -> Result<Comparison, FilterError> {
    let Claim { amount, operator, value } = claim;
    let aggregate = amount.ready(text)?;
    let wrong = |why: String| {
        let message = format!("{why}; `{aggregate}` is compared with {}", aggregate.of().values());
        FilterError::new(text, value.at.clone(), message)
    };
    let number = match &value.token {
        Token::Number(number) => quantity(number, aggregate.of()).map_err(wrong)?,
        _ => return Err(wrong("this is no number".to_owned())),
    };
    Ok(Comparison { aggregate, operator: *operator, value: number })
}

impl WrittenAmount {
    /// Looks up what its words mean; it is a part of `text`.
    pub(crate) fn ready(&self, text: &str) -> Result<Aggregate, FilterError> {
        let Self { function: name, field, filter, at } = self;
        let function = Function::named(&name.text).ok_or_else(|| {
            let known = ["count", "rate", "sum", "min", "max", "mean", "p50", "p90", "p99", "p99.9"];
            let suggestion = suggestion(&name.text, &known);
            FilterError::new(text, name.at.clone(), format!("`{}` is no function{suggestion}", name.text))
        })?;
        let field = match field {
            None => None,
            Some(word) => Some((word, measurable(text, word)?)),
        };
        let rule = filter.as_ref().map_or(Ok(Rule::Everything), |filter| rule(text, filter))?;
        let shown = filter.as_ref().map(ToString::to_string).unwrap_or_default();
        let filter = Filter { text: shown, rule };
        if let Some((word, field)) = field
            && !filter.is_possible(field.kinds)
        {
            // Nothing could ever be said of it.
            let kinds = field.kinds.iter().map(|kind| kind_name(*kind));
            let message = format!("no event that matches has `{}`; {} have it", field.name, list(kinds));
            return Err(FilterError::new(text, word.at.clone(), message));
        }
        Ok(Aggregate {
            text: text.get(at.clone()).unwrap_or_default().to_owned(),
            function,
            field: field.map(|(_, field)| field),
            filter,
        })
    }
}

/// The field that `word` names, if numbers can be made of it.
fn measurable(text: &str, word: &Word) -> Result<&'static Field, FilterError> {
    let field = named(text, word)?;
    if !matches!(field.of, Type::Number | Type::Address | Type::Time) {
        let message = format!("`{}` has no numbers: its values are {}", field.name, field.of.values());
        return Err(FilterError::new(text, word.at.clone(), message));
    }
    Ok(field)
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

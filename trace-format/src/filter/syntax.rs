//! The grammar: tokens become a tree.

use std::fmt;
use std::ops::Range;

use winnow::combinator::{
    Infix, Prefix, alt, cut_err, delimited, expression, opt, peek, separated, separated_pair,
};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::stream::{Stateful, TokenSlice};
use winnow::token::any;

use super::MAX_LENGTH;
use super::check::is_unit;
use super::error::FilterError;
use super::lexer::{Operator, Placed, Token, tokens};

/// How deep parentheses and `not` may be nested: the parser calls itself for each, as does who walks through the tree.
const MAX_DEPTH: u32 = 64;

pub(crate) type Input<'i> = Stateful<TokenSlice<'i, Placed>, u32>;

/// What `and` and `or` join.
const OPERAND: &str = "a field, `not` or `(`";

/// Something that is joined by `and`, `or` and `not`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree<T> {
    Or(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Leaf(T),
}

/// A tree of tests.
pub(crate) type Expression = Tree<Test>;

/// A field, and what it is compared with; alone it is asked for by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) field: Word,
    pub(crate) comparison: Option<(Operator, Operand)>,
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    One(Literal),
    Range(Literal, Literal),
    Set(Vec<Operand>),
}

/// A word and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) at: Range<usize>,
}

/// A value as it is written.
#[derive(Clone, Debug)]
pub(crate) struct Literal {
    pub(crate) token: Token,
    pub(crate) at: Range<usize>,
}

impl<T> Tree<T> {
    /// What is joined, in the order of the text.
    pub(crate) fn leaves(&self) -> Vec<&T> {
        let mut found = Vec::new();
        self.collect(&mut found);
        found
    }

    fn collect<'t>(&'t self, found: &mut Vec<&'t T>) {
        match self {
            Self::And(left, right) | Self::Or(left, right) => {
                left.collect(found);
                right.collect(found);
            }
            Self::Not(of) => of.collect(found),
            Self::Leaf(leaf) => found.push(leaf),
        }
    }

    /// The same tree of what `make` makes of each leaf.
    pub(crate) fn try_map<U, E>(&self, make: &mut impl FnMut(&T) -> Result<U, E>) -> Result<Tree<U>, E> {
        Ok(match self {
            Self::Or(left, right) => Tree::Or(Box::new(left.try_map(make)?), Box::new(right.try_map(make)?)),
            Self::And(left, right) => {
                Tree::And(Box::new(left.try_map(make)?), Box::new(right.try_map(make)?))
            }
            Self::Not(of) => Tree::Not(Box::new(of.try_map(make)?)),
            Self::Leaf(leaf) => Tree::Leaf(make(leaf)?),
        })
    }

    /// Whether all of it is true, if `is_true` tells for each leaf, or may not know. It is asked about all of them, in their
    /// order. `and` and `or` know what they know: false and anything is false.
    pub(crate) fn decide(&self, is_true: &mut impl FnMut(&T) -> Option<bool>) -> Option<bool> {
        match self {
            Self::Leaf(leaf) => is_true(leaf),
            Self::Not(of) => of.decide(is_true).map(|truth| !truth),
            Self::And(left, right) => match (left.decide(is_true), right.decide(is_true)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(left, right) => match (left.decide(is_true), right.decide(is_true)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }
}

// Where something is written is not part of what it is.
impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Word {}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token
    }
}

impl Eq for Literal {}

/// The tree of `text`; none if there is nothing in it.
pub(crate) fn parse(text: &str) -> Result<Option<Expression>, FilterError> {
    if text.len() > MAX_LENGTH {
        let message = format!("a filter has at most {MAX_LENGTH} bytes; this one has {}", text.len());
        return Err(FilterError::new("", 0..0, message));
    }
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Ok(None);
    }
    all_of(text, &tokens, any_expression, OPERAND).map(Some)
}

/// What `parser` makes of all of `tokens`, which are those of `text`; `operand` is what it joins.
pub(crate) fn all_of<'i, T>(
    text: &str,
    tokens: &'i [Placed],
    mut parser: impl Parser<Input<'i>, T, ErrMode<ContextError>>,
    operand: &str,
) -> Result<T, FilterError> {
    let input = Stateful { input: TokenSlice::new(tokens), state: 0 };
    parser.parse(input).map_err(|error| {
        let at = tokens.get(error.offset()).map_or(text.len()..text.len(), |token| token.at.clone());
        FilterError::new(text, at, message(error.inner(), tokens, error.offset(), operand))
    })
}

/// What is wrong at token `at`, where the parser gave up.
fn message(error: &ContextError, tokens: &[Placed], at: usize, operand: &str) -> String {
    // The innermost comes first.
    let told = error.context().next().map(|context| match context {
        StrContext::Label(label) => (*label).to_owned(),
        StrContext::Expected(expected) => format!("expected {expected}"),
        other => other.to_string(),
    });
    let before = at.checked_sub(1).and_then(|before| tokens.get(before)).map(|placed| &placed.token);
    match (told, before, tokens.get(at).map(|placed| &placed.token)) {
        (Some(told), ..) => told,
        (None, _, None) | (None, None | Some(Token::Not | Token::And | Token::Or), _) => {
            format!("expected {operand}")
        }
        (None, Some(Token::Number(number)), Some(Token::Word(unit))) if is_unit(unit) => {
            format!("a unit follows its number without a space: {number}{unit}")
        }
        (None, ..) => "expected `and`, `or` or the end".to_owned(),
    }
}

pub(crate) const fn expected(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}

pub(crate) fn any_expression(input: &mut Input<'_>) -> ModalResult<Expression> {
    connected(operand).parse_next(input)
}

/// `and`, `or`, `not` and parentheses around `operand`, which must not accept a parenthesis itself.
pub(crate) fn connected<'i, T: Clone + 'i>(
    operand: impl Parser<Input<'i>, Tree<T>, ErrMode<ContextError>>,
) -> impl Parser<Input<'i>, Tree<T>, ErrMode<ContextError>> {
    expression(operand)
        .prefix(not.value(Prefix(3, |input: &mut Input<'i>, of| {
            input.state -= 1;
            Ok(Tree::Not(Box::new(of)))
        })))
        .infix(alt((
            token(Token::And).value(Infix::Left(2, |_: &mut Input<'i>, left, right| {
                Ok(Tree::And(Box::new(left), Box::new(right)))
            })),
            token(Token::Or).value(Infix::Left(1, |_: &mut Input<'i>, left, right| {
                Ok(Tree::Or(Box::new(left), Box::new(right)))
            })),
        )))
}

/// It is nested in this until what it is of has been read.
fn not(input: &mut Input<'_>) -> ModalResult<()> {
    token(Token::Not).parse_next(input)?;
    deeper(input)
}

fn deeper(input: &mut Input<'_>) -> ModalResult<()> {
    if input.state >= MAX_DEPTH {
        let mut error = ContextError::new();
        error.push(StrContext::Label("parentheses and `not` are nested too deep"));
        return Err(ErrMode::Cut(error));
    }
    input.state += 1;
    Ok(())
}

fn operand(input: &mut Input<'_>) -> ModalResult<Expression> {
    alt((parentheses, test)).context(expected(OPERAND)).parse_next(input)
}

fn parentheses(input: &mut Input<'_>) -> ModalResult<Expression> {
    nested(input, any_expression)
}

/// Parentheses around what `inside` accepts, as far as they are not nested too deep.
pub(crate) fn nested<'i, T>(
    input: &mut Input<'i>,
    inside: impl Parser<Input<'i>, T, ErrMode<ContextError>>,
) -> ModalResult<T> {
    token(Token::Open).parse_next(input)?;
    deeper(input)?;
    let inside = cut_err(inside).parse_next(input)?;
    input.state -= 1;
    cut_err(token(Token::Close)).context(expected("`)`, `and` or `or`")).parse_next(input)?;
    Ok(inside)
}

fn test(input: &mut Input<'_>) -> ModalResult<Expression> {
    let field = word.parse_next(input)?;
    let not_in = opt((token(Token::Not), peek(token(Token::Operator(Operator::In))))).parse_next(input)?;
    let comparison = opt(comparison).parse_next(input)?;
    let test = Tree::Leaf(Test { field, comparison });
    Ok(if not_in.is_some() { Tree::Not(Box::new(test)) } else { test })
}

fn comparison(input: &mut Input<'_>) -> ModalResult<(Operator, Operand)> {
    let operator = operator.parse_next(input)?;
    let operand = match operator {
        Operator::In => {
            cut_err(several).context(expected("a range `a..b` or a set `{a, b}`")).parse_next(input)?
        }
        _ => cut_err(literal).map(Operand::One).context(expected("a value")).parse_next(input)?,
    };
    Ok((operator, operand))
}

/// What `in` wants: a range or a set.
fn several(input: &mut Input<'_>) -> ModalResult<Operand> {
    let element = alt((range, literal.map(Operand::One)));
    let elements = separated(1.., element, token(Token::Comma));
    let set = delimited(
        token(Token::OpenSet),
        cut_err(elements).context(expected("a value")),
        cut_err(token(Token::CloseSet)).context(expected("`,` or `}`")),
    );
    alt((set.map(Operand::Set), range)).parse_next(input)
}

fn range(input: &mut Input<'_>) -> ModalResult<Operand> {
    separated_pair(literal, token(Token::To), cut_err(literal).context(expected("where the range ends")))
        .map(|(from, to)| Operand::Range(from, to))
        .parse_next(input)
}

pub(crate) fn literal(input: &mut Input<'_>) -> ModalResult<Literal> {
    any.verify_map(|placed: &Placed| {
        let literal = matches!(placed.token, Token::Word(_) | Token::Number(_) | Token::Text(_));
        literal.then(|| Literal { token: placed.token.clone(), at: placed.at.clone() })
    })
    .parse_next(input)
}

pub(crate) fn word(input: &mut Input<'_>) -> ModalResult<Word> {
    any.verify_map(|placed: &Placed| match &placed.token {
        Token::Word(text) => Some(Word { text: text.clone(), at: placed.at.clone() }),
        _ => None,
    })
    .parse_next(input)
}

pub(crate) fn operator(input: &mut Input<'_>) -> ModalResult<Operator> {
    any.verify_map(|placed: &Placed| match placed.token {
        Token::Operator(operator) => Some(operator),
        _ => None,
    })
    .parse_next(input)
}

pub(crate) fn token<'i>(wanted: Token) -> impl Parser<Input<'i>, (), ErrMode<ContextError>> {
    any.verify(move |placed: &&Placed| placed.token == wanted).void()
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Or(left, right) => write!(f, "({left} or {right})"),
            Self::And(left, right) => write!(f, "({left} and {right})"),
            Self::Not(of) => write!(f, "not {of}"),
            Self::Leaf(Test { field, comparison: None }) => f.write_str(&field.text),
            Self::Leaf(Test { field, comparison: Some((operator, operand)) }) => {
                write!(f, "{} {} {operand}", field.text, operator.sign())
            }
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(literal) => literal.fmt(f),
            Self::Range(from, to) => write!(f, "{from}..{to}"),
            Self::Set(elements) => {
                f.write_str("{")?;
                for (n, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if n == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.token {
            Token::Text(text) => write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Token::Word(text) | Token::Number(text) => f.write_str(text),
            _ => Ok(()),
        }
    }
}

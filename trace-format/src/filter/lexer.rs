//! Words, numbers and signs of a filter.

use std::ops::Range;

use winnow::ascii::{digit1, multispace0};
use winnow::combinator::{alt, delimited, opt, preceded, repeat, trace};
use winnow::error::ContextError;
use winnow::prelude::*;
use winnow::stream::LocatingSlice;
use winnow::token::{any, one_of, take_while};

use super::error::FilterError;

type Input<'i> = LocatingSlice<&'i str>;
type Parsed<T> = winnow::Result<T, ContextError>;

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    MatchesNot,
    In,
}

impl Operator {
    pub(crate) const ALL: [Self; 9] = [
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::Matches,
        Self::MatchesNot,
        Self::In,
    ];

    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Matches => "~",
            Self::MatchesNot => "!~",
            Self::In => "in",
        }
    }
}

/// The smallest parts of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A field or a name.
    Word(String),
    /// As it was written, with its unit.
    Number(String),
    Text(String),
    Operator(Operator),
    And,
    Or,
    Not,
    To,
    Comma,
    Open,
    Close,
    OpenSet,
    CloseSet,
}

/// A token and where it is, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) at: Range<usize>,
}

/// The tokens of `text`.
pub(crate) fn tokens(text: &str) -> Result<Vec<Placed>, FilterError> {
    let (tokens, rest) = tokens_until_error(text);
    match text.get(rest..).and_then(|rest| rest.chars().next()) {
        None => Ok(tokens),
        Some('"') => Err(FilterError::new(text, rest..text.len(), "the text that begins here does not end")),
        Some(odd) => {
            let at = rest..rest + odd.len_utf8();
            Err(FilterError::new(text, at, "this character means nothing here; put text into \"quotes\""))
        }
    }
}

/// The tokens of `text` as far as it has any, and where that is.
pub(crate) fn tokens_until_error(text: &str) -> (Vec<Placed>, usize) {
    let mut input = LocatingSlice::new(text);
    let token = token.with_span().map(|(token, at)| Placed { token, at });
    let mut tokens = repeat(0.., preceded(multispace0, token));
    // It does not fail: none is some, too.
    let tokens = Parser::<Input<'_>, Vec<Placed>, ContextError>::parse_next(&mut tokens, &mut input)
        .unwrap_or_default();
    // Of what is left, spaces as the parser knows them are nothing odd; others are.
    let rest = input.trim_start_matches([' ', '\t', '\r', '\n']).len();
    (tokens, text.len() - rest)
}

fn token(input: &mut Input<'_>) -> Parsed<Token> {
    trace("token", alt((sign, number, text, word))).parse_next(input)
}

/// Those that begin like others come after them.
fn sign(input: &mut Input<'_>) -> Parsed<Token> {
    alt([
        "==".value(Token::Operator(Operator::Equal)),
        "!=".value(Token::Operator(Operator::NotEqual)),
        "<=".value(Token::Operator(Operator::LessOrEqual)),
        ">=".value(Token::Operator(Operator::GreaterOrEqual)),
        "!~".value(Token::Operator(Operator::MatchesNot)),
        "=~".value(Token::Operator(Operator::Matches)),
        "&&".value(Token::And),
        "||".value(Token::Or),
        "..".value(Token::To),
        "=".value(Token::Operator(Operator::Equal)),
        "<".value(Token::Operator(Operator::Less)),
        ">".value(Token::Operator(Operator::Greater)),
        "~".value(Token::Operator(Operator::Matches)),
        "!".value(Token::Not),
        ",".value(Token::Comma),
        "(".value(Token::Open),
        ")".value(Token::Close),
        "{".value(Token::OpenSet),
        "}".value(Token::CloseSet),
    ])
    .parse_next(input)
}

/// Digits, perhaps a fraction, perhaps a unit or a per cent sign: what it means is found later, where there is a place to complain about.
fn number(input: &mut Input<'_>) -> Parsed<Token> {
    let digits = |input: &mut Input<'_>| {
        take_while(0.., |c: char| c.is_ascii_alphanumeric() || c == '_').void().parse_next(input)
    };
    let fraction = opt(('.', digit1, take_while(0.., |c: char| c.is_alphabetic())));
    (
        digit1,
        digits,
        fraction,
        opt(one_of(['\u{b5}', '\u{3bc}'])),
        take_while(0.., |c: char| c.is_ascii_alphabetic()),
        opt('%'),
    )
        .take()
        .map(|text: &str| Token::Number(text.to_owned()))
        .parse_next(input)
}

/// Text in quotes. A backslash makes a quote or a backslash part of it and is itself part of it before anything else, as in
/// regular expressions.
fn text(input: &mut Input<'_>) -> Parsed<Token> {
    let escaped = preceded('\\', one_of(['"', '\\']));
    let character = alt((escaped, any.verify(|c| *c != '"')));
    let content = repeat(0.., character).fold(String::new, |mut text, character| {
        text.push(character);
        text
    });
    delimited('"', content, '"').map(Token::Text).parse_next(input)
}

fn word(input: &mut Input<'_>) -> Parsed<Token> {
    // `p99.9` is one, too.
    let further = take_while(1.., |c: char| c.is_alphanumeric() || c == '_' || c == '-');
    let parts = (part, repeat::<_, _, (), _, _>(0.., preceded('.', further.void())));
    let parts = parts.take().map(|word: &str| match word {
        "and" => Token::And,
        "or" => Token::Or,
        "not" => Token::Not,
        "in" => Token::Operator(Operator::In),
        word => Token::Word(word.to_owned()),
    });
    trace("word", parts).parse_next(input)
}

fn part(input: &mut Input<'_>) -> Parsed<()> {
    let first = one_of(|c: char| c.is_alphabetic() || c == '_');
    let others = take_while(0.., |c: char| c.is_alphanumeric() || c == '_' || c == '-');
    (first, others).void().parse_next(input)
}

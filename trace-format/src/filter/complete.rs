//! What could come next in a filter that is being typed.

use std::ops::Range;

use super::field::{Field, field, fields};
use super::lexer::{Operator, Placed, Token, tokens_until_error};
use super::value::Type;

/// Something that could be typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What would be there.
    pub text: String,
    /// What it means, for a list; perhaps empty.
    pub about: String,
    /// What of the text it replaces, in bytes: the word at the cursor, or nothing.
    pub replaces: Range<usize>,
}

/// What can come at byte `cursor` of `text`, which is what has been typed so far: fields, operators, names of values. Those
/// that continue the word at the cursor come alone.
#[must_use]
pub fn complete(text: &str, cursor: usize) -> Vec<Candidate> {
    let before = text.get(..cursor).unwrap_or(text);
    let (mut tokens, rest) = tokens_until_error(before);
    if before.get(rest..).is_some_and(|odd| !odd.is_empty()) {
        return Vec::new(); // within a text, or behind something that is no filter
    }
    // The word that is being typed is not yet one, whatever it is so far.
    let typing = tokens.pop_if(|last| last.at.end == before.len() && is_word(before, last));
    let replaces = typing.map_or(before.len()..before.len(), |typing| typing.at);
    let prefix = before.get(replaces.clone()).unwrap_or_default();
    if prefix.is_empty() && tokens.last().is_some_and(|last| is_open_number(last, before)) {
        return Vec::new(); // it would become a part of the number
    }
    let mut found = expected(&tokens);
    found.retain(|(text, _)| text.starts_with(prefix));
    found
        .into_iter()
        .map(|(text, about)| Candidate { text, about: about.to_owned(), replaces: replaces.clone() })
        .collect()
}

/// Whether a token of `text` is written with letters.
fn is_word(text: &str, placed: &Placed) -> bool {
    let written = text.get(placed.at.clone()).unwrap_or_default();
    written.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Whether a number goes on with what follows `text`.
fn is_open_number(last: &Placed, text: &str) -> bool {
    last.at.end == text.len() && matches!(last.token, Token::Number(_))
}

/// What can follow these tokens.
fn expected(tokens: &[Placed]) -> Vec<(String, &'static str)> {
    let words: Vec<&Token> = tokens.iter().map(|placed| &placed.token).collect();
    match words.as_slice() {
        [.., Token::Word(name), Token::Operator(_)] => field(name).map(values).unwrap_or_default(),
        [.., Token::OpenSet | Token::Comma] => set_of(&words).map(values).unwrap_or_default(),
        [.., Token::Word(name), Token::Not] if field(name).is_some() => {
            vec![(Operator::In.sign().to_owned(), "")]
        }
        [] | [.., Token::And | Token::Or | Token::Not | Token::Open] => starts(),
        [.., Token::Operator(_), Token::Word(_) | Token::Number(_) | Token::Text(_)]
        | [.., Token::Close | Token::CloseSet]
        | [.., Token::To, Token::Word(_) | Token::Number(_)] => connectors(),
        [.., Token::Word(name)] => match field(name) {
            Some(field) if set_of(&words).is_none() => [operators(field), connectors()].concat(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The field whose set of values is open.
fn set_of(words: &[&Token]) -> Option<&'static Field> {
    let open = words.iter().rposition(|token| **token == Token::OpenSet)?;
    if words.get(open..)?.iter().any(|token| **token == Token::CloseSet) {
        return None;
    }
    match words.get(..open)? {
        [.., Token::Word(name), Token::Operator(Operator::In)]
        | [.., Token::Word(name), Token::Not, Token::Operator(Operator::In)] => field(name),
        _ => None,
    }
}

fn starts() -> Vec<(String, &'static str)> {
    let fields = fields().iter().map(|field| (field.name.to_owned(), field.documentation));
    fields.chain([("not".to_owned(), "the opposite")]).collect()
}

fn connectors() -> Vec<(String, &'static str)> {
    vec![("and".to_owned(), "both"), ("or".to_owned(), "either")]
}

fn operators(field: &Field) -> Vec<(String, &'static str)> {
    let fits = |operator: &Operator| match operator {
        Operator::Equal | Operator::NotEqual => true,
        Operator::In => field.of != Type::Truth,
        Operator::Matches | Operator::MatchesNot => matches!(field.of, Type::Name | Type::Text),
        _ => field.of.is_numeric(),
    };
    let operators = Operator::ALL.into_iter().filter(fits).map(Operator::sign);
    let not_in = fits(&Operator::In).then_some("not in");
    operators.chain(not_in).map(|operator| (operator.to_owned(), "")).collect()
}

fn values(field: &'static Field) -> Vec<(String, &'static str)> {
    let truths = if field.of == Type::Truth { ["true", "false"].as_slice() } else { &[] };
    let names = field.names().into_iter().chain(truths.iter().copied());
    names.map(|name| (name.to_owned(), "")).collect()
}

//! From the tree to something that is quickly asked: fields and values are looked up once.

use std::ops::RangeInclusive;

use regex::{Regex, RegexBuilder};

use super::Subject;
use super::error::{FilterError, suggestion};
use super::field::{Field, field, fields};
use super::lexer::{Operator, Token};
use super::syntax::{Expression, Literal, Operand, Test, Tree, Word};
use super::value::{Type, Value};

/// How large a regular expression may become, in bytes.
const REGEX_LIMIT: usize = 1 << 20;

/// A tree whose tests are ready.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    Everything,
    Or(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Test(&'static Field, Check),
}

/// What a field's value must be.
#[derive(Clone, Debug)]
pub(crate) enum Check {
    /// There.
    Present,
    /// Within one of these.
    Ranges(Vec<RangeInclusive<u64>>),
    /// Several, of which none is within one of these.
    Without(Vec<RangeInclusive<u64>>),
    /// One of these names, or none of them.
    Names {
        names: Vec<&'static str>,
        negate: bool,
    },
    /// One of these texts, or none of them.
    Texts {
        texts: Vec<String>,
        negate: bool,
    },
    Matches {
        pattern: Regex,
        negate: bool,
    },
    Truth(bool),
}

impl Rule {
    pub(crate) fn matches(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Everything => true,
            Self::Or(left, right) => left.matches(subject) || right.matches(subject),
            Self::And(left, right) => left.matches(subject) && right.matches(subject),
            Self::Not(of) => !of.matches(subject),
            Self::Test(field, check) => field.value(subject).is_some_and(|value| check.accepts(&value)),
        }
    }
}

impl Check {
    fn accepts(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Present, Value::Truth(value)) => *value,
            (Self::Present, _) => true,
            (Self::Ranges(ranges), Value::Number(value)) => contains(ranges, *value),
            (Self::Ranges(ranges), Value::Vcpus(vcpus)) => has(*vcpus, ranges),
            (Self::Without(ranges), Value::Vcpus(vcpus)) => !has(*vcpus, ranges),
            (Self::Names { names, negate }, Value::Name(value)) => names.contains(value) != *negate,
            (Self::Texts { texts, negate }, Value::Text(value)) => {
                texts.iter().any(|text| text == value) != *negate
            }
            (Self::Matches { pattern, negate }, Value::Text(value)) => pattern.is_match(value) != *negate,
            (Self::Matches { pattern, negate }, Value::Name(value)) => pattern.is_match(value) != *negate,
            (Self::Truth(wanted), Value::Truth(value)) => value == wanted,
            // The table's fields have values of their types; a check is made for the type.
            _ => false,
        }
    }
}

fn has(vcpus: u16, ranges: &[RangeInclusive<u64>]) -> bool {
    (0..16).any(|vcpu| vcpus >> vcpu & 1 != 0 && contains(ranges, vcpu))
}

pub(crate) fn contains(ranges: &[RangeInclusive<u64>], value: u64) -> bool {
    ranges.iter().any(|range| range.contains(&value))
}

/// Makes a tree of `text` ready.
pub(crate) fn rule(text: &str, expression: &Expression) -> Result<Rule, FilterError> {
    Ok(match expression {
        Tree::Or(left, right) => Rule::Or(Box::new(rule(text, left)?), Box::new(rule(text, right)?)),
        Tree::And(left, right) => Rule::And(Box::new(rule(text, left)?), Box::new(rule(text, right)?)),
        Tree::Not(of) => Rule::Not(Box::new(rule(text, of)?)),
        Tree::Leaf(Test { field: name, comparison }) => {
            let field = named(text, name)?;
            let check = match comparison {
                None => Check::Present,
                Some((operator, operand)) => Checker { text, field }.check(*operator, operand)?,
            };
            Rule::Test(field, check)
        }
    })
}

/// The field that a word of `text` names.
pub(crate) fn named(text: &str, name: &Word) -> Result<&'static Field, FilterError> {
    field(&name.text).ok_or_else(|| {
        let known: Vec<&str> = fields().iter().map(|field| field.name).collect();
        let suggestion = suggestion(&name.text, &known);
        FilterError::new(text, name.at.clone(), format!("`{}` is no field{suggestion}", name.text))
    })
}

/// Makes the test of one field ready.
struct Checker<'t> {
    text: &'t str,
    field: &'static Field,
}

impl Checker<'_> {
    fn check(&self, operator: Operator, operand: &Operand) -> Result<Check, FilterError> {
        match self.field.of {
            // `!=` of several is that none is equal, not that one is another.
            Type::Vcpus if operator == Operator::NotEqual => {
                self.ranges(Operator::Equal, operand).map(Check::Without)
            }
            of if of.is_numeric() => self.ranges(operator, operand).map(Check::Ranges),
            Type::Truth => self.truth(operator, operand),
            of => self.words(of, operator, operand),
        }
    }

    fn ranges(&self, operator: Operator, operand: &Operand) -> Result<Vec<RangeInclusive<u64>>, FilterError> {
        let value = match operand {
            Operand::One(literal) => self.number(literal)?,
            Operand::Range(from, to) => return Ok(vec![self.range(from, to)?]),
            Operand::Set(elements) => {
                let parts = elements.iter().map(|element| self.ranges(Operator::Equal, element));
                return Ok(parts.collect::<Result<Vec<_>, _>>()?.concat());
            }
        };
        Ok(match operator {
            Operator::Equal | Operator::In => vec![value..=value],
            Operator::NotEqual => [below(value), above(value)].concat(),
            Operator::Less => below(value),
            Operator::LessOrEqual => vec![0..=value],
            Operator::Greater => above(value),
            Operator::GreaterOrEqual => vec![value..=u64::MAX],
            Operator::Matches | Operator::MatchesNot => return Err(self.wrong(operand)),
        })
    }

    fn range(&self, from: &Literal, to: &Literal) -> Result<RangeInclusive<u64>, FilterError> {
        let range = self.number(from)?..=self.number(to)?;
        if range.is_empty() {
            let at = from.at.start..to.at.end;
            return Err(FilterError::new(self.text, at, "this range ends before it begins"));
        }
        Ok(range)
    }

    fn truth(&self, operator: Operator, operand: &Operand) -> Result<Check, FilterError> {
        let value = match operand {
            Operand::One(Literal { token: Token::Word(word), .. }) => match word.as_str() {
                "true" => true,
                "false" => false,
                _ => return Err(self.wrong(operand)),
            },
            _ => return Err(self.wrong(operand)),
        };
        match operator {
            Operator::Equal => Ok(Check::Truth(value)),
            Operator::NotEqual => Ok(Check::Truth(!value)),
            _ => Err(self.wrong(operand)),
        }
    }

    fn words(&self, of: Type, operator: Operator, operand: &Operand) -> Result<Check, FilterError> {
        let negate = matches!(operator, Operator::NotEqual | Operator::MatchesNot);
        match operator {
            Operator::Equal | Operator::NotEqual | Operator::In if of == Type::Name => {
                let mut names = Vec::new();
                for literal in self.elements(operand)? {
                    names.extend(self.name(literal)?);
                }
                Ok(Check::Names { names, negate })
            }
            Operator::Equal | Operator::NotEqual | Operator::In => {
                let elements = self.elements(operand)?;
                let texts =
                    elements.into_iter().map(|literal| self.word(literal)).collect::<Result<_, _>>()?;
                Ok(Check::Texts { texts, negate })
            }
            Operator::Matches | Operator::MatchesNot => {
                let Operand::One(literal) = operand else { return Err(self.wrong(operand)) };
                let pattern = self.pattern(literal)?;
                Ok(Check::Matches { pattern, negate })
            }
            _ => Err(self.wrong(operand)),
        }
    }

    /// The single values of an operand; a range of words means nothing.
    fn elements<'o>(&self, operand: &'o Operand) -> Result<Vec<&'o Literal>, FilterError> {
        match operand {
            Operand::One(literal) => Ok(vec![literal]),
            Operand::Range(..) => Err(self.wrong(operand)),
            Operand::Set(elements) => {
                let parts = elements.iter().map(|element| self.elements(element));
                Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
            }
        }
    }

    fn word(&self, literal: &Literal) -> Result<String, FilterError> {
        match &literal.token {
            Token::Word(text) | Token::Text(text) => Ok(text.clone()),
            _ => Err(self.expected(literal, "")),
        }
    }

    fn name(&self, literal: &Literal) -> Result<Vec<&'static str>, FilterError> {
        let name = self.word(literal)?;
        self.field.names_of(&name).ok_or_else(|| {
            let suggestion = suggestion(&name, &self.field.names());
            let message = format!("`{name}` is no value of `{}`{suggestion}", self.field.name);
            FilterError::new(self.text, literal.at.clone(), message)
        })
    }

    fn pattern(&self, literal: &Literal) -> Result<Regex, FilterError> {
        let pattern = self.word(literal)?;
        let built = RegexBuilder::new(&pattern).size_limit(REGEX_LIMIT).dfa_size_limit(REGEX_LIMIT).build();
        built.map_err(|error| {
            // The last line of a syntax error says what is wrong; those before show where, which is shown here anyway.
            let error = error.to_string();
            let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            FilterError::new(self.text, literal.at.clone(), format!("not a regular expression: {what}"))
        })
    }

    /// The number that a literal means for this field.
    fn number(&self, literal: &Literal) -> Result<u64, FilterError> {
        match &literal.token {
            Token::Number(text) => quantity(text, self.field.of).map_err(|why| {
                let message =
                    format!("{why}; `{}` is compared with {}", self.field.name, self.field.of.values());
                FilterError::new(self.text, literal.at.clone(), message)
            }),
            Token::Word(word) => self
                .field
                .number_of(word)
                .ok_or_else(|| self.expected(literal, &suggestion(word, &self.field.names()))),
            _ => Err(self.expected(literal, "")),
        }
    }

    fn expected(&self, literal: &Literal, suggestion: &str) -> FilterError {
        let message =
            format!("`{}` is compared with {}{suggestion}", self.field.name, self.field.of.values());
        FilterError::new(self.text, literal.at.clone(), message)
    }

    /// An operator or operand that does not fit the field.
    fn wrong(&self, operand: &Operand) -> FilterError {
        let at = match operand {
            Operand::One(literal) | Operand::Range(literal, _) => literal.at.clone(),
            Operand::Set(elements) => match elements.first() {
                Some(first) => return self.wrong(first),
                None => 0..0,
            },
        };
        let Field { name, of, .. } = self.field;
        let operators = match of {
            Type::Truth => {
                let message =
                    format!("`{name}` is true or false: it stands alone, or is compared by == or !=");
                return FilterError::new(self.text, at, message);
            }
            Type::Name | Type::Text => "==, !=, in {...}, ~ and !~",
            _ => "==, !=, <, <=, >, >= and in",
        };
        let message = format!("`{name}` is compared by {operators}, with {}", of.values());
        FilterError::new(self.text, at, message)
    }
}

fn below(value: u64) -> Vec<RangeInclusive<u64>> {
    value.checked_sub(1).map(|last| 0..=last).into_iter().collect()
}

fn above(value: u64) -> Vec<RangeInclusive<u64>> {
    value.checked_add(1).map(|first| first..=u64::MAX).into_iter().collect()
}

/// Units: a name, what it multiplies by, and whether it is one of time.
const UNITS: [(&str, u64, bool); 17] = [
    ("ns", 1, true),
    ("us", 1_000, true),
    // There are two of this letter: the sign, and the Greek one.
    ("\u{b5}s", 1_000, true),
    ("\u{3bc}s", 1_000, true),
    ("ms", 1_000_000, true),
    ("s", 1_000_000_000, true),
    ("min", 60_000_000_000, true),
    ("K", 1_000, false),
    ("k", 1_000, false),
    ("M", 1_000_000, false),
    ("G", 1_000_000_000, false),
    ("Ki", 1 << 10, false),
    ("KiB", 1 << 10, false),
    ("Mi", 1 << 20, false),
    ("MiB", 1 << 20, false),
    ("Gi", 1 << 30, false),
    ("GiB", 1 << 30, false),
];

pub(crate) fn is_unit(name: &str) -> bool {
    UNITS.iter().any(|(known, ..)| *known == name)
}

/// What a number with its unit means where something of type `of` is wanted: a time's is ns, and ns without a unit.
pub(crate) fn quantity(text: &str, of: Type) -> Result<u64, String> {
    let plain = text.replace('_', "");
    if let Some(digits) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16)
            .map_err(|_| format!("`{text}` is no hexadecimal number of 64 bits"));
    }
    let unit_at = plain.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(plain.len());
    let (digits, unit) = plain.split_at(unit_at);
    let factor = match unit {
        "" => 1,
        unit => match UNITS.iter().find(|(known, ..)| *known == unit) {
            Some((_, factor, is_time)) if *is_time == (of == Type::Time) => *factor,
            Some((.., true)) => return Err(format!("`{unit}` is a unit of time")),
            Some(_) => return Err(format!("`{unit}` is no unit of time")),
            None => {
                let known: Vec<&str> = UNITS.iter().map(|(known, ..)| *known).collect();
                return Err(format!("`{unit}` is no unit{}", suggestion(unit, &known)));
            }
        },
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let too_large = || format!("`{text}` is more than 64 bits hold");
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let mut value = whole.checked_mul(factor).ok_or_else(too_large)?;
    // Of a fraction as much counts as there are whole ns, or whatever it is.
    let (mut part, mut of) = (0_u128, 1_u128);
    // More digits than 64 bits have decide nothing.
    for digit in fraction.bytes().take(19) {
        (part, of) = (part * 10 + u128::from(digit - b'0'), of * 10);
    }
    if factor == 1 && fraction.bytes().any(|digit| digit != b'0') {
        return Err(format!("`{text}` is no whole number"));
    }
    let part = u64::try_from(part * u128::from(factor) / of).map_err(|_| too_large())?;
    value = value.checked_add(part).ok_or_else(too_large)?;
    Ok(value)
}

//! Arithmetic on registers: exact integer arithmetic on significands, rounded once.

use std::cmp::Ordering;

use super::exception::{DENORMAL, INVALID, ZERO_DIVIDE};
use super::extended::{self, Extended, Number, Value, no_number};
use super::round::{Cut, Exact, Format, Magnitude, Rounding, round};

/// An operation of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// What an operation takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) value: Extended,
    /// It is denormal, perhaps in the format that it had in memory.
    pub(super) denormal: bool,
}

impl From<Extended> for Operand {
    fn from(value: Extended) -> Self {
        Self { value, denormal: value.is_denormal() }
    }
}

impl Operand {
    /// What loading it into a register gives: a signaling NaN becomes quiet.
    pub(super) fn loaded(self) -> Outcome {
        no_number(self.value, self.value).map_or_else(
            || Outcome::new(self.value, if self.denormal { DENORMAL } else { 0 }),
            |(value, raised)| Outcome::new(value, raised),
        )
    }
}

/// A result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome<T = Extended> {
    pub(super) value: T,
    /// Exceptions.
    pub(super) raised: u16,
    /// It was rounded up, in magnitude.
    pub(super) up: bool,
}

impl<T> Outcome<T> {
    pub(super) const fn new(value: T, raised: u16) -> Self {
        Self { value, raised, up: false }
    }
}

/// `a` and `b` as the control word wants it.
pub(super) fn operate(operation: Operation, a: Operand, b: Operand, control: u16) -> Outcome {
    if let Some((value, raised)) = no_number(a.value, b.value) {
        return Outcome::new(value, raised);
    }
    let outcome = match operation {
        Operation::Add => add(a.value, b.value, control),
        Operation::Subtract => add(a.value, b.value.with_sign(!b.value.is_negative()), control),
        Operation::Multiply => multiply(a.value, b.value, control),
        Operation::Divide => divide(a.value, b.value, control),
    };
    // What is found without looking at the digits comes first (SDM vol. 1, 4.9.2).
    let first = outcome.raised & (INVALID | ZERO_DIVIDE) != 0;
    let denormal = if (a.denormal || b.denormal) && !first { DENORMAL } else { 0 };
    Outcome { raised: outcome.raised | denormal, ..outcome }
}

fn add(a: Extended, b: Extended, control: u16) -> Outcome {
    let (negative, other) = (a.is_negative(), b.is_negative());
    match (a.value(), b.value()) {
        (Value::Infinity, Value::Infinity) if negative != other => {
            Outcome::new(Extended::INDEFINITE, INVALID)
        }
        (Value::Infinity, _) => Outcome::new(a, 0),
        (_, Value::Infinity) => Outcome::new(b, 0),
        (Value::Finite(x), Value::Finite(y)) => {
            let (high, low, negative, other) =
                if x.exponent >= y.exponent { (x, y, negative, other) } else { (y, x, other, negative) };
            // A bit is left for the carry, and 63 for what is shifted out.
            let one = u128::from(high.significand) << 63;
            let two = shift_right(u128::from(low.significand) << 63, high.exponent.abs_diff(low.exponent));
            let (negative, sum) = if negative == other {
                (negative, one + two)
            } else if one >= two {
                (negative, one - two)
            } else {
                (other, two - one)
            };
            if sum == 0 {
                return Outcome::new(nothing(control), 0);
            }
            rounded(Exact::normalized(negative, high.exponent + 1, sum), control)
        }
        (Value::Finite(x), _) => rounded(whole(negative, x), control),
        (_, Value::Finite(y)) => rounded(whole(other, y), control),
        _ if negative == other => Outcome::new(a, 0),
        _ => Outcome::new(nothing(control), 0),
    }
}

/// The zero that two numbers leave whose sum it is: negative only if everything is rounded down.
fn nothing(control: u16) -> Extended {
    Extended::zero(Rounding::of(control) == Rounding::Down)
}

fn multiply(a: Extended, b: Extended, control: u16) -> Outcome {
    let negative = a.is_negative() != b.is_negative();
    match (a.value(), b.value()) {
        (Value::Infinity, Value::Zero) | (Value::Zero, Value::Infinity) => {
            Outcome::new(Extended::INDEFINITE, INVALID)
        }
        (Value::Infinity, _) | (_, Value::Infinity) => Outcome::new(Extended::infinity(negative), 0),
        (Value::Finite(x), Value::Finite(y)) => {
            let product = u128::from(x.significand) * u128::from(y.significand);
            rounded(Exact::normalized(negative, x.exponent + y.exponent + 1, product), control)
        }
        _ => Outcome::new(Extended::zero(negative), 0),
    }
}

fn divide(a: Extended, b: Extended, control: u16) -> Outcome {
    let negative = a.is_negative() != b.is_negative();
    match (a.value(), b.value()) {
        (Value::Infinity, Value::Infinity) | (Value::Zero, Value::Zero) => {
            Outcome::new(Extended::INDEFINITE, INVALID)
        }
        (Value::Infinity, _) => Outcome::new(Extended::infinity(negative), 0),
        (_, Value::Zero) => Outcome::new(Extended::infinity(negative), ZERO_DIVIDE),
        (Value::Finite(x), Value::Finite(y)) => {
            let divisor = u128::from(y.significand);
            let dividend = u128::from(x.significand) << 63;
            let (high, rest) = (dividend / divisor, dividend % divisor);
            let (low, rest) = ((rest << 64) / divisor, (rest << 64) % divisor);
            let quotient = high << 64 | low | u128::from(rest != 0);
            rounded(Exact::normalized(negative, x.exponent - y.exponent, quotient), control)
        }
        _ => Outcome::new(Extended::zero(negative), 0),
    }
}

/// The square root.
pub(super) fn square_root(a: Extended, control: u16) -> Outcome {
    if let Some((value, raised)) = no_number(a, a) {
        return Outcome::new(value, raised);
    }
    match a.value() {
        Value::Zero => Outcome::new(a, 0),
        _ if a.is_negative() => Outcome::new(Extended::INDEFINITE, INVALID),
        Value::Finite(x) => {
            // An even exponent can be halved.
            let odd = x.exponent & 1;
            let radicand = u128::from(x.significand) << (63 + odd);
            let root = radicand.isqrt();
            let rest = radicand - root * root;
            // More than half a unit is left if the rest is larger than the root; it is never just half.
            let below = u128::from(rest > root) << 63 | u128::from(rest != 0);
            let exact = Exact::normalized(false, (x.exponent - odd) / 2, root << 64 | below);
            let outcome = rounded(exact, control);
            let denormal = if a.is_denormal() { DENORMAL } else { 0 };
            Outcome { raised: outcome.raised | denormal, ..outcome }
        }
        _ => Outcome::new(a, 0),
    }
}

/// Rounds to an integer.
pub(super) fn round_to_integer(a: Extended, control: u16) -> Outcome {
    if let Some((value, raised)) = no_number(a, a) {
        return Outcome::new(value, raised);
    }
    let Value::Finite(number) = a.value() else { return Outcome::new(a, 0) };
    let denormal = if a.is_denormal() { DENORMAL } else { 0 };
    if number.exponent >= 63 {
        return Outcome::new(a, denormal);
    }
    let cut = integer_part(a.is_negative(), number, Rounding::of(control));
    let value = match cut.kept as u64 {
        0 => Extended::zero(a.is_negative()),
        integer => {
            let shift = integer.leading_zeros();
            Extended::finite(a.is_negative(), 63 - shift as i32, integer << shift)
        }
    };
    Outcome { value, raised: denormal | cut.raised(), up: cut.up }
}

/// The magnitude of a number, less than 2^64, as an integer.
pub(super) fn integer_part(negative: bool, number: Number, mode: Rounding) -> Cut {
    Cut::new(u128::from(number.significand) << 64, number.exponent + 1, mode, negative)
}

/// How `a` compares to `b`: `None` if one is a NaN, which is invalid if it is signaling, or if `quiet` is not set.
pub(super) fn compare(a: Operand, b: Operand, quiet: bool) -> Outcome<Option<Ordering>> {
    if let Some((_, raised)) = no_number(a.value, b.value) {
        return Outcome::new(None, if quiet { raised } else { INVALID });
    }
    let denormal = if a.denormal || b.denormal { DENORMAL } else { 0 };
    let magnitude = |x: Extended| match x.value() {
        Value::Infinity => (i32::MAX, 0),
        Value::Finite(number) => (number.exponent, number.significand),
        _ => (i32::MIN, 0),
    };
    let (one, two) = (magnitude(a.value), magnitude(b.value));
    let zeros = one.0 == i32::MIN && two.0 == i32::MIN;
    let order = match (a.value.is_negative(), b.value.is_negative()) {
        _ if zeros => Ordering::Equal,
        (false, false) => one.cmp(&two),
        (true, true) => two.cmp(&one),
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
    };
    Outcome::new(Some(order), denormal)
}

/// `number`, before it is rounded.
pub(super) fn whole(negative: bool, number: Number) -> Exact {
    Exact { negative, exponent: number.exponent, significand: u128::from(number.significand) << 64 }
}

/// Rounds to a register, to the precision that the control word wants (SDM vol. 1, 8.1.5.2).
fn rounded(exact: Exact, control: u16) -> Outcome {
    let precision = match control >> 8 & 3 {
        0 => 24,
        2 => 53,
        _ => 64,
    };
    let format = Format { precision, least: extended::LEAST, greatest: extended::GREATEST };
    let result = round(exact, format, control);
    let value = match result.magnitude {
        Magnitude::Infinity => Extended::infinity(exact.negative),
        Magnitude::Finite { exponent, significand } => {
            Extended::finite(exact.negative, exponent, significand << (64 - precision))
        }
    };
    Outcome { value, raised: result.raised, up: result.up }
}

/// Shifts right; the lowest bit says whether anything was lost.
fn shift_right(value: u128, by: u32) -> u128 {
    match value.checked_shr(by) {
        Some(shifted) => shifted | u128::from(shifted << by != value),
        None => u128::from(value != 0),
    }
}

#[cfg(test)]
mod tests;

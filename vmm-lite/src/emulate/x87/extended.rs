//! The double extended-precision format (SDM vol. 1, 4.2.2 and 8.2), in which x87 keeps everything.

use super::exception::INVALID;

const EXPONENT: u16 = 0x7fff;
const SIGN: u16 = 0x8000;
const BIAS: i32 = 16383;
/// The bit left of the binary point, which the other formats do not have.
const INTEGER: u64 = 1 << 63;
/// What tells a quiet NaN from a signaling one.
const QUIET: u64 = 1 << 62;
/// The least exponent of a normal number.
pub(super) const LEAST: i32 = 1 - BIAS;
/// The greatest exponent of a number.
pub(super) const GREATEST: i32 = BIAS;

/// A register's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) significand: u64,
    pub(super) sign_exponent: u16,
}

/// What kind of value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Zero,
    Finite(Number),
    Infinity,
    Nan {
        signaling: bool,
    },
    /// An encoding that no processor since the 387 makes or takes (SDM vol. 1, 8.2.2).
    Unsupported,
}

/// A finite number that is not zero: its magnitude is `significand` · 2^(`exponent` - 63).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) exponent: i32,
    /// The highest bit is set.
    pub(super) significand: u64,
}

impl Extended {
    /// What masked invalid operations give: "real indefinite", a quiet NaN.
    pub(super) const INDEFINITE: Self = Self { significand: INTEGER | QUIET, sign_exponent: SIGN | EXPONENT };

    pub(super) const fn zero(negative: bool) -> Self {
        Self { significand: 0, sign_exponent: sign(negative) }
    }

    pub(super) const fn infinity(negative: bool) -> Self {
        Self { significand: INTEGER, sign_exponent: sign(negative) | EXPONENT }
    }

    /// A NaN with the fraction `payload`, whose highest bit says that it is quiet.
    pub(super) const fn nan(negative: bool, payload: u64) -> Self {
        Self { significand: INTEGER | payload, sign_exponent: sign(negative) | EXPONENT }
    }

    /// `significand` · 2^(`exponent` - 63): a normal number if its highest bit is set, otherwise denormal or zero, and
    /// the exponent is [`LEAST`]. The exponent is one that the format has.
    pub(super) fn finite(negative: bool, exponent: i32, significand: u64) -> Self {
        let biased = if significand & INTEGER == 0 { 0 } else { (exponent + BIAS) as u16 };
        Self { significand, sign_exponent: sign(negative) | biased & EXPONENT }
    }

    /// An integer: each of 64 bits is there exactly.
    pub(super) fn integer(value: i64) -> Self {
        let magnitude = value.unsigned_abs();
        if magnitude == 0 {
            return Self::zero(false);
        }
        let shift = magnitude.leading_zeros();
        Self::finite(value < 0, 63 - shift as i32, magnitude << shift)
    }

    pub(super) const fn is_negative(self) -> bool {
        self.sign_exponent & SIGN != 0
    }

    /// With a sign of choice.
    pub(super) const fn with_sign(self, negative: bool) -> Self {
        Self { sign_exponent: self.sign_exponent & EXPONENT | sign(negative), ..self }
    }

    /// Whether its exponent is the least, so that its highest bit may be clear.
    pub(super) const fn is_denormal(self) -> bool {
        self.sign_exponent & EXPONENT == 0 && self.significand != 0
    }

    pub(super) fn value(self) -> Value {
        match (self.sign_exponent & EXPONENT, self.significand) {
            (0, 0) => Value::Zero,
            (0, significand) => {
                let shift = significand.leading_zeros();
                Value::Finite(Number { exponent: LEAST - shift as i32, significand: significand << shift })
            }
            (_, significand) if significand & INTEGER == 0 => Value::Unsupported,
            (EXPONENT, INTEGER) => Value::Infinity,
            (EXPONENT, significand) => Value::Nan { signaling: significand & QUIET == 0 },
            (biased, significand) => {
                Value::Finite(Number { exponent: i32::from(biased) - BIAS, significand })
            }
        }
    }

    fn quiet(self) -> Self {
        Self { significand: self.significand | QUIET, ..self }
    }
}

const fn sign(negative: bool) -> u16 {
    if negative { SIGN } else { 0 }
}

/// What an operation gives if one of its operands is no number, and what it raises: `None` if both are.
pub(super) fn no_number(a: Extended, b: Extended) -> Option<(Extended, u16)> {
    use Value as V;
    let nan = match (a.value(), b.value()) {
        (V::Unsupported, _) | (_, V::Unsupported) => return Some((Extended::INDEFINITE, INVALID)),
        // A signaling NaN gives way to a quiet one; otherwise the larger counts (SDM vol. 1, table 4-7).
        (V::Nan { signaling: true }, V::Nan { signaling: false }) => b,
        (V::Nan { signaling: false }, V::Nan { signaling: true }) => a,
        (V::Nan { .. }, V::Nan { .. }) => larger(a, b),
        (V::Nan { .. }, _) => a,
        (_, V::Nan { .. }) => b,
        _ => return None,
    };
    let signaling = [a, b].into_iter().any(|x| x.value() == V::Nan { signaling: true });
    Some((nan.quiet(), if signaling { INVALID } else { 0 }))
}

/// Of two NaNs the one with the larger significand, or the positive one if there is none.
fn larger(a: Extended, b: Extended) -> Extended {
    let key = |x: Extended| (x.significand, !x.is_negative());
    if key(a) >= key(b) { a } else { b }
}

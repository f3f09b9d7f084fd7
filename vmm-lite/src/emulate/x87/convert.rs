//! The formats that memory has: single and double precision, integers (SDM vol. 1, 4.2 and 8.2).

use super::arithmetic::{Operand, Outcome, integer_part, whole};
use super::exception::INVALID;
use super::extended::{Extended, Value, no_number};
use super::round::{Format, Magnitude, Rounding, round};

/// Single or double precision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Real {
    format: Format,
    /// Of all of it.
    bits: u32,
}

/// Single precision.
pub(super) const SINGLE: Real =
    Real { format: Format { precision: 24, least: -126, greatest: 127 }, bits: 32 };
/// Double precision.
pub(super) const DOUBLE: Real =
    Real { format: Format { precision: 53, least: -1022, greatest: 1023 }, bits: 64 };

impl Real {
    /// Bytes in memory.
    pub(super) const fn bytes(self) -> usize {
        self.bits as usize / 8
    }

    const fn fraction_bits(self) -> u32 {
        self.format.precision - 1
    }

    const fn special_exponent(self) -> u64 {
        2 * self.format.greatest as u64 + 1
    }

    /// What is in memory, exactly; a signaling NaN stays one.
    pub(super) fn load(self, bits: u64) -> Operand {
        let negative = bits >> (self.bits - 1) & 1 == 1;
        let fraction = bits & ((1 << self.fraction_bits()) - 1);
        let biased = bits >> self.fraction_bits() & self.special_exponent();
        // The fraction as a register has it, right of the integer bit.
        let aligned = fraction << (63 - self.fraction_bits());
        let exponent = biased as i32 - self.format.greatest;
        let value = match (biased, fraction) {
            (0, 0) => Extended::zero(negative),
            (0, _) => {
                let shift = aligned.leading_zeros();
                Extended::finite(negative, self.format.least - shift as i32, aligned << shift)
            }
            (special, 0) if special == self.special_exponent() => Extended::infinity(negative),
            (special, _) if special == self.special_exponent() => Extended::nan(negative, aligned),
            _ => Extended::finite(negative, exponent, 1 << 63 | aligned),
        };
        Operand { value, denormal: biased == 0 && fraction != 0 }
    }

    /// What is to be in memory.
    pub(super) fn store(self, value: Extended, control: u16) -> Outcome<u64> {
        let negative = value.is_negative();
        if let Some((nan, raised)) = no_number(value, value) {
            let fraction = (nan.significand << 1) >> (64 - self.fraction_bits());
            return Outcome::new(self.encode(nan.is_negative(), self.special_exponent(), fraction), raised);
        }
        let Value::Finite(number) = value.value() else {
            let special = if value.value() == Value::Infinity { self.special_exponent() } else { 0 };
            return Outcome::new(self.encode(negative, special, 0), 0);
        };
        let rounded = round(whole(negative, number), self.format, control);
        let bits = match rounded.magnitude {
            Magnitude::Infinity => self.encode(negative, self.special_exponent(), 0),
            Magnitude::Finite { significand, .. } if significand >> self.fraction_bits() == 0 => {
                self.encode(negative, 0, significand)
            }
            Magnitude::Finite { exponent, significand } => {
                let biased = (exponent + self.format.greatest) as u64;
                self.encode(negative, biased, significand)
            }
        };
        Outcome { value: bits, raised: rounded.raised, up: rounded.up }
    }

    fn encode(self, negative: bool, biased: u64, fraction: u64) -> u64 {
        u64::from(negative) << (self.bits - 1)
            | (biased & self.special_exponent()) << self.fraction_bits()
            | fraction & ((1 << self.fraction_bits()) - 1)
    }
}

/// An integer of `bytes` bytes for memory; what does not fit is invalid, and gives the least one.
pub(super) fn to_integer(value: Extended, bytes: usize, mode: Rounding) -> Outcome<i64> {
    let least = i64::MIN >> (64 - 8 * bytes as u32);
    let invalid = Outcome::new(least, INVALID);
    let negative = value.is_negative();
    match value.value() {
        Value::Zero => Outcome::new(0, 0),
        Value::Finite(number) if number.exponent < 64 => {
            let cut = integer_part(negative, number, mode);
            let Ok(magnitude) = i128::try_from(cut.kept) else { return invalid };
            match i64::try_from(if negative { -magnitude } else { magnitude }) {
                Ok(integer) if (least..=!least).contains(&integer) => {
                    Outcome { value: integer, raised: cut.raised(), up: cut.up }
                }
                _ => invalid,
            }
        }
        _ => invalid,
    }
}

//! Against Rust's own arithmetic, with the precision control at double precision; that with all 64 bits and everything
//! around it is compared with the processor by a guest (`tests/guests/x87.c`).

use proptest::prelude::*;

use super::super::convert::{DOUBLE, SINGLE, to_integer};
use super::super::exception::{INEXACT, OVERFLOW, UNDERFLOW};
use super::*;

/// All exceptions masked, to the nearest, 53 bits.
const DOUBLE_CONTROL: u16 = 0x027f;
/// The same with all 64 bits.
const EXTENDED_CONTROL: u16 = 0x037f;

fn double(value: f64) -> Operand {
    DOUBLE.load(value.to_bits())
}

fn stored(value: Extended) -> f64 {
    f64::from_bits(DOUBLE.store(value, EXTENDED_CONTROL).value)
}

/// Doubles whose sums, products and quotients are normal.
fn doubles() -> impl Strategy<Value = f64> {
    (any::<bool>(), -200..200_i32, any::<u64>(), 0..4_u32).prop_map(|(negative, exponent, digits, zeros)| {
        let fraction = digits >> 12 & u64::MAX << (13 * zeros);
        f64::from_bits(u64::from(negative) << 63 | ((1023 + exponent) as u64) << 52 | fraction)
    })
}

proptest! {
    #[test]
    fn operations_are_those_of_doubles(a in doubles(), b in doubles()) {
        let operations = [
            (Operation::Add, a + b),
            (Operation::Subtract, a - b),
            (Operation::Multiply, a * b),
            (Operation::Divide, a / b),
        ];
        for (operation, wanted) in operations {
            let outcome = operate(operation, double(a), double(b), DOUBLE_CONTROL);
            prop_assert_eq!(stored(outcome.value).to_bits(), wanted.to_bits(), "{:?}", operation);
            prop_assert_eq!(outcome.raised & !INEXACT, 0);
        }
        let root = square_root(double(a.abs()).value, DOUBLE_CONTROL);
        prop_assert_eq!(stored(root.value), a.abs().sqrt());
    }

    #[test]
    fn an_exact_result_is_not_called_inexact(a in -1_000_000_000..1_000_000_000_i64, b in 1..1_000_000_000_i64) {
        let (x, y) = (Extended::integer(a), Extended::integer(b));
        let product = operate(Operation::Multiply, x.into(), y.into(), EXTENDED_CONTROL);
        prop_assert_eq!(product, Outcome::new(Extended::integer(a * b), 0));
        let quotient = operate(Operation::Divide, product.value.into(), y.into(), EXTENDED_CONTROL);
        prop_assert_eq!(quotient, Outcome::new(x, 0));
        let root = square_root(Extended::integer(b * b), EXTENDED_CONTROL);
        prop_assert_eq!(root, Outcome::new(y, 0));
    }

    #[test]
    fn directions_enclose_the_result(a in doubles(), b in doubles()) {
        let toward = |direction: u16| {
            operate(Operation::Divide, double(a), double(b), DOUBLE_CONTROL | direction << 10)
        };
        let (nearest, down, up, zero) = (toward(0), toward(1), toward(2), toward(3));
        prop_assert!(stored(down.value) <= stored(up.value));
        prop_assert!(nearest.value == down.value || nearest.value == up.value);
        prop_assert_eq!(zero.value, if stored(up.value) > 0.0 { down.value } else { up.value });
        prop_assert_eq!(nearest.raised & INEXACT != 0, down.value != up.value);
        prop_assert_eq!(nearest.up, nearest.raised != 0 && nearest.value != zero.value);
    }

    #[test]
    fn comparisons_are_those_of_doubles(a in any::<f64>(), b in any::<f64>()) {
        prop_assert_eq!(compare(double(a), double(b), true).value, a.partial_cmp(&b));
    }

    #[test]
    fn formats_keep_what_they_can(double_bits: u64, single_bits: u32, integer: i64) {
        let (d, s) = (f64::from_bits(double_bits), f32::from_bits(single_bits));
        if !d.is_nan() {
            prop_assert_eq!(DOUBLE.store(DOUBLE.load(double_bits).value, EXTENDED_CONTROL).value, double_bits);
            prop_assert_eq!(SINGLE.store(double(d).value, EXTENDED_CONTROL).value, u64::from((d as f32).to_bits()));
        }
        if !s.is_nan() {
            prop_assert_eq!(stored(SINGLE.load(single_bits.into()).value).to_bits(), f64::from(s).to_bits());
        }
        prop_assert_eq!(to_integer(Extended::integer(integer), 8, Rounding::Nearest), Outcome::new(integer, 0));
        prop_assert_eq!(stored(Extended::integer(integer)), integer as f64);
    }

    #[test]
    fn integers_are_rounded_as_doubles_are(a in -4e9..4e9_f64) {
        let value = double(a).value;
        let rounded = [
            (Rounding::Nearest, a.round_ties_even()),
            (Rounding::Down, a.floor()),
            (Rounding::Up, a.ceil()),
            (Rounding::ToZero, a.trunc()),
        ];
        for (n, (mode, wanted)) in rounded.into_iter().enumerate() {
            prop_assert_eq!(to_integer(value, 8, mode).value, wanted as i64);
            let control = EXTENDED_CONTROL | (n as u16) << 10;
            prop_assert_eq!(stored(round_to_integer(value, control).value).to_bits(), wanted.to_bits());
            let narrow = to_integer(value, 4, mode).value;
            prop_assert_eq!(narrow, i64::from(i32::try_from(wanted as i64).unwrap_or(i32::MIN)));
        }
    }
}

#[test]
fn what_is_out_of_range() {
    let largest = Extended { significand: u64::MAX, sign_exponent: 0x7ffe };
    let least = Extended { significand: 1, sign_exponent: 0 };
    let one = Extended::integer(1);
    let twice = operate(Operation::Add, largest.into(), largest.into(), EXTENDED_CONTROL);
    assert_eq!(twice, Outcome { value: Extended::infinity(false), raised: OVERFLOW | INEXACT, up: true });
    let cut = operate(Operation::Add, largest.into(), largest.into(), EXTENDED_CONTROL | 3 << 10);
    assert_eq!(cut, Outcome { value: largest, raised: OVERFLOW | INEXACT, up: false });
    let half = operate(Operation::Divide, least.into(), Extended::integer(2).into(), EXTENDED_CONTROL);
    assert_eq!(half, Outcome::new(Extended::zero(false), DENORMAL | UNDERFLOW | INEXACT));
    // Without the mask the exponent is moved into range: from 16384 to -8192.
    let moved = operate(Operation::Add, largest.into(), largest.into(), EXTENDED_CONTROL & !OVERFLOW);
    assert_eq!((moved.value.sign_exponent, moved.raised), (0x7fff - 24576, OVERFLOW));
    let by_zero = operate(Operation::Divide, one.into(), Extended::zero(true).into(), EXTENDED_CONTROL);
    assert_eq!(by_zero, Outcome::new(Extended::infinity(true), ZERO_DIVIDE));
}

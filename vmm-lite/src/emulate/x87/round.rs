//! Rounding (SDM vol. 1, 4.8.4), and what becomes of results that a format has no room for (4.9.1.4 to 4.9.1.6).

use super::exception::{INEXACT, OVERFLOW, UNDERFLOW};

/// What an exponent is moved by, so that a handler gets a result that is out of range (SDM vol. 1, 8.5.4 and 8.5.5).
const MOVED: i32 = 24576;

/// Which neighbour an inexact result becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    Nearest,
    Down,
    Up,
    ToZero,
}

impl Rounding {
    /// The mode that a control word has.
    pub(super) const fn of(control: u16) -> Self {
        match control >> 10 & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::ToZero,
        }
    }

    /// Whether what is too large becomes infinite, not the largest number.
    const fn overflows(self, negative: bool) -> bool {
        match self {
            Self::Nearest => true,
            Self::Down => negative,
            Self::Up => !negative,
            Self::ToZero => false,
        }
    }
}

/// What results have room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// Bits of the significand, with the one left of the binary point.
    pub(super) precision: u32,
    /// The least exponent of a normal number.
    pub(super) least: i32,
    /// The greatest exponent.
    pub(super) greatest: i32,
}

/// A result before it is rounded; its magnitude is `significand` · 2^(`exponent` - 127).
#[derive(Clone, Copy, Debug)]
pub(super) struct Exact {
    pub(super) negative: bool,
    pub(super) exponent: i32,
    /// The highest bit is set. The lowest says that bits below it are not all 0.
    pub(super) significand: u128,
}

impl Exact {
    /// Moves the highest bit that is set to where it belongs; `significand` is not 0.
    pub(super) fn normalized(negative: bool, exponent: i32, significand: u128) -> Self {
        let shift = significand.leading_zeros();
        Self {
            negative,
            exponent: exponent - shift as i32,
            significand: significand.checked_shl(shift).unwrap_or(0),
        }
    }
}

/// The magnitude of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Magnitude {
    /// `significand`, of as many bits as the format has, · 2^(`exponent` + 1 - precision). Its highest bit is clear only
    /// in a denormal number or zero.
    Finite {
        exponent: i32,
        significand: u64,
    },
    Infinity,
}

/// A result, and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rounded {
    pub(super) magnitude: Magnitude,
    /// Exceptions.
    pub(super) raised: u16,
    /// Its magnitude is larger than it was.
    pub(super) up: bool,
}

/// Rounds to `format` as the control word `control` wants it.
pub(super) fn round(exact: Exact, format: Format, control: u16) -> Rounded {
    let mode = Rounding::of(control);
    let precision = format.precision as i32;
    let cut = Cut::new(exact.significand, precision, mode, exact.negative);
    let carried = cut.kept >> precision != 0;
    let significand = if carried { cut.kept >> 1 } else { cut.kept } as u64;
    let exponent = exact.exponent + i32::from(carried);
    let finite = |exponent, raised| Rounded {
        magnitude: Magnitude::Finite { exponent, significand },
        raised,
        up: cut.up,
    };

    if exponent > format.greatest {
        if control & OVERFLOW == 0 {
            return finite(exponent - MOVED, OVERFLOW | cut.raised());
        }
        let infinite = mode.overflows(exact.negative);
        let largest =
            Magnitude::Finite { exponent: format.greatest, significand: u64::MAX >> (64 - format.precision) };
        return Rounded {
            magnitude: if infinite { Magnitude::Infinity } else { largest },
            raised: OVERFLOW | INEXACT,
            up: infinite,
        };
    }
    if exponent < format.least {
        if control & UNDERFLOW == 0 {
            return finite(exponent + MOVED, UNDERFLOW | cut.raised());
        }
        let missing = format.least - exact.exponent;
        let cut = Cut::new(exact.significand, precision - missing, mode, exact.negative);
        return Rounded {
            magnitude: Magnitude::Finite { exponent: format.least, significand: cut.kept as u64 },
            raised: if cut.inexact { UNDERFLOW | INEXACT } else { 0 },
            up: cut.up,
        };
    }
    finite(exponent, cut.raised())
}

/// The highest bits of a significand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// May have a bit more than were wanted, if rounding carried into it.
    pub(super) kept: u128,
    pub(super) inexact: bool,
    pub(super) up: bool,
}

impl Cut {
    /// Keeps the `keep` highest of 128 bits: at most 127 of them; none if it is 0, and all of what is dropped is less
    /// than half a unit if it is negative.
    pub(super) fn new(significand: u128, keep: i32, mode: Rounding, negative: bool) -> Self {
        let (kept, rest) = match keep {
            1.. => (significand >> (128 - keep), significand << keep),
            0 => (0, significand),
            _ => (0, u128::from(significand != 0)),
        };
        let half = 1 << 127;
        let inexact = rest != 0;
        let up = match mode {
            Rounding::Nearest => rest > half || rest == half && kept & 1 == 1,
            Rounding::Down => inexact && negative,
            Rounding::Up => inexact && !negative,
            Rounding::ToZero => false,
        };
        Self { kept: kept + u128::from(up), inexact, up }
    }

    /// The exception that it is.
    pub(super) const fn raised(self) -> u16 {
        if self.inexact { INEXACT } else { 0 }
    }
}

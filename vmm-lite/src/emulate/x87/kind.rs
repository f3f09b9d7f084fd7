//! What each instruction does.

use iced_x86::Mnemonic;

use super::arithmetic::Operation;
use super::extended::Extended;
use super::round::Rounding;

/// What an instruction does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// With the control and status words, the tags and TOP.
    Control,
    /// Pushes what is in memory or a register.
    Load,
    /// Pushes a constant.
    Constant(Constant),
    /// To memory or a register.
    Store { pop: bool },
    /// To memory, perhaps always rounded to zero.
    StoreInteger { pop: bool, truncate: bool },
    /// Backwards: with the operands in the other order.
    Arithmetic { operation: Operation, backwards: bool, pop: bool },
    /// The outcome goes to the condition codes, or to RFLAGS.
    Compare { quiet: bool, pops: usize, flags: bool },
    /// Copies ST(i) to ST(0) on a condition, or on the opposite.
    MoveIf { below: bool, equal: bool, unordered: bool, not: bool },
    /// Exchanges ST(0) and ST(i).
    Exchange,
    /// Computes something of ST(0).
    Unary,
}

impl Kind {
    /// Of the instructions that are carried out here.
    pub(super) fn of(mnemonic: Mnemonic) -> Option<Self> {
        use Mnemonic as M;
        let arithmetic = |operation, backwards, pop| Self::Arithmetic { operation, backwards, pop };
        let compare = |quiet, pops, flags| Self::Compare { quiet, pops, flags };
        let move_if = |below, equal, unordered, not| Self::MoveIf { below, equal, unordered, not };
        Some(match mnemonic {
            M::Fninit | M::Fnclex | M::Fnstsw | M::Fnstcw | M::Fldcw => Self::Control,
            M::Wait | M::Emms | M::Fnop | M::Fincstp | M::Fdecstp | M::Ffree => Self::Control,
            M::Fld | M::Fild => Self::Load,
            M::Fldz => Self::Constant(Constant::ZERO),
            M::Fld1 => Self::Constant(Constant::ONE),
            M::Fldpi => Self::Constant(Constant::PI),
            M::Fldl2t => Self::Constant(Constant::LOG2_10),
            M::Fldl2e => Self::Constant(Constant::LOG2_E),
            M::Fldlg2 => Self::Constant(Constant::LOG10_2),
            M::Fldln2 => Self::Constant(Constant::LN_2),
            M::Fst => Self::Store { pop: false },
            M::Fstp => Self::Store { pop: true },
            M::Fist => Self::StoreInteger { pop: false, truncate: false },
            M::Fistp => Self::StoreInteger { pop: true, truncate: false },
            M::Fisttp => Self::StoreInteger { pop: true, truncate: true },
            M::Fadd | M::Fiadd => arithmetic(Operation::Add, false, false),
            M::Faddp => arithmetic(Operation::Add, false, true),
            M::Fsub | M::Fisub => arithmetic(Operation::Subtract, false, false),
            M::Fsubp => arithmetic(Operation::Subtract, false, true),
            M::Fsubr | M::Fisubr => arithmetic(Operation::Subtract, true, false),
            M::Fsubrp => arithmetic(Operation::Subtract, true, true),
            M::Fmul | M::Fimul => arithmetic(Operation::Multiply, false, false),
            M::Fmulp => arithmetic(Operation::Multiply, false, true),
            M::Fdiv | M::Fidiv => arithmetic(Operation::Divide, false, false),
            M::Fdivp => arithmetic(Operation::Divide, false, true),
            M::Fdivr | M::Fidivr => arithmetic(Operation::Divide, true, false),
            M::Fdivrp => arithmetic(Operation::Divide, true, true),
            M::Fcom | M::Ficom => compare(false, 0, false),
            M::Fcomp | M::Ficomp => compare(false, 1, false),
            M::Fcompp => compare(false, 2, false),
            M::Fucom => compare(true, 0, false),
            M::Fucomp => compare(true, 1, false),
            M::Fucompp => compare(true, 2, false),
            M::Fcomi => compare(false, 0, true),
            M::Fcomip => compare(false, 1, true),
            M::Fucomi => compare(true, 0, true),
            M::Fucomip => compare(true, 1, true),
            M::Fcmovb => move_if(true, false, false, false),
            M::Fcmove => move_if(false, true, false, false),
            M::Fcmovbe => move_if(true, true, false, false),
            M::Fcmovu => move_if(false, false, true, false),
            M::Fcmovnb => move_if(true, false, false, true),
            M::Fcmovne => move_if(false, true, false, true),
            M::Fcmovnbe => move_if(true, true, false, true),
            M::Fcmovnu => move_if(false, false, true, true),
            M::Fxch => Self::Exchange,
            M::Fabs | M::Fchs | M::Fsqrt | M::Frndint | M::Ftst | M::Fxam => Self::Unary,
            _ => return None,
        })
    }
}

/// A constant that an instruction loads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constant {
    /// Rounded down.
    down: Extended,
    /// It is not exact, and this is the nearest: the one down, or the one up.
    rest: Option<Nearest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nearest {
    Down,
    Up,
}

impl Constant {
    const ZERO: Self = Self { down: Extended::zero(false), rest: None };
    const ONE: Self = Self::new(0x3fff, 0x8000_0000_0000_0000, None);
    const PI: Self = Self::new(0x4000, 0xc90f_daa2_2168_c234, Some(Nearest::Up));
    const LOG2_10: Self = Self::new(0x4000, 0xd49a_784b_cd1b_8afe, Some(Nearest::Down));
    const LOG2_E: Self = Self::new(0x3fff, 0xb8aa_3b29_5c17_f0bb, Some(Nearest::Up));
    const LOG10_2: Self = Self::new(0x3ffd, 0x9a20_9a84_fbcf_f798, Some(Nearest::Up));
    const LN_2: Self = Self::new(0x3ffe, 0xb172_17f7_d1cf_79ab, Some(Nearest::Up));

    const fn new(sign_exponent: u16, significand: u64, rest: Option<Nearest>) -> Self {
        Self { down: Extended { significand, sign_exponent }, rest }
    }

    /// As the rounding mode wants it; that it is inexact is not reported (SDM vol. 1, 8.3.4).
    pub(super) fn rounded(self, mode: Rounding) -> Extended {
        let up = match (self.rest, mode) {
            (None, _) | (_, Rounding::Down | Rounding::ToZero) => false,
            (Some(_), Rounding::Up) => true,
            (Some(nearest), Rounding::Nearest) => nearest == Nearest::Up,
        };
        Extended { significand: self.down.significand + u64::from(up), ..self.down }
    }
}

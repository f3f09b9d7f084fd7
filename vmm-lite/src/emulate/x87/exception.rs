//! Exceptions: bits of the status word, and their masks in the control word (SDM vol. 1, 8.1.3 and 8.5).

pub(super) const INVALID: u16 = 1 << 0;
pub(super) const DENORMAL: u16 = 1 << 1;
pub(super) const ZERO_DIVIDE: u16 = 1 << 2;
pub(super) const OVERFLOW: u16 = 1 << 3;
pub(super) const UNDERFLOW: u16 = 1 << 4;
pub(super) const INEXACT: u16 = 1 << 5;
/// All of these.
pub(super) const ALL: u16 = 0x3f;
/// The invalid operation was one on the register stack.
pub(super) const STACK_FAULT: u16 = 1 << 6;

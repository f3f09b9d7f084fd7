//! Watchpoints: what breakpoint registers do for data.

use arrayvec::ArrayVec;

use crate::kvm::{HARDWARE_BREAKPOINTS, HardwareBreakpoint};
use crate::machine::WatchAccess;

/// Accesses to some bytes of guest memory that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    /// The first byte, gva.
    pub(crate) address: u64,
    /// How many bytes.
    pub(crate) len: u64,
    pub(crate) access: WatchAccess,
}

/// What one breakpoint register watches.
type Piece = (u64, u8);

impl Watch {
    /// The registers that it takes: each watches 1, 2, 4 or 8 bytes at a multiple of that (SDM vol. 3, 18.2.5). None if
    /// there are not enough of them in a CPU.
    fn pieces(&self) -> Option<ArrayVec<Piece, HARDWARE_BREAKPOINTS>> {
        let mut pieces = ArrayVec::new();
        let (mut at, mut left) = (self.address, self.len);
        while left > 0 {
            let len = [8_u8, 4, 2, 1].into_iter().find(|len| {
                let len = u64::from(*len);
                len <= left && at.is_multiple_of(len)
            })?;
            pieces.try_push((at, len)).ok()?;
            at = at.wrapping_add(len.into());
            left -= u64::from(len);
        }
        Some(pieces)
    }

    /// How many registers it takes; none if a CPU has not enough.
    pub(super) fn registers(&self) -> Option<usize> {
        self.pieces().map(|pieces| pieces.len()).filter(|count| *count > 0)
    }

    /// As registers are set.
    pub(super) fn set(&self) -> impl Iterator<Item = HardwareBreakpoint> {
        let access = self.access;
        self.pieces().unwrap_or_default().into_iter().map(move |(address, len)| match access {
            WatchAccess::Write => HardwareBreakpoint::Write { address, len },
            WatchAccess::Any => HardwareBreakpoint::Access { address, len },
        })
    }

    /// Whether `register` is one of its.
    pub(super) fn has(&self, register: HardwareBreakpoint) -> bool {
        self.set().any(|own| own == register)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(address: u64, len: u64) -> Option<Vec<Piece>> {
        Watch { address, len, access: WatchAccess::Write }.pieces().map(|pieces| pieces.to_vec())
    }

    #[test]
    fn a_register_watches_aligned_bytes() {
        assert_eq!(pieces(0x1000, 8), Some(vec![(0x1000, 8)]));
        assert_eq!(pieces(0x1004, 8), Some(vec![(0x1004, 4), (0x1008, 4)]));
        assert_eq!(pieces(0x1001, 8), Some(vec![(0x1001, 1), (0x1002, 2), (0x1004, 4), (0x1008, 1)]));
        assert_eq!(pieces(0x1000, 32).map(|p| p.len()), Some(4));
        assert_eq!(pieces(0x1000, 33), None);
        assert_eq!(Watch { address: 0, len: 0, access: WatchAccess::Any }.registers(), None);
    }

    #[test]
    fn at_the_end_of_memory_nothing_overflows() {
        assert_eq!(pieces(u64::MAX, 1), Some(vec![(u64::MAX, 1)]));
        assert_eq!(pieces(u64::MAX, 2).map(|p| p.len()), Some(2));
        assert_eq!(pieces(0, u64::MAX), None);
    }
}

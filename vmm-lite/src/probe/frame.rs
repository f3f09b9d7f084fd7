//! What the CPU pushes when it enters a handler in long mode (SDM vol. 3, 7.14.2).

use crate::memory::Memory;
use crate::walk::Paging;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where it is, gva.
    pub(super) at: u64,
    pub(super) rip: u64,
    pub(super) cs: u16,
    pub(super) rflags: u64,
    pub(super) rsp: u64,
    pub(super) ss: u16,
}

impl Frame {
    /// Reads the frame at gva `at`: behind the error code if there is one.
    pub(super) fn read(memory: &Memory, paging: &Paging, at: u64) -> Option<Self> {
        let mut bytes = [0; 40];
        if paging.read(memory.map(), at, &mut bytes) != bytes.len() {
            return None;
        }
        let word = |n: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[8 * n + i]));
        Some(Self { at, rip: word(0), cs: word(1) as u16, rflags: word(2), rsp: word(3), ss: word(4) as u16 })
    }

    /// Where the RFLAGS are that it holds, gva.
    pub(super) fn rflags_at(&self) -> u64 {
        self.at.wrapping_add(16)
    }

    /// The privilege level it was pushed from.
    pub(super) fn cpl(&self) -> u8 {
        (self.cs & 3) as u8
    }
}

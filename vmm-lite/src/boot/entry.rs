//! Where the first vCPU begins, and in which mode: what a boot protocol asks for.

use crate::error::Result;
use crate::kvm::Vcpu;
use crate::memory::Memory;

use super::{enter_long_mode, enter_protected_mode, enter_real_mode, write_tables};

/// How the first vCPU is to be started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The CPU's mode.
    pub mode: Mode,
    /// Its first instruction: gpa, and gva in the modes that have them.
    pub address: u64,
    /// What it finds in its registers.
    pub registers: EntryRegisters,
}

/// A mode of the CPU in which kernels are entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// 64-bit, the first 4 GiB of memory mapped one to one.
    #[default]
    Long,
    /// 32-bit, flat segments, no paging.
    Protected,
    /// 16-bit, all segments 0.
    Real,
}

/// General registers in which boot protocols pass something; the others are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the registers' names")]
pub struct EntryRegisters {
    pub rax: u64,
    pub rbx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
}

impl Entry {
    /// Writes the tables that the mode needs.
    ///
    /// # Errors
    /// When low memory is missing.
    pub(crate) fn prepare(&self, memory: &Memory) -> Result<()> {
        match self.mode {
            Mode::Long => write_tables(memory),
            Mode::Protected => super::protected_mode::write_gdt(memory),
            Mode::Real => Ok(()),
        }
    }

    /// Puts `vcpu` there.
    pub(crate) fn enter(&self, vcpu: &mut Vcpu) {
        match self.mode {
            Mode::Long => enter_long_mode(vcpu, self.address, self.registers),
            Mode::Protected => enter_protected_mode(vcpu, self.address, self.registers),
            Mode::Real => enter_real_mode(vcpu, 0, self.address as u16, self.registers.rsp),
        }
    }
}

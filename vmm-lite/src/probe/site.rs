//! One breakpoint: why it is there, what it replaces, and whether it is still there.

use arrayvec::ArrayVec;
use iced_x86::{Decoder, DecoderOptions, Instruction};
use trace_format::event::{Access, WalkCause, WalkOutcome};

use super::idt::VectorSet;
use super::returns::Return;
use super::stops::Stops;
use super::table::{Table, hide};
use crate::memory::Memory;
use crate::walk::Paging;

pub(super) const INT3: u8 = 0xcc;
/// Bytes of the longest instruction.
pub(super) const LONGEST: usize = 15;

/// Why there is a breakpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roles {
    /// It is the first instruction of the handler of these vectors.
    pub(crate) vectors: VectorSet,
    /// It is where `SYSCALL` goes.
    pub(crate) syscall: bool,
    /// It is the page-fault handler, and `SYSCALL` needs repairing there.
    pub(crate) fixup: bool,
    /// A handler returns here.
    pub(crate) returns: Option<Return>,
    /// For whom the guest is to stop here.
    pub(crate) stops: Stops,
    /// Only a breakpoint register will do: what is in memory is not to be touched.
    pub(crate) register: bool,
}

impl Roles {
    pub(super) fn merge(&mut self, other: &Self) {
        self.vectors = self.vectors.union(other.vectors);
        self.syscall |= other.syscall;
        self.fixup |= other.fixup;
        self.returns = self.returns.or(other.returns);
        self.stops.merge(other.stops);
        self.register |= other.register;
    }

    /// Whether the guest's stack is the user's where it is: at the first instruction of a system call, and at the last.
    /// A breakpoint instruction that bounces off the guest's handler would push onto it.
    pub(super) fn is_on_user_stack(&self) -> bool {
        self.syscall || self.returns == Some(Return::Sysret)
    }

    /// Whether it is a probe, and not only a user's breakpoint.
    pub(super) fn is_probe(&self) -> bool {
        *self != Self { stops: self.stops, register: self.register, ..Self::default() }
    }
}

/// What stops the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// An `INT3` in memory.
    Instruction,
    /// Breakpoint registers; memory is left alone.
    Register,
    /// Nothing: the guest has made something else of the page, and whatever is there now is left alone.
    Nothing,
}

/// The bytes of an instruction as the guest wrote them, as far as they are in the page of the first.
type Code = ArrayVec<u8, LONGEST>;

/// One breakpoint.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Where it is in guest physical memory.
    pub(super) gpa: u64,
    /// The byte that it replaces.
    pub(super) original: u8,
    /// The instruction that it replaces, with that byte. What decodes as invalid is stepped, not carried out.
    pub(super) instruction: Instruction,
    /// The bytes that were decoded, and should still be there but for the first.
    code: Code,
    pub(super) roles: Roles,
    pub(super) means: Means,
    /// User code could come to it when it was set.
    pub(super) user: bool,
}

impl Site {
    /// The site at gva `gva`, where the guest wrote `bytes`.
    pub(super) fn decode(gva: u64, gpa: u64, bytes: &[u8], roles: Roles, user: bool) -> Self {
        let instruction = Decoder::with_ip(64, bytes, gva, DecoderOptions::NONE).decode();
        let here = instruction.len().min(in_page(gpa)).clamp(1, LONGEST);
        let code: Code = bytes.iter().copied().take(here).collect();
        let original = code.first().copied().unwrap_or(0);
        Self { gpa, original, instruction, code, roles, means: Means::Instruction, user }
    }

    /// The same site by other means.
    pub(super) fn by(mut self, means: Means) -> Self {
        self.means = means;
        self
    }

    /// The same site where memory has become `bytes`.
    fn again(&self, gva: u64, bytes: &[u8]) -> Self {
        Self::decode(gva, self.gpa, bytes, self.roles, self.user).by(self.means)
    }

    /// Whether memory is as the engine left it: the breakpoint, and the rest of the instruction behind it.
    pub(super) fn is_intact(&self, memory: &Memory, table: &Table) -> bool {
        let mut now = [0; LONGEST];
        let Some(now) = now.get_mut(..self.code.len()) else { return false };
        if memory.read(self.gpa, now).is_err() {
            return false;
        }
        let Some((first, rest)) = now.split_first_mut() else { return false };
        hide(table, self.gpa.wrapping_add(1), rest);
        let expected = match self.means {
            Means::Instruction => INT3,
            Means::Register => self.original,
            Means::Nothing => return false,
        };
        *first == expected && self.code.get(1..).is_some_and(|code| code == rest)
    }

    /// What is in memory now, with all breakpoints hidden; `None` if that is no memory.
    pub(super) fn read_again(&self, gva: u64, memory: &Memory, table: &Table) -> Option<Self> {
        let mut code = [0; LONGEST];
        let code = code.get_mut(..in_page(self.gpa))?;
        memory.read(self.gpa, code).ok()?;
        let is_ours = self.means == Means::Instruction && code.first() == Some(&INT3);
        let first = if is_ours { self.original } else { *code.first()? };
        hide(table, self.gpa, code);
        *code.first_mut()? = first;
        Some(self.again(gva, code))
    }

    /// Whether code of some privilege can be executed at `gva`, and is the site's.
    pub(super) fn is_code_at(&self, gva: u64, memory: &Memory, paging: &Paging) -> bool {
        [false, true].into_iter().any(|user| executes(gva, user, memory, paging) == Some(self.gpa))
    }

    /// Whether a write to `len` bytes from gpa `gpa` on may touch the instruction.
    pub(super) fn is_in(&self, gpa: u64, len: u64) -> bool {
        self.gpa < gpa.saturating_add(len) && gpa < self.gpa.saturating_add(LONGEST as u64)
    }

    /// Puts the breakpoint into memory. A byte that the guest has written itself since is the guest's: it is neither
    /// replaced nor restored.
    pub(super) fn put(&self, memory: &Memory) {
        if self.means == Means::Instruction {
            memory.replace(self.gpa, self.original, INT3);
        }
    }

    /// Takes the breakpoint out of memory, likewise.
    pub(super) fn take_out(&self, memory: &Memory) {
        if self.means == Means::Instruction {
            memory.replace(self.gpa, INT3, self.original);
        }
    }
}

/// Whether code with user privilege can be executed at `gva`.
pub(super) fn is_users(gva: u64, memory: &Memory, paging: &Paging) -> bool {
    executes(gva, true, memory, paging).is_some()
}

/// The gpa of the code at `gva`, if code of that privilege can be executed there.
fn executes(gva: u64, user: bool, memory: &Memory, paging: &Paging) -> Option<u64> {
    let access = Access { execute: true, user, ..Access::default() };
    match paging.walk(memory.map(), gva, access, WalkCause::Probe).outcome {
        WalkOutcome::Mapped { gpa, .. } => Some(gpa),
        _ => None,
    }
}

/// How many bytes of an instruction at `gpa` can be in the same page.
fn in_page(gpa: u64) -> usize {
    (4096 - gpa % 4096).min(LONGEST as u64) as usize
}

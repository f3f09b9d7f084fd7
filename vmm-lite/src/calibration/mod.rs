//! How this host's KVM treats what debuggers need, found by trying.
//!
//! KVM is not one thing: hardware, KVMs that emulate guest kernel code, SVM and VMX in software differ in what becomes
//! of a breakpoint or a step. The monitor does not ask which host it runs on; it runs a tiny guest for a few
//! milliseconds and uses what works.

mod cache;
mod guest;
mod instructions;
mod trial;

use serde::{Deserialize, Serialize};
use trace_format::header::Fact;

pub(crate) use cache::calibrate;
pub use instructions::{Instruction, Instructions};

/// What calibration found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// What becomes of an `INT3` that the monitor put into guest kernel code.
    pub kernel_breakpoint: BreakpointStop,
    /// The same in guest user code.
    pub user_breakpoint: BreakpointStop,
    /// Whether a breakpoint register stops guest kernel code.
    pub kernel_hardware: bool,
    /// Whether it stops guest user code.
    pub user_hardware: bool,
    /// Whether KVM steps guest kernel code.
    pub kernel_step: bool,
    /// Whether KVM steps guest user code.
    pub user_step: bool,
    /// Whether a watchpoint in guest kernel code is hit.
    pub watchpoint: bool,
    /// What `SYSCALL` does in guest user code.
    pub syscall: SyscallEntry,
    /// Whether accesses to x2APIC registers reach the monitor.
    pub x2apic: bool,
    /// Whether a write to read-only memory reaches the monitor.
    pub read_only_memory: bool,
    /// Instructions that `CPUID` offers and guest kernel code cannot use.
    pub kernel_lacks: Instructions,
}

/// What becomes of a breakpoint instruction that the monitor put into guest code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BreakpointStop {
    /// `KVM_EXIT_DEBUG`, as documented.
    Direct,
    /// `KVM_EXIT_INTERNAL_ERROR` at the instruction: KVM's emulator does not know it.
    Error,
    /// The guest's own handler for vector 3 is entered; a breakpoint register on its first instruction tells.
    Bounce,
    /// Nothing that the monitor could see.
    Unseen,
}

/// What `SYSCALL` does in guest user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyscallEntry {
    /// It enters the kernel.
    Normal,
    /// It goes to the right address, but with user privilege; the monitor repairs it at the page fault that follows.
    UserPrivilege,
    /// Something else.
    Broken,
}

impl BreakpointStop {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "stops directly",
            Self::Error => "stops by an emulation error",
            Self::Bounce => "bounces off the guest's handler",
            Self::Unseen => "is not seen",
        }
    }
}

impl SyscallEntry {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "enters the kernel",
            Self::UserPrivilege => "keeps user privilege (repaired)",
            Self::Broken => "does not enter the kernel",
        }
    }
}

impl Calibration {
    /// As shown by `doctor` and kept in a trace's header.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        let works = |yes: bool| if yes { "works" } else { "does not work" };
        let lacks: Vec<_> = self.kernel_lacks.names().collect();
        let lacks = if lacks.is_empty() { "nothing".to_owned() } else { lacks.join(", ") };
        [
            ("breakpoint in kernel code", self.kernel_breakpoint.name()),
            ("breakpoint in user code", self.user_breakpoint.name()),
            ("breakpoint register in kernel code", works(self.kernel_hardware)),
            ("breakpoint register in user code", works(self.user_hardware)),
            ("single step in kernel code", works(self.kernel_step)),
            ("single step in user code", works(self.user_step)),
            ("watchpoint", works(self.watchpoint)),
            ("syscall instruction", self.syscall.name()),
            ("x2APIC in user space", works(self.x2apic)),
            ("read-only memory", works(self.read_only_memory)),
            ("kernel code lacks", lacks.as_str()),
        ]
        .map(|(name, value)| Fact { name: name.to_owned(), value: value.to_owned() })
        .into()
    }
}

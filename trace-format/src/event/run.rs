//! The run itself: states, debuggers, fix-ups, losses.

use arrayvec::ArrayString;
use serde::{Deserialize, Serialize};

/// A vCPU, or the machine, changed its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum VcpuState {
    Created,
    /// An application processor waits for a start-up IPI.
    WaitingForSipi,
    Running,
    /// `HLT`: waits for an interrupt.
    Halted,
    /// Stopped for now.
    Paused {
        by: Actor,
    },
    /// Begins anew, as after power-on; of the machine ([`super::MACHINE`]). The run and its time go on.
    Reset {
        by: Actor,
    },
    /// The end of the run; of the machine ([`super::MACHINE`]).
    Stopped {
        why: StopReason,
    },
}

/// Who acts on a guest from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// Somebody at the terminal UI.
    User,
    /// GDB.
    Gdb,
    /// The command line: `--timeout`, `--wait`.
    CommandLine,
    /// A signal to the monitor.
    Signal,
    /// The monitor itself.
    Monitor,
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// The guest wrote `status` to the debug-exit port.
    #[allow(missing_docs)]
    GuestExit { status: u32 },
    /// The guest asked for a reset.
    #[allow(missing_docs)]
    Reset { by: ResetBy },
    /// The guest switched itself off: ACPI sleep state S5.
    PowerOff,
    /// Triple fault.
    TripleFault,
    /// Every vCPU waits for what cannot come: halted with interrupts off.
    Deadlock,
    /// KVM cannot go on with this guest: `KVM_EXIT_INTERNAL_ERROR`, `FAIL_ENTRY` or an error of `KVM_RUN`.
    HostError,
    /// `--timeout` ran out.
    Timeout,
    /// Somebody ended it.
    #[allow(missing_docs)]
    Ended { by: Actor },
}

/// How a guest asked for a reset. A triple fault is none of them: [`StopReason::TripleFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetBy {
    /// The trace does not tell: it is of a version that did not record it.
    Unknown,
    /// Keyboard controller: its command 0xfe, or bit 0 of its output port.
    KeyboardController,
    /// Bit 0 of system control port A, 0x92.
    FastReset,
    /// Reset control register of the chipset, port 0xcf9.
    ResetControl,
    /// The reset register that the FADT names (ACPI 6.5, 4.8.3.6).
    Acpi,
    /// An interface of the hypervisor: `KVM_EXIT_SYSTEM_EVENT`.
    Hypervisor,
}

/// A debugger did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Debugger {
    Attached {
        by: Actor,
    },
    BreakpointHit {
        by: Actor,
        address: u64,
    },
    /// An access to what is watched. `address` is the one that was given for the watchpoint; without `any` it was a
    /// write. The vCPU was at `rip` when that was noticed, behind the instruction.
    WatchpointHit {
        by: Actor,
        address: u64,
        any: bool,
        rip: u64,
    },
    /// The event before it on the same vCPU is one that was waited for.
    Matched {
        by: Actor,
    },
    Stepped {
        by: Actor,
        from: u64,
        to: u64,
    },
    Detached {
        by: Actor,
    },
}

/// The monitor carried out what this host's KVM cannot, or repaired what it did wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fixup {
    /// What was repaired.
    pub kind: FixupKind,
    /// The instruction it is about, gva.
    pub rip: u64,
    /// The instruction that the monitor carried out, in lower case; empty if it is not about one.
    pub mnemonic: Mnemonic,
}

/// The name of an instruction.
pub type Mnemonic = ArrayString<16>;

/// What can be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FixupKind {
    /// `SYSCALL` left the privilege level at 3.
    Syscall,
    /// A guest's own `INT3` that KVM could not carry out.
    Breakpoint,
    /// An instruction that KVM's emulator lacks.
    Instruction,
}

/// Events that are not in the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: LostReason,
}

/// Why events were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LostReason {
    /// The ring was full and `--on-full drop` was given.
    RingFull,
    /// A part of the file was damaged; written by `check --repair`.
    Damage,
}

impl Actor {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Gdb => "gdb",
            Self::CommandLine => "command line",
            Self::Signal => "signal",
            Self::Monitor => "monitor",
        }
    }
}

impl ResetBy {
    /// The name used in filters and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::KeyboardController => "keyboard-controller",
            Self::FastReset => "fast-reset",
            Self::ResetControl => "reset-control",
            Self::Acpi => "acpi",
            Self::Hypervisor => "hypervisor",
        }
    }
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GuestExit { status } => write!(f, "the guest exited with status {status}"),
            Self::Reset { by } => {
                f.write_str("the guest asked for a reset")?;
                f.write_str(match by {
                    ResetBy::Unknown => "",
                    ResetBy::KeyboardController => " through the keyboard controller",
                    ResetBy::FastReset => " through port 0x92",
                    ResetBy::ResetControl => " through port 0xcf9",
                    ResetBy::Acpi => " through ACPI",
                    ResetBy::Hypervisor => " through the hypervisor",
                })
            }
            Self::PowerOff => f.write_str("the guest switched itself off"),
            Self::TripleFault => f.write_str("triple fault"),
            Self::Deadlock => f.write_str("every vCPU is halted and nothing can wake one"),
            Self::HostError => f.write_str("KVM could not go on with this guest"),
            Self::Timeout => f.write_str("the time ran out"),
            Self::Ended { by } => write!(f, "ended by {}", by.name()),
        }
    }
}

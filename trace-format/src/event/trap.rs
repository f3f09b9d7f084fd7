//! Traps: exceptions, system calls and interrupts as the guest's own handlers see them.

use serde::{Deserialize, Serialize};

/// The number in [`Trap::vector`] for the `SYSCALL` instruction, which has no vector.
pub const VECTOR_SYSCALL: u16 = 256;

/// A handler of the guest was entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trap {
    /// Numbers the traps of a run, from 1; [`TrapReturn`] carries it.
    pub id: u64,
    /// Vector 0 to 255, or [`VECTOR_SYSCALL`].
    pub vector: u16,
    /// How many vectors share this handler, so that the vector is a guess when it is not 1.
    pub shared_by: u16,
    /// What kind of trap it is.
    pub class: TrapClass,
    /// The error code for the vectors that push one; the system call's number (RAX) for `SYSCALL`.
    pub code: Option<u64>,
    /// Where it came from: gva of the instruction that faulted or of the one after it (SDM vol. 3, 7.5).
    pub rip: u64,
    /// Code segment selector there.
    pub cs: u16,
    /// Privilege level there, 0 to 3.
    pub cpl: u8,
    /// Stack pointer there, gva.
    pub rsp: u64,
    /// The handler's first instruction, gva.
    pub handler: u64,
    /// CR2 for page faults: the gva that could not be accessed.
    pub cr2: Option<u64>,
}

/// What kind of trap it is (SDM vol. 3, 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum TrapClass {
    Fault,
    Trap,
    Abort,
    SoftwareInterrupt,
    SystemCall,
    ExternalInterrupt,
    Nmi,
}

/// A handler returned to where its trap came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrapReturn {
    /// [`Trap::id`].
    pub id: u64,
    /// [`Trap::vector`].
    pub vector: u16,
    /// From the entry of the handler to its return instruction, ns.
    pub duration_ns: u64,
    /// Where it returns to, gva.
    pub rip: u64,
}

/// The field's name for a vector (SDM vol. 3, table 7-1).
#[must_use]
pub const fn vector_name(vector: u16) -> Option<&'static str> {
    Some(match vector {
        0 => "divide-error",
        1 => "debug",
        2 => "nmi",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound-range",
        6 => "invalid-opcode",
        7 => "device-not-available",
        8 => "double-fault",
        10 => "invalid-tss",
        11 => "segment-not-present",
        12 => "stack-segment",
        13 => "general-protection",
        14 => "page-fault",
        16 => "x87",
        17 => "alignment-check",
        18 => "machine-check",
        19 => "simd",
        20 => "virtualization",
        21 => "control-protection",
        VECTOR_SYSCALL => "syscall",
        _ => return None,
    })
}

impl TrapClass {
    /// The class of exception `vector`, 0 to 31; `None` for what the architecture reserves and above.
    #[must_use]
    pub const fn of_exception(vector: u8) -> Option<Self> {
        match vector {
            2 => Some(Self::Nmi),
            1 | 3 | 4 => Some(Self::Trap),
            8 | 18 => Some(Self::Abort),
            0 | 5..=7 | 10..=14 | 16 | 17 | 19..=21 => Some(Self::Fault),
            _ => None,
        }
    }

    /// The name used in reports, filters and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Trap => "trap",
            Self::Abort => "abort",
            Self::SoftwareInterrupt => "software-interrupt",
            Self::SystemCall => "system-call",
            Self::ExternalInterrupt => "external-interrupt",
            Self::Nmi => "nmi",
        }
    }
}

impl Trap {
    /// Whether exception `vector` pushes an error code (SDM vol. 3, 7.13).
    #[must_use]
    pub const fn pushes_error_code(vector: u8) -> bool {
        matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30)
    }
}

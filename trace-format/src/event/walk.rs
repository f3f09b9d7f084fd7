//! Page-table walks.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

/// A guest virtual address was translated, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// Who wanted to know.
    pub cause: WalkCause,
    /// CR3 as the guest set it.
    pub cr3: u64,
    /// How the guest translates.
    pub mode: PagingMode,
    /// The address, gva.
    pub gva: u64,
    /// What was to be done there.
    pub access: Access,
    /// Every entry that was read, from the top.
    pub levels: ArrayVec<Level, 5>,
    /// How it ended.
    pub outcome: WalkOutcome,
}

/// Why a walk was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WalkCause {
    /// The guest took a page fault at `gva`.
    PageFault,
    /// A probe needed the address.
    Probe,
    /// A debugger asked.
    Debugger,
    /// A user asked.
    User,
}

/// Paging modes (SDM vol. 3, 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PagingMode {
    /// CR0.PG is 0: addresses are physical.
    Off,
    /// Two levels of 32-bit entries.
    Bits32,
    /// Three levels of 64-bit entries.
    Pae,
    /// Long mode, 48-bit addresses.
    FourLevel,
    /// Long mode with CR4.LA57, 57-bit addresses.
    FiveLevel,
}

/// A kind of access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// A write.
    pub write: bool,
    /// An instruction fetch.
    pub execute: bool,
    /// With user privilege.
    pub user: bool,
    /// A privileged access that SMAP does not stop: explicit, with RFLAGS.AC set (SDM vol. 3, 5.6.1).
    pub smap_exempt: bool,
}

/// One entry that a walk read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// 5 to 1; 1 is the page table.
    pub level: u8,
    /// gpa of the entry.
    pub entry_gpa: u64,
    /// Its value.
    pub entry: u64,
}

/// How a walk ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WalkOutcome {
    /// The address is mapped and the access allowed.
    #[allow(missing_docs)]
    Mapped {
        gpa: u64,
        /// Bytes: 4 KiB, 2 MiB, 4 MiB or 1 GiB.
        page_size: u64,
        permissions: Permissions,
        host: Option<HostMapping>,
    },
    /// The guest gets a page fault, or would.
    #[allow(missing_docs)]
    Fault {
        /// The level whose entry is at fault, 5 to 1; 0 for an address that is not canonical.
        level: u8,
        reason: WalkFault,
        /// The page fault's error code (SDM vol. 3, 5.7).
        error_code: u32,
    },
}

/// Why an address cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WalkFault {
    /// Bit 0 of the entry is 0.
    NotPresent,
    /// A bit that must be 0 is 1.
    ReservedBit,
    /// Not writable.
    Write,
    /// A supervisor page.
    User,
    /// Not executable (XD).
    Execute,
    /// A privileged fetch from a user page (CR4.SMEP).
    Smep,
    /// A privileged access to a user page (CR4.SMAP).
    Smap,
    /// The address is not canonical.
    NotCanonical,
    /// The entry's own address has no memory behind it.
    NoMemory,
}

/// What all levels of a walk together permit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Permissions {
    pub write: bool,
    pub user: bool,
    pub execute: bool,
    pub accessed: bool,
    pub dirty: bool,
    pub global: bool,
}

/// Where guest physical memory is on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMapping {
    /// Host virtual address in the monitor's process.
    pub hva: u64,
    /// Whether a page is there now, if asked.
    pub resident: Option<bool>,
    /// Host physical frame number, where the kernel tells.
    pub frame: Option<u64>,
}

impl WalkFault {
    /// In words, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotPresent => "not present",
            Self::ReservedBit => "reserved bit set",
            Self::Write => "not writable",
            Self::User => "supervisor only",
            Self::Execute => "not executable",
            Self::Smep => "SMEP",
            Self::Smap => "SMAP",
            Self::NotCanonical => "not canonical",
            Self::NoMemory => "no memory behind the table",
        }
    }
}

impl PagingMode {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Bits32 => "32-bit",
            Self::Pae => "PAE",
            Self::FourLevel => "4-level",
            Self::FiveLevel => "5-level",
        }
    }
}

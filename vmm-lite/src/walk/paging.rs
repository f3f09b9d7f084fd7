//! The control registers that decide how the guest translates.

use trace_format::event::PagingMode;

/// CR0: write protection holds for privileged writes too.
pub const CR0_WP: u64 = 1 << 16;
/// CR0: paging is on.
pub const CR0_PG: u64 = 1 << 31;
/// CR4: 32-bit paging has 4 MiB pages.
pub const CR4_PSE: u64 = 1 << 4;
/// CR4: 64-bit entries.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4: long mode has five levels.
pub const CR4_LA57: u64 = 1 << 12;
/// CR4: privileged code does not execute user pages.
pub const CR4_SMEP: u64 = 1 << 20;
/// CR4: privileged code does not touch user pages while RFLAGS.AC is 0.
pub const CR4_SMAP: u64 = 1 << 21;
/// EFER: long mode is active.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER: bit 63 of an entry forbids execution.
pub const EFER_NXE: u64 = 1 << 11;
/// RFLAGS: alignment check; with SMAP, access to user pages.
pub const RFLAGS_AC: u64 = 1 << 18;

/// What decides how a vCPU translates addresses: its control registers, and what its CPUID offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// CR0.
    pub cr0: u64,
    /// CR3: gpa of the top table, and flags.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// The MSR EFER.
    pub efer: u64,
    /// MAXPHYADDR, the bits of a physical address: `CPUID.80000008H:EAX[7:0]`. Taken as 32 to 52.
    pub physical_bits: u8,
    /// Whether long mode has 1 GiB pages: `CPUID.80000001H:EDX[26]`.
    pub one_gib_pages: bool,
}

/// All registers 0 (paging is off), and the most that the architecture allows.
impl Default for Paging {
    fn default() -> Self {
        Self { cr0: 0, cr3: 0, cr4: 0, efer: 0, physical_bits: 52, one_gib_pages: true }
    }
}

impl Paging {
    /// The paging mode (SDM vol. 3, 5.1.1).
    #[must_use]
    pub const fn mode(&self) -> PagingMode {
        if self.cr0 & CR0_PG == 0 {
            PagingMode::Off
        } else if self.cr4 & CR4_PAE == 0 {
            PagingMode::Bits32
        } else if self.efer & EFER_LMA == 0 {
            PagingMode::Pae
        } else if self.cr4 & CR4_LA57 == 0 {
            PagingMode::FourLevel
        } else {
            PagingMode::FiveLevel
        }
    }
}

//! How the entries of each paging mode are laid out (SDM vol. 3, 5.3 to 5.5).

use trace_format::event::{PagingMode, Permissions};

use super::{CR4_PSE, EFER_NXE, PAGE_SIZE, Paging, PhysicalMemory};

pub(super) const PRESENT: u64 = 1;
pub(super) const WRITABLE: u64 = 1 << 1;
pub(super) const USER: u64 = 1 << 2;
pub(super) const ACCESSED: u64 = 1 << 5;
pub(super) const DIRTY: u64 = 1 << 6;
/// PS: the entry maps a page instead of referring to a table.
pub(super) const LARGE: u64 = 1 << 7;
pub(super) const GLOBAL: u64 = 1 << 8;
/// XD, where EFER.NXE is 1.
pub(super) const NO_EXECUTE: u64 = 1 << 63;

/// The physical address in a 64-bit entry.
const ADDRESS: u64 = bits(12, 51);

/// The rules of one paging mode, with the features that change them.
#[derive(Clone, Copy)]
pub(super) struct Format {
    kind: Kind,
    /// MAXPHYADDR, 32 to 52.
    physical_bits: u8,
    /// What bit 63 means: not to be executed, or reserved.
    no_execute: bool,
    /// 4 MiB pages in 32-bit paging, 1 GiB pages in long mode.
    largest_pages: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bits32,
    Pae,
    /// With so many levels.
    Long(u8),
}

impl Format {
    /// The format that `paging` selects; `None` while paging is off.
    pub(super) fn of(paging: &Paging) -> Option<Self> {
        let kind = match paging.mode() {
            PagingMode::Off => return None,
            PagingMode::Bits32 => Kind::Bits32,
            PagingMode::Pae => Kind::Pae,
            PagingMode::FourLevel => Kind::Long(4),
            PagingMode::FiveLevel => Kind::Long(5),
        };
        Some(Self {
            kind,
            physical_bits: paging.physical_bits.clamp(32, 52),
            no_execute: kind != Kind::Bits32 && paging.efer & EFER_NXE != 0,
            largest_pages: match kind {
                Kind::Bits32 => paging.cr4 & CR4_PSE != 0,
                Kind::Pae => false,
                Kind::Long(_) => paging.one_gib_pages,
            },
        })
    }

    /// The level at which a walk starts.
    pub(super) const fn top(self) -> u8 {
        match self.kind {
            Kind::Bits32 => 2,
            Kind::Pae => 3,
            Kind::Long(levels) => levels,
        }
    }

    /// gpa of the top table. PAE's has four entries and is aligned to their size.
    pub(super) const fn root(self, cr3: u64) -> u64 {
        cr3 & match self.kind {
            Kind::Bits32 => bits(12, 31),
            Kind::Pae => bits(5, 31),
            Kind::Long(_) => ADDRESS,
        }
    }

    /// gpa of the entry for `gva` in the table at `table`.
    pub(super) const fn entry_gpa(self, table: u64, level: u8, gva: u64) -> u64 {
        let index_bits = match self.kind {
            Kind::Bits32 => 10,
            Kind::Pae | Kind::Long(_) => 9,
        };
        // Above PAE's top level `gva` has no bits left, so that its index is below 4.
        let index = (gva >> (12 + index_bits * (level as u32 - 1))) & ((1 << index_bits) - 1);
        table + index * self.entry_bytes()
    }

    /// How many entries a table of `level` has, and how many bytes of addresses each is for.
    pub(super) const fn extent(self, level: u8) -> (u64, u64) {
        match self.kind {
            Kind::Bits32 => (1 << 10, 1 << (12 + 10 * (level as u32 - 1))),
            Kind::Pae if level == 3 => (4, 1 << 30),
            Kind::Pae | Kind::Long(_) => (1 << 9, 1 << (12 + 9 * (level as u32 - 1))),
        }
    }

    /// The entry at `entry_gpa`, if there is memory.
    pub(super) fn read(self, memory: &impl PhysicalMemory, entry_gpa: u64) -> Option<u64> {
        match self.kind {
            Kind::Bits32 => memory.read_u32(entry_gpa).map(u64::from),
            Kind::Pae | Kind::Long(_) => memory.read_u64(entry_gpa),
        }
    }

    /// Bytes of an entry.
    pub(super) const fn entry_bytes(self) -> u64 {
        match self.kind {
            Kind::Bits32 => 4,
            Kind::Pae | Kind::Long(_) => 8,
        }
    }

    /// The entry with this index in the copy of a table; `None` behind its end.
    pub(super) fn entry_of(self, copy: &[u8], index: usize) -> Option<u64> {
        match self.kind {
            Kind::Bits32 => copy.as_chunks().0.get(index).map(|bytes| u32::from_le_bytes(*bytes).into()),
            Kind::Pae | Kind::Long(_) => {
                copy.as_chunks().0.get(index).map(|bytes| u64::from_le_bytes(*bytes))
            }
        }
    }

    /// gpa of the table that `entry` refers to. A 32-bit entry has nothing above.
    pub(super) const fn table(self, entry: u64) -> u64 {
        entry & ADDRESS
    }

    /// The page that `entry` maps, and its size; `None` if the entry refers to a table.
    pub(super) const fn page(self, level: u8, entry: u64) -> Option<(u64, u64)> {
        if level == 1 {
            return Some((entry & ADDRESS, PAGE_SIZE));
        }
        if entry & LARGE == 0 {
            return None;
        }
        let size = match (self.kind, level) {
            (Kind::Bits32, 2) if self.largest_pages => {
                // PSE-36: bits 39:32 of the address are in bits 20:13 of the entry.
                return Some((entry & bits(22, 31) | (entry & bits(13, 20)) << (32 - 13), 4 << 20));
            }
            (Kind::Pae | Kind::Long(_), 2) => 2 << 20,
            (Kind::Long(_), 3) if self.largest_pages => 1 << 30,
            _ => return None,
        };
        Some((entry & ADDRESS & !(size - 1), size))
    }

    /// The bits of a present entry that must be 0.
    pub(super) const fn reserved(self, level: u8, entry: u64) -> u64 {
        let large = entry & LARGE != 0;
        let no_execute = if self.no_execute { 0 } else { NO_EXECUTE };
        match (self.kind, level) {
            (Kind::Bits32, 2) if large && self.largest_pages => {
                let address_bits = if self.physical_bits < 40 { self.physical_bits } else { 40 };
                bits(address_bits - (32 - 13), 21)
            }
            (Kind::Bits32, _) => 0,
            // PAE's top entries have no permissions, not even XD.
            (Kind::Pae, 3) => bits(1, 2) | bits(5, 8) | bits(self.physical_bits, 63),
            (Kind::Pae, _) => {
                let page = if level == 2 && large { bits(13, 20) } else { 0 };
                page | bits(self.physical_bits, 62) | no_execute
            }
            (Kind::Long(_), _) => {
                let page = match level {
                    2 if large => bits(13, 20),
                    3 if large && self.largest_pages => bits(13, 29),
                    3.. => LARGE,
                    _ => 0,
                };
                page | bits(self.physical_bits, 51) | no_execute
            }
        }
    }

    /// Takes from `permissions` what `entry` forbids.
    pub(super) const fn narrow(self, level: u8, entry: u64, permissions: &mut Permissions) {
        if self.has_permissions(level) {
            permissions.write &= entry & WRITABLE != 0;
            permissions.user &= entry & USER != 0;
            permissions.execute &= !self.no_execute || entry & NO_EXECUTE == 0;
        }
    }

    /// Whether entries of `level` say anything about permissions.
    pub(super) const fn has_permissions(self, level: u8) -> bool {
        !(matches!(self.kind, Kind::Pae) && level == 3)
    }
}

/// The bits from `low` to `high`, both included; none if `low` is above `high`.
const fn bits(low: u8, high: u8) -> u64 {
    if low > high { 0 } else { (u64::MAX >> (63 - high)) & (u64::MAX << low) }
}

//! Page-table walks in software: what the guest's tables say about an address, level by level.
//!
//! The walker reads the tables as the processor would (SDM vol. 3, chapter 5) and gives an
//! [`event::Walk`](trace_format::event::Walk): every entry it read, and the physical address with its permissions or
//! the reason and the error code of the page fault. It changes nothing: accessed and dirty bits stay as they are.
//!
//! ```
//! use trace_format::event::{Access, WalkCause, WalkOutcome};
//! use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
//! use vmm_lite::walk::{CR0_PG, Paging};
//!
//! // 32-bit paging: the directory at 0x1000, one table at 0x2000, and gva 0 on the page at 0x3000, read-only.
//! let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x4000)])?;
//! memory.write_obj(0x2003_u32, GuestAddress(0x1000))?;
//! memory.write_obj(0x3001_u32, GuestAddress(0x2000))?;
//! let paging = Paging { cr0: CR0_PG, cr3: 0x1000, ..Paging::default() };
//!
//! assert_eq!(paging.translate(&memory, 0x123), Some(0x3123));
//! let access = Access { write: true, user: true, ..Access::default() };
//! let walk = paging.walk(&memory, 0x123, access, WalkCause::User);
//! assert_eq!(walk.levels[1].entry, 0x3001);
//! assert!(matches!(walk.outcome, WalkOutcome::Fault { level: 2, error_code: 0b111, .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not modelled: protection keys, shadow stacks, linear-address masking, and tables that a hypervisor below encrypts.
//! PAE's four top entries are read from memory at the walk, where Intel's processors take the copies they made when
//! CR3 was loaded (SDM vol. 3, 5.4.1).

mod entry;
mod memory;
mod paging;
mod permission;
mod space;
#[cfg(test)]
mod tests;

pub use memory::PhysicalMemory;
pub use paging::{
    CR0_PG, CR0_WP, CR4_LA57, CR4_PAE, CR4_PSE, CR4_SMAP, CR4_SMEP, EFER_LMA, EFER_NXE, Paging, RFLAGS_AC,
};
pub use permission::access_of_fault;
pub use space::{Space, Stretch};

use arrayvec::ArrayVec;
use trace_format::event::{Access, Level, PagingMode, Permissions, Walk, WalkCause, WalkFault, WalkOutcome};

use entry::Format;

/// Bytes of the smallest page.
pub const PAGE_SIZE: u64 = 4 << 10;

impl Paging {
    /// Translates `gva` for `access`, and tells every step.
    ///
    /// The result's `host` is `None`: this module knows nothing below guest physical memory.
    #[must_use]
    pub fn walk(&self, memory: &impl PhysicalMemory, gva: u64, access: Access, cause: WalkCause) -> Walk {
        let (levels, reached) = self.descend(memory, gva);
        let outcome = match reached.and_then(|leaf| {
            permission::check(self, &levels, leaf.permissions, access)?;
            Ok(leaf)
        }) {
            Ok(leaf) => WalkOutcome::Mapped {
                gpa: leaf.gpa,
                page_size: leaf.page_size,
                permissions: leaf.permissions,
                host: None,
            },
            Err(fault) => WalkOutcome::Fault {
                level: fault.level,
                reason: fault.reason,
                error_code: permission::error_code(self, fault.reason, access),
            },
        };
        Walk { cause, cr3: self.cr3, mode: self.mode(), gva, access, levels, outcome }
    }

    /// The gpa behind `gva`, whatever its permissions: what a debugger wants to know.
    #[must_use]
    pub fn translate(&self, memory: &impl PhysicalMemory, gva: u64) -> Option<u64> {
        self.descend(memory, gva).1.ok().map(|leaf| leaf.gpa)
    }

    /// Where the `length` bytes from `gva` are: runs of (gpa, bytes), none across a page boundary, up to the first page
    /// that is not mapped. Permissions do not matter.
    pub fn runs<'a>(
        &'a self,
        memory: &'a impl PhysicalMemory,
        gva: u64,
        length: usize,
    ) -> impl Iterator<Item = (u64, usize)> + 'a {
        let mut next = (length > 0).then_some((gva, length));
        std::iter::from_fn(move || {
            let (at, left) = next?;
            let gpa = self.translate(memory, at);
            let in_page = (PAGE_SIZE - at % PAGE_SIZE) as usize;
            let here = in_page.min(left);
            next = match (gpa, at.checked_add(here as u64)) {
                (Some(_), Some(after)) if left > here => Some((after, left - here)),
                _ => None,
            };
            Some((gpa?, here))
        })
    }

    /// Reads guest virtual memory for a debugger, whatever its permissions. Returns how many bytes of `buffer` were
    /// filled: fewer than asked for if a page on the way is not mapped or has no memory.
    #[must_use]
    pub fn read(&self, memory: &impl PhysicalMemory, gva: u64, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        for (gpa, length) in self.runs(memory, gva, buffer.len()) {
            let read = buffer.get_mut(done..done + length).and_then(|part| memory.read_bytes(gpa, part));
            if read.is_none() {
                break;
            }
            done += length;
        }
        done
    }

    /// Reads entries from the top until one maps a page or ends the walk.
    fn descend(&self, memory: &impl PhysicalMemory, gva: u64) -> (ArrayVec<Level, 5>, Result<Leaf, Fault>) {
        let mut levels = ArrayVec::new();
        let mode = self.mode();
        if !is_canonical(mode, gva) {
            return (levels, Err(Fault { level: 0, reason: WalkFault::NotCanonical }));
        }
        let Some(format) = Format::of(self) else {
            return (levels, Ok(Leaf::UNPAGED.at(gva)));
        };
        let mut table = format.root(self.cr3);
        let mut permissions =
            Permissions { write: true, user: true, execute: true, ..Permissions::default() };
        let mut level = format.top();
        loop {
            let fault = |reason| Err(Fault { level, reason });
            let entry_gpa = format.entry_gpa(table, level, gva);
            let Some(entry) = format.read(memory, entry_gpa) else {
                return (levels, fault(WalkFault::NoMemory));
            };
            levels.push(Level { level, entry_gpa, entry });
            if entry & entry::PRESENT == 0 {
                return (levels, fault(WalkFault::NotPresent));
            }
            if entry & format.reserved(level, entry) != 0 {
                return (levels, fault(WalkFault::ReservedBit));
            }
            format.narrow(level, entry, &mut permissions);
            // Every entry of level 1 maps a page, so the walk ends there at the latest.
            if let Some((page, page_size)) = format.page(level, entry) {
                permissions.accessed = entry & entry::ACCESSED != 0;
                permissions.dirty = entry & entry::DIRTY != 0;
                permissions.global = entry & entry::GLOBAL != 0;
                let gpa = page | (gva & (page_size - 1));
                return (levels, Ok(Leaf { gpa, page_size, permissions }));
            }
            table = format.table(entry);
            level -= 1;
        }
    }
}

/// A page that a walk reached.
#[derive(Clone, Copy)]
struct Leaf {
    gpa: u64,
    page_size: u64,
    permissions: Permissions,
}

impl Leaf {
    /// What holds for every address while paging is off.
    const UNPAGED: Self = Self {
        gpa: 0,
        page_size: PAGE_SIZE,
        permissions: Permissions {
            write: true,
            user: true,
            execute: true,
            accessed: false,
            dirty: false,
            global: false,
        },
    };

    const fn at(self, gpa: u64) -> Self {
        Self { gpa, ..self }
    }
}

/// Where and why a walk ended.
struct Fault {
    level: u8,
    reason: WalkFault,
}

/// Whether `gva` is an address at all: the upper bits repeat the highest translated one (SDM vol. 1, 3.3.7.1). Outside
/// long mode linear addresses have 32 bits.
const fn is_canonical(mode: PagingMode, gva: u64) -> bool {
    let unused = match mode {
        PagingMode::Off | PagingMode::Bits32 | PagingMode::Pae => return gva >> 32 == 0,
        PagingMode::FourLevel => 64 - 48,
        PagingMode::FiveLevel => 64 - 57,
    };
    ((gva << unused) as i64 >> unused) as u64 == gva
}

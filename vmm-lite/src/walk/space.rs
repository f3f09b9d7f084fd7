//! Everything that an address space maps.

use trace_format::event::{PagingMode, Permissions};

use super::entry::{self, Format};
use super::{Leaf, PAGE_SIZE, Paging, PhysicalMemory};

/// The most stretches that are listed: those of a guest that scatters its pages take memory of the host's.
const MOST_STRETCHES: usize = 1 << 16;

/// A page, or neighbours that are mapped alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where it begins, gva.
    pub gva: u64,
    /// Bytes.
    pub length: u64,
    /// What is behind its beginning, gpa; behind the rest is what follows it.
    pub gpa: u64,
    /// What all levels permit together. Whether pages were accessed or written is not told: it differs from one to the next.
    pub permissions: Permissions,
    /// Bytes of each of its pages.
    pub page_size: u64,
}

/// What an address space maps, in the order of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// gpa of its top table.
    pub table: u64,
    /// Paging is on; otherwise there is no table, and every address is mapped to itself.
    pub paging: bool,
    /// None overlaps another, and no two neighbours could be one.
    pub stretches: Vec<Stretch>,
    /// There is more than was listed: tables are many, refer to themselves, or map page after page differently.
    pub more: bool,
}

impl Paging {
    /// Lists what the tables map, of which at most `most` entries are read, in at most 65536 stretches.
    #[must_use]
    pub fn space(&self, memory: &impl PhysicalMemory, most: usize) -> Space {
        let Some(format) = Format::of(self) else { return Space::default() };
        let all = Permissions { write: true, user: true, execute: true, ..Permissions::default() };
        let mut listing = Listing { format, mode: self.mode(), memory, left: most, space: Space::default() };
        (listing.space.table, listing.space.paging) = (format.root(self.cr3), true);
        listing.table(listing.space.table, format.top(), 0, all);
        listing.space
    }
}

/// A listing that is under way.
struct Listing<'a, M> {
    format: Format,
    mode: PagingMode,
    memory: &'a M,
    /// How many entries may still be read.
    left: usize,
    space: Space,
}

impl<M: PhysicalMemory> Listing<'_, M> {
    /// Lists a table of `level`, whose first entry is for gva `base`. As deep as there are levels, whatever the tables have.
    fn table(&mut self, table: u64, level: u8, base: u64, permissions: Permissions) {
        let (entries, span) = self.format.extent(level);
        // One look-up of where memory is for all entries: one each takes five times as long. Nobody writes tables of a
        // paused guest, so that nothing depends on reading an entry in one access.
        let mut copy = [0; PAGE_SIZE as usize];
        let length = usize::try_from(entries * self.format.entry_bytes()).unwrap_or(0).min(copy.len());
        let copy = &mut copy[..length];
        let whole = self.memory.read_bytes(table, copy).is_some();
        for index in 0..entries {
            let Some(left) = self.left.checked_sub(1) else {
                self.space.more = true;
                return;
            };
            self.left = left;
            let gva = canonical(self.mode, base + index * span);
            let value = if whole {
                usize::try_from(index).ok().and_then(|index| self.format.entry_of(copy, index))
            } else {
                self.format.read(self.memory, self.format.entry_gpa(table, level, gva))
            };
            // A table that reaches out of memory ends there.
            let Some(value) = value else { return };
            if value & entry::PRESENT == 0 || value & self.format.reserved(level, value) != 0 {
                continue;
            }
            let mut permissions = permissions;
            self.format.narrow(level, value, &mut permissions);
            match self.format.page(level, value) {
                Some((gpa, page_size)) => {
                    permissions.global = value & entry::GLOBAL != 0;
                    self.add(gva, Leaf { gpa, page_size, permissions });
                }
                None => self.table(self.format.table(value), level - 1, base + index * span, permissions),
            }
        }
    }

    fn add(&mut self, gva: u64, leaf: Leaf) {
        let Leaf { gpa, page_size, permissions } = leaf;
        if let Some(last) = self.space.stretches.last_mut()
            && last.gva.checked_add(last.length) == Some(gva)
            && last.gpa.checked_add(last.length) == Some(gpa)
            && (last.permissions, last.page_size) == (permissions, page_size)
        {
            last.length += page_size;
            return;
        }
        if self.space.stretches.len() == MOST_STRETCHES {
            // Nothing is read any more.
            (self.space.more, self.left) = (true, 0);
            return;
        }
        self.space.stretches.push(Stretch { gva, length: page_size, gpa, permissions, page_size });
    }
}

/// The upper bits repeat the highest translated one (SDM vol. 1, 3.3.7.1).
const fn canonical(mode: PagingMode, address: u64) -> u64 {
    let unused = match mode {
        PagingMode::Off | PagingMode::Bits32 | PagingMode::Pae => return address,
        PagingMode::FourLevel => 64 - 48,
        PagingMode::FiveLevel => 64 - 57,
    };
    ((address << unused) as i64 >> unused) as u64
}

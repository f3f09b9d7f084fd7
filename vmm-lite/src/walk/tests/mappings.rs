//! Tables built in real guest memory from a list of intended mappings: the walker finds exactly those.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::*;

const MEMORY: usize = 4 << 20;

/// A page to map: what its number and frame mean depends on the mode and the size.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    large: bool,
    number: u64,
    frame: u64,
    write: bool,
    user: bool,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    // Few numbers, so that mappings share tables and lie next to each other.
    let number = prop_oneof![0..8_u64, 0x1f8..0x208_u64, any::<u64>()];
    (any::<bool>(), number, any::<u64>(), any::<bool>(), any::<bool>())
        .prop_map(|(large, number, frame, write, user)| Wanted { large, number, frame, write, user })
}

/// The bits of an address that each level's index takes, from the top.
fn widths(paging: &Paging) -> &'static [u32] {
    match (paging.cr4 & CR4_PAE != 0, paging.efer & EFER_LMA != 0, paging.cr4 & CR4_LA57 != 0) {
        (false, ..) => &[10, 10],
        (true, false, _) => &[2, 9, 9],
        (true, true, false) => &[9, 9, 9, 9],
        (true, true, true) => &[9, 9, 9, 9, 9],
    }
}

struct Mapper {
    memory: GuestMemoryMmap,
    paging: Paging,
    next_table: u64,
}

impl Mapper {
    fn new(paging: Paging) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).expect("memory");
        Self { memory, paging, next_table: 0x2000 }
    }

    /// Maps the page at `gva` unless a mapping is in the way; tells whether it did.
    fn map(&mut self, gva: u64, gpa: u64, page: Wanted) -> bool {
        let widths = widths(&self.paging);
        let entry_bytes = if self.paging.cr4 & CR4_PAE == 0 { 4 } else { 8 };
        let depth = widths.len() - usize::from(page.large);
        let mut shift = 12 + widths.iter().sum::<u32>();
        let mut table = self.paging.cr3;
        for (step, width) in widths.iter().enumerate().take(depth) {
            shift -= width;
            let index = (gva >> shift) & ((1 << width) - 1);
            let at = GuestAddress(table + index * entry_bytes);
            let old: u64 = if entry_bytes == 4 {
                self.memory.read_obj::<u32>(at).expect("a table").into()
            } else {
                self.memory.read_obj(at).expect("a table")
            };
            if step + 1 == depth {
                if old != 0 {
                    return false;
                }
                let flags = 1 | u64::from(page.write) << 1 | u64::from(page.user) << 2;
                self.put(at, entry_bytes, gpa | flags | if page.large { 0x80 } else { 0 });
                return true;
            }
            if old & 0x80 != 0 {
                return false;
            }
            table = old & !0xfff;
            if old == 0 {
                table = self.next_table;
                self.next_table += 0x1000;
                let is_pae_top = widths.len() == 3 && step == 0;
                self.put(at, entry_bytes, table | if is_pae_top { 1 } else { 7 });
            }
        }
        false
    }

    fn put(&self, at: GuestAddress, entry_bytes: u64, entry: u64) {
        if entry_bytes == 4 {
            self.memory.write_obj(entry as u32, at).expect("a table");
        } else {
            self.memory.write_obj(entry, at).expect("a table");
        }
    }
}

fn sign_extend(paging: &Paging, gva: u64) -> u64 {
    let bits = 12 + widths(paging).iter().sum::<u32>();
    if bits == 32 { gva & 0xffff_ffff } else { ((gva << (64 - bits)) as i64 >> (64 - bits)) as u64 }
}

proptest! {
    #[test]
    fn the_walker_finds_what_was_mapped_and_nothing_else(
        paging in prop::sample::select(vec![BITS32, PAE, FOUR_LEVEL, FIVE_LEVEL]),
        pages in prop::collection::vec(wanted(), 1..40),
        elsewhere in prop::collection::vec(any::<u64>(), 20),
    ) {
        let mut mapper = Mapper::new(paging);
        // First gva of a page: its gpa, size and what is allowed.
        let mut expected = BTreeMap::new();
        for page in pages {
            let size: u64 = match (page.large, paging.cr4 & CR4_PAE) {
                (false, _) => 4 << 10,
                (true, 0) => 4 << 20,
                (true, _) => 2 << 20,
            };
            let gva = sign_extend(&paging, page.number.wrapping_mul(size));
            let address_bits = if paging.cr4 & CR4_PAE == 0 { 32 } else { 40 };
            let gpa = page.frame.wrapping_mul(size) & ((1 << address_bits) - 1);
            if mapper.map(gva, gpa, page) {
                expected.insert(gva, (gpa, size, page));
            }
        }

        for (&gva, &(gpa, size, page)) in &expected {
            for offset in [0, 1, size / 2, size - 1] {
                let found = walk(&paging, &mapper.memory, gva + offset, READ);
                let (found_gpa, found_size, permissions) = mapped(&found);
                prop_assert_eq!((found_gpa, found_size), (gpa + offset, size));
                prop_assert_eq!((permissions.write, permissions.user), (page.write, page.user));
            }
            let write = walk(&paging, &mapper.memory, gva, by_user(WRITE));
            prop_assert_eq!(
                matches!(write.outcome, WalkOutcome::Mapped { .. }),
                page.user && page.write
            );
        }
        for gva in elsewhere.into_iter().map(|gva| sign_extend(&paging, gva)) {
            let within = expected
                .range(..=gva)
                .next_back()
                .filter(|&(first, (_, size, _))| gva - first < *size)
                .map(|(first, (gpa, ..))| gpa + (gva - first));
            prop_assert_eq!(paging.translate(&mapper.memory, gva), within);
        }
    }
}

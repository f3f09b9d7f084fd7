//! What an address space maps, against walks of the same tables.

use proptest::prelude::*;

use super::{BITS32, Entries, FIVE_LEVEL, FOUR_LEVEL, PAE, Paging};
use crate::walk::{PAGE_SIZE, PhysicalMemory, Space, Stretch};

const MANY: usize = 1 << 20;

fn ranges(space: &Space) -> Vec<(u64, u64, u64)> {
    space.stretches.iter().map(|stretch| (stretch.gva, stretch.length, stretch.gpa)).collect()
}

/// Memory whose other entries are not present.
struct Zeroed(Entries);

impl PhysicalMemory for Zeroed {
    fn read_u32(&self, gpa: u64) -> Option<u32> {
        Some(self.0.read_u32(gpa).unwrap_or(0))
    }

    fn read_u64(&self, gpa: u64) -> Option<u64> {
        Some(self.0.read_u64(gpa).unwrap_or(0))
    }

    /// As the entries are, of which a mode has one size.
    fn read_bytes(&self, gpa: u64, buffer: &mut [u8]) -> Option<()> {
        for (at, bytes) in (gpa..).step_by(4).zip(buffer.as_chunks_mut().0) {
            // The upper half of a 64-bit entry is not an entry of its own.
            let entry = self.0.0.get(&at).or_else(|| self.0.0.get(&(at & !7)));
            let half = entry.map_or(0, |entry| if self.0.0.contains_key(&at) { *entry } else { entry >> 32 });
            *bytes = (half as u32).to_le_bytes();
        }
        Some(())
    }
}

/// The same where tables cannot be read as a whole.
struct EntryByEntry<'a>(&'a Zeroed);

impl PhysicalMemory for EntryByEntry<'_> {
    fn read_u32(&self, gpa: u64) -> Option<u32> {
        self.0.read_u32(gpa)
    }

    fn read_u64(&self, gpa: u64) -> Option<u64> {
        self.0.read_u64(gpa)
    }

    fn read_bytes(&self, _gpa: u64, _buffer: &mut [u8]) -> Option<()> {
        None
    }
}

#[test]
fn neighbours_alike_are_one_stretch() {
    let memory = Zeroed(Entries::of([
        (0x1000, 0x2007),
        (0x2000, 0x3007),
        (0x3000, 0x4007),
        (0x4000, 0x10_0003),
        (0x4008, 0x10_1003),
        // Another gpa, and another permission.
        (0x4010, 0x10_5003),
        (0x4018, 0x10_6001),
        // A large page.
        (0x3008, 0x20_0083),
        // The highest address.
        (0x1ff8, 0x5003),
        (0x5ff8, 0x4000_0083),
    ]));
    let space = FOUR_LEVEL.space(&memory, MANY);
    assert_eq!(
        ranges(&space),
        [
            (0, 0x2000, 0x10_0000),
            (0x2000, 0x1000, 0x10_5000),
            (0x3000, 0x1000, 0x10_6000),
            (0x20_0000, 0x20_0000, 0x20_0000),
            (0xffff_ffff_c000_0000, 0x4000_0000, 0x4000_0000),
        ]
    );
    assert!(!space.more && space.stretches[0].permissions.write && !space.stretches[2].permissions.write);
}

#[test]
fn tables_that_refer_to_themselves_end() {
    let memory = Zeroed(Entries::of([(0x1000, 0x1003), (0x1ff8, 0x1003)]));
    let space = FIVE_LEVEL.space(&memory, MANY);
    // Each of five levels has two entries that go on, and all end as pages.
    assert_eq!(space.stretches.iter().map(|stretch| stretch.length / PAGE_SIZE).sum::<u64>(), 32);
    assert!(!space.more);
    let space = FIVE_LEVEL.space(&memory, 5000);
    assert!(space.more && !space.stretches.is_empty());
}

#[test]
fn pages_that_are_scattered_are_not_listed_without_end() {
    // One table, each page of which is elsewhere, behind every entry of two levels.
    let scattered = (0..512).map(|n| (0x4000 + 8 * n, 0x10_0003 + 0x2000 * n));
    let above = (0..512).flat_map(|n| [(0x2000 + 8 * n, 0x3003), (0x3000 + 8 * n, 0x4003)]);
    let memory = Zeroed(Entries(scattered.chain(above).chain([(0x1000, 0x2003)]).collect()));
    let space = FOUR_LEVEL.space(&memory, MANY);
    assert_eq!((space.stretches.len(), space.more), (1 << 16, true));
    assert_eq!(ranges(&space)[513], (0x20_1000, 0x1000, 0x10_2000));
}

#[test]
fn paging_that_is_off_has_no_tables() {
    assert_eq!(Paging::default().space(&Entries::default(), MANY), Space::default());
}

proptest! {
    /// Whatever is in a few tables: what is listed is what walks find.
    #[test]
    fn it_maps_what_walks_find(
        entries in prop::collection::vec((0_u64..6, 0_u64..1024, any::<u8>(), 0_u64..6), 0..60),
        mode in 0_usize..4,
    ) {
        let paging = [BITS32, PAE, FOUR_LEVEL, FIVE_LEVEL][mode];
        let mut memory = Entries::default();
        let size = if mode == 0 { 4 } else { 8 };
        for (table, index, flags, to) in entries {
            let gpa = 0x1000 * (1 + table) + size * (index % (0x1000 / size));
            // Mostly present; the page-size bit now and then.
            memory.0.insert(gpa, (0x1000 * (1 + to)) | u64::from(flags & 0x87) | u64::from(flags & 3 != 3));
        }
        let memory = Zeroed(memory);
        let space = paging.space(&memory, 1 << 15);
        prop_assert_eq!(&paging.space(&EntryByEntry(&memory), 1 << 15), &space);
        prop_assume!(!space.more);
        for Stretch { gva, length, gpa, page_size, permissions } in &space.stretches {
            for offset in [0, length / 2 / page_size * page_size, length - 1] {
                prop_assert_eq!(paging.translate(&memory, gva + offset), Some(gpa + offset));
            }
            let walk = super::walk(&paging, &memory, *gva, super::READ);
            if let trace_format::event::WalkOutcome::Mapped { page_size: size, permissions: found, .. } = walk.outcome {
                prop_assert_eq!((size, found.write, found.user, found.execute),
                    (*page_size, permissions.write, permissions.user, permissions.execute));
            }
        }
        for pair in space.stretches.windows(2) {
            let end = pair[0].gva + pair[0].length;
            prop_assert!(end <= pair[1].gva);
            // What lies between is not mapped.
            if end < pair[1].gva && pair[1].gva - end < 1 << 40 {
                prop_assert_eq!(paging.translate(&memory, end), None);
                prop_assert_eq!(paging.translate(&memory, pair[1].gva - 1), None);
            }
        }
    }
}

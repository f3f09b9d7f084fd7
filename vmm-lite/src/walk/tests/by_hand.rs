//! One small set of tables a test, with every number written out.

use trace_format::event::{PagingMode, WalkFault};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::super::{CR4_SMAP, CR4_SMEP, RFLAGS_AC, access_of_fault};
use super::*;

const NX: u64 = 1 << 63;

#[test]
fn without_paging_an_address_is_physical() {
    let paging = Paging { cr0: 0, ..FOUR_LEVEL };
    let walk = walk(&paging, &Entries::default(), 0xfee0_0123, by_user(WRITE));
    assert_eq!(walk.mode, PagingMode::Off);
    assert!(walk.levels.is_empty());
    assert_eq!(mapped(&walk).0, 0xfee0_0123);
    assert_eq!(paging.translate(&Entries::default(), 1 << 32), None);
}

#[test]
fn four_levels_to_4_kib() {
    let gva = 0xffff << 48 | 0x101 << 39 | 0x102 << 30 | 0x103 << 21 | 0x104 << 12 | 0x567;
    let memory =
        Entries::of([(0x1808, 0x2027), (0x2810, 0x3007), (0x3818, 0x4007), (0x4820, 0xab_cdef_0163 | NX)]);
    let walk = walk(&FOUR_LEVEL, &memory, gva, WRITE);
    assert_eq!(walk.mode, PagingMode::FourLevel);
    assert_eq!(
        levels(&walk),
        [(4, 0x1808, 0x2027), (3, 0x2810, 0x3007), (2, 0x3818, 0x4007), (1, 0x4820, 0xab_cdef_0163 | NX)]
    );
    let all =
        Permissions { write: true, user: false, execute: false, accessed: true, dirty: true, global: true };
    assert_eq!(mapped(&walk), (0xab_cdef_0567, 4 << 10, all));
}

#[test]
fn four_levels_to_2_mib_and_1_gib() {
    let memory = Entries::of([(0x1000, 0x2007), (0x2000, 0x3007), (0x3008, 0x34_5600_00e7)]);
    let (gpa, size, page) = mapped(&walk(&FOUR_LEVEL, &memory, 0x2f_edcb, by_user(FETCH)));
    assert_eq!((gpa, size), (0x34_560f_edcb, 2 << 20));
    assert!(page.user && page.execute && page.dirty && !page.global);

    let memory = Entries::of([(0x1000, 0x2003), (0x2008, 0x8000_0083)]);
    assert_eq!(mapped(&walk(&FOUR_LEVEL, &memory, 0x7fff_ffff, READ)).0, 0xbfff_ffff);
    assert_eq!(mapped(&walk(&FOUR_LEVEL, &memory, 0x7fff_ffff, READ)).1, 1 << 30);
    // Bit 12 of a large page's entry is PAT, no part of the address.
    let memory = Entries::of([(0x1000, 0x2003), (0x2008, 0x8000_1083)]);
    assert_eq!(mapped(&walk(&FOUR_LEVEL, &memory, 0x4000_0000, READ)).0, 0x8000_0000);
}

#[test]
fn one_gib_pages_where_there_are_none_are_a_reserved_bit() {
    let paging = Paging { one_gib_pages: false, ..FOUR_LEVEL };
    let memory = Entries::of([(0x1000, 0x2003), (0x2000, 0x8000_0083)]);
    assert_eq!(fault(&walk(&paging, &memory, 0, WRITE)), (3, WalkFault::ReservedBit, 0b01011));
}

#[test]
fn five_levels() {
    let memory = Entries::of([
        (0x1ff8, 0x2007),
        (0x2000, 0x3007),
        (0x3000, 0x4007),
        (0x4000, 0x5007),
        (0x5000, 0x9007),
    ]);
    let gva = 0xffff_0000_0000_0042;
    let walk = walk(&FIVE_LEVEL, &memory, gva, by_user(READ));
    assert_eq!(walk.mode, PagingMode::FiveLevel);
    assert_eq!(walk.levels.len(), 5);
    assert_eq!(levels(&walk)[0], (5, 0x1ff8, 0x2007));
    assert_eq!(mapped(&walk).0, 0x9042);
    // The same address does not exist with four levels.
    assert_eq!(
        fault(&super::walk(&FOUR_LEVEL, &memory, gva, by_user(READ))),
        (0, WalkFault::NotCanonical, 0)
    );
    assert_eq!(fault(&super::walk(&FIVE_LEVEL, &memory, 1 << 56, READ)).1, WalkFault::NotCanonical);
}

#[test]
fn pae() {
    // CR3 is aligned to 32 bytes only. Top index 3, directory index 5, table index 7.
    let paging = Paging { cr3: 0x1020, ..PAE };
    let memory = Entries::of([(0x1038, 0x2001), (0x2028, 0x3007), (0x3038, 0xf_0000_4007)]);
    let walk = walk(&paging, &memory, 0xc0a0_7abc, by_user(WRITE));
    assert_eq!(walk.mode, PagingMode::Pae);
    assert_eq!(levels(&walk)[0], (3, 0x1038, 0x2001));
    assert_eq!((mapped(&walk).0, mapped(&walk).1), (0xf_0000_4abc, 4 << 10));
    // The top entry's lack of R/W and U/S bits means nothing, but they are reserved, and so is XD.
    for entry in [0x2003, 0x2005, 0x2021, 0x2081, 0x2101, 0x2001 | NX, 0x2001 | 1 << 40] {
        let memory = Entries::of([(0x1038, entry), (0x2028, 0x3007), (0x3038, 0x4007)]);
        assert_eq!(
            fault(&super::walk(&paging, &memory, 0xc0a0_7abc, READ)),
            (3, WalkFault::ReservedBit, 0b1001),
            "{entry:#x}"
        );
    }
    // 2 MiB pages do not ask for CR4.PSE.
    let memory = Entries::of([(0x1020, 0x2001), (0x2008, 0x60_0083)]);
    assert_eq!(mapped(&super::walk(&paging, &memory, 0x20_0001, READ)).0, 0x60_0001);
    assert_eq!(fault(&super::walk(&paging, &memory, 1 << 32, READ)).1, WalkFault::NotCanonical);
}

#[test]
fn thirty_two_bits() {
    // Directory index 0x301, table index 0x302.
    let memory = Entries::of([(0x1c04, 0x2007), (0x2c08, 0xffff_f067)]);
    let walk = walk(&BITS32, &memory, 0xc070_2fff, by_user(WRITE));
    assert_eq!(walk.mode, PagingMode::Bits32);
    assert_eq!(levels(&walk), [(2, 0x1c04, 0x2007), (1, 0x2c08, 0xffff_f067)]);
    let (gpa, size, page) = mapped(&walk);
    assert_eq!((gpa, size), (0xffff_ffff, 4 << 10));
    assert!(page.execute, "there is no XD bit");
}

#[test]
fn four_mib_pages() {
    let memory = Entries::of([(0x1c04, 0x0100_0083)]);
    assert_eq!(mapped(&walk(&BITS32, &memory, 0xc071_2345, READ)).0, 0x0131_2345);
    assert_eq!(mapped(&walk(&BITS32, &memory, 0xc071_2345, READ)).1, 4 << 20);
    // PSE-36: bits 20:13 are bits 39:32 of the address.
    let memory = Entries::of([(0x1c04, 0x0100_0083 | 0xab << 13)]);
    assert_eq!(mapped(&walk(&BITS32, &memory, 0xc071_2345, READ)).0, 0xab_0131_2345);
    // With 36 address bits only four of them may be used; bit 21 never.
    let narrow = Paging { physical_bits: 36, ..BITS32 };
    assert_eq!(fault(&walk(&narrow, &memory, 0xc071_2345, READ)), (2, WalkFault::ReservedBit, 0b1001));
    let memory = Entries::of([(0x1c04, 0x0120_0083)]);
    assert_eq!(fault(&walk(&BITS32, &memory, 0xc071_2345, READ)).1, WalkFault::ReservedBit);
    // Without CR4.PSE the bit means nothing: the entry refers to a table.
    let plain = Paging { cr4: 0, ..BITS32 };
    let memory = Entries::of([(0x1c04, 0x2083), (0x2c48, 0x5003)]);
    assert_eq!(mapped(&walk(&plain, &memory, 0xc071_2345, READ)).0, 0x5345);
}

#[test]
fn not_present_wins_over_reserved_bits_and_ends_the_walk() {
    let memory = Entries::of([(0x1000, 0x2007), (0x2000, !1)]);
    let walk = walk(&FOUR_LEVEL, &memory, 0, by_user(WRITE));
    assert_eq!(fault(&walk), (3, WalkFault::NotPresent, 0b00110));
    assert_eq!(walk.levels.len(), 2);
}

#[test]
fn reserved_bits_of_long_mode() {
    let to_page = |levels: [u64; 4]| {
        Entries::of([(0x1000, levels[0]), (0x2000, levels[1]), (0x3000, levels[2]), (0x4000, levels[3])])
    };
    let fine = [0x2007, 0x3007, 0x4007, 0x5007];
    for (level, bad) in [(4, 1 << 7), (4, 1 << 40), (3, 1 << 51), (2, 1 << 40), (1, 1 << 45)] {
        let mut entries = fine;
        entries[4 - usize::from(level)] |= bad;
        assert_eq!(
            fault(&walk(&FOUR_LEVEL, &to_page(entries), 0, FETCH)),
            (level, WalkFault::ReservedBit, 0b11001),
            "{bad:#x}"
        );
    }
    // Bits 62:52 are the guest's own, and bit 7 of a level-1 entry is PAT.
    let free = fine.map(|entry| entry | 0x7ff << 52 | 1 << 11);
    assert_eq!(
        mapped(&walk(&FOUR_LEVEL, &to_page([free[0], free[1], free[2], free[3] | 0x80]), 0, READ)).0,
        0x5000
    );
    // A 2 MiB page at an address that is not a multiple of 2 MiB.
    let memory = Entries::of([(0x1000, 0x2007), (0x2000, 0x3007), (0x3000, 0x2087)]);
    assert_eq!(fault(&walk(&FOUR_LEVEL, &memory, 0, READ)), (2, WalkFault::ReservedBit, 0b01001));
    // Without EFER.NXE there is no XD, and no fetch bit in the error code.
    let old = Paging { efer: EFER_LMA, ..FOUR_LEVEL };
    let memory = to_page([0x2007, 0x3007, 0x4007, 0x5007 | NX]);
    assert_eq!(fault(&walk(&old, &memory, 0, FETCH)), (1, WalkFault::ReservedBit, 0b01001));
}

#[test]
fn a_table_outside_memory() {
    let memory = Entries::of([(0x1000, 0x7f_ffff_f007)]);
    let walk = walk(&FOUR_LEVEL, &memory, 0, WRITE);
    assert_eq!(fault(&walk), (3, WalkFault::NoMemory, 0));
    assert_eq!(walk.levels.len(), 1);
}

#[test]
fn the_level_that_forbids_is_named() {
    let tables = |top: u64, third: u64, second: u64, page: u64| {
        Entries::of([(0x1000, top), (0x2000, third), (0x3000, second), (0x4000, page)])
    };
    let supervisor = tables(0x2007, 0x3003, 0x4007, 0x5003);
    assert_eq!(fault(&walk(&FOUR_LEVEL, &supervisor, 0, by_user(READ))), (3, WalkFault::User, 0b00101));
    let read_only = tables(0x2007, 0x3007, 0x4005, 0x5005);
    assert_eq!(fault(&walk(&FOUR_LEVEL, &read_only, 0, by_user(WRITE))), (2, WalkFault::Write, 0b00111));
    assert_eq!(fault(&walk(&FOUR_LEVEL, &read_only, 0, WRITE)), (2, WalkFault::Write, 0b00011));
    let no_execute = tables(0x2007 | NX, 0x3007, 0x4007, 0x5007 | NX);
    assert_eq!(fault(&walk(&FOUR_LEVEL, &no_execute, 0, by_user(FETCH))), (4, WalkFault::Execute, 0b10101));
    // A debugger does not care.
    assert_eq!(FOUR_LEVEL.translate(&supervisor, 0x12), Some(0x5012));
}

#[test]
fn privileged_writes_ignore_read_only_pages_without_wp() {
    let memory = Entries::of([(0x1000, 0x2005), (0x2000, 0x3005)]);
    let paging = Paging { cr0: CR0_PG, ..BITS32 };
    let (_, _, page) = mapped(&walk(&paging, &memory, 0, WRITE));
    assert!(!page.write);
    assert_eq!(fault(&walk(&paging, &memory, 0, by_user(WRITE))), (2, WalkFault::Write, 0b0111));
}

#[test]
fn smep_and_smap() {
    let user = Entries::of([(0x1000, 0x2007), (0x2000, 0x3007)]);
    let supervisor = Entries::of([(0x1000, 0x2007), (0x2000, 0x3003)]);
    let smep = Paging { cr4: CR4_SMEP, ..BITS32 };
    assert_eq!(fault(&walk(&smep, &user, 0, FETCH)), (1, WalkFault::Smep, 0b10001));
    assert_eq!(mapped(&walk(&smep, &supervisor, 0, FETCH)).0, 0x3000);
    assert_eq!(mapped(&walk(&smep, &user, 0, by_user(FETCH))).0, 0x3000);
    assert_eq!(mapped(&walk(&smep, &user, 0, WRITE)).0, 0x3000);

    let smap = Paging { cr4: CR4_SMAP, ..BITS32 };
    assert_eq!(fault(&walk(&smap, &user, 0, READ)), (1, WalkFault::Smap, 0b00001));
    assert_eq!(fault(&walk(&smap, &user, 0, WRITE)), (1, WalkFault::Smap, 0b00011));
    assert_eq!(mapped(&walk(&smap, &user, 0, Access { smap_exempt: true, ..WRITE })).0, 0x3000);
    assert_eq!(mapped(&walk(&smap, &user, 0, FETCH)).0, 0x3000);
    assert_eq!(mapped(&walk(&smap, &supervisor, 0, READ)).0, 0x3000);
}

#[test]
fn the_access_behind_a_page_fault() {
    assert_eq!(access_of_fault(0b00111, 3, RFLAGS_AC), by_user(WRITE));
    assert_eq!(access_of_fault(0b10000, 0, 0), FETCH);
    assert_eq!(access_of_fault(0b00010, 0, RFLAGS_AC), Access { smap_exempt: true, ..WRITE });
    // User code ran, but the access was the processor's own.
    assert_eq!(access_of_fault(0b00000, 3, RFLAGS_AC), READ);
}

#[test]
fn bytes_across_pages() {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x8000)]).expect("32 KiB of memory");
    let put = |gpa, entry: u32| memory.write_obj(entry, GuestAddress(gpa)).expect("inside");
    // gva 0 to 0x2fff: pages 0x5000, 0x3000, and one outside memory; nothing after.
    put(0x1000, 0x2003);
    put(0x2000, 0x5001);
    put(0x2004, 0x3001);
    put(0x2008, 0x9_0001);
    memory.write_slice(b"page ", GuestAddress(0x5ffb)).expect("inside");
    memory.write_slice(b"boundary", GuestAddress(0x3000)).expect("inside");

    let mut buffer = [0; 13];
    assert_eq!(BITS32.read(&memory, 0xffb, &mut buffer), 13);
    assert_eq!(&buffer, b"page boundary");
    assert_eq!(BITS32.runs(&memory, 0xffb, 13).collect::<Vec<_>>(), [(0x5ffb, 5), (0x3000, 8)]);
    assert_eq!(BITS32.runs(&memory, 0x1000, 0x1000).collect::<Vec<_>>(), [(0x3000, 0x1000)]);
    assert_eq!(BITS32.runs(&memory, 0x1000, 0).count(), 0);

    let mut large = [0; 0x4000];
    assert_eq!(BITS32.read(&memory, 1, &mut large), 0x1fff, "the third page has no memory");
    assert_eq!(BITS32.runs(&memory, 0x2fff, 2).collect::<Vec<_>>(), [(0x9_0fff, 1)]);
    assert_eq!(FOUR_LEVEL.read(&memory, u64::MAX, &mut large), 0);
}

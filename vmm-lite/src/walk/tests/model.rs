//! A second walker, slow and literal: it knows each kind of entry as a picture of its 64 bits, after the figures and
//! tables of SDM vol. 3, 5.3 to 5.5, and decides by enumeration.

use super::super::{CR4_SMAP, CR4_SMEP};
use super::*;

/// What the model says of an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// gpa, page size, and R/W, U/S and "may be executed" of all levels.
    Mapped(u64, u64, [bool; 3]),
    /// Level and error code of the page fault.
    PageFault(u8, u32),
    /// Not an address.
    NoAddress,
    /// The entry at this level has no memory behind it.
    NoMemory(u8),
}

/// Runs of bits from 63 down. `0` must be zero, `A` is address (zero from MAXPHYADDR on), `X` is XD (zero without
/// NXE), `.` is anything else.
type Picture = &'static [(char, u32)];

const LONG_TABLE: Picture = &[('X', 1), ('.', 11), ('A', 40), ('.', 12)];
const LONG_TABLE_NEVER_PAGE: Picture = &[('X', 1), ('.', 11), ('A', 40), ('.', 4), ('0', 1), ('.', 7)];
const LONG_1_GIB: Picture = &[('X', 1), ('.', 11), ('A', 22), ('0', 17), ('.', 13)];
const LONG_2_MIB: Picture = &[('X', 1), ('.', 11), ('A', 31), ('0', 8), ('.', 13)];
const PAE_TOP: Picture = &[('A', 52), ('.', 3), ('0', 4), ('.', 2), ('0', 2), ('.', 1)];
const PAE_TABLE: Picture = &[('X', 1), ('A', 51), ('.', 12)];
const PAE_2_MIB: Picture = &[('X', 1), ('A', 42), ('0', 8), ('.', 13)];
const BITS32_ANY: Picture = &[('.', 64)];

fn must_be_zero(picture: Picture, paging: &Paging) -> u64 {
    let mut zero = 0;
    let mut bit = 64;
    for &(kind, count) in picture {
        for _ in 0..count {
            bit -= 1;
            let is_zero = match kind {
                '0' => true,
                'A' => bit >= u32::from(paging.physical_bits),
                'X' => paging.efer & EFER_NXE == 0,
                _ => false,
            };
            zero |= u64::from(is_zero) << bit;
        }
    }
    assert_eq!(bit, 0);
    zero
}

/// One step of a walk: which bits of the gva select the entry, and what the entry may be.
struct Step {
    level: u8,
    shift: u32,
    index_mask: u64,
    table: Option<Picture>,
    /// If the entry is a page: what it looks like. Level 1 is always a page, the others if bit 7 is set.
    page: Option<Picture>,
}

pub(super) fn model(paging: &Paging, memory: &impl PhysicalMemory, gva: u64, access: Access) -> Verdict {
    let cr0_pg = paging.cr0 & CR0_PG != 0;
    let pae = paging.cr4 & CR4_PAE != 0;
    let long = pae && paging.efer & EFER_LMA != 0;
    let five = long && paging.cr4 & CR4_LA57 != 0;
    if !cr0_pg {
        return if gva <= 0xffff_ffff { Verdict::Mapped(gva, 4096, [true; 3]) } else { Verdict::NoAddress };
    }
    let canonical = match (long, five) {
        (false, _) => gva <= 0xffff_ffff,
        (true, false) => gva <= 0x7fff_ffff_ffff || gva >= 0xffff_8000_0000_0000,
        (true, true) => gva <= 0xff_ffff_ffff_ffff || gva >= 0xff00_0000_0000_0000,
    };
    if !canonical {
        return Verdict::NoAddress;
    }

    let step = |level, shift, index_mask, table, page| Step { level, shift, index_mask, table, page };
    let gib = paging.one_gib_pages;
    let steps = if !pae {
        let page = (paging.cr4 & CR4_PSE != 0).then_some(BITS32_ANY);
        vec![step(2, 22, 0x3ff, Some(BITS32_ANY), page), step(1, 12, 0x3ff, None, Some(BITS32_ANY))]
    } else if !long {
        vec![
            step(3, 30, 3, Some(PAE_TOP), None),
            step(2, 21, 0x1ff, Some(PAE_TABLE), Some(PAE_2_MIB)),
            step(1, 12, 0x1ff, None, Some(PAE_TABLE)),
        ]
    } else {
        let third = if gib { (LONG_TABLE, Some(LONG_1_GIB)) } else { (LONG_TABLE_NEVER_PAGE, None) };
        let mut steps = vec![
            step(5, 48, 0x1ff, Some(LONG_TABLE_NEVER_PAGE), None),
            step(4, 39, 0x1ff, Some(LONG_TABLE_NEVER_PAGE), None),
            step(3, 30, 0x1ff, Some(third.0), third.1),
            step(2, 21, 0x1ff, Some(LONG_TABLE), Some(LONG_2_MIB)),
            step(1, 12, 0x1ff, None, Some(LONG_TABLE)),
        ];
        if !five {
            steps.remove(0);
        }
        steps
    };

    let fetch_is_told = (pae && paging.efer & EFER_NXE != 0) || paging.cr4 & CR4_SMEP != 0;
    let code = |present: u32, reserved: u32| {
        present
            + 2 * u32::from(access.write)
            + 4 * u32::from(access.user)
            + 8 * reserved
            + 16 * u32::from(access.execute && fetch_is_told)
    };

    let (mut writable, mut user, mut executable) = (true, true, true);
    // The first level that clears each of them.
    let (mut no_write_at, mut no_user_at, mut no_execute_at) = (0, 0, 0);
    let mut table = if !pae {
        paging.cr3 & 0xffff_f000
    } else if !long {
        paging.cr3 & 0xffff_ffe0
    } else {
        paging.cr3 & 0x000f_ffff_ffff_f000
    };
    for Step { level, shift, index_mask, table: table_picture, page } in steps {
        let index = (gva >> shift) & index_mask;
        let entry = if pae {
            memory.read_u64(table + 8 * index)
        } else {
            memory.read_u32(table + 4 * index).map(u64::from)
        };
        let Some(entry) = entry else { return Verdict::NoMemory(level) };
        if entry % 2 == 0 {
            return Verdict::PageFault(level, code(0, 0));
        }
        let is_page = level == 1 || (page.is_some() && entry & 0x80 != 0);
        let picture = if is_page { page } else { table_picture }.expect("each step has one of the two");
        if entry & must_be_zero(picture, paging) != 0 {
            return Verdict::PageFault(level, code(1, 1));
        }
        if !pae && is_page && level == 2 {
            // Bit 21, and what bits 20:13 say beyond the physical address.
            let high = (entry >> 13) & 0xff;
            let allowed = 1_u64 << (u32::from(paging.physical_bits).clamp(32, 40) - 32);
            if entry & (1 << 21) != 0 || high >= allowed {
                return Verdict::PageFault(level, code(1, 1));
            }
        }
        if pae && !long && level == 3 {
            table = entry & 0x000f_ffff_ffff_f000;
            continue;
        }
        if entry & 2 == 0 && writable {
            (writable, no_write_at) = (false, level);
        }
        if entry & 4 == 0 && user {
            (user, no_user_at) = (false, level);
        }
        if pae && entry >> 63 == 1 && executable {
            (executable, no_execute_at) = (false, level);
        }
        if !is_page {
            table = entry & 0x000f_ffff_ffff_f000;
            continue;
        }

        // The table of who may do what.
        let wp = paging.cr0 & CR0_WP != 0;
        let smep = paging.cr4 & CR4_SMEP != 0;
        let smap = paging.cr4 & CR4_SMAP != 0 && !access.smap_exempt;
        let refused_at = match (access.user, user) {
            (true, false) => Some(no_user_at),
            (false, true) if access.execute && smep => Some(level),
            (false, true) if !access.execute && smap => Some(level),
            (true, _) if access.write && !writable => Some(no_write_at),
            (false, _) if access.write && wp && !writable => Some(no_write_at),
            _ if access.execute && !executable => Some(no_execute_at),
            _ => None,
        };
        if let Some(at) = refused_at {
            return Verdict::PageFault(at, code(1, 0));
        }
        let size = 1_u64 << shift;
        let mut base = (entry & 0x000f_ffff_ffff_f000) / size * size;
        if !pae && level == 2 {
            base += ((entry >> 13) & 0xff) << 32;
        }
        return Verdict::Mapped(base + gva % size, size, [writable, user, executable]);
    }
    unreachable!("level 1 maps a page");
}

//! Hand-built tables for each mode, and comparison with a second model.

mod against_model;
mod by_hand;
mod mappings;
mod model;
mod space;

use std::collections::HashMap;

use trace_format::event::{Access, Level, Permissions, Walk, WalkCause, WalkFault, WalkOutcome};

use super::{CR0_PG, CR0_WP, CR4_LA57, CR4_PAE, CR4_PSE, EFER_LMA, EFER_NXE, Paging, PhysicalMemory};

/// Memory with just the entries that a test put there.
#[derive(Default)]
struct Entries(HashMap<u64, u64>);

impl Entries {
    fn of<const N: usize>(entries: [(u64, u64); N]) -> Self {
        Self(entries.into())
    }
}

impl PhysicalMemory for Entries {
    fn read_u32(&self, gpa: u64) -> Option<u32> {
        self.0.get(&gpa).and_then(|&entry| u32::try_from(entry).ok())
    }

    fn read_u64(&self, gpa: u64) -> Option<u64> {
        self.0.get(&gpa).copied()
    }

    fn read_bytes(&self, _gpa: u64, _buffer: &mut [u8]) -> Option<()> {
        None
    }
}

const READ: Access = Access { write: false, execute: false, user: false, smap_exempt: false };
const WRITE: Access = Access { write: true, ..READ };
const FETCH: Access = Access { execute: true, ..READ };

const fn by_user(access: Access) -> Access {
    Access { user: true, ..access }
}

/// Paging on with CR0.WP and the top table at 0x1000, in each mode; XD where there is one.
const BITS32: Paging = Paging {
    cr0: CR0_PG | CR0_WP,
    cr3: 0x1000,
    cr4: CR4_PSE,
    efer: 0,
    physical_bits: 40,
    one_gib_pages: true,
};
const PAE: Paging = Paging { cr4: CR4_PAE, efer: EFER_NXE, ..BITS32 };
const FOUR_LEVEL: Paging = Paging { efer: EFER_NXE | EFER_LMA, ..PAE };
const FIVE_LEVEL: Paging = Paging { cr4: CR4_PAE | CR4_LA57, ..FOUR_LEVEL };

fn walk(paging: &Paging, memory: &impl PhysicalMemory, gva: u64, access: Access) -> Walk {
    paging.walk(memory, gva, access, WalkCause::User)
}

/// The gpa, page size and permissions of a walk that must succeed.
#[track_caller]
fn mapped(walk: &Walk) -> (u64, u64, Permissions) {
    match walk.outcome {
        WalkOutcome::Mapped { gpa, page_size, permissions, host: None } => (gpa, page_size, permissions),
        ref other => panic!("{other:?}"),
    }
}

/// The level, reason and error code of a walk that must fail.
#[track_caller]
fn fault(walk: &Walk) -> (u8, WalkFault, u32) {
    match walk.outcome {
        WalkOutcome::Fault { level, reason, error_code } => (level, reason, error_code),
        ref other => panic!("{other:?}"),
    }
}

fn levels(walk: &Walk) -> Vec<(u8, u64, u64)> {
    walk.levels.iter().map(|&Level { level, entry_gpa, entry }| (level, entry_gpa, entry)).collect()
}

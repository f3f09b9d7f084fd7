//! Who may do what with a page (SDM vol. 3, 5.6), and what a page fault tells about it (5.7).

use trace_format::event::{Access, Level, Permissions, WalkFault};

use super::entry::{Format, NO_EXECUTE, USER, WRITABLE};
use super::{CR0_WP, CR4_PAE, CR4_SMAP, CR4_SMEP, EFER_NXE, Fault, Paging, RFLAGS_AC};

const ERROR_PRESENT: u32 = 1 << 0;
const ERROR_WRITE: u32 = 1 << 1;
const ERROR_USER: u32 = 1 << 2;
const ERROR_RESERVED: u32 = 1 << 3;
const ERROR_FETCH: u32 = 1 << 4;

/// The access that caused a page fault with `error_code` in code that ran at privilege level `cpl` with `rflags`.
///
/// Where a processor does not tell fetches from reads (neither XD nor SMEP is on), a fetch shows as a read.
#[must_use]
pub const fn access_of_fault(error_code: u32, cpl: u8, rflags: u64) -> Access {
    let user = error_code & ERROR_USER != 0;
    Access {
        write: error_code & ERROR_WRITE != 0,
        execute: error_code & ERROR_FETCH != 0,
        user,
        // A privileged access on behalf of user code is implicit (say, of the TSS): SMAP stops it whatever AC is.
        smap_exempt: !user && cpl < 3 && rflags & RFLAGS_AC != 0,
    }
}

/// Whether `access` is allowed to a page that `levels` map with `permissions`.
pub(super) fn check(
    paging: &Paging,
    levels: &[Level],
    permissions: Permissions,
    access: Access,
) -> Result<(), Fault> {
    let Some(format) = Format::of(paging) else {
        return Ok(());
    };
    let Some(reason) = forbidden(paging, permissions, access) else {
        return Ok(());
    };
    let culprit = |forbids: &dyn Fn(u64) -> bool| {
        levels.iter().find(|l| format.has_permissions(l.level) && forbids(l.entry))
    };
    let level = match reason {
        WalkFault::User => culprit(&|entry| entry & USER == 0),
        WalkFault::Write => culprit(&|entry| entry & WRITABLE == 0),
        WalkFault::Execute => culprit(&|entry| entry & NO_EXECUTE != 0),
        // It takes every level to make a user page: name the last.
        _ => None,
    }
    .or(levels.last());
    Err(Fault { level: level.map_or(0, |l| l.level), reason })
}

fn forbidden(paging: &Paging, page: Permissions, access: Access) -> Option<WalkFault> {
    if access.user {
        if !page.user {
            return Some(WalkFault::User);
        }
    } else if page.user {
        if access.execute {
            if paging.cr4 & CR4_SMEP != 0 {
                return Some(WalkFault::Smep);
            }
        } else if paging.cr4 & CR4_SMAP != 0 && !access.smap_exempt {
            return Some(WalkFault::Smap);
        }
    }
    let write_protected = !page.write && (access.user || paging.cr0 & CR0_WP != 0);
    if access.write && write_protected {
        return Some(WalkFault::Write);
    }
    (access.execute && !page.execute).then_some(WalkFault::Execute)
}

/// The page fault's error code. It is 0 for what is no page fault: an address that is not canonical is a general
/// protection or stack fault, and a table without memory a matter for the hypervisor.
pub(super) const fn error_code(paging: &Paging, reason: WalkFault, access: Access) -> u32 {
    let mut code = match reason {
        WalkFault::NotCanonical | WalkFault::NoMemory => return 0,
        WalkFault::NotPresent => 0,
        WalkFault::ReservedBit => ERROR_PRESENT | ERROR_RESERVED,
        WalkFault::Write | WalkFault::User | WalkFault::Execute | WalkFault::Smep | WalkFault::Smap => {
            ERROR_PRESENT
        }
    };
    if access.write {
        code |= ERROR_WRITE;
    }
    if access.user {
        code |= ERROR_USER;
    }
    let has_no_execute = paging.cr4 & CR4_PAE != 0 && paging.efer & EFER_NXE != 0;
    if access.execute && (has_no_execute || paging.cr4 & CR4_SMEP != 0) {
        code |= ERROR_FETCH;
    }
    code
}

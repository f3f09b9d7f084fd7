//! Page-table walks. Where each entry lies follows from the address and the entry above, and is stored as a
//! difference from that: nearly always 0.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use super::code::Code;
use super::{Encoded, Encoder, Malformed, delta, take, undelta};
use crate::event::{
    Access, HostMapping, Level, PagingMode, Payload, Permissions, Walk, WalkCause, WalkFault, WalkOutcome,
};

/// Bits 12 to 51 of an entry of 64 bits (SDM vol. 3, table 5-20).
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

#[derive(Default)]
pub(super) struct Deltas {
    cr3: u64,
    gva: u64,
    /// The last entry at each level, modulo 8.
    entries: [u64; 8],
    /// Of the last mapped page: hva minus gpa.
    host: u64,
    frame: u64,
}

#[derive(Serialize)]
struct Head {
    cause: u8,
    mode: u8,
    cr3: i64,
    gva: i64,
    /// [`access_bits`].
    access: u8,
    levels: u8,
}

#[derive(Serialize)]
struct Step {
    level: u8,
    /// From [`Place::predict`].
    entry_gpa: i64,
    /// From the last entry at this level.
    entry: i64,
}

#[derive(Serialize)]
struct Outcome {
    /// 0 mapped, 1 fault.
    fault: u8,
}

#[derive(Serialize, Deserialize)]
struct Mapped {
    /// From where the last entry points, with the address's offset in the page.
    gpa: i64,
    page_size: u64,
    /// [`permission_bits`].
    permissions: u8,
    host: Option<Host>,
}

#[derive(Serialize, Deserialize)]
struct Host {
    hva: i64,
    resident: Option<bool>,
    frame: Option<i64>,
}

#[derive(Serialize)]
struct Fault {
    level: u8,
    reason: u8,
    error_code: u32,
}

quick! {
    Head { cause: byte, mode: byte, cr3: signed, gva: signed, access: byte, levels: byte }
    Step { level: byte, entry_gpa: signed, entry: signed }
    Outcome { fault: byte }
    Fault { level: byte, reason: byte, error_code: number }
}

/// Where a walk's entries are to be expected.
struct Place {
    mode: u8,
    gva: u64,
    /// The table that the entry above points to.
    table: u64,
}

impl Place {
    const fn new(mode: u8, gva: u64, cr3: u64) -> Self {
        // PAE's top table is aligned to 32 bytes, all others to 4 KiB (SDM vol. 3, 5.4.1).
        let table = if mode == 2 { cr3 & 0xffff_ffe0 } else { cr3 & ADDRESS };
        Self { mode, gva, table }
    }

    /// The gpa of the entry at `level`.
    fn predict(&self, level: u8) -> u64 {
        let up = u32::from(level.saturating_sub(1));
        let (width, size) = if self.mode == 1 { (10, 4) } else { (9, 8) };
        let index = self.gva.checked_shr(12 + width * up).unwrap_or(0) & ((1 << width) - 1);
        let index = if self.mode == 2 && level == 3 { index & 3 } else { index };
        self.table.wrapping_add(index * size)
    }

    const fn descend(&mut self, entry: u64) {
        self.table = entry & ADDRESS;
    }

    /// The gpa of the address in a page of `page_size` bytes.
    const fn page(&self, page_size: u64) -> u64 {
        let offset = page_size.wrapping_sub(1);
        self.table & !offset | self.gva & offset
    }
}

pub(super) fn encode(walk: &Walk, deltas: &mut Deltas, e: &mut Encoder) -> Encoded {
    let mode = walk.mode.code();
    e.put(&Head {
        cause: walk.cause.code(),
        mode,
        cr3: delta(walk.cr3, &mut deltas.cr3),
        gva: delta(walk.gva, &mut deltas.gva),
        access: access_bits(walk.access),
        levels: walk.levels.len() as u8,
    })?;
    let mut place = Place::new(mode, walk.gva, walk.cr3);
    for level in &walk.levels {
        e.put(&Step {
            level: level.level,
            entry_gpa: level.entry_gpa.wrapping_sub(place.predict(level.level)) as i64,
            entry: delta(level.entry, &mut deltas.entries[usize::from(level.level % 8)]),
        })?;
        place.descend(level.entry);
    }
    match &walk.outcome {
        WalkOutcome::Mapped { gpa, page_size, permissions, host } => {
            e.put(&Outcome { fault: 0 })?;
            e.put(&Mapped {
                gpa: gpa.wrapping_sub(place.page(*page_size)) as i64,
                page_size: *page_size,
                permissions: permission_bits(*permissions),
                host: host.map(|host| Host {
                    hva: delta(host.hva.wrapping_sub(*gpa), &mut deltas.host),
                    resident: host.resident,
                    frame: host.frame.map(|frame| delta(frame, &mut deltas.frame)),
                }),
            })
        }
        WalkOutcome::Fault { level, reason, error_code } => {
            e.put(&Outcome { fault: 1 })?;
            e.put(&Fault { level: *level, reason: reason.code(), error_code: *error_code })
        }
    }
}

/// Decodes a walk into `out`; false, and `out` as it was, for one that this version does not know.
pub(super) fn decode(mut bytes: &[u8], deltas: &mut Deltas, out: &mut Payload) -> Result<bool, Malformed> {
    let bytes = &mut bytes;
    let head = Head::take(bytes)?;
    let cr3 = undelta(head.cr3, &mut deltas.cr3);
    let gva = undelta(head.gva, &mut deltas.gva);
    let mut place = Place::new(head.mode, gva, cr3);
    let mut levels = ArrayVec::new();
    for _ in 0..head.levels {
        let step = Step::take(bytes)?;
        let entry_gpa = place.predict(step.level).wrapping_add(step.entry_gpa as u64);
        let entry = undelta(step.entry, &mut deltas.entries[usize::from(step.level % 8)]);
        place.descend(entry);
        levels
            .try_push(Level { level: step.level, entry_gpa, entry })
            .map_err(|_| Malformed("walk of more than five levels"))?;
    }
    let outcome = Outcome::take(bytes)?;
    let outcome = match outcome.fault {
        0 => {
            let v: Mapped = take(bytes)?;
            let gpa = place.page(v.page_size).wrapping_add(v.gpa as u64);
            let host = v.host.map(|host| HostMapping {
                hva: undelta(host.hva, &mut deltas.host).wrapping_add(gpa),
                resident: host.resident,
                frame: host.frame.map(|frame| undelta(frame, &mut deltas.frame)),
            });
            let permissions = permissions_of(v.permissions);
            Some(WalkOutcome::Mapped { gpa, page_size: v.page_size, permissions, host })
        }
        1 => {
            let v = Fault::take(bytes)?;
            let (level, error_code) = (v.level, v.error_code);
            WalkFault::from_code(v.reason).map(|reason| WalkOutcome::Fault { level, reason, error_code })
        }
        _ => None,
    };
    let (Some(cause), Some(mode), Some(outcome)) =
        (WalkCause::from_code(head.cause), PagingMode::from_code(head.mode), outcome)
    else {
        return Ok(false);
    };
    *out = Payload::Walk(Walk { cause, cr3, mode, gva, access: access_of(head.access), levels, outcome });
    Ok(true)
}

fn access_bits(access: Access) -> u8 {
    bits([access.write, access.execute, access.user, access.smap_exempt, false, false])
}

fn access_of(bits: u8) -> Access {
    let [write, execute, user, smap_exempt, _, _] = flags(bits);
    Access { write, execute, user, smap_exempt }
}

fn permission_bits(p: Permissions) -> u8 {
    bits([p.write, p.user, p.execute, p.accessed, p.dirty, p.global])
}

fn permissions_of(bits: u8) -> Permissions {
    let [write, user, execute, accessed, dirty, global] = flags(bits);
    Permissions { write, user, execute, accessed, dirty, global }
}

fn bits(flags: [bool; 6]) -> u8 {
    flags.into_iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(flag))
}

fn flags(bits: u8) -> [bool; 6] {
    std::array::from_fn(|n| bits >> n & 1 != 0)
}

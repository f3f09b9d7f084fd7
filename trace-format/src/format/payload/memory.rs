//! Address spaces, page-table writes, reclaimed memory.

use serde::{Deserialize, Serialize};

use super::{Encoded, Encoder, Malformed, delta, take, undelta};
use crate::event::{AddressSpace, PageTableWrite, Reclaim, Refault};

#[derive(Default)]
pub(super) struct Deltas {
    cr3: u64,
    table: u64,
    entry: u64,
    gva: u64,
    /// The end of the last range that was reclaimed or brought back.
    range: u64,
}

/// A change of CR3: `old` is almost always what the last one made `new`.
#[derive(Serialize, Deserialize)]
struct Space {
    old: i64,
    /// From `old`.
    new: i64,
}

#[derive(Serialize, Deserialize)]
struct Write {
    table: i64,
    level: u8,
    /// From `table`.
    entry_gpa: i64,
    old: u64,
    /// From the last entry written.
    new: i64,
    gva: i64,
}

#[derive(Serialize, Deserialize)]
struct Range {
    gpa: i64,
    length: u64,
}

pub(super) fn encode_space(space: &AddressSpace, deltas: &mut Deltas, e: &mut Encoder) -> Encoded {
    e.put(&Space { old: delta(space.old, &mut deltas.cr3), new: delta(space.new, &mut deltas.cr3) })
}

pub(super) fn decode_space(mut bytes: &[u8], deltas: &mut Deltas) -> Result<AddressSpace, Malformed> {
    let v: Space = take(&mut bytes)?;
    Ok(AddressSpace { old: undelta(v.old, &mut deltas.cr3), new: undelta(v.new, &mut deltas.cr3) })
}

pub(super) fn encode_write(write: &PageTableWrite, deltas: &mut Deltas, e: &mut Encoder) -> Encoded {
    e.put(&Write {
        table: delta(write.table, &mut deltas.table),
        level: write.level,
        entry_gpa: write.entry_gpa.wrapping_sub(write.table) as i64,
        old: write.old,
        new: delta(write.new, &mut deltas.entry),
        gva: delta(write.gva, &mut deltas.gva),
    })
}

pub(super) fn decode_write(mut bytes: &[u8], deltas: &mut Deltas) -> Result<PageTableWrite, Malformed> {
    let v: Write = take(&mut bytes)?;
    let table = undelta(v.table, &mut deltas.table);
    Ok(PageTableWrite {
        table,
        level: v.level,
        entry_gpa: table.wrapping_add(v.entry_gpa as u64),
        old: v.old,
        new: undelta(v.new, &mut deltas.entry),
        gva: undelta(v.gva, &mut deltas.gva),
    })
}

pub(super) fn encode_range(gpa: u64, length: u64, deltas: &mut Deltas, e: &mut Encoder) -> Encoded {
    let difference = delta(gpa, &mut deltas.range);
    deltas.range = gpa.wrapping_add(length);
    e.put(&Range { gpa: difference, length })
}

pub(super) fn decode_reclaim(bytes: &[u8], cost_ns: u64, deltas: &mut Deltas) -> Result<Reclaim, Malformed> {
    let (gpa, length) = decode_range(bytes, deltas)?;
    Ok(Reclaim { gpa, length, cost_ns })
}

pub(super) fn decode_refault(bytes: &[u8], cost_ns: u64, deltas: &mut Deltas) -> Result<Refault, Malformed> {
    let (gpa, length) = decode_range(bytes, deltas)?;
    Ok(Refault { gpa, length, cost_ns })
}

fn decode_range(mut bytes: &[u8], deltas: &mut Deltas) -> Result<(u64, u64), Malformed> {
    let v: Range = take(&mut bytes)?;
    let gpa = undelta(v.gpa, &mut deltas.range);
    deltas.range = gpa.wrapping_add(v.length);
    Ok((gpa, v.length))
}

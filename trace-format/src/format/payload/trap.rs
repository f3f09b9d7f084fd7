//! Traps and their returns.

use serde::Serialize;

use super::code::Code;
use super::{Encoded, Encoder, Malformed, delta, undelta};
use crate::event::{Payload, Trap, TrapClass, TrapReturn};

/// Traps of one vector on one vCPU resemble each other.
#[derive(Clone, Copy, Default)]
struct Last {
    rip: u64,
    rsp: u64,
    handler: u64,
    cr2: u64,
    code: u64,
    returns_to: u64,
}

/// State for each vector modulo 32, which keeps exceptions apart.
#[derive(Default)]
pub(super) struct Deltas {
    id: u64,
    vectors: [Last; 32],
}

#[derive(Serialize)]
struct Entry {
    /// From the id of the last trap or return.
    id: i64,
    vector: u16,
    shared_by: u16,
    class: u8,
    code: Option<i64>,
    rip: i64,
    cs: u16,
    cpl: u8,
    rsp: i64,
    handler: i64,
    cr2: Option<i64>,
}

#[derive(Serialize)]
struct Return {
    id: i64,
    vector: u16,
    rip: i64,
}

quick! {
    Entry {
        id: signed, vector: number, shared_by: number, class: byte, code: maybe_signed, rip: signed, cs: number,
        cpl: byte, rsp: signed, handler: signed, cr2: maybe_signed
    }
    Return { id: signed, vector: number, rip: signed }
}

pub(super) fn encode(trap: &Trap, deltas: &mut Deltas, e: &mut Encoder) -> Encoded {
    let last = &mut deltas.vectors[usize::from(trap.vector % 32)];
    e.put(&Entry {
        id: delta(trap.id, &mut deltas.id),
        vector: trap.vector,
        shared_by: trap.shared_by,
        class: trap.class.code(),
        code: trap.code.map(|code| delta(code, &mut last.code)),
        rip: delta(trap.rip, &mut last.rip),
        cs: trap.cs,
        cpl: trap.cpl,
        rsp: delta(trap.rsp, &mut last.rsp),
        handler: delta(trap.handler, &mut last.handler),
        cr2: trap.cr2.map(|cr2| delta(cr2, &mut last.cr2)),
    })
}

/// Decodes a trap into `out`; false, and `out` as it was, for one that this version does not know.
pub(super) fn decode(mut bytes: &[u8], deltas: &mut Deltas, out: &mut Payload) -> Result<bool, Malformed> {
    let v = Entry::take(&mut bytes)?;
    let last = &mut deltas.vectors[usize::from(v.vector % 32)];
    let id = undelta(v.id, &mut deltas.id);
    let code = v.code.map(|code| undelta(code, &mut last.code));
    let rip = undelta(v.rip, &mut last.rip);
    let rsp = undelta(v.rsp, &mut last.rsp);
    let handler = undelta(v.handler, &mut last.handler);
    let cr2 = v.cr2.map(|cr2| undelta(cr2, &mut last.cr2));
    let Some(class) = TrapClass::from_code(v.class) else { return Ok(false) };
    let Entry { vector, shared_by, cs, cpl, .. } = v;
    *out = Payload::Trap(Trap { id, vector, shared_by, class, code, rip, cs, cpl, rsp, handler, cr2 });
    Ok(true)
}

pub(super) fn encode_return(back: &TrapReturn, deltas: &mut Deltas, e: &mut Encoder) -> Encoded {
    let last = &mut deltas.vectors[usize::from(back.vector % 32)];
    e.put(&Return {
        id: delta(back.id, &mut deltas.id),
        vector: back.vector,
        rip: delta(back.rip, &mut last.returns_to),
    })
}

pub(super) fn decode_return(
    mut bytes: &[u8],
    duration_ns: u64,
    deltas: &mut Deltas,
) -> Result<TrapReturn, Malformed> {
    let v = Return::take(&mut bytes)?;
    let last = &mut deltas.vectors[usize::from(v.vector % 32)];
    Ok(TrapReturn {
        id: undelta(v.id, &mut deltas.id),
        vector: v.vector,
        duration_ns,
        rip: undelta(v.rip, &mut last.returns_to),
    })
}

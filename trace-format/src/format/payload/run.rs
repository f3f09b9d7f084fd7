//! The run itself, what the guest says, and what debuggers do.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use super::code::Code;
use super::{Encoded, Encoder, Malformed, delta, take, undelta};
use crate::event::{
    Actor, Counter, Data, Debugger, Fixup, FixupKind, Lost, LostReason, Marker, Mnemonic, Output, ResetBy,
    Slide, StopReason, Text, VcpuState,
};

#[derive(Serialize, Deserialize)]
struct Bytes<'a> {
    /// Offset of data, port of output.
    at: u32,
    bytes: &'a [u8],
}

/// A state, why, and the exit status, actor or way of a reset that belongs to it; 0 where there is none.
#[derive(Serialize, Deserialize)]
struct State {
    state: u8,
    why: u8,
    detail: u32,
}

mod state {
    pub(super) const CREATED: u8 = 0;
    pub(super) const WAITING_FOR_SIPI: u8 = 1;
    pub(super) const RUNNING: u8 = 2;
    pub(super) const HALTED: u8 = 3;
    pub(super) const PAUSED: u8 = 4;
    pub(super) const STOPPED: u8 = 5;
    pub(super) const RESET: u8 = 6;
}

mod why {
    pub(super) const GUEST_EXIT: u8 = 0;
    pub(super) const RESET: u8 = 1;
    pub(super) const TRIPLE_FAULT: u8 = 2;
    pub(super) const DEADLOCK: u8 = 3;
    pub(super) const HOST_ERROR: u8 = 4;
    pub(super) const TIMEOUT: u8 = 5;
    pub(super) const ENDED: u8 = 6;
    pub(super) const POWER_OFF: u8 = 7;
}

#[derive(Serialize, Deserialize)]
struct Mark<'a> {
    by_guest: bool,
    text: &'a str,
    value: u64,
}

#[derive(Serialize, Deserialize)]
struct Count<'a> {
    name: &'a str,
    value: u64,
}

#[derive(Serialize, Deserialize)]
struct Debugged {
    what: u8,
    by: u8,
    /// Where: from the address of the last debugger or fix-up event; 0 where there is none.
    address: i64,
    /// Where to, from `address`; 0 where there is none.
    to: i64,
}

mod what {
    pub(super) const ATTACHED: u8 = 0;
    pub(super) const BREAKPOINT_HIT: u8 = 1;
    pub(super) const STEPPED: u8 = 2;
    pub(super) const DETACHED: u8 = 3;
    pub(super) const WRITE_WATCHED: u8 = 4;
    pub(super) const ACCESS_WATCHED: u8 = 5;
    pub(super) const MATCHED: u8 = 6;
}

#[derive(Serialize, Deserialize)]
struct Fixed {
    kind: u8,
    rip: i64,
}

#[derive(Serialize, Deserialize)]
struct Losses {
    count: u64,
    reason: u8,
}

pub(super) fn encode_data(data: &Data, e: &mut Encoder) -> Encoded {
    e.put(&Bytes { at: data.offset, bytes: &data.bytes })
}

pub(super) fn decode_data(mut bytes: &[u8]) -> Result<Option<Data>, Malformed> {
    let v: Bytes<'_> = take(&mut bytes)?;
    Ok(ArrayVec::try_from(v.bytes).ok().map(|bytes| Data { offset: v.at, bytes }))
}

pub(super) fn encode_console(output: &Output, e: &mut Encoder) -> Encoded {
    e.put(&Bytes { at: output.port, bytes: &output.bytes })
}

pub(super) fn decode_console(mut bytes: &[u8]) -> Result<Option<Output>, Malformed> {
    let v: Bytes<'_> = take(&mut bytes)?;
    Ok(ArrayVec::try_from(v.bytes).ok().map(|bytes| Output { port: v.at, bytes }))
}

pub(super) fn encode_state(state: &VcpuState, e: &mut Encoder) -> Encoded {
    let (state, why, detail) = match state {
        VcpuState::Created => (state::CREATED, 0, 0),
        VcpuState::WaitingForSipi => (state::WAITING_FOR_SIPI, 0, 0),
        VcpuState::Running => (state::RUNNING, 0, 0),
        VcpuState::Halted => (state::HALTED, 0, 0),
        VcpuState::Paused { by } => (state::PAUSED, 0, by.code().into()),
        VcpuState::Reset { by } => (state::RESET, 0, by.code().into()),
        VcpuState::Stopped { why } => {
            let (why, detail) = match *why {
                StopReason::GuestExit { status } => (why::GUEST_EXIT, status),
                StopReason::Reset { by } => (why::RESET, by.code().into()),
                StopReason::PowerOff => (why::POWER_OFF, 0),
                StopReason::TripleFault => (why::TRIPLE_FAULT, 0),
                StopReason::Deadlock => (why::DEADLOCK, 0),
                StopReason::HostError => (why::HOST_ERROR, 0),
                StopReason::Timeout => (why::TIMEOUT, 0),
                StopReason::Ended { by } => (why::ENDED, by.code().into()),
            };
            (state::STOPPED, why, detail)
        }
    };
    e.put(&State { state, why, detail })
}

pub(super) fn decode_state(mut bytes: &[u8]) -> Result<Option<VcpuState>, Malformed> {
    let v: State = take(&mut bytes)?;
    let detail = u8::try_from(v.detail).ok();
    let actor = detail.and_then(Actor::from_code);
    Ok(match v.state {
        state::CREATED => Some(VcpuState::Created),
        state::WAITING_FOR_SIPI => Some(VcpuState::WaitingForSipi),
        state::RUNNING => Some(VcpuState::Running),
        state::HALTED => Some(VcpuState::Halted),
        state::PAUSED => actor.map(|by| VcpuState::Paused { by }),
        state::RESET => actor.map(|by| VcpuState::Reset { by }),
        state::STOPPED => match v.why {
            why::GUEST_EXIT => Some(StopReason::GuestExit { status: v.detail }),
            why::RESET => detail.and_then(ResetBy::from_code).map(|by| StopReason::Reset { by }),
            why::POWER_OFF => Some(StopReason::PowerOff),
            why::TRIPLE_FAULT => Some(StopReason::TripleFault),
            why::DEADLOCK => Some(StopReason::Deadlock),
            why::HOST_ERROR => Some(StopReason::HostError),
            why::TIMEOUT => Some(StopReason::Timeout),
            why::ENDED => actor.map(|by| StopReason::Ended { by }),
            _ => None,
        }
        .map(|why| VcpuState::Stopped { why }),
        _ => None,
    })
}

pub(super) fn encode_marker(marker: &Marker, e: &mut Encoder) -> Encoded {
    e.put(&Mark { by_guest: marker.by_guest, text: &marker.text, value: marker.value })
}

pub(super) fn decode_marker(mut bytes: &[u8]) -> Result<Option<Marker>, Malformed> {
    let v: Mark<'_> = take(&mut bytes)?;
    Ok(Text::from(v.text).ok().map(|text| Marker { by_guest: v.by_guest, text, value: v.value }))
}

pub(super) fn encode_counter(counter: &Counter, e: &mut Encoder) -> Encoded {
    e.put(&Count { name: &counter.name, value: counter.value })
}

pub(super) fn decode_counter(mut bytes: &[u8]) -> Result<Option<Counter>, Malformed> {
    let v: Count<'_> = take(&mut bytes)?;
    Ok(Text::from(v.name).ok().map(|name| Counter { name, value: v.value }))
}

pub(super) fn encode_debugger(debugger: &Debugger, last: &mut u64, e: &mut Encoder) -> Encoded {
    let (what, by, address, to) = match *debugger {
        Debugger::Attached { by } => (what::ATTACHED, by, 0, 0),
        Debugger::BreakpointHit { by, address } => (what::BREAKPOINT_HIT, by, delta(address, last), 0),
        Debugger::Stepped { by, from, to } => (what::STEPPED, by, delta(from, last), delta(to, last)),
        Debugger::Detached { by } => (what::DETACHED, by, 0, 0),
        Debugger::WatchpointHit { by, address, any, rip } => {
            let what = if any { what::ACCESS_WATCHED } else { what::WRITE_WATCHED };
            (what, by, delta(address, last), delta(rip, last))
        }
        Debugger::Matched { by } => (what::MATCHED, by, 0, 0),
    };
    e.put(&Debugged { what, by: by.code(), address, to })
}

pub(super) fn decode_debugger(mut bytes: &[u8], last: &mut u64) -> Result<Option<Debugger>, Malformed> {
    let v: Debugged = take(&mut bytes)?;
    let address = undelta(v.address, last);
    let to = undelta(v.to, last);
    let Some(by) = Actor::from_code(v.by) else { return Ok(None) };
    Ok(match v.what {
        what::ATTACHED => Some(Debugger::Attached { by }),
        what::BREAKPOINT_HIT => Some(Debugger::BreakpointHit { by, address }),
        what::STEPPED => Some(Debugger::Stepped { by, from: address, to }),
        what::DETACHED => Some(Debugger::Detached { by }),
        what::WRITE_WATCHED => Some(Debugger::WatchpointHit { by, address, any: false, rip: to }),
        what::ACCESS_WATCHED => Some(Debugger::WatchpointHit { by, address, any: true, rip: to }),
        what::MATCHED => Some(Debugger::Matched { by }),
        _ => None,
    })
}

pub(super) fn encode_fixup(fixup: &Fixup, last: &mut u64, e: &mut Encoder) -> Encoded {
    e.put(&Fixed { kind: fixup.kind.code(), rip: delta(fixup.rip, last) })?;
    // Left out where there is none, as in traces of before there was one.
    if fixup.mnemonic.is_empty() { Ok(()) } else { e.put(&fixup.mnemonic.as_str()) }
}

pub(super) fn decode_fixup(mut bytes: &[u8], last: &mut u64) -> Result<Option<Fixup>, Malformed> {
    let v: Fixed = take(&mut bytes)?;
    let rip = undelta(v.rip, last);
    let mnemonic = if bytes.is_empty() { "" } else { take(&mut bytes)? };
    let (Some(kind), Ok(mnemonic)) = (FixupKind::from_code(v.kind), Mnemonic::from(mnemonic)) else {
        return Ok(None);
    };
    Ok(Some(Fixup { kind, rip, mnemonic }))
}

pub(super) fn encode_lost(lost: &Lost, e: &mut Encoder) -> Encoded {
    e.put(&Losses { count: lost.count, reason: lost.reason.code() })
}

pub(super) fn decode_lost(mut bytes: &[u8]) -> Result<Option<Lost>, Malformed> {
    let v: Losses = take(&mut bytes)?;
    Ok(LostReason::from_code(v.reason).map(|reason| Lost { count: v.count, reason }))
}

pub(super) fn encode_slide(slide: &Slide, e: &mut Encoder) -> Encoded {
    e.put(&slide.slide)
}

pub(super) fn decode_slide(mut bytes: &[u8]) -> Result<Slide, Malformed> {
    Ok(Slide { slide: take(&mut bytes)? })
}

//! Where a vCPU was when it made an event.

use trace_format::event::{Debugger, Payload};

/// The address of the code that an event is about, gva: what exited, trapped, was stepped to; `None` where the event
/// tells none.
#[must_use]
pub const fn rip(payload: &Payload) -> Option<u64> {
    Some(match payload {
        Payload::Exit(exit) => exit.rip,
        Payload::Trap(trap) => trap.rip,
        Payload::TrapReturn(back) => back.rip,
        Payload::Fixup(fixup) => fixup.rip,
        Payload::Registers(registers) => registers.rip,
        Payload::Debugger(
            Debugger::Stepped { to: rip, .. }
            | Debugger::BreakpointHit { address: rip, .. }
            | Debugger::WatchpointHit { rip, .. },
        ) => *rip,
        _ => return None,
    })
}

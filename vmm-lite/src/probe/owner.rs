//! Who wants breakpoints.

use trace_format::event::Actor;

/// Each vCPU for its own handlers, and those who control the guest. What they want by any means
/// and what must be in a breakpoint register are two things, which may be at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Vcpu(u8),
    User,
    UserInRegisters,
    Gdb,
    GdbInRegisters,
}

impl Owner {
    /// GDB, or any other who controls the guest: by any means, and watchpoints.
    pub(crate) const fn of(actor: Actor) -> Self {
        match actor {
            Actor::Gdb => Self::Gdb,
            _ => Self::User,
        }
    }

    /// The same in breakpoint registers only.
    pub(crate) const fn in_registers(actor: Actor) -> Self {
        match actor {
            Actor::Gdb => Self::GdbInRegisters,
            _ => Self::UserInRegisters,
        }
    }
}

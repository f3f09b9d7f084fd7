//! Numbers for the event model's small enumerations, as they are in files.

use crate::event::{
    Actor, DeliveryMode, FixupKind, Isa, LostReason, PagingMode, ResetBy, Shorthand, TrapClass, WalkCause,
    WalkFault,
};

/// An enumeration with a number for each variant that never changes.
pub(super) trait Code: Sized {
    fn code(self) -> u8;
    /// `None` for a number of a later version.
    fn from_code(code: u8) -> Option<Self>;
}

macro_rules! codes {
    ($($name:ident { $($variant:ident = $code:literal),* $(,)? })*) => {$(
        impl Code for $name {
            #[inline]
            fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            #[inline]
            fn from_code(code: u8) -> Option<Self> {
                Some(match code {
                    $($code => Self::$variant,)*
                    _ => return None,
                })
            }
        }
    )*};
}

codes! {
    Actor { User = 0, Gdb = 1, CommandLine = 2, Signal = 3, Monitor = 4 }
    DeliveryMode {
        Fixed = 0, LowestPriority = 1, Smi = 2, Reserved = 3, Nmi = 4, Init = 5, StartUp = 6, InitDeassert = 7,
    }
    FixupKind { Syscall = 0, Breakpoint = 1, Instruction = 2 }
    Isa { Vmx = 0, Svm = 1 }
    LostReason { RingFull = 0, Damage = 1 }
    PagingMode { Off = 0, Bits32 = 1, Pae = 2, FourLevel = 3, FiveLevel = 4 }
    // 0 is what traces of before the others had.
    ResetBy {
        Unknown = 0, KeyboardController = 1, FastReset = 2, ResetControl = 3, Acpi = 4, Hypervisor = 5,
    }
    Shorthand { None = 0, SelfOnly = 1, AllIncludingSelf = 2, AllExcludingSelf = 3 }
    TrapClass {
        Fault = 0, Trap = 1, Abort = 2, SoftwareInterrupt = 3, SystemCall = 4, ExternalInterrupt = 5, Nmi = 6,
    }
    WalkCause { PageFault = 0, Probe = 1, Debugger = 2, User = 3 }
    WalkFault {
        NotPresent = 0, ReservedBit = 1, Write = 2, User = 3, Execute = 4, Smep = 5, Smap = 6, NotCanonical = 7,
        NoMemory = 8,
    }
}

//! The event model: everything the monitor can tell about a running guest.
//!
//! Events are plain values of fixed size without heap memory, because the vCPU threads make them while the guest
//! waits. Fields give what was observed, in hardware's own terms; names and symbols are added by readers.

mod console;
mod exit;
mod hardware;
mod interrupt;
mod memory;
mod registers;
mod run;
mod screen;
mod slide;
mod trap;
mod walk;

pub use console::{Counter, Marker, Output, Text};
pub use exit::{Data, Exit, ExitReason, FOREIGN_EXITS, MsrDirection};
pub(crate) use hardware::reasons;
pub use hardware::{Hardware, Isa};
pub use interrupt::{DeliveryMode, Ipi, IpiAccepted, IpiEoi, Irq, IrqEoi, IrqSource, Shorthand};
pub use memory::{AddressSpace, PageTableWrite, Reclaim, Refault};
pub use registers::Registers;
pub use run::{
    Actor, Debugger, Fixup, FixupKind, Lost, LostReason, Mnemonic, ResetBy, StopReason, VcpuState,
};
pub use screen::Screen;
pub use slide::{KERNEL_BASE, Slide};
pub use trap::{Trap, TrapClass, TrapReturn, VECTOR_SYSCALL, vector_name};
pub use walk::{
    Access, HostMapping, Level, PagingMode, Permissions, Walk, WalkCause, WalkFault, WalkOutcome,
};

use serde::{Deserialize, Serialize};

/// The number in [`Event::vcpu`] for what no vCPU did: a debugger's actions, a user's marks, the end of the run.
pub const MACHINE: u8 = u8::MAX;

/// Something that happened, when, and on which vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in ns since the start of the run on the host's monotonic clock.
    pub time: u64,
    /// The vCPU's number, or [`MACHINE`].
    pub vcpu: u8,
    /// What.
    pub payload: Payload,
}

/// What happened. Each variant has a tag of its own in the trace file, see `FORMAT.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// The guest left guest mode; `time` is when `KVM_RUN` returned.
    Exit(Exit),
    /// More bytes of the string I/O exit that follows it on the same vCPU.
    Data(Data),
    /// The guest's handler for a trap, system call or interrupt was entered.
    Trap(Trap),
    /// That handler returned.
    TrapReturn(TrapReturn),
    /// A page-table walk.
    Walk(Walk),
    /// A page-table entry changed.
    PageTableWrite(PageTableWrite),
    /// CR3 changed.
    AddressSpace(AddressSpace),
    /// An interprocessor interrupt was sent.
    Ipi(Ipi),
    /// A target took it.
    IpiAccepted(IpiAccepted),
    /// A target acknowledged it.
    IpiEoi(IpiEoi),
    /// An interrupt that is not an IPI was injected.
    Irq(Irq),
    /// The guest acknowledged it.
    IrqEoi(IrqEoi),
    /// A vCPU, or the whole machine for [`MACHINE`], changed its state.
    State(VcpuState),
    /// The monitor took a guest page back.
    Reclaim(Reclaim),
    /// The guest touched a page that had been taken.
    Refault(Refault),
    /// Guest output.
    Console(Output),
    /// A mark made by the guest or the user.
    Marker(Marker),
    /// A count that the guest reports about itself.
    Counter(Counter),
    /// A debugger did something.
    Debugger(Debugger),
    /// The monitor did for the guest what this host's KVM cannot.
    Fixup(Fixup),
    /// Events were lost here.
    Lost(Lost),
    /// The guest's VGA text screen changed.
    Screen(Screen),
    /// The guest's kernel was found to run above its link address.
    Slide(Slide),
    /// What is in a vCPU's registers, if that is recorded.
    Registers(Registers),
}

/// The kind of an event: what block headers index and reports count by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[allow(missing_docs, reason = "one for each variant of Payload, of the same name")]
pub enum Kind {
    Exit,
    Data,
    Trap,
    TrapReturn,
    Walk,
    PageTableWrite,
    AddressSpace,
    Ipi,
    IpiAccepted,
    IpiEoi,
    Irq,
    IrqEoi,
    State,
    Reclaim,
    Refault,
    Console,
    Marker,
    Counter,
    Debugger,
    Fixup,
    Lost,
    Screen,
    Slide,
    Registers,
}

impl Kind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 24] = [
        Self::Exit,
        Self::Data,
        Self::Trap,
        Self::TrapReturn,
        Self::Walk,
        Self::PageTableWrite,
        Self::AddressSpace,
        Self::Ipi,
        Self::IpiAccepted,
        Self::IpiEoi,
        Self::Irq,
        Self::IrqEoi,
        Self::State,
        Self::Reclaim,
        Self::Refault,
        Self::Console,
        Self::Marker,
        Self::Counter,
        Self::Debugger,
        Self::Fixup,
        Self::Lost,
        Self::Screen,
        Self::Slide,
        Self::Registers,
    ];

    /// The name used in reports, filters and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Data => "data",
            Self::Trap => "trap",
            Self::TrapReturn => "trap-return",
            Self::Walk => "walk",
            Self::PageTableWrite => "page-table-write",
            Self::AddressSpace => "address-space",
            Self::Ipi => "ipi",
            Self::IpiAccepted => "ipi-accepted",
            Self::IpiEoi => "ipi-eoi",
            Self::Irq => "irq",
            Self::IrqEoi => "irq-eoi",
            Self::State => "state",
            Self::Reclaim => "reclaim",
            Self::Refault => "refault",
            Self::Console => "console",
            Self::Marker => "marker",
            Self::Counter => "counter",
            Self::Debugger => "debugger",
            Self::Fixup => "fixup",
            Self::Lost => "lost",
            Self::Screen => "screen",
            Self::Slide => "slide",
            Self::Registers => "registers",
        }
    }
}

impl Payload {
    /// The payload's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Exit(_) => Kind::Exit,
            Self::Data(_) => Kind::Data,
            Self::Trap(_) => Kind::Trap,
            Self::TrapReturn(_) => Kind::TrapReturn,
            Self::Walk(_) => Kind::Walk,
            Self::PageTableWrite(_) => Kind::PageTableWrite,
            Self::AddressSpace(_) => Kind::AddressSpace,
            Self::Ipi(_) => Kind::Ipi,
            Self::IpiAccepted(_) => Kind::IpiAccepted,
            Self::IpiEoi(_) => Kind::IpiEoi,
            Self::Irq(_) => Kind::Irq,
            Self::IrqEoi(_) => Kind::IrqEoi,
            Self::State(_) => Kind::State,
            Self::Reclaim(_) => Kind::Reclaim,
            Self::Refault(_) => Kind::Refault,
            Self::Console(_) => Kind::Console,
            Self::Marker(_) => Kind::Marker,
            Self::Counter(_) => Kind::Counter,
            Self::Debugger(_) => Kind::Debugger,
            Self::Fixup(_) => Kind::Fixup,
            Self::Lost(_) => Kind::Lost,
            Self::Screen(_) => Kind::Screen,
            Self::Slide(_) => Kind::Slide,
            Self::Registers(_) => Kind::Registers,
        }
    }
}

const _: () = assert!(size_of::<Event>() <= 256, "an event is one push of a small record on the vCPU thread");

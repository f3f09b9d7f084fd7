//! Interrupt controllers in user space: local APICs, IOAPIC, 8259 pair and 8254 timer.
//!
//! An in-kernel controller would hide every IPI from the monitor. These are plain state machines: they know neither
//! KVM nor the trace nor threads, the time is a parameter, and every register access of a guest is answered, however
//! odd. Interrupts carry where they come from ([`Origin`]), so that whoever injects one, or sees its EOI, can say
//! whose it was and how long it took.
//!
//! ```text
//!  vCPU: ICR write ─> Effect::SendIpi(Icr) ─> route::ipi ──────────────────┐
//!  line ─> Chips::set_line ─┬─> next_message ─> route::message ────────────┴─> Lapic::raise… ─> take ─> eoi
//!                           └─> Pic::interrupt_pending, Lapic::accepts_extint ─> Pic::acknowledge ─> PicEoi
//! ```

mod chips;
mod icr;
mod inspect;
mod ioapic;
mod lapic;
mod lines;
mod msi;
mod origin;
mod pic;
mod pit;
pub mod route;
mod vectors;

pub use chips::{Chips, isa_line_to_pin};
pub use icr::{DestinationMode, Icr};
pub use inspect::{ApicState, Controllers, LVT_NAMES, LvtEntry, PicState, Redirection, TimerState};
pub use ioapic::{IOAPIC_BASE, IOAPIC_PINS, IOAPIC_SIZE, Ioapic, Request};
pub use lapic::{
    ApicMode, Effect, Eoi, Lapic, LapicConfig, MSR_APIC_BASE, MSR_TSC_DEADLINE, MSR_X2APIC_FIRST,
    MSR_X2APIC_LAST, MsrFault, Raised, Taken, XAPIC_BASE,
};
pub use lines::{LineChange, Lines};
pub use msi::MsiMessage;
pub use origin::{Origin, Origins, Source};
pub use pic::{Acknowledged, Pic, PicEoi};
pub use pit::Pit;

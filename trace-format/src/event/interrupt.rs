//! Interprocessor and device interrupts.

use serde::{Deserialize, Serialize};

/// An ICR write (SDM vol. 3, 12.6.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipi {
    /// Numbers the IPIs of a run, from 1; [`IpiAccepted`] and [`IpiEoi`] carry it.
    pub id: u64,
    /// The ICR as written: destination in the high half as the APIC's mode has it.
    pub icr: u64,
    /// Vector; for a start-up IPI the page number of its entry.
    pub vector: u8,
    /// Delivery mode.
    pub mode: DeliveryMode,
    /// Destination shorthand.
    pub shorthand: Shorthand,
    /// The vCPUs that it is for, bit n for vCPU n.
    pub targets: u16,
}

/// A target took an IPI: its vector was injected, or for NMI, INIT and start-up the vCPU acted on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpiAccepted {
    /// [`Ipi::id`].
    pub id: u64,
    /// The sender's vCPU.
    pub sender: u8,
    /// Vector.
    pub vector: u8,
    /// Since the ICR write, ns.
    pub latency_ns: u64,
    /// The vector was pending already, so this IPI and an earlier one are taken as one.
    pub merged: bool,
}

/// A target wrote its EOI register for an IPI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpiEoi {
    /// [`Ipi::id`].
    pub id: u64,
    /// The sender's vCPU.
    pub sender: u8,
    /// Vector.
    pub vector: u8,
    /// Since the ICR write, ns.
    pub latency_ns: u64,
}

/// Delivery modes of the ICR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum DeliveryMode {
    Fixed,
    LowestPriority,
    Smi,
    Nmi,
    Init,
    InitDeassert,
    StartUp,
    Reserved,
}

/// Destination shorthands of the ICR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Shorthand {
    None,
    SelfOnly,
    AllIncludingSelf,
    AllExcludingSelf,
}

/// An interrupt that is not an IPI was injected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Irq {
    /// What raised it.
    pub source: IrqSource,
    /// Vector.
    pub vector: u8,
    /// Since it was raised, ns.
    pub latency_ns: u64,
}

/// The guest acknowledged an interrupt that is not an IPI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IrqEoi {
    /// What had raised it.
    pub source: IrqSource,
    /// Vector.
    pub vector: u8,
    /// Since it was injected, ns.
    pub latency_ns: u64,
}

/// What raises interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum IrqSource {
    LapicTimer,
    LapicError,
    /// LINT0 or LINT1.
    LapicLint {
        pin: u8,
    },
    IoApic {
        pin: u8,
    },
    Pic {
        line: u8,
    },
    SelfIpi,
    Nmi,
    /// A message of a device.
    Msi,
    /// The recording does not tell.
    Unknown,
}

impl IrqSource {
    /// What kind of source, without its pin; the name used in filters.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::LapicTimer => "lapic-timer",
            Self::LapicError => "lapic-error",
            Self::LapicLint { .. } => "lapic-lint",
            Self::IoApic { .. } => "ioapic",
            Self::Pic { .. } => "pic",
            Self::SelfIpi => "self-ipi",
            Self::Nmi => "nmi",
            Self::Msi => "msi",
            Self::Unknown => "unknown",
        }
    }
}

impl DeliveryMode {
    /// The name used in reports, filters and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::LowestPriority => "lowest-priority",
            Self::Smi => "smi",
            Self::Nmi => "nmi",
            Self::Init => "init",
            Self::InitDeassert => "init-deassert",
            Self::StartUp => "start-up",
            Self::Reserved => "reserved",
        }
    }
}

impl Shorthand {
    /// The name used in reports, filters and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SelfOnly => "self",
            Self::AllIncludingSelf => "all",
            Self::AllExcludingSelf => "others",
        }
    }
}

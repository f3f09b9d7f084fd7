//! VM exits.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use super::hardware::{self, Hardware};

/// The guest left guest mode and the monitor dealt with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Why, with what the monitor answered.
    pub reason: ExitReason,
    /// RIP at the exit, a guest virtual address: of the instruction or of the one after it, as KVM leaves it.
    pub rip: u64,
    /// Current privilege level, 0 to 3.
    pub cpl: u8,
    /// Time in the guest (`KVM_RUN`, including KVM's own exits) before this exit, ns.
    pub guest_ns: u64,
    /// Time the monitor took to handle it, until the next `KVM_RUN` or the wait of a halted vCPU, ns.
    pub handling_ns: u64,
}

/// Why `KVM_RUN` returned (`KVM_EXIT_*` in `linux/kvm.h`; Documentation/virt/kvm/api.rst, section 5).
///
/// Reads carry the value that the guest received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// `IN` or `INS`. `data` holds the first 8 bytes; the rest of a string is in [`Data`] events.
    #[allow(missing_docs)]
    IoIn { port: u16, size: u8, count: u32, data: u64 },
    /// `OUT` or `OUTS`, likewise.
    #[allow(missing_docs)]
    IoOut { port: u16, size: u8, count: u32, data: u64 },
    /// A read of guest physical memory that nothing backs.
    #[allow(missing_docs)]
    MmioRead { gpa: u64, size: u8, data: u64 },
    /// A write of guest physical memory that nothing backs.
    #[allow(missing_docs)]
    MmioWrite { gpa: u64, size: u8, data: u64 },
    /// `RDMSR` or `WRMSR` forwarded to user space; `reason` is KVM's (1 invalid, 2 unknown, 4 filter), `failed` when
    /// the guest got #GP.
    #[allow(missing_docs)]
    Msr { direction: MsrDirection, index: u32, data: u64, reason: u32, failed: bool },
    /// A hypercall: its number, arguments, and the result that the guest got.
    #[allow(missing_docs)]
    Hypercall { number: u64, arguments: [u64; 6], result: u64 },
    /// `HLT`.
    Halt,
    /// Triple fault or another shutdown condition.
    Shutdown,
    /// KVM could not go on (suberror 1: emulation failure); the instruction's bytes where KVM gives them.
    #[allow(missing_docs)]
    InternalError { suberror: u32, instruction: ArrayVec<u8, 15> },
    /// The CPU refused to enter the guest.
    #[allow(missing_docs)]
    FailEntry { hardware_reason: u64, cpu: u32 },
    /// A breakpoint, watchpoint or step; DR6 and DR7 as KVM gives them.
    #[allow(missing_docs)]
    Debug { exception: u32, pc: u64, dr6: u64, dr7: u64 },
    /// A stop that the monitor itself had asked for, a trap probe or a step over one, however KVM reports it.
    #[allow(missing_docs)]
    Probe { pc: u64 },
    /// The guest can take an interrupt again.
    InterruptWindow,
    /// A signal: the monitor kicked the vCPU (`EINTR`), or `KVM_EXIT_INTR`.
    Interrupted,
    /// The guest lowered its task priority (CR8) below what KVM was told.
    SetTpr,
    /// An access to the TPR that KVM reports.
    #[allow(missing_docs)]
    TprAccess { rip: u64, write: bool },
    /// An EOI for a level-triggered interrupt of a split interrupt controller.
    #[allow(missing_docs)]
    IoapicEoi { vector: u8 },
    /// Reset, shutdown or crash asked for by the guest (`KVM_SYSTEM_EVENT_*`).
    #[allow(missing_docs)]
    SystemEvent { kind: u32, data: [u64; 2] },
    /// A fault on guest memory that user space must resolve.
    #[allow(missing_docs)]
    MemoryFault { flags: u64, gpa: u64, size: u64 },
    /// `KVM_EXIT_UNKNOWN` with the hardware's exit reason.
    #[allow(missing_docs)]
    Unknown { hardware_reason: u64 },
    /// `KVM_EXIT_EXCEPTION`.
    #[allow(missing_docs)]
    Exception { vector: u32, error_code: u32 },
    /// `KVM_EXIT_NMI`.
    Nmi,
    /// A Hyper-V enlightenment that user space handles.
    #[allow(missing_docs)]
    HyperV { kind: u32 },
    /// A Xen hypercall.
    #[allow(missing_docs)]
    Xen { kind: u32 },
    /// The dirty ring is full.
    DirtyRingFull,
    /// The bus-lock limit was hit.
    BusLock,
    /// No instruction boundary was reached within the notify window.
    #[allow(missing_docs)]
    Notify { flags: u32 },
    /// A bus watchdog expired.
    Watchdog,
    /// A reason that `linux/kvm.h` names for other architectures, see [`FOREIGN_EXITS`].
    #[allow(missing_docs)]
    Foreign { number: u32 },
    /// A number that this program's kernel header does not name.
    #[allow(missing_docs)]
    Unlisted { number: u32 },
    /// An exit that KVM dealt with, or whose details nothing tells, as the hardware numbers it. A monitor never sees one;
    /// recordings of the host do.
    Hardware(Hardware),
}

/// Which way an MSR access went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MsrDirection {
    /// `RDMSR`.
    Read,
    /// `WRMSR`.
    Write,
}

/// Bytes of a string I/O exit beyond its first eight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Offset of `bytes` in the exit's data, in bytes.
    pub offset: u32,
    /// The bytes.
    pub bytes: ArrayVec<u8, 64>,
}

/// Exit reasons that `linux/kvm.h` names but that no plain x86 guest causes: number and name.
pub const FOREIGN_EXITS: [(u32, &str); 17] = [
    (13, "s390-sieic"),
    (14, "s390-reset"),
    (15, "dcr"),
    (18, "osi"),
    (19, "papr-hcall"),
    (20, "s390-ucontrol"),
    (22, "s390-tsch"),
    (23, "epr"),
    (25, "s390-stsi"),
    (28, "arm-nisv"),
    (32, "ap-reset-hold"),
    (35, "riscv-sbi"),
    (36, "riscv-csr"),
    (38, "loongarch-iocsr"),
    (40, "tdx"),
    (41, "arm-sea"),
    (42, "arm-ldst64b"),
];

/// The names of what a monitor sees.
#[rustfmt::skip]
const KVM: [&str; 31] = [
    "io-in", "io-out", "mmio-read", "mmio-write", "rdmsr", "wrmsr", "hypercall", "hlt", "shutdown",
    "internal-error", "fail-entry", "debug", "probe", "interrupt-window", "interrupted", "set-tpr",
    "tpr-access", "ioapic-eoi", "system-event", "memory-fault", "unknown", "exception", "nmi", "hyper-v",
    "xen", "dirty-ring-full", "bus-lock", "notify", "watchdog", "foreign", "unlisted",
];

impl ExitReason {
    /// Every [`Self::name`] but those of [`FOREIGN_EXITS`], which are `foreign` here: what a monitor sees, then what the hardware
    /// has besides.
    pub const NAMES: [&'static str; 198] = {
        let mut names = [""; 198];
        let mut n = 0;
        while n < names.len() {
            names[n] = if n < KVM.len() { KVM[n] } else { hardware::NAMES[n - KVM.len()] };
            n += 1;
        }
        names
    };

    /// The name used in reports, filters and JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::IoIn { .. } => "io-in",
            Self::IoOut { .. } => "io-out",
            Self::MmioRead { .. } => "mmio-read",
            Self::MmioWrite { .. } => "mmio-write",
            Self::Msr { direction: MsrDirection::Read, .. } => "rdmsr",
            Self::Msr { direction: MsrDirection::Write, .. } => "wrmsr",
            Self::Hypercall { .. } => "hypercall",
            Self::Halt => "hlt",
            Self::Shutdown => "shutdown",
            Self::InternalError { .. } => "internal-error",
            Self::FailEntry { .. } => "fail-entry",
            Self::Debug { .. } => "debug",
            Self::Probe { .. } => "probe",
            Self::InterruptWindow => "interrupt-window",
            Self::Interrupted => "interrupted",
            Self::SetTpr => "set-tpr",
            Self::TprAccess { .. } => "tpr-access",
            Self::IoapicEoi { .. } => "ioapic-eoi",
            Self::SystemEvent { .. } => "system-event",
            Self::MemoryFault { .. } => "memory-fault",
            Self::Unknown { .. } => "unknown",
            Self::Exception { .. } => "exception",
            Self::Nmi => "nmi",
            Self::HyperV { .. } => "hyper-v",
            Self::Xen { .. } => "xen",
            Self::DirtyRingFull => "dirty-ring-full",
            Self::BusLock => "bus-lock",
            Self::Notify { .. } => "notify",
            Self::Watchdog => "watchdog",
            Self::Foreign { number } => {
                FOREIGN_EXITS.iter().find(|(n, _)| n == number).map_or("foreign", |(_, name)| name)
            }
            Self::Unlisted { .. } => "unlisted",
            Self::Hardware(hardware) => hardware.name(),
        }
    }
}

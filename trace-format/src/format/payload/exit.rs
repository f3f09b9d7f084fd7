//! Exits: a tag for each reason.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use super::code::Code;
use super::{Encoded, Encoder, Malformed, Times, delta, quick, take, undelta};
use crate::event::{Exit, ExitReason, Hardware, Isa, MsrDirection, Payload};

mod tag {
    pub(super) const IO_IN: u8 = 128;
    pub(super) const IO_OUT: u8 = 129;
    pub(super) const MMIO_READ: u8 = 130;
    pub(super) const MMIO_WRITE: u8 = 131;
    pub(super) const RDMSR: u8 = 132;
    pub(super) const WRMSR: u8 = 133;
    pub(super) const HYPERCALL: u8 = 134;
    pub(super) const HALT: u8 = 135;
    pub(super) const SHUTDOWN: u8 = 136;
    pub(super) const INTERNAL_ERROR: u8 = 137;
    pub(super) const FAIL_ENTRY: u8 = 138;
    pub(super) const DEBUG: u8 = 139;
    pub(super) const INTERRUPT_WINDOW: u8 = 140;
    pub(super) const INTERRUPTED: u8 = 141;
    pub(super) const SET_TPR: u8 = 142;
    pub(super) const TPR_ACCESS: u8 = 143;
    pub(super) const IOAPIC_EOI: u8 = 144;
    pub(super) const SYSTEM_EVENT: u8 = 145;
    pub(super) const MEMORY_FAULT: u8 = 146;
    pub(super) const UNKNOWN: u8 = 147;
    pub(super) const EXCEPTION: u8 = 148;
    pub(super) const NMI: u8 = 149;
    pub(super) const HYPER_V: u8 = 150;
    pub(super) const XEN: u8 = 151;
    pub(super) const DIRTY_RING_FULL: u8 = 152;
    pub(super) const BUS_LOCK: u8 = 153;
    pub(super) const NOTIFY: u8 = 154;
    pub(super) const WATCHDOG: u8 = 155;
    pub(super) const FOREIGN: u8 = 156;
    pub(super) const UNLISTED: u8 = 157;
    pub(super) const PROBE: u8 = 158;
    pub(super) const HARDWARE: u8 = 159;
}

/// Exits of one reason on one vCPU resemble each other.
#[derive(Clone, Copy, Default)]
struct Last {
    rip: u64,
    /// Port, gpa, MSR or hypercall number.
    address: u64,
    data: u64,
}

/// State for each tag from 128 on.
pub(super) struct Deltas([Last; 64]);

impl Default for Deltas {
    fn default() -> Self {
        Self([Last::default(); 64])
    }
}

/// The fields that every exit begins with.
#[derive(Serialize)]
struct At {
    /// From the last exit for this reason.
    rip: i64,
    cpl: u8,
}

/// Ports; `address` and `data` are differences from the last exit for this reason.
#[derive(Serialize)]
struct Port {
    address: i64,
    size: u8,
    count: u32,
    data: i64,
}

#[derive(Serialize)]
struct Mmio {
    address: i64,
    size: u8,
    data: i64,
}

#[derive(Serialize)]
struct Msr {
    address: i64,
    data: i64,
    reason: u32,
    failed: bool,
}

#[derive(Serialize, Deserialize)]
struct Hypercall {
    number: u64,
    arguments: [u64; 6],
    result: u64,
}

#[derive(Serialize, Deserialize)]
struct InternalError<'a> {
    suberror: u32,
    instruction: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct FailEntry {
    hardware_reason: u64,
    cpu: u32,
}

#[derive(Serialize, Deserialize)]
struct Debug {
    exception: u32,
    /// From the exit's rip.
    pc: i64,
    dr6: u64,
    dr7: u64,
}

#[derive(Serialize, Deserialize)]
struct TprAccess {
    /// From the exit's rip.
    rip: i64,
    write: bool,
}

#[derive(Serialize, Deserialize)]
struct SystemEvent {
    kind: u32,
    data: [u64; 2],
}

#[derive(Serialize, Deserialize)]
struct MemoryFault {
    flags: u64,
    gpa: u64,
    size: u64,
}

#[derive(Serialize, Deserialize)]
struct Exception {
    vector: u32,
    error_code: u32,
}

quick! {
    At { rip: signed, cpl: byte }
    Port { address: signed, size: byte, count: number, data: signed }
    Mmio { address: signed, size: byte, data: signed }
    Msr { address: signed, data: signed, reason: number, failed: truth }
}

#[derive(Serialize, Deserialize)]
struct HardwareExit {
    isa: u8,
    code: u32,
    info1: u64,
    /// From the last.
    info2: i64,
    interrupt: u32,
    error_code: u32,
    /// From the last that had one.
    gpa: Option<i64>,
}

pub(super) fn tag_of(reason: &ExitReason) -> u8 {
    match reason {
        ExitReason::IoIn { .. } => tag::IO_IN,
        ExitReason::IoOut { .. } => tag::IO_OUT,
        ExitReason::MmioRead { .. } => tag::MMIO_READ,
        ExitReason::MmioWrite { .. } => tag::MMIO_WRITE,
        ExitReason::Msr { direction: MsrDirection::Read, .. } => tag::RDMSR,
        ExitReason::Msr { direction: MsrDirection::Write, .. } => tag::WRMSR,
        ExitReason::Hypercall { .. } => tag::HYPERCALL,
        ExitReason::Halt => tag::HALT,
        ExitReason::Shutdown => tag::SHUTDOWN,
        ExitReason::InternalError { .. } => tag::INTERNAL_ERROR,
        ExitReason::FailEntry { .. } => tag::FAIL_ENTRY,
        ExitReason::Debug { .. } => tag::DEBUG,
        ExitReason::Probe { .. } => tag::PROBE,
        ExitReason::InterruptWindow => tag::INTERRUPT_WINDOW,
        ExitReason::Interrupted => tag::INTERRUPTED,
        ExitReason::SetTpr => tag::SET_TPR,
        ExitReason::TprAccess { .. } => tag::TPR_ACCESS,
        ExitReason::IoapicEoi { .. } => tag::IOAPIC_EOI,
        ExitReason::SystemEvent { .. } => tag::SYSTEM_EVENT,
        ExitReason::MemoryFault { .. } => tag::MEMORY_FAULT,
        ExitReason::Unknown { .. } => tag::UNKNOWN,
        ExitReason::Exception { .. } => tag::EXCEPTION,
        ExitReason::Nmi => tag::NMI,
        ExitReason::HyperV { .. } => tag::HYPER_V,
        ExitReason::Xen { .. } => tag::XEN,
        ExitReason::DirtyRingFull => tag::DIRTY_RING_FULL,
        ExitReason::BusLock => tag::BUS_LOCK,
        ExitReason::Notify { .. } => tag::NOTIFY,
        ExitReason::Watchdog => tag::WATCHDOG,
        ExitReason::Foreign { .. } => tag::FOREIGN,
        ExitReason::Unlisted { .. } => tag::UNLISTED,
        ExitReason::Hardware(_) => tag::HARDWARE,
    }
}

pub(super) fn encode(exit: &Exit, deltas: &mut Deltas, e: &mut Encoder) -> Encoded {
    let last = &mut deltas.0[usize::from(tag_of(&exit.reason) & 63)];
    e.put(&At { rip: delta(exit.rip, &mut last.rip), cpl: exit.cpl })?;
    let address = &mut last.address;
    match exit.reason {
        ExitReason::IoIn { port, size, count, data } | ExitReason::IoOut { port, size, count, data } => e
            .put(&Port {
                address: delta(port.into(), address),
                size,
                count,
                data: delta(data, &mut last.data),
            }),
        ExitReason::MmioRead { gpa, size, data } | ExitReason::MmioWrite { gpa, size, data } => {
            e.put(&Mmio { address: delta(gpa, address), size, data: delta(data, &mut last.data) })
        }
        ExitReason::Msr { direction: _, index, data, reason, failed } => {
            let data = delta(data, &mut last.data);
            e.put(&Msr { address: delta(index.into(), address), data, reason, failed })
        }
        ExitReason::Hypercall { number, arguments, result } => {
            e.put(&Hypercall { number, arguments, result })
        }
        ExitReason::InternalError { suberror, ref instruction } => {
            e.put(&InternalError { suberror, instruction })
        }
        ExitReason::FailEntry { hardware_reason, cpu } => e.put(&FailEntry { hardware_reason, cpu }),
        ExitReason::Debug { exception, pc, dr6, dr7 } => {
            e.put(&Debug { exception, pc: pc.wrapping_sub(exit.rip) as i64, dr6, dr7 })
        }
        ExitReason::Probe { pc } => e.put(&(pc.wrapping_sub(exit.rip) as i64)),
        ExitReason::TprAccess { rip, write } => {
            e.put(&TprAccess { rip: rip.wrapping_sub(exit.rip) as i64, write })
        }
        ExitReason::IoapicEoi { vector } => e.put(&vector),
        ExitReason::SystemEvent { kind, data } => e.put(&SystemEvent { kind, data }),
        ExitReason::MemoryFault { flags, gpa, size } => e.put(&MemoryFault { flags, gpa, size }),
        ExitReason::Unknown { hardware_reason } => e.put(&hardware_reason),
        ExitReason::Exception { vector, error_code } => e.put(&Exception { vector, error_code }),
        ExitReason::HyperV { kind } | ExitReason::Xen { kind } => e.put(&kind),
        ExitReason::Notify { flags } => e.put(&flags),
        ExitReason::Foreign { number } | ExitReason::Unlisted { number } => e.put(&number),
        ExitReason::Hardware(ref exit) => e.put(&HardwareExit {
            isa: exit.isa.code(),
            code: exit.code,
            info1: exit.info1,
            info2: delta(exit.info2, &mut last.data),
            interrupt: exit.interrupt,
            error_code: exit.error_code,
            gpa: exit.gpa.map(|gpa| delta(gpa, address)),
        }),
        ExitReason::Halt
        | ExitReason::Shutdown
        | ExitReason::InterruptWindow
        | ExitReason::Interrupted
        | ExitReason::SetTpr
        | ExitReason::Nmi
        | ExitReason::DirtyRingFull
        | ExitReason::BusLock
        | ExitReason::Watchdog => Ok(()),
    }
}

/// Decodes an exit into `out`; false, and `out` as it was, for an event that this version does not know.
#[inline]
pub(super) fn decode(
    tag: u8,
    mut bytes: &[u8],
    times: Times,
    deltas: &mut Deltas,
    out: &mut Payload,
) -> Result<bool, Malformed> {
    if !(tag::IO_IN..=tag::HARDWARE).contains(&tag) {
        return Ok(false);
    }
    let bytes = &mut bytes;
    let last = &mut deltas.0[usize::from(tag & 63)];
    let at = At::take(bytes)?;
    let rip = undelta(at.rip, &mut last.rip);
    // A closure, so that each reason is written straight to where it belongs: moving 200 bytes twice shows.
    let (cpl, guest_ns, handling_ns) = (at.cpl, times.guest, times.handling);
    let mut put = |reason| *out = Payload::Exit(Exit { reason, rip, cpl, guest_ns, handling_ns });
    match tag {
        tag::IO_IN | tag::IO_OUT => {
            let v = Port::take(bytes)?;
            let port = undelta(v.address, &mut last.address) as u16;
            let (size, count, data) = (v.size, v.count, undelta(v.data, &mut last.data));
            match tag {
                tag::IO_IN => put(ExitReason::IoIn { port, size, count, data }),
                _ => put(ExitReason::IoOut { port, size, count, data }),
            }
        }
        tag::MMIO_READ | tag::MMIO_WRITE => {
            let v = Mmio::take(bytes)?;
            let gpa = undelta(v.address, &mut last.address);
            let (size, data) = (v.size, undelta(v.data, &mut last.data));
            match tag {
                tag::MMIO_READ => put(ExitReason::MmioRead { gpa, size, data }),
                _ => put(ExitReason::MmioWrite { gpa, size, data }),
            }
        }
        tag::RDMSR | tag::WRMSR => {
            let v = Msr::take(bytes)?;
            let index = undelta(v.address, &mut last.address) as u32;
            let data = undelta(v.data, &mut last.data);
            let direction = if tag == tag::RDMSR { MsrDirection::Read } else { MsrDirection::Write };
            put(ExitReason::Msr { direction, index, data, reason: v.reason, failed: v.failed });
        }
        tag::HALT => put(ExitReason::Halt),
        tag::PROBE => {
            let pc = quick::signed(bytes)?;
            put(ExitReason::Probe { pc: rip.wrapping_add(pc as u64) });
        }
        tag::HARDWARE => {
            let v: HardwareExit = take(bytes)?;
            let info2 = undelta(v.info2, &mut last.data);
            let gpa = v.gpa.map(|gpa| undelta(gpa, &mut last.address));
            let Some(isa) = Isa::from_code(v.isa) else { return Ok(false) };
            let HardwareExit { code, info1, interrupt, error_code, .. } = v;
            put(ExitReason::Hardware(Hardware { isa, code, info1, info2, interrupt, error_code, gpa }));
        }
        _ => match decode_rarer(tag, bytes, rip)? {
            Some(reason) => put(reason),
            None => return Ok(false),
        },
    }
    Ok(true)
}

/// The reasons that need not be fast.
fn decode_rarer(tag: u8, bytes: &mut &[u8], rip: u64) -> Result<Option<ExitReason>, Malformed> {
    Ok(Some(match tag {
        tag::HYPERCALL => {
            let Hypercall { number, arguments, result } = take(bytes)?;
            ExitReason::Hypercall { number, arguments, result }
        }
        tag::SHUTDOWN => ExitReason::Shutdown,
        tag::INTERNAL_ERROR => {
            let InternalError { suberror, instruction } = take(bytes)?;
            let Ok(instruction) = ArrayVec::try_from(instruction) else { return Ok(None) };
            ExitReason::InternalError { suberror, instruction }
        }
        tag::FAIL_ENTRY => {
            let FailEntry { hardware_reason, cpu } = take(bytes)?;
            ExitReason::FailEntry { hardware_reason, cpu }
        }
        tag::DEBUG => {
            let Debug { exception, pc, dr6, dr7 } = take(bytes)?;
            ExitReason::Debug { exception, pc: rip.wrapping_add(pc as u64), dr6, dr7 }
        }
        tag::INTERRUPT_WINDOW => ExitReason::InterruptWindow,
        tag::INTERRUPTED => ExitReason::Interrupted,
        tag::SET_TPR => ExitReason::SetTpr,
        tag::TPR_ACCESS => {
            let v: TprAccess = take(bytes)?;
            ExitReason::TprAccess { rip: rip.wrapping_add(v.rip as u64), write: v.write }
        }
        tag::IOAPIC_EOI => ExitReason::IoapicEoi { vector: take(bytes)? },
        tag::SYSTEM_EVENT => {
            let SystemEvent { kind, data } = take(bytes)?;
            ExitReason::SystemEvent { kind, data }
        }
        tag::MEMORY_FAULT => {
            let MemoryFault { flags, gpa, size } = take(bytes)?;
            ExitReason::MemoryFault { flags, gpa, size }
        }
        tag::UNKNOWN => ExitReason::Unknown { hardware_reason: take(bytes)? },
        tag::EXCEPTION => {
            let Exception { vector, error_code } = take(bytes)?;
            ExitReason::Exception { vector, error_code }
        }
        tag::NMI => ExitReason::Nmi,
        tag::HYPER_V => ExitReason::HyperV { kind: take(bytes)? },
        tag::XEN => ExitReason::Xen { kind: take(bytes)? },
        tag::DIRTY_RING_FULL => ExitReason::DirtyRingFull,
        tag::BUS_LOCK => ExitReason::BusLock,
        tag::NOTIFY => ExitReason::Notify { flags: take(bytes)? },
        tag::WATCHDOG => ExitReason::Watchdog,
        tag::FOREIGN => ExitReason::Foreign { number: take(bytes)? },
        tag::UNLISTED => ExitReason::Unlisted { number: take(bytes)? },
        _ => return Ok(None),
    }))
}

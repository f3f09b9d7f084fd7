//! Interrupts.

use serde::Serialize;

use super::code::Code;
use super::{Encoded, Encoder, Malformed, delta, undelta};
use crate::event::{DeliveryMode, Ipi, IpiAccepted, IpiEoi, Irq, IrqEoi, IrqSource, Shorthand};

#[derive(Serialize)]
struct Sent {
    /// From the id of the last IPI event.
    id: i64,
    icr: u64,
    vector: u8,
    mode: u8,
    shorthand: u8,
    targets: u16,
}

#[derive(Serialize)]
struct Accepted {
    id: i64,
    sender: u8,
    vector: u8,
    merged: bool,
}

#[derive(Serialize)]
struct Eoi {
    id: i64,
    sender: u8,
    vector: u8,
}

#[derive(Serialize)]
struct Interrupt {
    source: u8,
    /// The source's pin or line, 0 for one without.
    pin: u8,
    vector: u8,
}

quick! {
    Sent { id: signed, icr: number, vector: byte, mode: byte, shorthand: byte, targets: number }
    Accepted { id: signed, sender: byte, vector: byte, merged: truth }
    Eoi { id: signed, sender: byte, vector: byte }
    Interrupt { source: byte, pin: byte, vector: byte }
}

mod source {
    pub(super) const LAPIC_TIMER: u8 = 0;
    pub(super) const LAPIC_ERROR: u8 = 1;
    pub(super) const LAPIC_LINT: u8 = 2;
    pub(super) const IO_APIC: u8 = 3;
    pub(super) const PIC: u8 = 4;
    pub(super) const SELF_IPI: u8 = 5;
    pub(super) const NMI: u8 = 6;
    pub(super) const MSI: u8 = 7;
    pub(super) const UNKNOWN: u8 = 8;
}

pub(super) fn encode_ipi(ipi: &Ipi, id: &mut u64, e: &mut Encoder) -> Encoded {
    e.put(&Sent {
        id: delta(ipi.id, id),
        icr: ipi.icr,
        vector: ipi.vector,
        mode: ipi.mode.code(),
        shorthand: ipi.shorthand.code(),
        targets: ipi.targets,
    })
}

pub(super) fn decode_ipi(mut bytes: &[u8], id: &mut u64) -> Result<Option<Ipi>, Malformed> {
    let v = Sent::take(&mut bytes)?;
    let id = undelta(v.id, id);
    let (Some(mode), Some(shorthand)) = (DeliveryMode::from_code(v.mode), Shorthand::from_code(v.shorthand))
    else {
        return Ok(None);
    };
    Ok(Some(Ipi { id, icr: v.icr, vector: v.vector, mode, shorthand, targets: v.targets }))
}

pub(super) fn encode_accepted(accepted: &IpiAccepted, id: &mut u64, e: &mut Encoder) -> Encoded {
    let &IpiAccepted { sender, vector, merged, .. } = accepted;
    e.put(&Accepted { id: delta(accepted.id, id), sender, vector, merged })
}

pub(super) fn decode_accepted(
    mut bytes: &[u8],
    latency_ns: u64,
    id: &mut u64,
) -> Result<IpiAccepted, Malformed> {
    let v = Accepted::take(&mut bytes)?;
    Ok(IpiAccepted {
        id: undelta(v.id, id),
        sender: v.sender,
        vector: v.vector,
        latency_ns,
        merged: v.merged,
    })
}

pub(super) fn encode_eoi(eoi: &IpiEoi, id: &mut u64, e: &mut Encoder) -> Encoded {
    e.put(&Eoi { id: delta(eoi.id, id), sender: eoi.sender, vector: eoi.vector })
}

pub(super) fn decode_eoi(mut bytes: &[u8], latency_ns: u64, id: &mut u64) -> Result<IpiEoi, Malformed> {
    let v = Eoi::take(&mut bytes)?;
    Ok(IpiEoi { id: undelta(v.id, id), sender: v.sender, vector: v.vector, latency_ns })
}

pub(super) fn encode_irq(source: IrqSource, vector: u8, e: &mut Encoder) -> Encoded {
    let (source, pin) = match source {
        IrqSource::LapicTimer => (source::LAPIC_TIMER, 0),
        IrqSource::LapicError => (source::LAPIC_ERROR, 0),
        IrqSource::LapicLint { pin } => (source::LAPIC_LINT, pin),
        IrqSource::IoApic { pin } => (source::IO_APIC, pin),
        IrqSource::Pic { line } => (source::PIC, line),
        IrqSource::SelfIpi => (source::SELF_IPI, 0),
        IrqSource::Nmi => (source::NMI, 0),
        IrqSource::Msi => (source::MSI, 0),
        IrqSource::Unknown => (source::UNKNOWN, 0),
    };
    e.put(&Interrupt { source, pin, vector })
}

pub(super) fn decode_irq(bytes: &[u8], latency_ns: u64) -> Result<Option<Irq>, Malformed> {
    let (source, vector) = decode_interrupt(bytes)?;
    Ok(source.map(|source| Irq { source, vector, latency_ns }))
}

pub(super) fn decode_irq_eoi(bytes: &[u8], latency_ns: u64) -> Result<Option<IrqEoi>, Malformed> {
    let (source, vector) = decode_interrupt(bytes)?;
    Ok(source.map(|source| IrqEoi { source, vector, latency_ns }))
}

fn decode_interrupt(mut bytes: &[u8]) -> Result<(Option<IrqSource>, u8), Malformed> {
    let v = Interrupt::take(&mut bytes)?;
    let source = match v.source {
        source::LAPIC_TIMER => Some(IrqSource::LapicTimer),
        source::LAPIC_ERROR => Some(IrqSource::LapicError),
        source::LAPIC_LINT => Some(IrqSource::LapicLint { pin: v.pin }),
        source::IO_APIC => Some(IrqSource::IoApic { pin: v.pin }),
        source::PIC => Some(IrqSource::Pic { line: v.pin }),
        source::SELF_IPI => Some(IrqSource::SelfIpi),
        source::NMI => Some(IrqSource::Nmi),
        source::MSI => Some(IrqSource::Msi),
        source::UNKNOWN => Some(IrqSource::Unknown),
        _ => None,
    };
    Ok((source, v.vector))
}

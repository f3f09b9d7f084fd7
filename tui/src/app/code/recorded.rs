//! What a trace tells of where a vCPU was, and of its registers.

use std::ops::ControlFlow;

use trace_format::event::{Event, Payload, Registers};
use trace_format::{Kind, Reader, Summary};

use super::{App, At, Shown, When};
use crate::app::nearest::{FAR, nearest};
use crate::model::rip::rip;

/// EFER.LMA: the CPU is in long mode. CR0.PE: it is in protected mode.
const EFER_LMA: u32 = 1 << 10;
const CR0_PE: u32 = 1;

impl App {
    /// Where a vCPU was at the selected event, and its registers, as far as the trace tells.
    pub(in crate::app) fn recorded_place(&mut self, vcpu: u8) -> (Option<At>, Option<Shown>) {
        let Some(time) = self.selected.as_ref().map(|event| event.time) else { return (None, None) };
        let registers = match recorded_registers(&mut self.reader, self.cursor, vcpu) {
            Ok(registers) => registers,
            Err(error) => {
                self.complain(&error);
                None
            }
        };
        let registers = registers.map(|(number, then, now, before)| {
            let stale = (then != time).then_some(number);
            Shown { now, before, stale }
        });
        let of_vcpu = |block: &Summary| block.has_vcpu(vcpu);
        let tells = |event: &Event| rip(&event.payload).filter(|_| event.vcpu == vcpu);
        let place = match nearest(&mut self.reader, self.cursor, of_vcpu, tells) {
            Ok(place) => place,
            Err(error) => {
                self.complain(&error);
                None
            }
        };
        let bits = registers.as_ref().map(|shown| bits_of(&shown.now));
        let at = place.map(|(number, rip)| {
            let when = if number > self.cursor { When::Later(number) } else { When::Then };
            At { vcpu, rip, when, bits }
        });
        (at, registers)
    }
}

/// The last registers of a vCPU that were recorded up to event `number`: of which event and time they are; and those
/// before them.
type Recorded = (u64, u64, Registers, Option<Registers>);

fn recorded_registers(
    reader: &mut Reader,
    number: u64,
    vcpu: u8,
) -> Result<Option<Recorded>, trace_format::Error> {
    let wanted = |block: &Summary| block.has_vcpu(vcpu) && block.has_kind(Kind::Registers);
    let (mut looked, mut last) = (0, None::<(u64, u64, Registers)>);
    let flow = reader.back_through(number.saturating_add(1), wanted, |number, event| {
        looked += 1;
        match (&event.payload, &last) {
            (Payload::Registers(registers), Some(_)) if event.vcpu == vcpu => {
                return ControlFlow::Break(Some(registers.clone()));
            }
            (Payload::Registers(registers), None) if event.vcpu == vcpu => {
                last = Some((number, event.time, registers.clone()));
            }
            _ => {}
        }
        if looked == FAR { ControlFlow::Break(None) } else { ControlFlow::Continue(()) }
    })?;
    let before = flow.break_value().flatten();
    Ok(last.map(|(number, time, now)| (number, time, now, before)))
}

/// How wide code is, in bits, as far as recorded registers tell: they have no CS.D, and none of the modes that it could
/// be otherwise in.
const fn bits_of(registers: &Registers) -> u32 {
    if registers.efer & EFER_LMA != 0 {
        64
    } else if registers.cr0 & CR0_PE != 0 {
        32
    } else {
        16
    }
}

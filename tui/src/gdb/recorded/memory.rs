//! What events tell of guest memory, beyond the image.
//!
//! The monitor has read it at the event's time, and the guest may have written it at any other. So a debugger gets it at
//! that time alone:
//!
//! - the frame that the CPU pushed for a trap: the error code, RIP, CS and RSP, where registers tell where the stack is;
//! - an instruction that KVM could not carry out;
//! - entries of page tables that were walked or written, at their gpa; and which gpa a page had for a walk that found one.

use std::collections::BTreeMap;

use trace_format::Reader;
use trace_format::event::{
    Event, ExitReason, PagingMode, Payload, Registers, Trap, TrapClass, VECTOR_SYSCALL, Walk, WalkOutcome,
};

/// The most events of the same time that are looked at before one, and behind it; only a trace that is made up has more.
pub(super) const MOST_OF_A_MOMENT: usize = 4096;
/// The most facts that are kept of one moment; only a trace that is made up has more.
const MOST: usize = 4096;
/// EFER.LMA: the CPU is in long mode.
const EFER_LMA: u64 = 1 << 10;

/// What is known of memory at one time, for one vCPU.
#[derive(Debug, Default)]
pub(crate) struct Moment {
    /// By gva, as the vCPU's tables had it.
    virtually: BTreeMap<u64, u8>,
    /// By gpa.
    physically: BTreeMap<u64, u8>,
    walks: Vec<Walk>,
    /// Those of the vCPU, until another exit.
    registers: Option<Registers>,
    cr3: Option<u64>,
}

impl Moment {
    /// What the events of the same time as event `number` tell of memory, for the address space of `vcpu`.
    ///
    /// # Errors
    /// If the trace cannot be read.
    pub(crate) fn of(reader: &mut Reader, number: u64, vcpu: u8) -> Result<Self, trace_format::Error> {
        let mut moment = Self::default();
        let Some(time) = reader.event(number)?.map(|event| event.time) else { return Ok(moment) };
        let mut first = number;
        for found in reader.backward(number).take(MOST_OF_A_MOMENT) {
            let (number, event) = found?;
            if event.time < time {
                break;
            }
            first = number;
        }
        for found in reader.forward(first).take(2 * MOST_OF_A_MOMENT) {
            let (_, event) = found?;
            if event.time > time {
                break;
            }
            moment.take(&event, vcpu);
        }
        Ok(moment)
    }

    /// Takes the next event of this time, for the address space of `vcpu`.
    pub(super) fn take(&mut self, event: &Event, vcpu: u8) {
        for (gpa, bytes, length) in entries(event) {
            put(&mut self.physically, gpa, &bytes[..length]);
        }
        if event.vcpu != vcpu {
            return;
        }
        match &event.payload {
            Payload::Registers(registers) => {
                self.cr3 = Some(registers.cr3);
                self.registers = Some(registers.clone());
            }
            Payload::AddressSpace(change) => self.cr3 = Some(change.new),
            Payload::Trap(trap) => self.take_trap(trap),
            Payload::Walk(walk) if self.walks.len() < MOST => self.walks.push(walk.clone()),
            Payload::Exit(exit) => {
                if let ExitReason::InternalError { instruction, .. } = &exit.reason {
                    put(&mut self.virtually, exit.rip, instruction);
                }
            }
            _ => {}
        }
    }

    /// What the CPU pushes in long mode (SDM vol. 3, 7.14.2): from below the error code, RIP, CS, RFLAGS, RSP and SS.
    fn take_trap(&mut self, trap: &Trap) {
        let Some(registers) = self.registers.as_ref().filter(|registers| registers.rip == trap.handler)
        else {
            return;
        };
        let long_mode = u64::from(registers.efer) & EFER_LMA != 0;
        if !long_mode || trap.vector == VECTOR_SYSCALL {
            return;
        }
        const RSP: usize = 7;
        let mut at = registers.general[RSP];
        let pushes = trap.class != TrapClass::ExternalInterrupt
            && u8::try_from(trap.vector).is_ok_and(Trap::pushes_error_code);
        if pushes {
            let Some(code) = trap.code else { return };
            put(&mut self.virtually, at, &code.to_le_bytes());
            at = at.wrapping_add(8);
        }
        put(&mut self.virtually, at, &trap.rip.to_le_bytes());
        put(&mut self.virtually, at.wrapping_add(8), &trap.cs.to_le_bytes());
        put(&mut self.virtually, at.wrapping_add(24), &trap.rsp.to_le_bytes());
    }

    /// Reads from `gva` on, up to the first byte that is not known; how many were.
    pub(crate) fn read(&self, gva: u64, buffer: &mut [u8]) -> usize {
        let mut count = 0;
        for (at, place) in (0_u64..).zip(buffer) {
            let Some(byte) = self.byte(gva.wrapping_add(at)) else { break };
            *place = byte;
            count += 1;
        }
        count
    }

    /// Reads from `gpa` on, up to the first byte that is not known; how many were.
    pub(crate) fn read_physical(&self, gpa: u64, buffer: &mut [u8]) -> usize {
        let known = (0_u64..).map_while(|at| self.physically.get(&gpa.checked_add(at)?));
        buffer.iter_mut().zip(known).map(|(place, byte)| *place = *byte).count()
    }

    fn byte(&self, gva: u64) -> Option<u8> {
        let direct = self.virtually.get(&gva).copied();
        direct.or_else(|| self.physically.get(&self.translate(gva)?).copied())
    }

    /// The gpa that a walk of this time found for `gva`, in the vCPU's address space.
    fn translate(&self, gva: u64) -> Option<u64> {
        self.walks.iter().rev().find_map(|walk| {
            let WalkOutcome::Mapped { gpa, page_size, .. } = &walk.outcome else { return None };
            let offset = page_size.checked_sub(1).filter(|_| page_size.is_power_of_two())?;
            let here = walk.gva & !offset == gva & !offset && self.cr3 == Some(walk.cr3);
            here.then_some(gpa & !offset | gva & offset)
        })
    }
}

fn put(known: &mut BTreeMap<u64, u8>, at: u64, bytes: &[u8]) {
    for (offset, byte) in (0..).zip(bytes) {
        if known.len() < MOST {
            known.insert(at.wrapping_add(offset), *byte);
        }
    }
}

/// The page-table entries that an event tells: gpa, value, bytes.
pub(super) fn entries(event: &Event) -> Vec<(u64, [u8; 8], usize)> {
    match &event.payload {
        Payload::Walk(walk) => {
            let length = if walk.mode == PagingMode::Bits32 { 4 } else { 8 };
            walk.levels.iter().map(|level| (level.entry_gpa, level.entry.to_le_bytes(), length)).collect()
        }
        // How wide the table's entries are is not told, so that only what every one has is known.
        Payload::PageTableWrite(write) => vec![(write.entry_gpa, write.new.to_le_bytes(), 4)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trace_format::event::{Access, Level, PageTableWrite, Permissions, WalkCause};

    use super::*;

    fn event(payload: Payload) -> Event {
        Event { time: 0, vcpu: 0, payload }
    }

    fn walk(gva: u64, gpa: u64, page_size: u64, entries: &[(u64, u64)]) -> Payload {
        Payload::Walk(Walk {
            cause: WalkCause::PageFault,
            cr3: 0x5000,
            mode: PagingMode::FourLevel,
            gva,
            access: Access::default(),
            levels: entries
                .iter()
                .take(5)
                .map(|&(entry_gpa, entry)| Level { level: 1, entry_gpa, entry })
                .collect(),
            outcome: WalkOutcome::Mapped { gpa, page_size, permissions: Permissions::default(), host: None },
        })
    }

    #[test]
    fn an_address_is_translated_in_its_address_space_alone() {
        let walk = walk(0x40_0010, 0x6010, 4096, &[(0x6018, 0x1234)]);
        let mut buffer = [0; 8];
        for (cr3, count) in [(0x5000, 8), (0x9000, 0)] {
            let mut moment = Moment::default();
            moment.take(&event(Payload::Registers(Registers { cr3, ..Registers::default() })), 0);
            moment.take(&event(walk.clone()), 0);
            assert_eq!(moment.read(0x40_0018, &mut buffer), count, "cr3 {cr3:#x}");
        }
        let mut other = Moment::default();
        other.take(&event(Payload::Registers(Registers { cr3: 0x5000, ..Registers::default() })), 0);
        other.take(&Event { vcpu: 1, ..event(walk) }, 0);
        assert_eq!(other.read(0x40_0018, &mut buffer), 0, "another vCPU's walk");
    }

    #[test]
    fn of_a_written_entry_the_lower_half_is_known() {
        let write =
            PageTableWrite { table: 0, level: 1, entry_gpa: 0x6000, old: 1, new: 0x1_0000_0002, gva: 0 };
        let mut moment = Moment::default();
        moment.take(&event(Payload::PageTableWrite(write)), 0);
        assert_eq!(moment.physically.keys().copied().collect::<Vec<_>>(), [0x6000, 0x6001, 0x6002, 0x6003]);
    }

    proptest! {
        #[test]
        fn any_walk_and_trap_is_survived(
            walks in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<[u64; 4]>()), 0..20),
            rsp: u64,
            vector in 0_u16..300,
            reads in prop::collection::vec(any::<u64>(), 0..20),
        ) {
            let mut moment = Moment::default();
            let mut registers = Registers { rip: 1, efer: 0x500, cr3: 0x5000, ..Registers::default() };
            registers.general[7] = rsp;
            moment.take(&event(Payload::Registers(registers)), 0);
            let trap = Trap {
                id: 1, vector, shared_by: 1, class: TrapClass::Fault, code: Some(2), rip: 3, cs: 8, cpl: 0, rsp: 4,
                handler: 1, cr2: None,
            };
            moment.take(&event(Payload::Trap(trap)), 0);
            for (gva, gpa, size, [a, b, c, d]) in walks {
                moment.take(&event(walk(gva, gpa, size, &[(a, b), (c, d)])), 0);
            }
            for gva in reads.into_iter().chain([rsp, u64::MAX]) {
                let mut buffer = [0; 64];
                prop_assert!(moment.read(gva, &mut buffer) <= buffer.len());
            }
        }
    }
}

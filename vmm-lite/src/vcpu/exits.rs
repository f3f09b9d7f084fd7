//! What each exit asks of the monitor.

use trace_format::event::{
    Counter, Data, ExitReason, FOREIGN_EXITS, Marker, MsrDirection, Payload, ResetBy, StopReason, Text,
};

use super::{Activity, VcpuThread};
use crate::boot::MAGIC;
use crate::devices::{PortEffect, ResetLine};
use crate::error::{Error, Result};
use crate::irq::{Effect, MSR_APIC_BASE, MSR_TSC_DEADLINE, MSR_X2APIC_FIRST, MSR_X2APIC_LAST};
use crate::kvm::Exit;
use crate::machine::lock;
use crate::msr::{IA32_LSTAR, IA32_TIME_STAMP_COUNTER};
use crate::recorder::Timing;

/// The IOAPIC's registers, gpa.
const IOAPIC: std::ops::Range<u64> = 0xfec0_0000..0xfec0_1000;
/// Bytes of an exit's data that fit into the exit's event.
const IN_EXIT: usize = 8;
/// What a hypercall that nobody knows returns: `-KVM_ENOSYS` (`linux/kvm_para.h`).
const UNKNOWN_HYPERCALL: u64 = -1000_i64 as u64;

impl VcpuThread {
    /// Handles `exit` and puts what it was into `self.handled`: the commonest reasons directly, as a copy of what was
    /// just written in pieces makes the CPU wait for all of them.
    pub(super) fn dispatch(&mut self, exit: &Exit, timing: Timing) -> Result<()> {
        match *exit {
            Exit::Io { port, size, count, write } => {
                let data = self.port_io(port, size, write, timing);
                self.handled.reason = match write {
                    true => ExitReason::IoOut { port, size, count, data },
                    false => ExitReason::IoIn { port, size, count, data },
                };
            }
            Exit::Mmio { gpa, len, data, write: true } => {
                let len = usize::from(len);
                self.mmio_write(gpa, data.get(..len).unwrap_or(&data), timing);
                let data = u64::from_le_bytes(data) & mask(len);
                self.handled.reason = ExitReason::MmioWrite { gpa, size: len as u8, data };
            }
            Exit::Mmio { gpa, len, write: false, .. } => {
                let data = self.mmio_read(gpa, usize::from(len), timing);
                self.vcpu.answer_mmio(data);
                let data = u64::from_le_bytes(data) & mask(len.into());
                self.handled.reason = ExitReason::MmioRead { gpa, size: len, data };
            }
            _ => self.handled.reason = self.dispatch_rarer(exit, timing)?,
        }
        Ok(())
    }

    #[inline(never)]
    fn dispatch_rarer(&mut self, exit: &Exit, timing: Timing) -> Result<ExitReason> {
        Ok(match *exit {
            Exit::ReadMsr { index, reason } => self.read_msr(index, reason, timing),
            Exit::WriteMsr { index, data, reason } => self.write_msr(index, data, reason, timing)?,
            Exit::Hypercall { number, arguments } => {
                self.vcpu.answer_hypercall(UNKNOWN_HYPERCALL);
                ExitReason::Hypercall { number, arguments, result: UNKNOWN_HYPERCALL }
            }
            Exit::Halt => {
                self.set_activity(Activity::Halted);
                self.look = true;
                ExitReason::Halt
            }
            Exit::Shutdown => {
                self.machine.end(Some(self.number), StopReason::TripleFault);
                ExitReason::Shutdown
            }
            Exit::Debug { .. } | Exit::InternalError { .. } => self.debug_or_error(exit, timing)?,
            Exit::InterruptWindow => {
                self.look = true;
                ExitReason::InterruptWindow
            }
            Exit::Interrupted => {
                self.look = true;
                ExitReason::Interrupted
            }
            Exit::FailEntry { hardware_reason, cpu } => {
                self.give_up("the CPU refuses to enter the guest");
                ExitReason::FailEntry { hardware_reason, cpu }
            }
            Exit::MemoryFault { flags, gpa, size } => {
                self.machine.give_up(self.number, Error::MemoryFault { gpa, size });
                ExitReason::MemoryFault { flags, gpa, size }
            }
            Exit::SystemEvent { kind, data } => {
                self.machine.end(Some(self.number), StopReason::Reset { by: ResetBy::Hypervisor });
                ExitReason::SystemEvent { kind, data }
            }
            Exit::SetTpr => ExitReason::SetTpr,
            Exit::TprAccess { rip, write } => ExitReason::TprAccess { rip, write },
            Exit::IoapicEoi { vector } => {
                let mut bus = lock(&self.machine.bus);
                bus.chips.ioapic.eoi(vector, timing.time);
                self.machine.deliver_from(&mut bus);
                ExitReason::IoapicEoi { vector }
            }
            Exit::Nmi => ExitReason::Nmi,
            Exit::DirtyRingFull => ExitReason::DirtyRingFull,
            Exit::BusLock => ExitReason::BusLock,
            Exit::Watchdog => ExitReason::Watchdog,
            Exit::Notify { flags } => ExitReason::Notify { flags },
            Exit::HyperV { kind } => ExitReason::HyperV { kind },
            Exit::Xen { kind } => ExitReason::Xen { kind },
            Exit::Exception { vector, error_code } => {
                self.give_up("KVM passes on an exception that it did not expect");
                ExitReason::Exception { vector, error_code }
            }
            Exit::Unknown { hardware_reason } => {
                self.give_up("the CPU left the guest for a reason that KVM does not know");
                ExitReason::Unknown { hardware_reason }
            }
            // Those of `dispatch`.
            Exit::Io { .. } | Exit::Mmio { .. } => ExitReason::Unlisted { number: u32::MAX },
            Exit::Other { number } => {
                self.give_up("KVM left the guest for a reason that vmscope does not handle");
                if FOREIGN_EXITS.iter().any(|(foreign, _)| *foreign == number) {
                    ExitReason::Foreign { number }
                } else {
                    ExitReason::Unlisted { number }
                }
            }
        })
    }

    /// The guest has come to its end: going on would be wrong.
    fn give_up(&self, why: &'static str) {
        self.machine.give_up(self.number, Error::HostCannot { operation: "go on with this guest", why });
    }

    /// Returns the first bytes of what was read or written.
    fn port_io(&mut self, port: u16, size: u8, write: bool, timing: Timing) -> u64 {
        let now = timing.time;
        self.flush_old_console(now);
        let elements = usize::from(size.max(1));
        let mut effects = arrayvec::ArrayVec::<PortEffect, 64>::new();
        let mut done = 0;
        // In pieces, because a string of output can have more effects than there is room for.
        loop {
            let mut bus = lock(&self.machine.bus);
            let Some(rest) = self.vcpu.io_data().get_mut(done..) else { break };
            for element in rest.chunks_mut(elements).take(effects.capacity()) {
                done += element.len();
                if write {
                    match bus.write(port, element, now) {
                        PortEffect::None => {}
                        effect => effects.push(effect),
                    }
                } else {
                    bus.read(port, element, now);
                }
            }
            self.machine.deliver_from(&mut bus);
            let finished = done >= self.vcpu.io_data().len();
            drop(bus);
            for effect in effects.drain(..) {
                self.apply(effect, now);
            }
            if finished {
                break;
            }
        }
        if matches!(port, 0x40..=0x43 | 0x61) {
            self.machine.timekeeper.poke();
        }
        self.io_in_exit(timing)
    }

    /// As much of the data as fits into the exit's event; the rest is recorded in events of its own.
    fn io_in_exit(&mut self, timing: Timing) -> u64 {
        let bytes = self.vcpu.io_data();
        let mut first = [0; IN_EXIT];
        let head = bytes.len().min(IN_EXIT);
        first[..head].copy_from_slice(&bytes[..head]);
        let data = u64::from_le_bytes(first);
        if self.lane.is_on() && bytes.len() > IN_EXIT {
            for (n, chunk) in bytes[IN_EXIT..].chunks(64).enumerate() {
                let offset = (IN_EXIT + 64 * n) as u32;
                let bytes = chunk.iter().copied().collect();
                self.lane.record_at(timing.time, Payload::Data(Data { offset, bytes }));
            }
        }
        data
    }

    fn apply(&mut self, effect: PortEffect, now: u64) {
        match effect {
            PortEffect::None => {}
            PortEffect::Console { port, byte } => self.print(port.into(), byte, now),
            PortEffect::Exit { status } => {
                self.flush_console();
                self.machine.end(Some(self.number), StopReason::GuestExit { status });
            }
            PortEffect::PowerOff => {
                self.flush_console();
                self.machine.end(Some(self.number), StopReason::PowerOff);
            }
            PortEffect::Reset { line } => {
                self.flush_console();
                self.machine.end(Some(self.number), StopReason::Reset { by: reset_by(line) });
            }
            PortEffect::Call { gpa } => self.guest_call(gpa),
            PortEffect::PicEoi(eoi) => {
                self.record(Payload::IrqEoi(trace_format::event::IrqEoi {
                    source: trace_format::event::IrqSource::Pic { line: eoi.line },
                    vector: eoi.vector,
                    latency_ns: now.saturating_sub(eoi.injected_ns),
                }));
                self.look = true;
            }
        }
    }

    /// A counter or marker: `struct vmscope_call` of `guests/vmscope.h`. Anything else at that address is ignored, as
    /// a device would.
    fn guest_call(&mut self, gpa: u32) {
        const COUNTER: u16 = 1;
        const MARKER: u16 = 2;
        let mut call = [0; 64];
        if self.machine.memory.read(gpa.into(), &mut call).is_err() {
            return;
        }
        let [m0, m1, m2, m3, k0, k1, l0, l1, value @ ..] = &call;
        if u32::from_le_bytes([*m0, *m1, *m2, *m3]) != MAGIC {
            return;
        }
        let length = usize::from(u16::from_le_bytes([*l0, *l1])).min(48);
        let mut number = [0; 8];
        number.copy_from_slice(&value[..8]);
        let value_number = u64::from_le_bytes(number);
        let mut text = Text::new();
        for character in String::from_utf8_lossy(&value[8..8 + length]).chars() {
            if text.try_push(character).is_err() {
                break;
            }
        }
        match u16::from_le_bytes([*k0, *k1]) {
            COUNTER => self.record(Payload::Counter(Counter { name: text, value: value_number })),
            MARKER => self.record(Payload::Marker(Marker { by_guest: true, text, value: value_number })),
            _ => {}
        }
    }

    fn mmio_read(&mut self, gpa: u64, len: usize, timing: Timing) -> [u8; 8] {
        let now = timing.time;
        let mut data = [0xff; 8];
        if let Some(offset) = self.apic_offset(gpa) {
            let part = data.get_mut(..len).unwrap_or_default();
            self.with_lapic(|lapic| lapic.mmio_read(offset, part, now));
            self.look = true;
        } else if IOAPIC.contains(&gpa) {
            let offset = (gpa - IOAPIC.start) as u16;
            let value = lock(&self.machine.bus).chips.ioapic.mmio_read(offset & !3);
            data = (u64::from(value) >> (8 * (offset & 3))).to_le_bytes();
        } else {
            self.read_device(gpa, data.get_mut(..len).unwrap_or_default());
        }
        data
    }

    fn mmio_write(&mut self, gpa: u64, data: &[u8], timing: Timing) {
        let now = timing.time;
        if let Some(offset) = self.apic_offset(gpa) {
            let effect = self.with_lapic(|lapic| {
                let effect = lapic.mmio_write(offset, data, now);
                (effect, lapic.cr8())
            });
            if let Some((effect, cr8)) = effect {
                self.set_priority(cr8);
                self.apply_apic(effect, now);
            }
        } else if IOAPIC.contains(&gpa)
            && let Ok(value) = data.try_into()
        {
            let mut bus = lock(&self.machine.bus);
            bus.chips.ioapic.mmio_write((gpa - IOAPIC.start) as u16, u32::from_le_bytes(value), now);
            self.machine.deliver_from(&mut bus);
            self.look = true;
        } else {
            self.write_device(gpa, data, now);
        }
    }

    fn apic_offset(&self, gpa: u64) -> Option<u16> {
        let page = self.apic_page?;
        (gpa & !0xfff == page).then_some((gpa & 0xfff) as u16)
    }

    /// What an access to the local APIC leads to.
    fn apply_apic(&mut self, effect: Effect, now: u64) {
        self.look = true;
        match effect {
            Effect::None => {}
            Effect::SendIpi(icr) => {
                let ipi = self.machine.send_ipi(self.number, &icr, now);
                self.lane.record_at(now, Payload::Ipi(ipi));
            }
            Effect::Eoi(eoi) => self.report_eoi(&eoi, now),
            Effect::TimerChanged => self.machine.timekeeper.poke(),
        }
    }

    /// The TPR has been written through the APIC's page: KVM must know it as CR8.
    pub(super) fn set_priority(&mut self, cr8: u8) {
        self.cr8 = cr8.into();
        self.vcpu.set_cr8(cr8.into());
    }

    fn read_msr(&mut self, index: u32, reason: u32, timing: Timing) -> ExitReason {
        let now = timing.time;
        let value = match index {
            MSR_APIC_BASE | MSR_TSC_DEADLINE | MSR_X2APIC_FIRST..=MSR_X2APIC_LAST => {
                self.with_lapic(|lapic| lapic.read_msr(index, now).ok()).flatten()
            }
            // Nobody has it: the guest gets #GP, as from KVM.
            _ => None,
        };
        self.vcpu.answer_msr(value);
        let data = value.unwrap_or(0);
        ExitReason::Msr { direction: MsrDirection::Read, index, data, reason, failed: value.is_none() }
    }

    fn write_msr(&mut self, index: u32, data: u64, reason: u32, timing: Timing) -> Result<ExitReason> {
        let now = timing.time;
        let done = match index {
            MSR_APIC_BASE | MSR_TSC_DEADLINE | MSR_X2APIC_FIRST..=MSR_X2APIC_LAST => {
                self.write_apic_msr(index, data, now)?
            }
            IA32_LSTAR => {
                // The filter holds the write back; it is done here, and the probe for system calls moves along.
                let done = self.vcpu.set_msr(index, data)?;
                if done {
                    if let Some(slide) = self.machine.slide_by(data) {
                        self.lane.record_at(timing.time, Payload::Slide(slide));
                    }
                    self.move_syscall_probe(data, now)?;
                }
                done
            }
            _ => false,
        };
        self.vcpu.answer_msr(done.then_some(data));
        Ok(ExitReason::Msr { direction: MsrDirection::Write, index, data, reason, failed: !done })
    }

    /// System calls go to `lstar` from now on.
    pub(super) fn move_syscall_probe(&mut self, lstar: u64, now: u64) -> Result<()> {
        let (probes, mut cx) = self.probing(now);
        probes.set_lstar(lstar, &mut cx)
    }

    pub(super) fn write_apic_msr(&mut self, index: u32, data: u64, now: u64) -> Result<bool> {
        let tsc =
            if index == MSR_TSC_DEADLINE { self.vcpu.msr(IA32_TIME_STAMP_COUNTER)?.unwrap_or(0) } else { 0 };
        let outcome = self.with_lapic(|lapic| {
            (lapic.write_msr(index, data, now, tsc).ok(), lapic.cr8(), lapic.mmio_page())
        });
        let Some((Some(effect), cr8, page)) = outcome else { return Ok(false) };
        self.apic_page = page;
        self.set_priority(cr8);
        self.apply_apic(effect, now);
        Ok(true)
    }
}

/// What an event says of a reset.
const fn reset_by(line: ResetLine) -> ResetBy {
    match line {
        ResetLine::KeyboardController => ResetBy::KeyboardController,
        ResetLine::FastReset => ResetBy::FastReset,
        ResetLine::ResetControl => ResetBy::ResetControl,
        ResetLine::Acpi => ResetBy::Acpi,
    }
}

/// Keeps the low `len` bytes of a value.
fn mask(len: usize) -> u64 {
    if len >= 8 { u64::MAX } else { (1 << (8 * len)) - 1 }
}

//! The register page of an xAPIC (SDM vol. 3, table 12-1).

use super::lvt::Pin;
use super::msr::ApicMode;
use super::{ESR_ILLEGAL_REGISTER, ESR_SEND_ILLEGAL_VECTOR, Effect, Lapic, SVR_ENABLED};
use crate::irq::Icr;
use trace_format::event::DeliveryMode;

/// Version 0x14 (an integrated xAPIC) with six LVT entries, without EOI-broadcast suppression.
const VERSION: u32 = 5 << 16 | 0x14;

/// The bits of the ICR's low half that can be written: all but the delivery status and what is reserved.
pub(super) const ICR_LOW: u32 = 0x000c_cfff;

/// Bits of the spurious-vector register: vector, enable, focus checking.
pub(super) const SVR: u32 = 0x3ff;

/// The registers, in the order of their offsets. [`Self::at`] finds one for both the page and the MSRs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    Id,
    Version,
    Tpr,
    Apr,
    Ppr,
    Eoi,
    RemoteRead,
    Ldr,
    Dfr,
    Svr,
    Isr(u8),
    Tmr(u8),
    Irr(u8),
    Esr,
    IcrLow,
    IcrHigh,
    Lvt(Pin),
    TimerInitial,
    TimerCurrent,
    TimerDivide,
}

impl Register {
    /// The register number `index`: its offset in the page is 16 times that, its MSR 0x800 and that.
    pub(super) const fn at(index: u8) -> Option<Self> {
        Some(match index {
            0x02 => Self::Id,
            0x03 => Self::Version,
            0x08 => Self::Tpr,
            0x09 => Self::Apr,
            0x0a => Self::Ppr,
            0x0b => Self::Eoi,
            0x0c => Self::RemoteRead,
            0x0d => Self::Ldr,
            0x0e => Self::Dfr,
            0x0f => Self::Svr,
            0x10..=0x17 => Self::Isr(index & 7),
            0x18..=0x1f => Self::Tmr(index & 7),
            0x20..=0x27 => Self::Irr(index & 7),
            0x28 => Self::Esr,
            0x30 => Self::IcrLow,
            0x31 => Self::IcrHigh,
            0x32 => Self::Lvt(Pin::Timer),
            0x33 => Self::Lvt(Pin::Thermal),
            0x34 => Self::Lvt(Pin::Performance),
            0x35 => Self::Lvt(Pin::Lint0),
            0x36 => Self::Lvt(Pin::Lint1),
            0x37 => Self::Lvt(Pin::Error),
            0x38 => Self::TimerInitial,
            0x39 => Self::TimerCurrent,
            0x3e => Self::TimerDivide,
            _ => return None,
        })
    }
}

impl Lapic {
    /// A read of the register page, `offset` bytes from its start.
    ///
    /// One to four bytes inside a register are served; what crosses its end reads 0. Where the page is not there, in
    /// x2APIC mode or with the APIC off, all bits are ones.
    pub fn mmio_read(&mut self, offset: u16, data: &mut [u8], now_ns: u64) {
        if self.mode() != ApicMode::XApic {
            data.fill(0xff);
            return;
        }
        data.fill(0);
        let start = usize::from(offset & 0xf);
        if start + data.len() <= 4 {
            let value = self.read(offset, now_ns).to_le_bytes();
            data.copy_from_slice(&value[start..start + data.len()]);
        }
    }

    /// A write to the register page. Only four bytes at the start of a register do anything.
    pub fn mmio_write(&mut self, offset: u16, data: &[u8], now_ns: u64) -> Effect {
        match data.try_into() {
            Ok(value) if offset & 0xf == 0 => self.write(offset, u32::from_le_bytes(value), now_ns),
            _ => Effect::None,
        }
    }

    /// Reads the register at `offset`; its low four bits are not looked at. Nothing there: 0, and an error in the ESR.
    pub fn read(&mut self, offset: u16, now_ns: u64) -> u32 {
        if self.mode() != ApicMode::XApic {
            return u32::MAX;
        }
        match Register::at((offset >> 4) as u8).filter(|_| offset < 0x1000) {
            Some(Register::Id) => u32::from(self.config.id) << 24,
            Some(Register::IcrHigh) => (self.icr >> 32) as u32,
            Some(register) => self.get(register, now_ns),
            None => {
                self.error(ESR_ILLEGAL_REGISTER, now_ns);
                0
            }
        }
    }

    /// Writes the register at `offset`; its low four bits are not looked at. Registers that can only be read ignore it.
    pub fn write(&mut self, offset: u16, value: u32, now_ns: u64) -> Effect {
        if self.mode() != ApicMode::XApic {
            return Effect::None;
        }
        match Register::at((offset >> 4) as u8).filter(|_| offset < 0x1000) {
            Some(Register::Ldr) => self.ldr = value & 0xff00_0000,
            Some(Register::Dfr) => self.dfr = value | 0x0fff_ffff,
            Some(Register::IcrHigh) => {
                self.icr = u64::from(value & 0xff00_0000) << 32 | self.icr & 0xffff_ffff;
            }
            Some(Register::IcrLow) => {
                self.icr = self.icr & !0xffff_ffff | u64::from(value & ICR_LOW);
                return self.send(Icr::xapic(self.icr), now_ns);
            }
            Some(register) => return self.set(register, value, now_ns),
            None => self.error(ESR_ILLEGAL_REGISTER, now_ns),
        }
        Effect::None
    }

    /// Reads a register that is the same in both modes.
    pub(super) fn get(&mut self, register: Register, now_ns: u64) -> u32 {
        match register {
            Register::Id => self.config.id.into(),
            Register::Version => VERSION,
            Register::Tpr => self.tpr.into(),
            Register::Ppr => self.ppr().into(),
            Register::Ldr => self.ldr,
            Register::Dfr => self.dfr,
            Register::Svr => self.svr,
            Register::Isr(index) => self.isr(index),
            Register::Tmr(index) => self.tmr.register(index),
            Register::Irr(index) => self.irr.register(index),
            Register::Esr => self.esr,
            Register::IcrLow => self.icr as u32,
            Register::Lvt(pin) => self.lvt.read(pin),
            Register::TimerInitial => self.timer.initial(),
            Register::TimerCurrent => self.timer.current(self.lvt.timer_mode(), now_ns),
            Register::TimerDivide => self.timer.divide(),
            Register::Apr | Register::Eoi | Register::RemoteRead | Register::IcrHigh => 0,
        }
    }

    /// Writes a register that is the same in both modes.
    pub(super) fn set(&mut self, register: Register, value: u32, now_ns: u64) -> Effect {
        match register {
            Register::Tpr => self.tpr = value as u8,
            Register::Eoi => return self.eoi().map_or(Effect::None, Effect::Eoi),
            Register::Svr => {
                self.svr = value & SVR;
                if value & SVR_ENABLED == 0 {
                    self.expire(now_ns);
                    self.lvt.mask_all();
                    return Effect::TimerChanged;
                }
            }
            Register::Esr => {
                self.esr = self.errors;
                self.errors = 0;
            }
            Register::Lvt(pin) => {
                // What expired before this write did so under the old entry.
                self.expire(now_ns);
                let before = self.lvt.timer_mode();
                self.lvt.write(pin, value, !self.is_enabled());
                if pin == Pin::Timer {
                    self.timer.change_mode(before, self.lvt.timer_mode());
                    return Effect::TimerChanged;
                }
            }
            Register::TimerInitial => {
                self.expire(now_ns);
                self.timer.set_initial(self.lvt.timer_mode(), value, now_ns);
                return Effect::TimerChanged;
            }
            Register::TimerDivide => {
                self.expire(now_ns);
                self.timer.set_divide(self.lvt.timer_mode(), value, now_ns);
                return Effect::TimerChanged;
            }
            Register::Id
            | Register::Version
            | Register::Apr
            | Register::Ppr
            | Register::RemoteRead
            | Register::Ldr
            | Register::Dfr
            | Register::Isr(_)
            | Register::Tmr(_)
            | Register::Irr(_)
            | Register::IcrLow
            | Register::IcrHigh
            | Register::TimerCurrent => {}
        }
        Effect::None
    }

    /// An illegal vector is an error here, and sent all the same: the targets refuse it.
    pub(super) fn send(&mut self, icr: Icr, now_ns: u64) -> Effect {
        if matches!(icr.mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority) && icr.vector < 16 {
            self.error(ESR_SEND_ILLEGAL_VECTOR, now_ns);
        }
        Effect::SendIpi(icr)
    }

    fn isr(&self, index: u8) -> u32 {
        self.in_service
            .iter()
            .filter(|service| service.vector >> 5 == index)
            .fold(0, |register, service| register | 1 << (service.vector & 31))
    }
}

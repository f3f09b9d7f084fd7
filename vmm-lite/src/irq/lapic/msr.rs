//! The MSRs: `IA32_APIC_BASE`, `IA32_TSC_DEADLINE` and the x2APIC's registers (SDM vol. 3, 12.12).

use super::registers::{ICR_LOW, Register, SVR};
use super::{Effect, Lapic, XAPIC_BASE};
use crate::irq::Icr;
use crate::msr::{IA32_APIC_BASE, IA32_TSC_DEADLINE};

/// `IA32_APIC_BASE`.
pub const MSR_APIC_BASE: u32 = IA32_APIC_BASE;
/// `IA32_TSC_DEADLINE`.
pub const MSR_TSC_DEADLINE: u32 = IA32_TSC_DEADLINE;
/// The first of the x2APIC's MSRs.
pub const MSR_X2APIC_FIRST: u32 = 0x800;
/// The last of the x2APIC's MSRs.
pub const MSR_X2APIC_LAST: u32 = 0x8ff;

const MSR_ICR: u32 = 0x830;
const MSR_SELF_IPI: u32 = 0x83f;

const BASE_BSP: u64 = 1 << 8;
const BASE_X2APIC: u64 = 1 << 10;
const BASE_ENABLED: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// How the guest reaches the APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApicMode {
    /// Not at all: switched off in `IA32_APIC_BASE`.
    Disabled,
    /// By its page.
    XApic,
    /// By MSRs.
    X2Apic,
}

/// An MSR access that raises #GP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MsrFault {
    /// A read.
    #[error("MSR {msr:#x} of the local APIC cannot be read now")]
    #[allow(missing_docs)]
    Read { msr: u32 },
    /// A write.
    #[error("MSR {msr:#x} of the local APIC does not take {value:#x} now")]
    #[allow(missing_docs)]
    Write { msr: u32, value: u64 },
}

/// `IA32_APIC_BASE` after a reset.
pub(super) const fn base_after_reset(bsp: bool) -> u64 {
    XAPIC_BASE | BASE_ENABLED | if bsp { BASE_BSP } else { 0 }
}

pub(in crate::irq) const fn mode_of(base: u64) -> ApicMode {
    match (base & BASE_ENABLED != 0, base & BASE_X2APIC != 0) {
        (false, _) => ApicMode::Disabled,
        (true, false) => ApicMode::XApic,
        (true, true) => ApicMode::X2Apic,
    }
}

impl Lapic {
    /// Off, xAPIC or x2APIC.
    #[must_use]
    pub const fn mode(&self) -> ApicMode {
        mode_of(self.base)
    }

    /// `IA32_APIC_BASE`.
    #[must_use]
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// Where the register page is, gpa; nothing where it is not.
    #[must_use]
    pub fn mmio_page(&self) -> Option<u64> {
        (self.mode() == ApicMode::XApic).then_some(self.base & BASE_ADDRESS)
    }

    /// Reads [`MSR_APIC_BASE`], [`MSR_TSC_DEADLINE`] or an x2APIC register.
    ///
    /// # Errors
    ///
    /// #GP: no such register, one that can only be written, or not in x2APIC mode.
    pub fn read_msr(&mut self, msr: u32, now_ns: u64) -> Result<u64, MsrFault> {
        let fault = MsrFault::Read { msr };
        match msr {
            MSR_APIC_BASE => return Ok(self.base),
            MSR_TSC_DEADLINE if self.config.tsc_khz != 0 => {
                self.expire(now_ns);
                return Ok(self.timer.tsc_deadline());
            }
            _ => {}
        }
        let register = self.x2apic_register(msr).ok_or(fault)?;
        match register {
            Register::Eoi | Register::IcrHigh => Err(fault),
            Register::IcrLow => Ok(self.icr),
            register => Ok(self.get(register, now_ns).into()),
        }
    }

    /// Writes [`MSR_APIC_BASE`], [`MSR_TSC_DEADLINE`] or an x2APIC register. `tsc` is the guest's TSC at `now_ns`.
    ///
    /// # Errors
    ///
    /// #GP: no such register, one that can only be read, reserved bits, a forbidden change of mode, or not in x2APIC
    /// mode.
    pub fn write_msr(&mut self, msr: u32, value: u64, now_ns: u64, tsc: u64) -> Result<Effect, MsrFault> {
        let fault = MsrFault::Write { msr, value };
        match msr {
            MSR_APIC_BASE => return self.set_base(value).then_some(Effect::TimerChanged).ok_or(fault),
            MSR_TSC_DEADLINE if self.config.tsc_khz != 0 => {
                self.expire(now_ns);
                let mode = self.lvt.timer_mode();
                self.timer.set_tsc_deadline(mode, value, self.config.tsc_khz, now_ns, tsc);
                return Ok(Effect::TimerChanged);
            }
            MSR_SELF_IPI if self.mode() == ApicMode::X2Apic => {
                let vector = u8::try_from(value).map_err(|_| fault)?;
                return Ok(self.send(Icr::self_ipi(vector), now_ns));
            }
            MSR_ICR if self.mode() == ApicMode::X2Apic => {
                if value as u32 & !ICR_LOW != 0 {
                    return Err(fault);
                }
                self.icr = value;
                return Ok(self.send(Icr::x2apic(value), now_ns));
            }
            _ => {}
        }
        let register = self.x2apic_register(msr).ok_or(fault)?;
        let value = u32::try_from(value).map_err(|_| fault)?;
        let allowed = match register {
            Register::Tpr => 0xff,
            Register::Svr => SVR,
            Register::Eoi | Register::Esr => 0,
            // The delivery status and the remote IRR are read-only, not reserved.
            Register::Lvt(pin) => pin.writable() | 1 << 12 | 1 << 14,
            Register::TimerInitial => u32::MAX,
            Register::TimerDivide => 0b1011,
            _ => return Err(fault),
        };
        if value & !allowed != 0 {
            return Err(fault);
        }
        Ok(self.set(register, value, now_ns))
    }

    /// The logical id that follows from the APIC id (SDM vol. 3, 12.12.10.2).
    pub(super) fn x2apic_ldr(&self) -> u32 {
        let id = u32::from(self.config.id);
        id >> 4 << 16 | 1 << (id & 0xf)
    }

    fn x2apic_register(&self, msr: u32) -> Option<Register> {
        if self.mode() != ApicMode::X2Apic {
            return None;
        }
        let index = u8::try_from(msr.checked_sub(MSR_X2APIC_FIRST)?).ok()?;
        Register::at(index).filter(|register| {
            !matches!(register, Register::Apr | Register::RemoteRead | Register::Dfr | Register::IcrHigh)
        })
    }

    /// Changes the mode as far as SDM vol. 3, figure 12-27 lets it; false is #GP.
    fn set_base(&mut self, value: u64) -> bool {
        let x2apic = if self.config.x2apic { BASE_X2APIC } else { 0 };
        if value & !(BASE_ADDRESS | BASE_BSP | BASE_ENABLED | x2apic) != 0 {
            return false;
        }
        let before = self.mode();
        let after = mode_of(value);
        match (before, after) {
            (ApicMode::Disabled, ApicMode::X2Apic) | (ApicMode::X2Apic, ApicMode::XApic) => return false,
            (_, ApicMode::Disabled) if value & BASE_X2APIC != 0 => return false,
            _ => {}
        }
        self.base = value;
        match (before, after) {
            (ApicMode::XApic, ApicMode::X2Apic) => {
                self.ldr = self.x2apic_ldr();
                self.icr &= 0xffff_ffff;
            }
            (ApicMode::XApic | ApicMode::X2Apic, ApicMode::Disabled) => self.init(),
            _ => {}
        }
        true
    }
}

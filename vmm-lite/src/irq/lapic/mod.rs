//! A local APIC (SDM vol. 3, chapter 12), xAPIC and x2APIC.
//!
//! Left out, as no PC guest of this monitor uses them: CMCI, the arbitration priority register (reads 0),
//! EOI-broadcast suppression, level-triggered LINT pins (taken as edges), focus processors.

mod lvt;
mod msr;
mod registers;
mod timer;

#[cfg(test)]
mod tests;

use super::Icr;
use super::inspect::ApicState;
use super::origin::{Origin, Origins};
use super::route::{Address, Delivery, Message};
use super::vectors::Vectors;
use arrayvec::ArrayVec;
use lvt::{Lvt, Pin};
pub(super) use msr::mode_of;
pub use msr::{ApicMode, MSR_APIC_BASE, MSR_TSC_DEADLINE, MSR_X2APIC_FIRST, MSR_X2APIC_LAST, MsrFault};
use registers::Register;
use timer::Timer;
use trace_format::event::IrqSource;

/// Where the xAPIC's registers are after a reset, gpa.
pub const XAPIC_BASE: u64 = 0xfee0_0000;

/// Software-enable bit of the spurious-vector register.
const SVR_ENABLED: u32 = 1 << 8;

/// Errors of the error status register (SDM vol. 3, 12.5.3).
const ESR_SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
const ESR_RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
const ESR_ILLEGAL_REGISTER: u32 = 1 << 7;

/// What a local APIC is made for.
#[derive(Clone, Copy, Debug)]
pub struct LapicConfig {
    /// APIC id, which is the vCPU's number.
    pub id: u8,
    /// The boot processor's.
    pub bsp: bool,
    /// Whether the guest may enter x2APIC mode.
    pub x2apic: bool,
    /// The guest's TSC frequency for the TSC-deadline timer, kHz; 0 where that timer is not offered.
    pub tsc_khz: u32,
}

/// One vCPU's local APIC.
#[derive(Clone, Debug)]
pub struct Lapic {
    config: LapicConfig,
    /// `IA32_APIC_BASE`.
    base: u64,
    tpr: u8,
    ldr: u32,
    dfr: u32,
    svr: u32,
    icr: u64,
    /// What the guest reads: the errors up to its last write to the register.
    esr: u32,
    /// The errors since.
    errors: u32,
    lvt: Lvt,
    timer: Timer,
    irr: Vectors,
    tmr: Vectors,
    /// Who raised each vector of the IRR.
    pending: Box<[Origins; 256]>,
    /// The ISR: at most one vector a priority class, because a class must be higher than all in service to be taken.
    /// The highest is last.
    in_service: ArrayVec<InService, 16>,
    nmi: Option<Origins>,
}

#[derive(Clone, Debug)]
struct InService {
    vector: u8,
    level: bool,
    origins: Origins,
    injected_ns: u64,
}

/// What became of an interrupt that was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// It waits for the vCPU.
    Pending,
    /// It waited already; the vCPU will take both as one.
    Merged,
    /// The APIC or this interrupt is switched off, or the vector is illegal.
    Ignored,
    /// A local pin is set to `ExtINT`: the 8259s have the vector.
    ExtInt,
}

/// An interrupt that the vCPU takes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Vector.
    pub vector: u8,
    /// Who raised it.
    pub origins: Origins,
}

/// An interrupt that the guest has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eoi {
    /// Vector.
    pub vector: u8,
    /// Level-triggered: the IOAPIC has to be told.
    pub level: bool,
    /// Who had raised it.
    pub origins: Origins,
    /// When the vCPU took it, ns.
    pub injected_ns: u64,
}

/// What a register write asks of the owner. The write may also have made an interrupt deliverable or not: look at
/// [`Lapic::deliverable`] after every access.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "a box would be an allocation on the vCPU's thread")]
pub enum Effect {
    /// Nothing.
    None,
    /// Send an IPI.
    SendIpi(Icr),
    /// Tell the IOAPIC and the trace.
    Eoi(Eoi),
    /// [`Lapic::next_deadline_ns`] may be another.
    TimerChanged,
}

impl Lapic {
    /// An APIC after power-up.
    #[must_use]
    pub fn new(config: LapicConfig) -> Self {
        let mut lapic = Self {
            config,
            base: msr::base_after_reset(config.bsp),
            tpr: 0,
            ldr: 0,
            dfr: 0,
            svr: 0,
            icr: 0,
            esr: 0,
            errors: 0,
            lvt: Lvt::new(config.bsp),
            timer: Timer::default(),
            irr: Vectors::default(),
            tmr: Vectors::default(),
            pending: Box::new(std::array::from_fn(|_| Origins::default())),
            in_service: ArrayVec::new(),
            nmi: None,
        };
        lapic.init();
        lapic
    }

    /// Power-up once more.
    pub fn reset(&mut self) {
        *self = Self::new(self.config);
    }

    /// What an INIT does to it: everything but the id and `IA32_APIC_BASE` is as after power-up (SDM vol. 3, 12.4.7.3).
    ///
    /// The boot processor's LINT0 is `ExtINT` and its LINT1 NMI afterwards, as PC firmware leaves them (virtual wire
    /// mode), so that the 8259s work before the guest has programmed the APIC.
    pub fn init(&mut self) {
        self.tpr = 0;
        self.dfr = u32::MAX;
        self.ldr = if self.mode() == ApicMode::X2Apic { self.x2apic_ldr() } else { 0 };
        self.svr = 0xff;
        self.icr = 0;
        self.esr = 0;
        self.errors = 0;
        self.lvt = Lvt::new(self.config.bsp);
        self.timer = Timer::default();
        while let Some(vector) = self.irr.highest() {
            self.irr.remove(vector);
            self.pending[usize::from(vector)].take();
        }
        self.tmr = Vectors::default();
        self.in_service.clear();
        self.nmi = None;
    }

    /// Raises a fixed interrupt. `level` says that its EOI is wanted by the IOAPIC.
    ///
    /// Ignored where the APIC is disabled, by either switch, and for vectors below 16, which are an error that the
    /// error status register shows.
    pub fn raise(&mut self, vector: u8, level: bool, origin: Origin) -> Raised {
        if !self.is_enabled() {
            return Raised::Ignored;
        }
        if vector < 16 {
            self.error(ESR_RECEIVE_ILLEGAL_VECTOR, origin.raised_ns);
            return Raised::Ignored;
        }
        self.tmr.set(vector, level);
        self.pending[usize::from(vector)].add(origin);
        if self.irr.insert(vector) { Raised::Pending } else { Raised::Merged }
    }

    /// Raises what a message asks for. `INIT` and SMI are the owner's business and ignored here.
    pub fn raise_message(&mut self, message: &Message, origin: Origin) -> Raised {
        match message.delivery {
            Delivery::Fixed | Delivery::LowestPriority => self.raise(message.vector, message.level, origin),
            Delivery::Nmi => self.raise_nmi(origin),
            Delivery::ExtInt => Raised::ExtInt,
            Delivery::Smi | Delivery::Init | Delivery::Reserved => Raised::Ignored,
        }
    }

    /// Raises an NMI. It needs no enabled APIC; two that wait are one.
    pub fn raise_nmi(&mut self, origin: Origin) -> Raised {
        let merged = self.nmi.is_some();
        self.nmi.get_or_insert_default().add(origin);
        if merged { Raised::Merged } else { Raised::Pending }
    }

    /// Raises the local pin LINT0 or LINT1 (`pin` 0 or 1): the LVT says what it means.
    pub fn raise_lint(&mut self, pin: u8, now_ns: u64) -> Raised {
        let which = if pin == 0 { Pin::Lint0 } else { Pin::Lint1 };
        let virtual_wire = self.mode() == ApicMode::Disabled;
        self.raise_local(
            which,
            Origin::device(IrqSource::LapicLint { pin: pin.min(1) }, now_ns),
            virtual_wire,
        )
    }

    /// Whether an interrupt of the 8259s gets through to this vCPU: LINT0 is unmasked and `ExtINT`, or the APIC is off
    /// and its pin is the processor's INTR.
    #[must_use]
    pub fn accepts_extint(&self) -> bool {
        if self.mode() == ApicMode::Disabled {
            return self.config.bsp;
        }
        self.lvt.is_unmasked(Pin::Lint0) && self.lvt.delivery(Pin::Lint0) == Delivery::ExtInt
    }

    /// The vector that the vCPU would take now if its RFLAGS.IF and interrupt shadow let it: the highest of the IRR,
    /// if its priority class is above the processor's.
    #[must_use]
    pub fn deliverable(&self) -> Option<u8> {
        let vector = self.irr.highest()?;
        (self.mode() != ApicMode::Disabled && vector >> 4 > self.ppr() >> 4).then_some(vector)
    }

    /// The vCPU takes [`Self::deliverable`]: it moves from the IRR to the ISR.
    pub fn take(&mut self, now_ns: u64) -> Option<Taken> {
        let vector = self.deliverable()?;
        self.irr.remove(vector);
        let origins = self.pending[usize::from(vector)].take();
        let level = self.tmr.contains(vector);
        let service = InService { vector, level, origins: origins.clone(), injected_ns: now_ns };
        let stacked = self.in_service.try_push(service);
        debug_assert!(
            stacked.is_ok(),
            "there are 16 priority classes and each is higher than those below it"
        );
        Some(Taken { vector, origins })
    }

    /// Whether an NMI waits.
    #[must_use]
    pub const fn nmi_pending(&self) -> bool {
        self.nmi.is_some()
    }

    /// The vCPU takes the NMI that waits.
    pub fn take_nmi(&mut self) -> Option<Origins> {
        self.nmi.take()
    }

    /// Ends the interrupt in service of the highest priority, as a write to the EOI register does.
    pub fn eoi(&mut self) -> Option<Eoi> {
        let InService { vector, level, origins, injected_ns } = self.in_service.pop()?;
        Some(Eoi { vector, level, origins, injected_ns })
    }

    /// Everything of it, for people.
    #[must_use]
    pub fn state(&self, now_ns: u64) -> ApicState {
        // What is due has its effect on a copy: looking changes nothing.
        let mut copy = self.clone();
        copy.expire(now_ns);
        let mut state = ApicState::read(self.config.id.into(), self.base, |index| {
            Register::at(index).map_or(0, |register| match register {
                Register::IcrHigh => (copy.icr >> 32) as u32,
                register => copy.get(register, now_ns),
            })
        });
        state.timer.tsc_deadline = copy.timer.tsc_deadline();
        state.timer.deadline_ns = copy.next_deadline_ns();
        state
    }

    /// The task priority as CR8 shows it: the high four bits of the TPR.
    #[must_use]
    pub const fn cr8(&self) -> u8 {
        self.tpr >> 4
    }

    /// A write to CR8.
    pub const fn set_cr8(&mut self, value: u8) {
        self.tpr = value << 4;
    }

    /// The processor priority (SDM vol. 3, 12.8.3.1).
    #[must_use]
    pub fn ppr(&self) -> u8 {
        let in_service = self.in_service.last().map_or(0, |service| service.vector & 0xf0);
        if self.tpr & 0xf0 >= in_service { self.tpr } else { in_service }
    }

    /// How interrupts find it.
    #[must_use]
    pub fn address(&self) -> Address {
        Address {
            id: self.config.id.into(),
            ldr: self.ldr,
            dfr: self.dfr,
            x2apic: self.mode() == ApicMode::X2Apic,
            present: self.mode() != ApicMode::Disabled,
            enabled: self.is_enabled(),
            ppr: self.ppr(),
        }
    }

    /// Enabled by both switches: `IA32_APIC_BASE` and the spurious-vector register.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.mode() != ApicMode::Disabled && self.svr & SVR_ENABLED != 0
    }

    /// When [`Self::expire`] should be called, ns; nothing while no timer runs that could interrupt.
    #[must_use]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        if self.lvt.is_unmasked(Pin::Timer) { self.timer.deadline_ns() } else { None }
    }

    /// Lets the timer expire if its time has come, and says what became of its interrupt. Its origin's time is the
    /// deadline, so that the latency counts from there.
    pub fn expire(&mut self, now_ns: u64) -> Option<Raised> {
        let deadline = self.timer.expire(self.lvt.timer_mode(), now_ns)?;
        Some(self.raise_local(Pin::Timer, Origin::device(IrqSource::LapicTimer, deadline), false))
    }

    fn raise_local(&mut self, pin: Pin, origin: Origin, virtual_wire: bool) -> Raised {
        if virtual_wire {
            // With the APIC off, its pins are the processor's INTR and NMI (SDM vol. 3, 12.4.3).
            return if pin == Pin::Lint0 { Raised::ExtInt } else { self.raise_nmi(origin) };
        }
        if !self.lvt.is_unmasked(pin) {
            return Raised::Ignored;
        }
        match self.lvt.delivery(pin) {
            Delivery::Fixed => self.raise(self.lvt.vector(pin), false, origin),
            Delivery::Nmi => self.raise_nmi(origin),
            Delivery::ExtInt => Raised::ExtInt,
            Delivery::LowestPriority | Delivery::Smi | Delivery::Init | Delivery::Reserved => Raised::Ignored,
        }
    }

    /// Notes an error; the first since the guest last wrote the ESR interrupts.
    fn error(&mut self, error: u32, now_ns: u64) {
        let first = self.errors == 0;
        self.errors |= error;
        if first {
            self.raise_local(Pin::Error, Origin::device(IrqSource::LapicError, now_ns), false);
        }
    }
}

//! The interrupt controllers' registers as plain values, whoever plays them: what a debugger shows.

use super::lapic::{ApicMode, mode_of};
use super::route::Delivery;

/// The entries of the local vector table, in the order of [`ApicState::lvt`].
pub const LVT_NAMES: [&str; 6] = ["timer", "thermal", "performance", "LINT0", "LINT1", "error"];

/// Bits that vector table entries and redirection entries share (SDM vol. 3, 12.5.1; Intel 82093AA, 3.2.4).
const PENDING: u64 = 1 << 12;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Of redirection entries: the destination is a set of logical ids.
const LOGICAL: u64 = 1 << 11;

/// A local APIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApicState {
    /// APIC id.
    pub id: u32,
    /// `IA32_APIC_BASE`.
    pub base: u64,
    /// Off, xAPIC or x2APIC.
    pub mode: ApicMode,
    /// Switched on in `IA32_APIC_BASE` and by software, in the spurious-vector register.
    pub enabled: bool,
    /// Task priority.
    pub tpr: u8,
    /// Processor priority: what an interrupt must be above.
    pub ppr: u8,
    /// Logical destination.
    pub ldr: u32,
    /// Destination format; of no meaning in x2APIC mode.
    pub dfr: u32,
    /// Spurious-vector register.
    pub svr: u32,
    /// Errors.
    pub esr: u32,
    /// Interrupt command register, as last written.
    pub icr: u64,
    /// Vectors that wait (IRR), in ascending order.
    pub requested: Vec<u8>,
    /// Vectors in service (ISR), likewise.
    pub in_service: Vec<u8>,
    /// Of those, level-triggered ones, and of those that were before (TMR).
    pub level: Vec<u8>,
    /// The local vector table, see [`LVT_NAMES`].
    pub lvt: [LvtEntry; 6],
    /// The timer.
    pub timer: TimerState,
}

/// An entry of the local vector table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LvtEntry(pub u32);

/// A local APIC's timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerState {
    /// Initial count.
    pub initial: u32,
    /// Current count.
    pub current: u32,
    /// By what the clock is divided: 1 to 128.
    pub divisor: u8,
    /// `IA32_TSC_DEADLINE`; 0 if it is not armed.
    pub tsc_deadline: u64,
    /// When it expires next, ns since the start of the run. `None` if it does not, or KVM plays it.
    pub deadline_ns: Option<u64>,
}

/// The IOAPIC and the 8259s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controllers {
    /// The IOAPIC's pins.
    pub ioapic: Vec<Redirection>,
    /// The master 8259 and the slave.
    pub pics: [PicState; 2],
}

/// A pin of the IOAPIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// Its number.
    pub pin: u8,
    /// Its entry in the redirection table.
    pub raw: u64,
    /// Its line is asserted. Where KVM plays the IOAPIC: an interrupt of it waits.
    pub asserted: bool,
}

/// An 8259, a bit for each of its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PicState {
    /// The vector of its line 0.
    pub vector: u8,
    /// Lines that wait (IRR).
    pub requests: u8,
    /// Lines in service (ISR).
    pub in_service: u8,
    /// Lines that are masked (IMR).
    pub mask: u8,
    /// Lines that are level-triggered (ELCR).
    pub level: u8,
}

impl ApicState {
    /// Gathers it from the registers, which `register` gives by their number: the offset in the xAPIC's page by 16.
    pub(crate) fn read(id: u32, base: u64, mut register: impl FnMut(u8) -> u32) -> Self {
        let mut vectors = |first: u8| -> Vec<u8> {
            let words: [u32; 8] = std::array::from_fn(|n| register(first + n as u8));
            (0..=u8::MAX).filter(|vector| words[usize::from(vector / 32)] & 1 << (vector % 32) != 0).collect()
        };
        let (in_service, level, requested) = (vectors(0x10), vectors(0x18), vectors(0x20));
        let mode = mode_of(base);
        let svr = register(0x0f);
        Self {
            id,
            base,
            mode,
            enabled: mode != ApicMode::Disabled && svr & 1 << 8 != 0,
            tpr: register(0x08) as u8,
            ppr: register(0x0a) as u8,
            ldr: register(0x0d),
            dfr: register(0x0e),
            svr,
            esr: register(0x28),
            icr: u64::from(register(0x31)) << 32 | u64::from(register(0x30)),
            requested,
            in_service,
            level,
            lvt: std::array::from_fn(|n| LvtEntry(register(0x32 + n as u8))),
            timer: TimerState {
                initial: register(0x38),
                current: register(0x39),
                divisor: divisor(register(0x3e)),
                ..TimerState::default()
            },
        }
    }
}

impl LvtEntry {
    /// Its vector.
    #[must_use]
    pub const fn vector(self) -> u8 {
        self.0 as u8
    }

    /// What it does, for people. The timer and the error entry have only "fixed".
    #[must_use]
    pub const fn delivery(self) -> &'static str {
        delivery((self.0 >> 8) as u8)
    }

    /// Whether it is switched off.
    #[must_use]
    pub const fn is_masked(self) -> bool {
        self.0 as u64 & MASKED != 0
    }

    /// Of the timer's: what its count does at 0, for people.
    #[must_use]
    pub const fn timer_mode(self) -> &'static str {
        match self.0 >> 17 & 3 {
            0 => "one-shot",
            1 => "periodic",
            2 => "TSC deadline",
            _ => "reserved",
        }
    }
}

impl Redirection {
    /// Its vector.
    #[must_use]
    pub const fn vector(&self) -> u8 {
        self.raw as u8
    }

    /// What it does, for people.
    #[must_use]
    pub const fn delivery(&self) -> &'static str {
        delivery((self.raw >> 8) as u8)
    }

    /// The APIC id or, if [`Self::is_logical`], the set of logical ids that it goes to.
    #[must_use]
    pub const fn destination(&self) -> u8 {
        (self.raw >> 56) as u8
    }

    /// Whether the destination is a set.
    #[must_use]
    pub const fn is_logical(&self) -> bool {
        self.raw & LOGICAL != 0
    }

    /// Whether it is switched off.
    #[must_use]
    pub const fn is_masked(&self) -> bool {
        self.raw & MASKED != 0
    }

    /// Whether it is level-triggered.
    #[must_use]
    pub const fn is_level(&self) -> bool {
        self.raw & LEVEL != 0
    }

    /// Whether it is level-triggered and waits for the EOI of its last interrupt.
    #[must_use]
    pub const fn awaits_eoi(&self) -> bool {
        self.raw & REMOTE_IRR != 0
    }

    /// Whether a message of it has not been sent yet.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        self.raw & PENDING != 0
    }
}

const fn delivery(bits: u8) -> &'static str {
    match Delivery::from_bits(bits) {
        Delivery::Fixed => "fixed",
        Delivery::LowestPriority => "lowest priority",
        Delivery::Smi => "SMI",
        Delivery::Nmi => "NMI",
        Delivery::Init => "INIT",
        Delivery::ExtInt => "ExtINT",
        Delivery::Reserved => "reserved",
    }
}

/// The divide configuration register's meaning: bits 0, 1 and 3 count from "by 2", and 7 is "by 1".
const fn divisor(register: u32) -> u8 {
    let bits = register & 3 | (register & 8) >> 1;
    1 << ((bits + 1) % 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irq::{Chips, Lapic, LapicConfig, Origin};

    #[test]
    fn a_local_apic_shows_what_it_does() {
        let mut lapic = Lapic::new(LapicConfig { id: 3, bsp: false, x2apic: true, tsc_khz: 0 });
        let fresh = lapic.state(0);
        assert_eq!(
            (fresh.id, fresh.mode, fresh.enabled, fresh.timer.divisor),
            (3, ApicMode::XApic, false, 2)
        );
        assert!(fresh.lvt.iter().all(|entry| entry.is_masked()));
        // On, priority class 2, a periodic timer of 1000 ticks by 16, an interrupt in service and one that waits.
        for (register, value) in [(0xf0, 0x1ff), (0x80, 0x20), (0x320, 0x2_0040), (0x3e0, 3), (0x380, 1000)] {
            lapic.write(register, value, 0);
        }
        lapic.raise(0x51, true, Origin::ipi(1, 0, 0));
        assert!(lapic.take(0).is_some());
        lapic.raise(0x31, false, Origin::ipi(2, 0, 0));
        let state = lapic.state(1600);
        assert_eq!((state.enabled, state.tpr, state.ppr), (true, 0x20, 0x50));
        assert_eq!((state.requested, state.in_service, state.level), (vec![0x31], vec![0x51], vec![0x51]));
        assert_eq!((state.lvt[0].vector(), state.lvt[0].timer_mode()), (0x40, "periodic"));
        let TimerState { initial, current, divisor, deadline_ns, .. } = state.timer;
        assert_eq!((initial, current, divisor, deadline_ns), (1000, 900, 16, Some(16_000)));
    }

    #[test]
    fn looking_lets_nothing_expire() {
        let mut lapic = Lapic::new(LapicConfig { id: 0, bsp: true, x2apic: false, tsc_khz: 0 });
        for (register, value) in [(0xf0, 0x1ff), (0x320, 0x40), (0x3e0, 3), (0x380, 1000)] {
            lapic.write(register, value, 0);
        }
        assert_eq!(lapic.state(20_000).requested, [0x40], "it is due");
        assert!(lapic.state(0).requested.is_empty());
        assert!(lapic.expire(20_000).is_some());
    }

    #[test]
    fn divisors() {
        let all = [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)];
        assert!(all.iter().all(|&(register, by)| divisor(register) == by));
    }

    #[test]
    fn shared_controllers_show_their_entries() {
        let mut chips = Chips::new(2);
        for (register, value) in [(0x25, 3 << 24), (0x24, 0x8952)] {
            chips.ioapic.mmio_write(0x00, register, 0);
            chips.ioapic.mmio_write(0x10, value, 0);
        }
        chips.pic.write(0x21, 0xfb);
        chips.set_line(10, true, 0);
        let pin = chips.ioapic.redirections().nth(10).unwrap();
        assert_eq!((pin.pin, pin.vector(), pin.destination(), pin.asserted), (10, 0x52, 3, true));
        assert!(
            pin.is_level() && pin.is_logical() && !pin.is_masked() && pin.delivery() == "lowest priority"
        );
        let [master, slave] = chips.pic.state();
        assert_eq!((master.vector, master.mask, slave.vector, slave.requests), (0x08, 0xfb, 0x70, 1 << 2));
    }
}

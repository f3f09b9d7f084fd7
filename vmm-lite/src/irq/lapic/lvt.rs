//! The local vector table (SDM vol. 3, 12.5.1).

use super::super::route::Delivery;
use super::timer::TimerMode;

/// The table's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    Timer,
    Thermal,
    Performance,
    Lint0,
    Lint1,
    Error,
}

const MASKED: u32 = 1 << 16;
const EXTINT: u32 = 0b111 << 8;
const NMI: u32 = 0b100 << 8;

/// The entries' registers.
#[derive(Clone, Debug)]
pub(super) struct Lvt([u32; 6]);

impl Lvt {
    /// After reset all are masked, but for the boot processor's pins, see [`super::Lapic::init`].
    pub(super) const fn new(bsp: bool) -> Self {
        let mut entries = [MASKED; 6];
        if bsp {
            entries[Pin::Lint0 as usize] = EXTINT;
            entries[Pin::Lint1 as usize] = NMI;
        }
        Self(entries)
    }

    /// An entry's register.
    pub(super) const fn read(&self, pin: Pin) -> u32 {
        self.0[pin as usize]
    }

    /// Writes what can be written; with `masked` the mask bit is set whatever is written.
    pub(super) fn write(&mut self, pin: Pin, value: u32, masked: bool) {
        self.0[pin as usize] = value & pin.writable() | if masked { MASKED } else { 0 };
    }

    /// Masks all, as the software switch does.
    pub(super) fn mask_all(&mut self) {
        for entry in &mut self.0 {
            *entry |= MASKED;
        }
    }

    pub(super) const fn is_unmasked(&self, pin: Pin) -> bool {
        self.read(pin) & MASKED == 0
    }

    pub(super) const fn vector(&self, pin: Pin) -> u8 {
        self.read(pin) as u8
    }

    /// The delivery mode; the timer and the error entry have only one.
    pub(super) const fn delivery(&self, pin: Pin) -> Delivery {
        Delivery::from_bits((self.read(pin) >> 8 & 0b111) as u8)
    }

    pub(super) const fn timer_mode(&self) -> TimerMode {
        match self.read(Pin::Timer) >> 17 & 0b11 {
            0b00 => TimerMode::OneShot,
            0b01 => TimerMode::Periodic,
            0b10 => TimerMode::TscDeadline,
            _ => TimerMode::Reserved,
        }
    }
}

impl Pin {
    /// The bits of its register that a guest can write.
    pub(super) const fn writable(self) -> u32 {
        const DELIVERY: u32 = 0b111 << 8;
        match self {
            Self::Timer => 0b11 << 17 | MASKED | 0xff,
            Self::Thermal | Self::Performance => MASKED | DELIVERY | 0xff,
            // Polarity and trigger mode.
            Self::Lint0 | Self::Lint1 => MASKED | 1 << 15 | 1 << 13 | DELIVERY | 0xff,
            Self::Error => MASKED | 0xff,
        }
    }
}

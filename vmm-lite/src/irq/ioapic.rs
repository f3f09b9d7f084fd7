//! An IOAPIC with 24 pins (Intel 82093AA).
//!
//! Left out: the polarity bits, because a pin is told whether its line is asserted, and the arbitration bus.

use super::icr::DestinationMode;
use super::inspect::Redirection;
use super::origin::Origin;
use super::route::{Delivery, Message};
use trace_format::event::IrqSource;

/// Where its registers are, gpa. They take [`IOAPIC_SIZE`] bytes.
pub const IOAPIC_BASE: u64 = 0xfec0_0000;
/// Bytes of its register window.
pub const IOAPIC_SIZE: u64 = 0x1000;
/// How many pins it has.
pub const IOAPIC_PINS: u8 = 24;

/// The register select and the window, offsets from the base.
const IOREGSEL: u16 = 0x00;
const IOWIN: u16 = 0x10;

const VERSION: u32 = (IOAPIC_PINS as u32 - 1) << 16 | 0x11;

const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Vector, modes, polarity, trigger, mask; destination. Delivery status and remote IRR are read-only.
const WRITABLE: u64 = 0xff00_0000_0001_afff;

/// The IOAPIC.
///
/// Every call can make it want to send: drain [`Self::next_message`] afterwards.
#[derive(Clone, Debug)]
pub struct Ioapic {
    id: u8,
    select: u8,
    entries: [u64; IOAPIC_PINS as usize],
    /// Lines asserted now, a bit a pin.
    asserted: u32,
    /// Pins with a message to send.
    outbox: u32,
    /// A redirection entry may have changed since somebody asked.
    changed: bool,
    /// When the message of a pin came to be, ns.
    raised_ns: [u64; IOAPIC_PINS as usize],
}

/// A message that the IOAPIC sends: find its targets with [`super::route::message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The pin.
    pub pin: u8,
    /// What to send.
    pub message: Message,
    /// For the APICs that take it.
    pub origin: Origin,
}

impl Ioapic {
    /// After reset: every pin is masked.
    #[must_use]
    pub const fn new(id: u8) -> Self {
        Self {
            id: id & 0xf,
            select: 0,
            entries: [MASKED; IOAPIC_PINS as usize],
            asserted: 0,
            outbox: 0,
            changed: false,
            raised_ns: [0; IOAPIC_PINS as usize],
        }
    }

    /// Sets a pin's line. An edge pin sends when the line rises, unless masked (a masked edge is lost); a level pin
    /// sends while it is asserted and its last interrupt has been acknowledged.
    pub fn set_pin(&mut self, pin: u8, asserted: bool, now_ns: u64) {
        let Some(&entry) = self.entries.get(usize::from(pin)) else { return };
        let bit = 1 << pin;
        let rose = asserted && self.asserted & bit == 0;
        if asserted {
            self.asserted |= bit;
        } else {
            self.asserted &= !bit;
        }
        if entry & LEVEL != 0 {
            self.send_level(pin, now_ns);
        } else if rose && entry & MASKED == 0 {
            self.send(pin, now_ns);
        }
    }

    /// A local APIC has seen the EOI of a level-triggered `vector`.
    pub fn eoi(&mut self, vector: u8, now_ns: u64) {
        for pin in 0..IOAPIC_PINS {
            let entry = &mut self.entries[usize::from(pin)];
            if *entry & (LEVEL | REMOTE_IRR) == LEVEL | REMOTE_IRR && *entry as u8 == vector {
                *entry &= !REMOTE_IRR;
                self.send_level(pin, now_ns);
            }
        }
    }

    /// The next message to send, the lowest pin first.
    pub fn next_message(&mut self) -> Option<Request> {
        let pin = u8::try_from(self.outbox.trailing_zeros()).ok().filter(|&pin| pin < IOAPIC_PINS)?;
        self.outbox &= !(1 << pin);
        let raised_ns = self.raised_ns[usize::from(pin)];
        let entry = &mut self.entries[usize::from(pin)];
        let message = message_of(*entry);
        if message.level {
            *entry |= REMOTE_IRR;
        }
        Some(Request { pin, message, origin: Origin::device(IrqSource::IoApic { pin }, raised_ns) })
    }

    /// Whether a redirection entry may have changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The messages whose EOI it waits for, or would: those of unmasked level-triggered pins, and of pins whose last
    /// message has not been acknowledged.
    pub fn level_messages(&self) -> impl Iterator<Item = (u8, Message)> {
        (0..IOAPIC_PINS)
            .zip(self.entries)
            .filter(|(_, entry)| entry & MASKED == 0 || entry & REMOTE_IRR != 0)
            .map(|(pin, entry)| (pin, message_of(entry)))
            .filter(|(_, message)| message.level)
    }

    /// Each pin's redirection entry, and whether its line is asserted.
    pub fn redirections(&self) -> impl Iterator<Item = Redirection> {
        (0..IOAPIC_PINS).zip(self.entries).map(|(pin, raw)| Redirection {
            pin,
            raw,
            asserted: self.asserted & 1 << pin != 0,
        })
    }

    /// Whether there is a pin that is unmasked and makes an NMI.
    #[must_use]
    pub fn can_send_nmi(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry & MASKED == 0 && Delivery::from_bits((entry >> 8) as u8) == Delivery::Nmi)
    }

    /// No local APIC took the message of this pin, so no EOI will come for it.
    pub fn refused(&mut self, pin: u8) {
        if let Some(entry) = self.entries.get_mut(usize::from(pin)) {
            *entry &= !REMOTE_IRR;
        }
    }

    /// A read of the register window, `offset` bytes from its start. Registers have 32 bits; what else is read is 0.
    #[must_use]
    pub fn mmio_read(&self, offset: u16) -> u32 {
        match offset {
            IOREGSEL => self.select.into(),
            IOWIN => self.read_register(),
            _ => 0,
        }
    }

    /// A write to the register window.
    pub fn mmio_write(&mut self, offset: u16, value: u32, now_ns: u64) {
        match offset {
            IOREGSEL => self.select = value as u8,
            IOWIN => self.write_register(value, now_ns),
            _ => {}
        }
    }

    fn read_register(&self) -> u32 {
        match self.select {
            // Id and arbitration id.
            0 | 2 => u32::from(self.id) << 24,
            1 => VERSION,
            _ => self.selected().map_or(0, |(pin, shift)| {
                let pending = u64::from(self.outbox >> pin & 1) << 12;
                ((self.entries[usize::from(pin)] | pending) >> shift) as u32
            }),
        }
    }

    fn write_register(&mut self, value: u32, now_ns: u64) {
        if self.select == 0 {
            self.id = (value >> 24) as u8 & 0xf;
            return;
        }
        let Some((pin, shift)) = self.selected() else { return };
        let entry = &mut self.entries[usize::from(pin)];
        let writable = WRITABLE & 0xffff_ffff << shift;
        *entry = *entry & !writable | u64::from(value) << shift & writable;
        self.changed = true;
        if *entry & LEVEL == 0 {
            // An edge pin has no remote IRR. Kernels change to edge and back in order to clear it.
            *entry &= !REMOTE_IRR;
        }
        if *entry & MASKED != 0 {
            self.outbox &= !(1 << pin);
        }
        self.send_level(pin, now_ns);
    }

    /// The pin and the half of its entry that is selected.
    fn selected(&self) -> Option<(u8, u32)> {
        let index = self.select.checked_sub(0x10)?;
        let pin = index / 2;
        (pin < IOAPIC_PINS).then_some((pin, u32::from(index % 2) * 32))
    }

    fn send_level(&mut self, pin: u8, now_ns: u64) {
        let entry = self.entries[usize::from(pin)];
        if entry & (LEVEL | MASKED | REMOTE_IRR) != LEVEL {
            return;
        }
        if self.asserted & 1 << pin != 0 {
            self.send(pin, now_ns);
        } else {
            self.outbox &= !(1 << pin);
        }
    }

    fn send(&mut self, pin: u8, now_ns: u64) {
        if self.outbox & 1 << pin == 0 {
            self.outbox |= 1 << pin;
            self.raised_ns[usize::from(pin)] = now_ns;
        }
    }
}

/// What a pin with this redirection entry sends.
fn message_of(entry: u64) -> Message {
    let delivery = Delivery::from_bits((entry >> 8) as u8);
    let logical = entry & 1 << 11 != 0;
    Message {
        destination: (entry >> 56) as u8,
        destination_mode: if logical { DestinationMode::Logical } else { DestinationMode::Physical },
        delivery,
        vector: entry as u8,
        level: entry & LEVEL != 0 && matches!(delivery, Delivery::Fixed | Delivery::LowestPriority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn program(ioapic: &mut Ioapic, pin: u8, entry: u64, now_ns: u64) {
        for (half, value) in [(1, entry >> 32), (0, entry & 0xffff_ffff)] {
            ioapic.mmio_write(IOREGSEL, u32::from(0x10 + pin * 2 + half), now_ns);
            ioapic.mmio_write(IOWIN, value as u32, now_ns);
        }
    }

    fn entry(ioapic: &mut Ioapic, pin: u8) -> u64 {
        let mut half = |half: u8| {
            ioapic.mmio_write(IOREGSEL, u32::from(0x10 + pin * 2 + half), 0);
            u64::from(ioapic.mmio_read(IOWIN))
        };
        half(0) | half(1) << 32
    }

    #[test]
    fn an_unmasked_pin_can_make_an_nmi() {
        let mut ioapic = Ioapic::new(1);
        assert!(!ioapic.can_send_nmi());
        program(&mut ioapic, 2, 0x430, 0);
        assert!(ioapic.can_send_nmi());
        program(&mut ioapic, 2, MASKED | 0x430, 0);
        assert!(!ioapic.can_send_nmi());
    }

    #[test]
    fn identifies_itself() {
        let mut ioapic = Ioapic::new(1);
        let mut register = |index| {
            ioapic.mmio_write(IOREGSEL, index, 0);
            ioapic.mmio_read(IOWIN)
        };
        assert_eq!((register(0), register(1), register(2)), (1 << 24, 0x0017_0011, 1 << 24));
        assert_eq!((register(0x10), register(0x3f), register(0x40), register(0xff)), (0x10000, 0, 0, 0));
    }

    #[test]
    fn an_edge_sends_once() {
        let mut ioapic = Ioapic::new(0);
        ioapic.set_pin(4, true, 1);
        assert_eq!(ioapic.next_message(), None, "masked");
        ioapic.set_pin(4, false, 2);
        program(&mut ioapic, 4, 0x0200_0000_0000_0931, 3);
        assert_eq!(ioapic.next_message(), None, "a masked edge is lost");
        ioapic.set_pin(4, true, 4);
        ioapic.set_pin(4, true, 5);
        assert_eq!(entry(&mut ioapic, 4), 0x0200_0000_0000_1931, "delivery status: pending");
        let request = ioapic.next_message().unwrap();
        assert_eq!(request.origin, Origin::device(IrqSource::IoApic { pin: 4 }, 4));
        let message = Message {
            destination: 2,
            destination_mode: DestinationMode::Logical,
            delivery: Delivery::LowestPriority,
            vector: 0x31,
            level: false,
        };
        assert_eq!((request.pin, request.message), (4, message));
        assert_eq!(ioapic.next_message(), None);
    }

    #[test]
    fn a_level_sends_again_after_its_eoi_while_asserted() {
        let mut ioapic = Ioapic::new(0);
        ioapic.set_pin(10, true, 1);
        program(&mut ioapic, 10, 0x8052, 2);
        let request = ioapic.next_message().unwrap();
        assert!(request.message.level);
        assert_eq!(request.origin.raised_ns, 2);
        assert_eq!(entry(&mut ioapic, 10), 0xc052);
        ioapic.set_pin(10, true, 3);
        ioapic.eoi(0x51, 3);
        assert_eq!(ioapic.next_message(), None);
        ioapic.eoi(0x52, 4);
        assert!(ioapic.next_message().is_some());
        ioapic.set_pin(10, false, 5);
        ioapic.eoi(0x52, 6);
        assert_eq!(ioapic.next_message(), None);
        assert_eq!(entry(&mut ioapic, 10), 0x8052);
        ioapic.set_pin(10, true, 7);
        ioapic.next_message().unwrap();
        ioapic.refused(10);
        assert_eq!(entry(&mut ioapic, 10), 0x8052);
        // Edge and back to level clears the remote IRR.
        ioapic.set_pin(10, true, 8);
        ioapic.next_message().unwrap();
        program(&mut ioapic, 10, 0x1_0052, 9);
        program(&mut ioapic, 10, 0x1_8052, 9);
        assert_eq!(entry(&mut ioapic, 10), 0x1_8052);
    }

    #[test]
    fn tells_which_eois_it_waits_for() {
        let mut ioapic = Ioapic::new(0);
        let waits = |ioapic: &mut Ioapic| {
            assert!(ioapic.take_changed());
            assert!(!ioapic.take_changed());
            ioapic.level_messages().map(|(pin, message)| (pin, message.vector)).collect::<Vec<_>>()
        };
        program(&mut ioapic, 4, 0x31, 0);
        program(&mut ioapic, 9, MASKED | LEVEL | 0x39, 0);
        program(&mut ioapic, 10, LEVEL | 0x52, 0);
        assert_eq!(waits(&mut ioapic), [(10, 0x52)]);
        ioapic.set_pin(10, true, 1);
        ioapic.next_message().unwrap();
        program(&mut ioapic, 10, MASKED | LEVEL | 0x52, 0);
        assert_eq!(waits(&mut ioapic), [(10, 0x52)], "what was sent will still be acknowledged");
        ioapic.set_pin(10, false, 2);
        ioapic.eoi(0x52, 3);
        assert_eq!(ioapic.level_messages().count(), 0);
    }

    proptest! {
        #[test]
        fn any_access_is_answered(accesses in prop::collection::vec((any::<u16>(), any::<u32>(), 0u8..6), 1..200)) {
            let mut ioapic = Ioapic::new(0);
            for (now, (place, value, kind)) in (0..).zip(accesses) {
                match kind {
                    0 => ioapic.mmio_write(IOREGSEL, value & 0x4f, now),
                    1 => ioapic.mmio_write(IOWIN, value, now),
                    2 => ioapic.mmio_write(place, value, now),
                    3 => drop(ioapic.mmio_read(place)),
                    4 => ioapic.set_pin(place as u8 % 32, value & 1 != 0, now),
                    _ => ioapic.eoi(value as u8, now),
                }
                let mut sent = 0;
                while let Some(request) = ioapic.next_message() {
                    prop_assert!(request.pin < IOAPIC_PINS);
                    sent += 1;
                }
                prop_assert!(sent <= u32::from(IOAPIC_PINS));
            }
        }
    }
}

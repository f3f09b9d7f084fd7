//! IOAPIC, 8259s and 8254 together, wired as in a PC.

use super::ioapic::{Ioapic, Request};
use super::lines::Lines;
use super::pic::Pic;
use super::pit::Pit;

/// The interrupt controllers that vCPUs share.
///
/// After any call, drain [`Ioapic::next_message`] and look at [`Pic::interrupt_pending`].
#[derive(Clone, Debug)]
pub struct Chips {
    /// The IOAPIC.
    pub ioapic: Ioapic,
    /// The 8259s.
    pub pic: Pic,
    /// The 8254.
    pub pit: Pit,
    /// Where the lines are, for controllers that somebody else plays; nobody else need look.
    pub lines: Lines,
}

impl Chips {
    /// After reset. The IOAPIC's id must not be an APIC's.
    #[must_use]
    pub fn new(ioapic_id: u8) -> Self {
        Self { ioapic: Ioapic::new(ioapic_id), pic: Pic::new(), pit: Pit::new(), lines: Lines::default() }
    }

    /// Sets an ISA interrupt line, 0 to 15: the 8259s' line and the IOAPIC's pin that [`isa_line_to_pin`] says.
    pub fn set_line(&mut self, line: u8, asserted: bool, now_ns: u64) {
        let Some(pin) = isa_line_to_pin(line) else { return };
        self.pic.set_line(line, asserted, now_ns);
        self.ioapic.set_pin(pin, asserted, now_ns);
        self.lines.set(line, asserted);
    }

    /// Asserts a line and lets go.
    pub fn pulse(&mut self, line: u8, now_ns: u64) {
        self.set_line(line, true, now_ns);
        self.set_line(line, false, now_ns);
    }

    /// When [`Self::expire`] should be called, ns.
    #[must_use]
    pub const fn next_deadline_ns(&self) -> Option<u64> {
        self.pit.next_deadline_ns()
    }

    /// Lets the timer tick if its time has come.
    pub fn expire(&mut self, now_ns: u64) {
        if let Some(deadline) = self.pit.expire(now_ns) {
            self.pulse(0, deadline);
        }
    }

    /// Whether a device could interrupt a vCPU that takes no maskable interrupts.
    #[must_use]
    pub fn can_send_nmi(&self) -> bool {
        self.ioapic.can_send_nmi()
    }

    /// The next message of the IOAPIC to send.
    pub fn next_message(&mut self) -> Option<Request> {
        self.ioapic.next_message()
    }
}

/// The IOAPIC's pin for an ISA interrupt line: that of the same number, but for the timer, whose line 0 is pin 2 as in
/// nearly every PC; MP table and MADT say so. Line 2 is the 8259s' cascade, and others do not exist.
#[must_use]
pub const fn isa_line_to_pin(line: u8) -> Option<u8> {
    match line {
        0 => Some(2),
        1 | 3..=15 => Some(line),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irq::{Effect, Lapic, LapicConfig, Raised, route};

    #[test]
    fn the_timer_is_line_0_and_pin_2() {
        let mut chips = Chips::new(0);
        chips.pic.write(0x21, 0xfe);
        chips.ioapic.mmio_write(0, 0x14, 0);
        chips.ioapic.mmio_write(0x10, 0x30, 0);
        for (port, value) in [(0x43, 0x34), (0x40, 0), (0x40, 0x10)] {
            chips.pit.write(port, value, 0);
        }
        let deadline = chips.next_deadline_ns().unwrap();
        chips.expire(deadline + 500);
        let request = chips.next_message().unwrap();
        assert_eq!((request.pin, request.message.vector, request.origin.raised_ns), (2, 0x30, deadline));
        assert_eq!(chips.next_message(), None);
        assert!(chips.pic.interrupt_pending());
        let taken = chips.pic.acknowledge(deadline + 900);
        assert_eq!((taken.line, taken.raised_ns), (0, deadline));
        // Line 2 is the cascade's: a device cannot be at it, and must not tick the timer.
        chips.set_line(2, true, 0);
        assert_eq!(chips.next_message(), None);
    }

    #[test]
    fn a_level_goes_to_a_local_apic_and_its_eoi_comes_back() {
        let mut chips = Chips::new(2);
        let mut lapics = [0, 1].map(|id| {
            let mut lapic = Lapic::new(LapicConfig { id, bsp: id == 0, x2apic: false, tsc_khz: 0 });
            lapic.write(0xf0, 0x1ff, 0);
            lapic
        });
        // Pin 10: level, vector 0x52, to APIC 1.
        for (register, value) in [(0x25, 1 << 24), (0x24, 0x8052)] {
            chips.ioapic.mmio_write(0x00, register, 0);
            chips.ioapic.mmio_write(0x10, value, 0);
        }
        chips.set_line(10, true, 100);
        let request = chips.next_message().unwrap();
        let targets = route::message(&request.message, &lapics.each_ref().map(Lapic::address));
        assert_eq!(targets, 0b10);
        assert_eq!(lapics[1].raise_message(&request.message, request.origin), Raised::Pending);
        assert_eq!(lapics[1].take(150).unwrap().origins.first(), Some(&request.origin));
        chips.set_line(10, false, 160);
        let Effect::Eoi(eoi) = lapics[1].write(0xb0, 0, 170) else { panic!("no EOI") };
        assert!(eoi.level);
        chips.ioapic.eoi(eoi.vector, 170);
        assert_eq!(chips.next_message(), None, "the line is down");
        chips.set_line(10, true, 200);
        assert!(chips.next_message().is_some());
    }
}

//! The port bus: which device a port belongs to, and what an access asks of the monitor.

use super::cmos::{Cmos, MemorySizes};
use super::i8042::{I8042, KEYBOARD_IRQ};
use super::keyboard::Key;
use super::serial::{COM1, COM1_IRQ, Serial};
use crate::irq::{Chips, PicEoi};

/// The debug console: a byte out; it reads as 0xe9, by which guests find it.
pub const PORT_DEBUG_CONSOLE: u16 = 0xe9;
/// The debug exit: the value written ends the run with that status.
pub const PORT_DEBUG_EXIT: u16 = 0xf4;
/// Calls of built-in guests: the gpa of a counter or marker, 32 bits out.
pub const PORT_CALL: u16 = 0x5650;
/// PCI's configuration address, a register of 32 bits that is not there. The reset control register is inside it, but
/// is reached by bytes at its own port only.
const PORT_PCI_ADDRESS: u16 = 0xcf8;

/// What a port write asks of the owner. Interrupts are not among it: after every access, drain
/// [`Chips::next_message`] and look at [`crate::irq::Pic::interrupt_pending`] and [`Chips::next_deadline_ns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortEffect {
    /// Nothing.
    None,
    /// The guest said something.
    Console {
        /// The device's first port: 0x3f8 or 0xe9.
        port: u16,
        /// What.
        byte: u8,
    },
    /// The guest ends the run.
    Exit {
        /// 0 is success.
        status: u32,
    },
    /// The guest wants a reset.
    Reset {
        /// How.
        line: ResetLine,
    },
    /// A built-in guest reports something.
    Call {
        /// Where in guest physical memory.
        gpa: u32,
    },
    /// An interrupt of the 8259s was acknowledged.
    PicEoi(PicEoi),
}

/// The ways to a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetLine {
    /// Keyboard controller, ports 0x60 and 0x64.
    KeyboardController,
    /// System control port A, 0x92.
    FastReset,
    /// Reset control register, 0xcf9.
    ResetControl,
}

/// Every device that has ports.
#[derive(Debug)]
pub struct PortBus {
    /// Interrupt controllers and timer. The IOAPIC's memory is the owner's to dispatch.
    pub chips: Chips,
    serial: Serial,
    i8042: I8042,
    cmos: Cmos,
    reset_control: u8,
}

impl PortBus {
    /// All devices after reset. `unix_ns` is the Unix time, in ns, when the owner's clock is `now_ns`.
    #[must_use]
    pub fn new(chips: Chips, sizes: MemorySizes, unix_ns: u64, now_ns: u64) -> Self {
        Self {
            chips,
            serial: Serial::new(),
            i8042: I8042::new(),
            cmos: Cmos::new(sizes, unix_ns, now_ns),
            reset_control: 0,
        }
    }

    /// `IN`: of one element, however many bytes it has. Bytes where no device is are all ones.
    pub fn read(&mut self, port: u16, data: &mut [u8], now_ns: u64) {
        if port == PORT_PCI_ADDRESS {
            data.fill(0xff);
            return;
        }
        for (port, byte) in ports_from(port).zip(data) {
            *byte = self.read_byte(port, now_ns);
        }
    }

    /// `OUT`: of one element. A wide access to byte-wide devices goes to one port after the other, as on the ISA bus,
    /// and the first effect is returned: within four ports there is never more than one.
    pub fn write(&mut self, port: u16, data: &[u8], now_ns: u64) -> PortEffect {
        match port {
            PORT_DEBUG_EXIT => {
                let status = data.iter().take(4).rev().fold(0, |status, &byte| status << 8 | u32::from(byte));
                return PortEffect::Exit { status };
            }
            PORT_CALL => {
                return match data.try_into() {
                    Ok(gpa) => PortEffect::Call { gpa: u32::from_le_bytes(gpa) },
                    Err(_) => PortEffect::None,
                };
            }
            PORT_PCI_ADDRESS => return PortEffect::None,
            _ => {}
        }
        let mut effect = PortEffect::None;
        for (port, &byte) in ports_from(port).zip(data) {
            let next = self.write_byte(port, byte, now_ns);
            if effect == PortEffect::None {
                effect = next;
            }
        }
        effect
    }

    /// Input for the first serial port. Returns how many bytes there was room for.
    pub fn input(&mut self, bytes: &[u8], now_ns: u64) -> usize {
        let accepted = self.serial.input(bytes);
        self.forward_serial_interrupt(now_ns);
        accepted
    }

    /// Types a key, as [`super::Keyboard::type_key`] does.
    pub fn type_key(&mut self, key: Key, now_ns: u64) -> bool {
        let typed = self.i8042.type_key(key);
        self.forward_keyboard_interrupt(now_ns);
        typed
    }

    fn read_byte(&mut self, port: u16, now_ns: u64) -> u8 {
        match port {
            0x20 | 0x21 | 0xa0 | 0xa1 | 0x4d0 | 0x4d1 => self.chips.pic.read(port, now_ns),
            0x40..=0x43 | 0x61 => self.chips.pit.read(port, now_ns),
            0x60 => {
                let value = self.i8042.read_data();
                // Low for a moment, so that the next byte makes an edge.
                self.chips.set_line(KEYBOARD_IRQ, false, now_ns);
                self.forward_keyboard_interrupt(now_ns);
                value
            }
            0x64 => self.i8042.read_status(),
            0x71 => self.cmos.read(now_ns),
            // A20 is on.
            0x92 => 0x02,
            PORT_DEBUG_CONSOLE => 0xe9,
            0x3f8..=0x3ff => {
                let value = self.serial.read((port - COM1) as u8);
                self.forward_serial_interrupt(now_ns);
                value
            }
            0xcf9 => self.reset_control,
            _ => 0xff,
        }
    }

    fn write_byte(&mut self, port: u16, value: u8, now_ns: u64) -> PortEffect {
        let reset = |wanted, line| if wanted { PortEffect::Reset { line } } else { PortEffect::None };
        match port {
            0x20 | 0x21 | 0xa0 | 0xa1 | 0x4d0 | 0x4d1 => {
                return self.chips.pic.write(port, value).map_or(PortEffect::None, PortEffect::PicEoi);
            }
            0x40..=0x43 | 0x61 => self.chips.pit.write(port, value, now_ns),
            0x60 | 0x64 => {
                let wanted = match port {
                    0x60 => self.i8042.write_data(value),
                    _ => self.i8042.write_command(value),
                };
                self.forward_keyboard_interrupt(now_ns);
                return reset(wanted, ResetLine::KeyboardController);
            }
            0x70 => self.cmos.select(value),
            0x71 => self.cmos.write(value),
            0x92 => return reset(value & 1 != 0, ResetLine::FastReset),
            PORT_DEBUG_CONSOLE => return PortEffect::Console { port, byte: value },
            0x3f8..=0x3ff => {
                let sent = self.serial.write((port - COM1) as u8, value);
                self.forward_serial_interrupt(now_ns);
                return sent.map_or(PortEffect::None, |byte| PortEffect::Console { port: COM1, byte });
            }
            0xcf9 => {
                // Bit 1: a hard reset. Bit 2: now.
                self.reset_control = value & 0x0a;
                return reset(value & 0x04 != 0, ResetLine::ResetControl);
            }
            _ => {}
        }
        PortEffect::None
    }

    fn forward_keyboard_interrupt(&mut self, now_ns: u64) {
        self.chips.set_line(KEYBOARD_IRQ, self.i8042.interrupt(), now_ns);
    }

    /// The UART's output is pulsed, which edge-triggered controllers cannot tell from a level.
    fn forward_serial_interrupt(&mut self, now_ns: u64) {
        if self.serial.take_interrupt() {
            self.chips.pulse(COM1_IRQ, now_ns);
        }
    }
}

fn ports_from(port: u16) -> impl Iterator<Item = u16> {
    (0u16..).map(move |offset| port.wrapping_add(offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bus() -> PortBus {
        PortBus::new(Chips::new(0), MemorySizes { below_4g: 64 << 20, above_4g: 0 }, 0, 0)
    }

    #[test]
    fn effects() {
        let mut bus = bus();
        let reset = |line| PortEffect::Reset { line };
        for (port, data, effect) in [
            (0x3f8, &b"x"[..], PortEffect::Console { port: 0x3f8, byte: b'x' }),
            (0x3f8, b"x\0", PortEffect::Console { port: 0x3f8, byte: b'x' }),
            (0xe9, b"y", PortEffect::Console { port: 0xe9, byte: b'y' }),
            (0xf4, &[3], PortEffect::Exit { status: 3 }),
            (0xf4, &[1, 2, 3, 4], PortEffect::Exit { status: 0x0403_0201 }),
            (0x5650, &[0, 0x10, 0x20, 0], PortEffect::Call { gpa: 0x20_1000 }),
            (0x5650, &[0, 0x10], PortEffect::None),
            (0x64, &[0xfe], reset(ResetLine::KeyboardController)),
            (0x92, &[2], PortEffect::None),
            (0x92, &[3], reset(ResetLine::FastReset)),
            (0xcf9, &[2], PortEffect::None),
            (0xcf9, &[6], reset(ResetLine::ResetControl)),
            (0x80, &[1], PortEffect::None),
            (0xcf8, &[0, 0x06, 0, 0x80], PortEffect::None),
        ] {
            assert_eq!(bus.write(port, data, 0), effect, "{port:#x} {data:?}");
        }
    }

    #[test]
    fn nothing_there_reads_all_ones() {
        let mut bus = bus();
        for port in [0x2f8, 0xcf8, 0xcfc, 0x1234, 0xfffe] {
            let mut data = [0; 4];
            bus.read(port, &mut data, 0);
            assert_eq!(data, [0xff; 4], "{port:#x}");
        }
        let mut data = [0; 2];
        bus.read(0xe8, &mut data, 0);
        assert_eq!(data, [0xff, 0xe9]);
    }

    #[test]
    fn the_serial_port_interrupts_through_the_8259() {
        let mut bus = bus();
        bus.write(0x21, &[0xef], 0);
        bus.write(0x3f9, &[1], 0);
        assert!(!bus.chips.pic.interrupt_pending());
        assert_eq!(bus.input(b"hello", 42), 5);
        assert!(bus.chips.pic.interrupt_pending());
        let taken = bus.chips.pic.acknowledge(50);
        assert_eq!((taken.vector, taken.line, taken.raised_ns), (0x0c, 4, 42));
        let eoi = PicEoi { line: 4, vector: 0x0c, injected_ns: 50 };
        assert_eq!(bus.write(0x20, &[0x20], 60), PortEffect::PicEoi(eoi));
        let mut byte = [0];
        bus.read(0x3f8, &mut byte, 0);
        assert_eq!(byte, *b"h");
    }

    #[test]
    fn a_key_interrupts_for_every_byte() {
        let mut bus = bus();
        bus.write(0x21, &[0xfd], 0);
        assert!(bus.type_key(Key::Up, 42));
        for expected in [0xe0, 0x48, 0xe0, 0xc8] {
            assert!(bus.chips.pic.interrupt_pending());
            assert_eq!(bus.chips.pic.acknowledge(50).line, 1);
            let mut byte = [0];
            bus.read(0x60, &mut byte, 60);
            assert_eq!(byte, [expected]);
            bus.write(0x20, &[0x20], 70);
        }
        assert!(!bus.chips.pic.interrupt_pending());
    }

    proptest! {
        #[test]
        fn any_access_is_answered(
            accesses in prop::collection::vec((any::<u16>(), any::<[u8; 8]>(), 0usize..9, any::<bool>(), any::<u64>()), 1..300),
        ) {
            let mut bus = bus();
            for (port, mut data, size, write, now) in accesses {
                // Most devices are at low ports.
                let port = if data[0] & 1 == 0 { port & 0x7f } else { port & 0xfff };
                if write {
                    bus.write(port, &data[..size], now);
                } else {
                    bus.read(port, &mut data[..size], now);
                }
                bus.input(&data[..size], now);
                bus.chips.expire(now);
                while bus.chips.next_message().is_some() {}
            }
        }
    }
}

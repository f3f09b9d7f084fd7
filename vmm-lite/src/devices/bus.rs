//! The port bus: which device a port belongs to.

use super::cmos::{Cmos, MemorySizes};
use super::effect::{PortEffect, ResetLine};
use super::fw_cfg::FwCfg;
use super::i8042::{I8042, KEYBOARD_IRQ};
use super::keyboard::Key;
use super::power::{Power, PowerRequest};
use super::serial::{COM1, COM1_IRQ, Serial};
use super::vga::Vga;
use crate::irq::Chips;

/// The debug console: a byte out; it reads as 0xe9, by which guests find it.
pub const PORT_DEBUG_CONSOLE: u16 = 0xe9;
/// The debug exit: the value written ends the run with that status.
pub const PORT_DEBUG_EXIT: u16 = 0xf4;
/// Calls of built-in guests: the gpa of a counter or marker, 32 bits out.
pub const PORT_CALL: u16 = 0x5650;

/// What is at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Pic,
    Pit,
    KeyboardData,
    KeyboardCommand,
    CmosIndex,
    CmosData,
    FastReset,
    DebugConsole,
    DebugExit,
    Vga,
    Serial,
    FwCfgSelector,
    FwCfgData,
    Power,
    /// PCI's configuration address, a register of 32 bits. It does not read back what was written, which is how
    /// kernels find that there is no PCI: Linux and memtest86+ then look no further, and would go through all of bus 0
    /// otherwise.
    PciAddress,
    /// Inside the former, but reached by bytes only.
    ResetControl,
    Call,
    Nobody,
}

impl Owner {
    /// The map of the ports.
    const fn of(port: u16) -> Self {
        match port {
            0x20 | 0x21 | 0xa0 | 0xa1 | 0x4d0 | 0x4d1 => Self::Pic,
            0x40..=0x43 | 0x61 => Self::Pit,
            0x60 => Self::KeyboardData,
            0x64 => Self::KeyboardCommand,
            0x70 => Self::CmosIndex,
            0x71 => Self::CmosData,
            0x92 => Self::FastReset,
            PORT_DEBUG_CONSOLE => Self::DebugConsole,
            PORT_DEBUG_EXIT => Self::DebugExit,
            0x3c0..=0x3df => Self::Vga,
            0x3f8..=0x3ff => Self::Serial,
            0x510 => Self::FwCfgSelector,
            0x511 => Self::FwCfgData,
            0x600..=0x60c => Self::Power,
            0xcf8 => Self::PciAddress,
            0xcf9 => Self::ResetControl,
            PORT_CALL => Self::Call,
            _ => Self::Nobody,
        }
    }
}

/// Every device that has ports.
#[derive(Debug)]
pub struct PortBus {
    /// Interrupt controllers and timer. The IOAPIC's memory is the owner's to dispatch.
    pub chips: Chips,
    /// The text screen's registers.
    pub vga: Vga,
    serial: Serial,
    i8042: I8042,
    cmos: Cmos,
    fw_cfg: FwCfg,
    power: Power,
    reset_control: u8,
}

impl PortBus {
    /// All devices after reset. `unix_ns` is the Unix time, in ns, when the owner's clock is `now_ns`.
    #[must_use]
    pub fn new(chips: Chips, sizes: MemorySizes, fw_cfg: FwCfg, unix_ns: u64, now_ns: u64) -> Self {
        Self {
            chips,
            vga: Vga::new(),
            serial: Serial::new(),
            i8042: I8042::new(),
            cmos: Cmos::new(sizes, unix_ns, now_ns),
            fw_cfg,
            power: Power::new(),
            reset_control: 0,
        }
    }

    /// `IN`: of one element, however many bytes it has. Bytes where no device is are all ones.
    pub fn read(&mut self, port: u16, data: &mut [u8], now_ns: u64) {
        match Owner::of(port) {
            Owner::Power => self.power.read(port, data, now_ns),
            Owner::PciAddress => data.fill(0xff),
            _ => {
                for (port, byte) in ports_from(port).zip(data) {
                    *byte = self.read_byte(port, now_ns);
                }
            }
        }
    }

    /// `OUT`: of one element. A wide access to byte-wide devices goes to one port after the other, as on the ISA bus,
    /// and the first effect is returned: within four ports there is never more than one.
    pub fn write(&mut self, port: u16, data: &[u8], now_ns: u64) -> PortEffect {
        match Owner::of(port) {
            Owner::DebugExit => {
                let status = data.iter().take(4).rev().fold(0, |status, &byte| status << 8 | u32::from(byte));
                PortEffect::Exit { status }
            }
            Owner::FwCfgSelector => {
                if let Ok(selector) = data.try_into() {
                    self.fw_cfg.select(u16::from_le_bytes(selector));
                }
                PortEffect::None
            }
            Owner::Power => match self.power.write(port, data, now_ns) {
                Some(PowerRequest::Off) => PortEffect::PowerOff,
                Some(PowerRequest::Reset) => PortEffect::Reset { line: ResetLine::Acpi },
                None => PortEffect::None,
            },
            Owner::Call => match data.try_into() {
                Ok(gpa) => PortEffect::Call { gpa: u32::from_le_bytes(gpa) },
                Err(_) => PortEffect::None,
            },
            Owner::PciAddress => PortEffect::None,
            _ => {
                let mut effect = PortEffect::None;
                for (port, &byte) in ports_from(port).zip(data) {
                    let next = self.write_byte(port, byte, now_ns);
                    if effect == PortEffect::None {
                        effect = next;
                    }
                }
                effect
            }
        }
    }

    /// Input for the first serial port. Returns how many bytes there was room for.
    pub fn input(&mut self, bytes: &[u8], now_ns: u64) -> usize {
        let accepted = self.serial.input(bytes);
        self.forward_serial_interrupt(now_ns);
        accepted
    }

    /// Types a key, as [`super::Keyboard::type_key`] does.
    pub fn type_key(&mut self, key: Key, now_ns: u64) -> bool {
        let typed = self.i8042.type_key(key, now_ns);
        self.forward_keyboard_interrupt(now_ns);
        typed
    }

    /// What devices do by themselves at `now_ns`, a time of the owner's clock.
    pub fn expire(&mut self, now_ns: u64) {
        self.chips.expire(now_ns);
        self.i8042.expire(now_ns);
        self.forward_keyboard_interrupt(now_ns);
    }

    /// When the next of that is due, ns.
    #[must_use]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.chips.next_deadline_ns().into_iter().chain(self.i8042.next_deadline_ns()).min()
    }

    fn read_byte(&mut self, port: u16, now_ns: u64) -> u8 {
        match Owner::of(port) {
            Owner::Pic => self.chips.pic.read(port, now_ns),
            Owner::Pit => self.chips.pit.read(port, now_ns),
            Owner::KeyboardData => {
                let value = self.i8042.read_data();
                // Low for a moment, so that the next byte makes an edge.
                self.chips.set_line(KEYBOARD_IRQ, false, now_ns);
                self.forward_keyboard_interrupt(now_ns);
                value
            }
            Owner::KeyboardCommand => self.i8042.read_status(),
            Owner::CmosData => self.cmos.read(now_ns),
            // A20 is on.
            Owner::FastReset => 0x02,
            Owner::DebugConsole => 0xe9,
            Owner::Vga => self.vga.read(port),
            Owner::Serial => {
                let value = self.serial.read((port - COM1) as u8);
                self.forward_serial_interrupt(now_ns);
                value
            }
            Owner::FwCfgData => self.fw_cfg.read(),
            Owner::ResetControl => self.reset_control,
            Owner::CmosIndex
            | Owner::DebugExit
            | Owner::FwCfgSelector
            | Owner::Power
            | Owner::PciAddress
            | Owner::Call
            | Owner::Nobody => 0xff,
        }
    }

    fn write_byte(&mut self, port: u16, value: u8, now_ns: u64) -> PortEffect {
        let reset = |wanted, line| if wanted { PortEffect::Reset { line } } else { PortEffect::None };
        match Owner::of(port) {
            Owner::Pic => {
                return self.chips.pic.write(port, value).map_or(PortEffect::None, PortEffect::PicEoi);
            }
            Owner::Pit => self.chips.pit.write(port, value, now_ns),
            Owner::KeyboardData | Owner::KeyboardCommand => {
                let wanted = match port {
                    0x60 => self.i8042.write_data(value),
                    _ => self.i8042.write_command(value),
                };
                self.forward_keyboard_interrupt(now_ns);
                return reset(wanted, ResetLine::KeyboardController);
            }
            Owner::CmosIndex => self.cmos.select(value),
            Owner::CmosData => self.cmos.write(value),
            Owner::FastReset => return reset(value & 1 != 0, ResetLine::FastReset),
            Owner::DebugConsole => return PortEffect::Console { port, byte: value },
            Owner::Vga => self.vga.write(port, value),
            Owner::Serial => {
                let sent = self.serial.write((port - COM1) as u8, value);
                self.forward_serial_interrupt(now_ns);
                return sent.map_or(PortEffect::None, |byte| PortEffect::Console { port: COM1, byte });
            }
            Owner::ResetControl => {
                // Bit 1: a hard reset. Bit 2: now.
                self.reset_control = value & 0x0a;
                return reset(value & 0x04 != 0, ResetLine::ResetControl);
            }
            Owner::DebugExit
            | Owner::FwCfgSelector
            | Owner::FwCfgData
            | Owner::Power
            | Owner::PciAddress
            | Owner::Call
            | Owner::Nobody => {}
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
    use crate::irq::PicEoi;
    use proptest::prelude::*;

    fn bus() -> PortBus {
        let sizes = MemorySizes { below_4g: 64 << 20, above_4g: 0 };
        PortBus::new(Chips::new(0), sizes, FwCfg::new().with_item(0x05, [2, 0]), 0, 0)
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
            (0xed, &[1], PortEffect::None),
            (0xcf8, &[0, 0x06, 0, 0x80], PortEffect::None),
            (0x604, &[0, 0x20], PortEffect::PowerOff),
            (0x605, &[0x20], PortEffect::PowerOff),
            (0x60c, &[1], reset(ResetLine::Acpi)),
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

    /// As Linux and memtest86+ look for the first type of configuration access.
    #[test]
    fn there_is_no_pci() {
        let mut bus = bus();
        assert_eq!(bus.write(0xcfb, &[1], 0), PortEffect::None);
        bus.write(0xcf8, &0x8000_0000_u32.to_le_bytes(), 0);
        let mut data = [0; 4];
        bus.read(0xcf8, &mut data, 0);
        assert_ne!(u32::from_le_bytes(data), 0x8000_0000);
        bus.read(0xcfc, &mut data, 0);
        assert_eq!(data, [0xff; 4], "no device whoever asks");
    }

    #[test]
    fn configuration_is_read_a_byte_at_a_time() {
        let mut bus = bus();
        let mut byte = [0];
        bus.write(0x510, &[0, 0], 0);
        let signature = [(); 4].map(|()| {
            bus.read(0x511, &mut byte, 0);
            byte[0]
        });
        assert_eq!(signature, *b"QEMU");
        bus.write(0x510, &[5, 0], 0);
        bus.read(0x511, &mut byte, 0);
        assert_eq!(byte, [2]);
    }

    #[test]
    fn the_cursor_is_moved_by_words_or_bytes() {
        let mut bus = bus();
        bus.write(0x3d4, &[0x0e, 0x01], 0);
        bus.write(0x3d4, &[0x0f], 0);
        bus.write(0x3d5, &[0x23], 0);
        assert_eq!(bus.vga.cursor(), Some(0x123));
        let mut data = [0; 4];
        bus.read(0x608, &mut data, 1_000_000_000);
        assert_eq!(u32::from_le_bytes(data), 3_579_545, "one moment for all bytes");
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
        let take = |bus: &mut PortBus, expected| {
            assert!(bus.chips.pic.interrupt_pending());
            assert_eq!(bus.chips.pic.acknowledge(50).line, 1);
            let mut byte = [0];
            bus.read(0x60, &mut byte, 60);
            assert_eq!(byte, [expected]);
            bus.write(0x20, &[0x20], 70);
        };
        take(&mut bus, 0xe0);
        take(&mut bus, 0x48);
        assert!(!bus.chips.pic.interrupt_pending(), "the key is down");
        let comes_up = bus.next_deadline_ns().unwrap();
        bus.expire(comes_up);
        take(&mut bus, 0xe0);
        take(&mut bus, 0xc8);
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

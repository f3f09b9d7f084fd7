//! The keyboard controller with a keyboard at its first port and nothing at its second (IBM PS/2 Hardware Interface
//! Technical Reference, "Keyboard and Auxiliary Device Controller").
//!
//! vm-superio's answers only the reset command, so that kernels wait for replies that never come.

use super::keyboard::{Key, Keyboard, Translation};

/// Its interrupt line for the keyboard.
pub const KEYBOARD_IRQ: u8 = 1;

/// Bits of the configuration byte.
const INTERRUPT: u8 = 0x01;
const SYSTEM: u8 = 0x04;
const KEYBOARD_OFF: u8 = 0x10;
const MOUSE_OFF: u8 = 0x20;
const TRANSLATE: u8 = 0x40;

/// The keyboard controller.
#[derive(Clone, Debug)]
pub struct I8042 {
    /// Interrupts, disabled ports, translation.
    configuration: u8,
    /// What the controller itself has for port 0x60; it goes before the keyboard's byte.
    reply: Option<u8>,
    /// What the keyboard has sent.
    received: Option<u8>,
    /// What port 0x60 gave last: it stays there.
    last: u8,
    /// The command whose parameter port 0x60 takes next.
    parameter_of: Option<u8>,
    /// The last write was to port 0x64.
    last_was_command: bool,
    translation: Translation,
    keyboard: Keyboard,
}

impl Default for I8042 {
    fn default() -> Self {
        Self::new()
    }
}

impl I8042 {
    /// As firmware leaves it: the keyboard is enabled, interrupts, and is translated.
    #[must_use]
    pub fn new() -> Self {
        Self {
            configuration: INTERRUPT | SYSTEM | MOUSE_OFF | TRANSLATE,
            reply: None,
            received: None,
            last: 0,
            parameter_of: None,
            last_was_command: false,
            translation: Translation::default(),
            keyboard: Keyboard::new(),
        }
    }

    /// Types a key, as [`Keyboard::type_key`] does. Look at [`Self::interrupt`] afterwards.
    pub fn type_key(&mut self, key: Key, now_ns: u64) -> bool {
        let typed = self.keyboard.type_key(key, now_ns);
        self.receive();
        typed
    }

    /// Lets go of a key whose time has come. Look at [`Self::interrupt`] afterwards.
    pub fn expire(&mut self, now_ns: u64) {
        self.keyboard.expire(now_ns);
        self.receive();
    }

    /// When a key comes up, in ns.
    #[must_use]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.keyboard.next_deadline_ns()
    }

    /// Whether the keyboard's interrupt line is asserted. It goes down with every read of port 0x60, for a moment at
    /// least.
    #[must_use]
    pub const fn interrupt(&self) -> bool {
        self.configuration & INTERRUPT != 0 && self.has_data()
    }

    /// Reads port 0x60: what waits, or what it gave last.
    pub fn read_data(&mut self) -> u8 {
        if let Some(byte) = self.reply.take().or_else(|| self.received.take()) {
            self.last = byte;
        }
        self.receive();
        self.last
    }

    /// Reads port 0x64: data waits (bit 0), system flag, last write was a command (bit 3), keyboard not locked.
    /// Input is always taken at once, so bit 1 is never set.
    #[must_use]
    pub fn read_status(&self) -> u8 {
        u8::from(self.has_data()) | self.configuration & SYSTEM | u8::from(self.last_was_command) << 3 | 0x10
    }

    /// Writes port 0x60; true asks for a reset.
    pub fn write_data(&mut self, value: u8) -> bool {
        self.last_was_command = false;
        match self.parameter_of.take() {
            Some(0x60) => self.configuration = value,
            // The output port: bit 0 low is reset. A20 stays on.
            Some(0xd1) => return value & 1 == 0,
            // A loop-back: as if the keyboard had sent it.
            Some(0xd2) => self.reply = Some(value),
            // The mouse's loop-back: something else comes back, so that kernels need not time out to see that there is
            // none.
            Some(0xd3) => self.reply = Some(!value),
            // To the mouse, and there is none.
            Some(_) => {}
            None => {
                // Talking to the keyboard enables it.
                self.configuration &= !KEYBOARD_OFF;
                self.keyboard.receive(value);
            }
        }
        self.receive();
        false
    }

    /// Writes port 0x64; true asks for a reset.
    pub fn write_command(&mut self, value: u8) -> bool {
        self.last_was_command = true;
        self.parameter_of = None;
        match value {
            0x20 => self.reply = Some(self.configuration),
            0x60 | 0xd1..=0xd4 => self.parameter_of = Some(value),
            0xa7 => self.configuration |= MOUSE_OFF,
            0xa8 => self.configuration &= !MOUSE_OFF,
            0xaa => self.reply = Some(0x55),
            // Interface tests. The mouse's clock line is stuck, which says that nothing is plugged in.
            0xa9 => self.reply = Some(0x01),
            0xab => self.reply = Some(0x00),
            0xad => self.configuration |= KEYBOARD_OFF,
            0xae => self.configuration &= !KEYBOARD_OFF,
            // The output port: no reset, A20 on.
            0xd0 => self.reply = Some(0x03),
            // Pulses output lines; bit 0 low is the reset line.
            0xf0..=0xff => return value & 1 == 0,
            _ => {}
        }
        self.receive();
        false
    }

    const fn has_data(&self) -> bool {
        self.reply.is_some() || self.received.is_some()
    }

    /// Takes the keyboard's next byte when there is room for it and the keyboard may send.
    fn receive(&mut self) {
        while self.received.is_none() && self.configuration & KEYBOARD_OFF == 0 {
            let Some(byte) = self.keyboard.send() else { return };
            self.received =
                if self.configuration & TRANSLATE == 0 { Some(byte) } else { self.translation.next(byte) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::keyboard::HELD_NS;

    fn read_all(i8042: &mut I8042) -> Vec<u8> {
        let mut bytes = Vec::new();
        while i8042.read_status() & 1 != 0 {
            bytes.push(i8042.read_data());
        }
        bytes
    }

    fn configure(i8042: &mut I8042, configuration: u8) {
        i8042.write_command(0x60);
        i8042.write_data(configuration);
    }

    #[test]
    fn resets() {
        let mut i8042 = I8042::new();
        assert!(i8042.write_command(0xfe));
        assert!(!i8042.write_command(0xff));
        i8042.write_command(0xd1);
        assert!(!i8042.write_data(0x03));
        assert!(!i8042.write_data(0x00), "not a parameter");
        i8042.write_command(0xd1);
        assert!(i8042.write_data(0x02));
    }

    #[test]
    fn answers_a_kernel_that_looks_for_it() {
        let mut i8042 = I8042::new();
        assert_eq!((i8042.read_status(), i8042.read_data()), (0x14, 0));
        i8042.write_command(0xaa);
        assert_eq!((i8042.read_status(), i8042.read_data()), (0x1d, 0x55));
        configure(&mut i8042, 0x47);
        i8042.write_command(0x20);
        assert_eq!((i8042.read_data(), i8042.read_status() & 1), (0x47, 0));
        i8042.write_command(0xd2);
        i8042.write_data(0x5a);
        assert_eq!(i8042.read_data(), 0x5a);
        i8042.write_command(0xd3);
        i8042.write_data(0x5a);
        assert_ne!(i8042.read_data(), 0x5a, "no mouse");
    }

    #[test]
    fn keys_are_translated_if_it_is_told_so() {
        let mut i8042 = I8042::new();
        assert!(i8042.type_key(Key::Character('A'), 0));
        i8042.expire(HELD_NS);
        assert_eq!(read_all(&mut i8042), [0x2a, 0x1e, 0x9e, 0xaa]);
        i8042.write_data(0xf2);
        assert_eq!(read_all(&mut i8042), [0xfa, 0xab, 0x41]);
        configure(&mut i8042, 0x05);
        assert!(i8042.type_key(Key::Function(7), 0));
        i8042.expire(HELD_NS);
        assert_eq!(read_all(&mut i8042), [0x83, 0xf0, 0x83]);
        assert_eq!(i8042.read_data(), 0x83, "the last byte stays");
    }

    #[test]
    fn a_disabled_keyboard_waits() {
        let mut i8042 = I8042::new();
        i8042.write_command(0xad);
        assert!(i8042.type_key(Key::Enter, 0));
        i8042.expire(HELD_NS);
        assert_eq!(i8042.read_status() & 1, 0);
        i8042.write_command(0xae);
        assert_eq!(read_all(&mut i8042), [0x1c, 0x9c]);
        i8042.write_command(0xad);
        i8042.write_data(0xff);
        assert_eq!(read_all(&mut i8042), [0xfa, 0xaa], "a command enables it");
    }

    #[test]
    fn interrupts_when_there_is_data_and_it_may() {
        let mut i8042 = I8042::new();
        assert!(!i8042.interrupt());
        assert!(i8042.type_key(Key::Enter, 0) && i8042.interrupt());
        i8042.read_data();
        assert!(!i8042.interrupt(), "it is down");
        i8042.expire(HELD_NS);
        assert!(i8042.interrupt(), "it comes up");
        i8042.read_data();
        assert!(!i8042.interrupt());
        configure(&mut i8042, 0x44);
        assert!(i8042.type_key(Key::Enter, 0) && !i8042.interrupt());
    }
}

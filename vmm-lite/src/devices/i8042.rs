//! The keyboard controller, with neither keyboard nor mouse: kernels find it, test it, and reset the machine with it.
//!
//! vm-superio's answers only the reset command, so that kernels wait for replies that never come.

/// The keyboard controller.
#[derive(Clone, Debug)]
pub struct I8042 {
    /// The command byte: interrupts, disabled ports, translation.
    configuration: u8,
    /// What port 0x60 has for the guest.
    reply: Option<u8>,
    /// The command whose parameter port 0x60 takes next.
    parameter_of: Option<u8>,
    /// The last write was to port 0x64.
    last_was_command: bool,
}

impl Default for I8042 {
    fn default() -> Self {
        Self::new()
    }
}

impl I8042 {
    /// After reset: both ports are disabled.
    #[must_use]
    pub const fn new() -> Self {
        Self { configuration: 0x34, reply: None, parameter_of: None, last_was_command: false }
    }

    /// Reads port 0x60: the reply that waits, or 0.
    pub fn read_data(&mut self) -> u8 {
        self.reply.take().unwrap_or(0)
    }

    /// Reads port 0x64: a reply waits (bit 0), system flag, last write was a command (bit 3), keyboard not locked.
    /// Input is always taken at once, so bit 1 is never set.
    #[must_use]
    pub fn read_status(&self) -> u8 {
        u8::from(self.reply.is_some())
            | self.configuration & 0x04
            | u8::from(self.last_was_command) << 3
            | 0x10
    }

    /// Writes port 0x60; true asks for a reset.
    pub fn write_data(&mut self, value: u8) -> bool {
        self.last_was_command = false;
        match self.parameter_of.take() {
            Some(0x60) => self.configuration = value,
            // The output port: bit 0 low is reset. A20 stays on.
            Some(0xd1) => return value & 1 == 0,
            // Loop-backs: as if a device had sent it.
            Some(0xd2 | 0xd3) => self.reply = Some(value),
            // To a device, and there is none.
            _ => {}
        }
        false
    }

    /// Writes port 0x64; true asks for a reset.
    pub fn write_command(&mut self, value: u8) -> bool {
        self.last_was_command = true;
        self.parameter_of = None;
        match value {
            0x20 => self.reply = Some(self.configuration),
            0x60 | 0xd1..=0xd4 => self.parameter_of = Some(value),
            0xa7 => self.configuration |= 0x20,
            0xa8 => self.configuration &= !0x20,
            0xaa => self.reply = Some(0x55),
            // Interface tests: the clock line is stuck, which says that nothing is plugged in.
            0xa9 | 0xab => self.reply = Some(0x01),
            0xad => self.configuration |= 0x10,
            0xae => self.configuration &= !0x10,
            // The output port: no reset, A20 on.
            0xd0 => self.reply = Some(0x03),
            // Pulses output lines; bit 0 low is the reset line.
            0xf0..=0xff => return value & 1 == 0,
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        i8042.write_command(0x60);
        i8042.write_data(0x47);
        i8042.write_command(0x20);
        assert_eq!((i8042.read_data(), i8042.read_status() & 1), (0x47, 0));
        i8042.write_command(0xd3);
        i8042.write_data(0x5a);
        assert_eq!(i8042.read_data(), 0x5a);
    }
}

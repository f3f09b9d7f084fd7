//! ACPI's fixed hardware (ACPI 6.5, section 4.8): power-management timer, PM1 registers, and the reset register.
//!
//! | port | bytes | register |
//! |---|---|---|
//! | 0x600 | 2 | PM1 status: bit 0 the timer's carry; written ones clear |
//! | 0x602 | 2 | PM1 enable, stored |
//! | 0x604 | 2 | PM1 control: bit 0 ACPI mode, always on; 12:10 sleep type; 13 sleep |
//! | 0x608 | 4 | timer |
//! | 0x60c | 1 | reset: 1 resets |
//!
//! The reset register is not 0xcf9, so that a trace can tell who was asked. The system control interrupt is never
//! raised: there is no button to press, and no kernel waits for the timer's carry.

/// PM1 status and enable registers, 2 bytes each.
pub const PORT_PM1_EVENT: u16 = 0x600;
/// PM1 control register, 2 bytes.
pub const PORT_PM1_CONTROL: u16 = 0x604;
/// The timer, 4 bytes.
pub const PORT_PM_TIMER: u16 = 0x608;
/// The reset register, 1 byte.
pub const PORT_ACPI_RESET: u16 = 0x60c;
/// What to write there.
pub const ACPI_RESET: u8 = 1;
/// The sleep type of S5, soft off.
pub const SLEEP_TYPE_S5: u8 = 0;

/// The timer's frequency, Hz.
const TIMER_HZ: u128 = 3_579_545;
const SECOND_NS: u128 = 1_000_000_000;

/// PM1 control: ACPI mode; sleep type; sleep now, which reads 0; bits that are stored.
const SCI_ENABLE: u16 = 1;
const SLEEP_TYPE_SHIFT: u16 = 10;
const SLEEP: u16 = 1 << 13;
const STORED: u16 = 0b111 << SLEEP_TYPE_SHIFT | 0b10;

/// What a write asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerRequest {
    /// Soft off.
    Off,
    /// A reset.
    Reset,
}

/// The registers.
#[derive(Clone, Debug, Default)]
pub struct Power {
    enable: u16,
    control: u16,
    /// How often the timer's top bit had changed when its status was cleared last.
    carries_seen: u64,
}

impl Power {
    /// After reset.
    #[must_use]
    pub const fn new() -> Self {
        Self { enable: 0, control: SCI_ENABLE, carries_seen: 0 }
    }

    /// Reads one element from `port` on: a register or a part of it.
    pub fn read(&self, port: u16, data: &mut [u8], now_ns: u64) {
        let ticks = ticks(now_ns);
        let status = u16::from(carries(ticks) != self.carries_seen);
        let [s0, s1] = status.to_le_bytes();
        let [e0, e1] = self.enable.to_le_bytes();
        let [c0, c1] = self.control.to_le_bytes();
        let [t0, t1, t2, t3] = (ticks as u32).to_le_bytes();
        let registers = [s0, s1, e0, e1, c0, c1, 0, 0, t0, t1, t2, t3];
        let first = usize::from(port.wrapping_sub(PORT_PM1_EVENT));
        for (offset, byte) in (first..).zip(data) {
            *byte = registers.get(offset).copied().unwrap_or(0xff);
        }
    }

    /// Writes one element from `port` on.
    pub fn write(&mut self, port: u16, data: &[u8], now_ns: u64) -> Option<PowerRequest> {
        let mut request = None;
        for (offset, &byte) in (port.wrapping_sub(PORT_PM1_EVENT)..).zip(data) {
            request = request.or(self.write_byte(offset, byte, now_ns));
        }
        request
    }

    fn write_byte(&mut self, offset: u16, byte: u8, now_ns: u64) -> Option<PowerRequest> {
        const RESET: u16 = PORT_ACPI_RESET - PORT_PM1_EVENT;
        match offset {
            0 if byte & 1 != 0 => self.carries_seen = carries(ticks(now_ns)),
            2 => self.enable = self.enable & 0xff00 | u16::from(byte),
            3 => self.enable = self.enable & 0x00ff | u16::from(byte) << 8,
            4 => self.control = self.control & 0xff00 | u16::from(byte) & STORED | SCI_ENABLE,
            5 => {
                let value = u16::from(byte) << 8;
                self.control = self.control & 0x00ff | value & STORED;
                let sleep_type = value >> SLEEP_TYPE_SHIFT & 0b111;
                if value & SLEEP != 0 && sleep_type == u16::from(SLEEP_TYPE_S5) {
                    return Some(PowerRequest::Off);
                }
            }
            RESET if byte == ACPI_RESET => return Some(PowerRequest::Reset),
            _ => {}
        }
        None
    }
}

fn ticks(now_ns: u64) -> u64 {
    // 64 bits of ns are fewer bits of ticks.
    (u128::from(now_ns) * TIMER_HZ / SECOND_NS) as u64
}

/// How often bit 31 has changed.
const fn carries(ticks: u64) -> u64 {
    ticks >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(power: &Power, port: u16, now_ns: u64) -> [u8; N] {
        let mut data = [0; N];
        power.read(port, &mut data, now_ns);
        data
    }

    #[test]
    fn the_timer_counts() {
        let power = Power::new();
        let timer = |now| u32::from_le_bytes(read(&power, PORT_PM_TIMER, now));
        assert_eq!(
            [0, 1_000_000_000, 1_200_000_000_000].map(timer),
            [0, 3_579_545, 4_295_454_000_u64 as u32]
        );
        assert_eq!(read(&power, PORT_PM_TIMER + 1, 1_000_000_000), [0x9e], "a byte of it");
        timer(u64::MAX);
    }

    #[test]
    fn its_carry_is_a_status_until_cleared() {
        const CARRY_NS: u64 = 600 * 1_000_000_000;
        let mut power = Power::new();
        assert_eq!(read(&power, PORT_PM1_EVENT, 0), [0, 0]);
        assert_eq!(read(&power, PORT_PM1_EVENT, CARRY_NS), [1, 0]);
        power.write(PORT_PM1_EVENT, &[0xff, 0xff], CARRY_NS);
        assert_eq!(read(&power, PORT_PM1_EVENT, CARRY_NS), [0, 0]);
        assert_eq!(read(&power, PORT_PM1_EVENT, 2 * CARRY_NS), [1, 0]);
    }

    #[test]
    fn off_and_reset() {
        let mut power = Power::new();
        assert_eq!(read(&power, PORT_PM1_CONTROL, 0), [1, 0], "ACPI mode");
        // What kernels made for QEMU write, and what ACPICA does: the type, then the same with the bit.
        assert_eq!(power.write(PORT_PM1_CONTROL, &[0, 0x20], 0), Some(PowerRequest::Off));
        assert_eq!(power.write(PORT_PM1_CONTROL, &[1, 0], 0), None);
        assert_eq!(power.write(PORT_PM1_CONTROL, &[1, 0x20], 0), Some(PowerRequest::Off));
        assert_eq!(power.write(PORT_PM1_CONTROL, &[1, 0x34], 0), None, "no such state");
        assert_eq!(read(&power, PORT_PM1_CONTROL, 0), [1, 0x14]);
        assert_eq!(power.write(PORT_PM1_CONTROL, &[0], 0), None);
        assert_eq!(read(&power, PORT_PM1_CONTROL, 0), [1, 0x14], "ACPI mode cannot be left");
        assert_eq!(power.write(PORT_ACPI_RESET, &[0], 0), None);
        assert_eq!(power.write(PORT_ACPI_RESET, &[ACPI_RESET], 0), Some(PowerRequest::Reset));
    }

    #[test]
    fn the_enable_register_is_stored() {
        let mut power = Power::new();
        power.write(PORT_PM1_EVENT + 2, &[0x21, 0x01], 0);
        assert_eq!(read(&power, PORT_PM1_EVENT, 0), [0, 0, 0x21, 0x01]);
    }
}

//! CMOS memory with the clock in it (MC146818), ports 0x70 and 0x71.
//!
//! The time is the owner's and cannot be set. Left out are the clock's interrupts: alarm, periodic, update-ended.

const SECOND_NS: u64 = 1_000_000_000;
/// The update-in-progress bit is up for so long before each second, ns.
const UPDATE_NS: u64 = 244_000;

const REGISTER_A: u8 = 0x0a;
const REGISTER_B: u8 = 0x0b;
const REGISTER_C: u8 = 0x0c;
const REGISTER_D: u8 = 0x0d;
const CENTURY: u8 = 0x32;

/// Register B: binary instead of BCD, 24 hours instead of 12.
const BINARY: u8 = 0x04;
const HOURS_24: u8 = 0x02;

/// What firmware would have noted about memory.
#[derive(Clone, Copy, Debug)]
pub struct MemorySizes {
    /// Bytes from 0 to the end of memory under 4 GiB.
    pub below_4g: u64,
    /// Bytes from 4 GiB on.
    pub above_4g: u64,
}

/// CMOS memory and clock.
#[derive(Clone, Debug)]
pub struct Cmos {
    index: u8,
    memory: [u8; 128],
    /// Unix time when the owner's clock was 0.
    epoch_ns: u64,
}

impl Cmos {
    /// `unix_ns` is the Unix time, in ns, when the owner's clock is `now_ns`.
    #[must_use]
    pub fn new(sizes: MemorySizes, unix_ns: u64, now_ns: u64) -> Self {
        let mut memory = [0; 128];
        let mut word = |register: usize, value: u64| {
            let [low, high, ..] = value.min(0xffff).to_le_bytes();
            memory[register] = low;
            memory[register + 1] = high;
        };
        let above = |start: u64, unit: u64| sizes.below_4g.saturating_sub(start) / unit;
        // KiB of base memory, KiB above 1 MiB (twice), 64 KiB above 16 MiB.
        word(0x15, 640);
        word(0x17, above(1 << 20, 1 << 10));
        word(0x30, above(1 << 20, 1 << 10));
        word(0x34, above(16 << 20, 1 << 16));
        // 64 KiB above 4 GiB, in three bytes, as QEMU and Bochs have it.
        let [low, middle, high, ..] = (sizes.above_4g >> 16).min(0xff_ffff).to_le_bytes();
        memory[0x5b..0x5e].copy_from_slice(&[low, middle, high]);
        memory[usize::from(REGISTER_A)] = 0x26;
        memory[usize::from(REGISTER_B)] = HOURS_24;
        memory[usize::from(REGISTER_D)] = 0x80;
        Self { index: 0, memory, epoch_ns: unix_ns.saturating_sub(now_ns) }
    }

    /// Writes port 0x70: which register port 0x71 is. Bit 7, which masks NMIs on old PCs, is not looked at.
    pub const fn select(&mut self, value: u8) {
        self.index = value & 0x7f;
    }

    /// Reads port 0x71.
    #[must_use]
    pub fn read(&self, now_ns: u64) -> u8 {
        let time_ns = self.epoch_ns.saturating_add(now_ns);
        let date = Date::at(time_ns / SECOND_NS);
        match self.index {
            0x00 => self.number(date.second),
            0x02 => self.number(date.minute),
            0x04 => self.hour(date.hour),
            0x06 => self.number(date.weekday),
            0x07 => self.number(date.day),
            0x08 => self.number(date.month),
            0x09 => self.number((date.year % 100) as u8),
            CENTURY => self.number((date.year / 100 % 100) as u8),
            REGISTER_A => {
                let updating = time_ns % SECOND_NS >= SECOND_NS - UPDATE_NS;
                self.register(REGISTER_A) & 0x7f | u8::from(updating) << 7
            }
            // No interrupt is ever pending.
            REGISTER_C => 0,
            index => self.register(index),
        }
    }

    /// Writes port 0x71. The time, and the registers that can only be read, stay as they are.
    pub fn write(&mut self, value: u8) {
        match self.index {
            0x00 | 0x02 | 0x04 | 0x06..=0x09 | CENTURY | REGISTER_C | REGISTER_D => {}
            index => self.memory[usize::from(index & 0x7f)] = value,
        }
    }

    fn register(&self, index: u8) -> u8 {
        self.memory[usize::from(index & 0x7f)]
    }

    fn number(&self, value: u8) -> u8 {
        if self.register(REGISTER_B) & BINARY != 0 { value } else { ((value / 10) << 4) | (value % 10) }
    }

    fn hour(&self, hour: u8) -> u8 {
        if self.register(REGISTER_B) & HOURS_24 != 0 {
            return self.number(hour);
        }
        let afternoon = u8::from(hour >= 12) << 7;
        self.number((hour + 11) % 12 + 1) | afternoon
    }
}

/// A date and time of day, UTC.
#[derive(Debug, PartialEq, Eq)]
struct Date {
    year: u64,
    month: u8,
    day: u8,
    /// 1 is Sunday.
    weekday: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl Date {
    /// The Gregorian date of a Unix time, s.
    fn at(unix: u64) -> Self {
        let (days, second) = (unix / 86400, unix % 86400);
        let mut year = 1970 + days / 146_097 * 400;
        let mut left = days % 146_097;
        loop {
            let length = if is_leap(year) { 366 } else { 365 };
            if left < length {
                break;
            }
            left -= length;
            year += 1;
        }
        let february = if is_leap(year) { 29 } else { 28 };
        let mut month = 1;
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if left < length {
                break;
            }
            left -= length;
            month += 1;
        }
        Self {
            year,
            month,
            day: left as u8 + 1,
            weekday: ((days + 4) % 7) as u8 + 1,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: MemorySizes = MemorySizes { below_4g: 3 << 30, above_4g: 1 << 30 };

    fn read(cmos: &mut Cmos, index: u8, now_ns: u64) -> u8 {
        cmos.select(index | 0x80);
        cmos.read(now_ns)
    }

    #[test]
    fn dates() {
        let date = |unix| {
            let Date { year, month, day, weekday, hour, minute, second } = Date::at(unix);
            (year, month, day, weekday, hour, minute, second)
        };
        assert_eq!(date(0), (1970, 1, 1, 5, 0, 0, 0));
        assert_eq!(date(951_782_400), (2000, 2, 29, 3, 0, 0, 0));
        assert_eq!(date(1_709_251_199), (2024, 2, 29, 5, 23, 59, 59));
        assert_eq!(date(1_735_689_599), (2024, 12, 31, 3, 23, 59, 59));
        assert_eq!(date(4_107_542_400), (2100, 3, 1, 2, 0, 0, 0));
        Date::at(u64::MAX);
    }

    #[test]
    fn the_clock_in_its_formats() {
        // Thursday, 29 February 2024, 23:59:59 and no fraction, 5 s after the owner's clock began.
        let mut cmos = Cmos::new(SIZES, 1_709_251_199 * SECOND_NS, 5 * SECOND_NS);
        let mut at = |now| [0, 2, 4, 6, 7, 8, 9, 0x32].map(|index| read(&mut cmos, index, now));
        assert_eq!(at(5 * SECOND_NS), [0x59, 0x59, 0x23, 0x05, 0x29, 0x02, 0x24, 0x20]);
        assert_eq!(at(6 * SECOND_NS), [0x00, 0x00, 0x00, 0x06, 0x01, 0x03, 0x24, 0x20]);
        assert_eq!(read(&mut cmos, REGISTER_A, 5 * SECOND_NS), 0x26);
        assert_eq!(read(&mut cmos, REGISTER_A, 6 * SECOND_NS - 1), 0xa6);
        cmos.select(REGISTER_B);
        cmos.write(BINARY);
        assert_eq!((read(&mut cmos, 4, 5 * SECOND_NS), read(&mut cmos, 0, 5 * SECOND_NS)), (0x80 | 11, 59));
        assert_eq!(read(&mut cmos, 4, 6 * SECOND_NS), 12, "midnight");
        cmos.select(0);
        cmos.write(7);
        assert_eq!(cmos.read(5 * SECOND_NS), 59, "cannot be set");
    }

    #[test]
    fn memory_sizes_and_memory() {
        let mut cmos = Cmos::new(SIZES, 0, 0);
        let mut word = |index| u16::from_le_bytes([read(&mut cmos, index, 0), read(&mut cmos, index + 1, 0)]);
        assert_eq!([word(0x15), word(0x17), word(0x30)], [640, 0xffff, 0xffff]);
        assert_eq!([word(0x34), word(0x5b), word(0x5d)], [0xbf00, 0x4000, 0]);
        cmos.select(0x0f);
        cmos.write(0x0a);
        assert_eq!(cmos.read(0), 0x0a);
        for index in 0..=255 {
            cmos.select(index);
            cmos.write(index);
            let _answered = cmos.read(u64::MAX);
        }
    }
}

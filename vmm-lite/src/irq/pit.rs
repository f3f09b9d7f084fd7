//! The 8254 timer of a PC: channel 0 is IRQ 0, channel 1 once refreshed memory, channel 2 is the speaker's, with its
//! gate and output at port 0x61.
//!
//! A simplification: a new count in modes 2 and 3 counts from its write, not from the end of the running period.

/// The input clock, Hz.
const HZ: u128 = 1_193_182;
const SECOND_NS: u128 = 1_000_000_000;

/// The shortest time from one interrupt of channel 0 to the next, ns, whatever its count: the vCPU has to run in
/// between.
const SHORTEST_PERIOD_NS: u64 = 20_000;

/// The refresh bit of port 0x61 changes this often, ns.
const REFRESH_NS: u64 = 15_085;

/// The timer.
#[derive(Clone, Debug, Default)]
pub struct Pit {
    channels: [Channel; 3],
    /// Port 0x61 as written: bit 0 gate of channel 2, bit 1 speaker, bits 2 and 3 parity and channel check.
    port_61: u8,
    /// When channel 0's output rises next, ns.
    deadline_ns: Option<u64>,
}

impl Pit {
    /// After reset: nothing counts, and the gate of channel 2 is low.
    #[must_use]
    pub fn new() -> Self {
        let mut pit = Self::default();
        pit.channels[2].gate = false;
        pit
    }

    /// When [`Self::expire`] should be called, ns.
    #[must_use]
    pub const fn next_deadline_ns(&self) -> Option<u64> {
        self.deadline_ns
    }

    /// If channel 0's output has risen, returns when it did so last as planned, and plans the next time. Rises that
    /// were missed are not made up for.
    pub fn expire(&mut self, now_ns: u64) -> Option<u64> {
        let deadline = self.deadline_ns.filter(|&deadline| deadline <= now_ns)?;
        let soonest = deadline.saturating_add(SHORTEST_PERIOD_NS).max(now_ns);
        self.deadline_ns =
            if self.channels[0].is_periodic() { self.channels[0].next_rise(soonest) } else { None };
        Some(deadline)
    }

    /// Reads port 0x40 to 0x43 or 0x61; other ports are all ones.
    pub fn read(&mut self, port: u16, now_ns: u64) -> u8 {
        match port {
            0x40 => self.channels[0].read(now_ns),
            0x41 => self.channels[1].read(now_ns),
            0x42 => self.channels[2].read(now_ns),
            0x61 => {
                let refresh = ((now_ns / REFRESH_NS) & 1) as u8;
                self.port_61 & 0xf | refresh << 4 | u8::from(self.channels[2].output(now_ns)) << 5
            }
            // The control register can only be written.
            _ => 0xff,
        }
    }

    /// Writes one of those ports; look at [`Self::next_deadline_ns`] afterwards.
    pub fn write(&mut self, port: u16, value: u8, now_ns: u64) {
        match port {
            0x40 => {
                let complete = self.channels[0].write(value, now_ns);
                if complete || self.channels[0].count == Count::Waits {
                    self.deadline_ns = self.channels[0].next_rise(now_ns);
                }
            }
            0x41 => drop(self.channels[1].write(value, now_ns)),
            0x42 => drop(self.channels[2].write(value, now_ns)),
            0x43 => self.control(value, now_ns),
            0x61 => {
                self.port_61 = value & 0xf;
                self.channels[2].set_gate(value & 1 != 0, now_ns);
            }
            _ => {}
        }
    }

    fn control(&mut self, value: u8, now_ns: u64) {
        if let Some(channel) = self.channels.get_mut(usize::from(value >> 6)) {
            channel.control(value, now_ns);
            if value >> 6 == 0 && value & 0x30 != 0 {
                self.deadline_ns = None;
            }
            return;
        }
        // Read-back: a clear bit asks for the count (5) or the status (4) of the channels in bits 3:1.
        for (index, channel) in (1..).zip(&mut self.channels) {
            if value & 1 << index == 0 {
                continue;
            }
            if value & 0x20 == 0 {
                channel.latch_count(now_ns);
            }
            if value & 0x10 == 0 {
                channel.latch_status(now_ns);
            }
        }
    }
}

/// Which bytes of the count are accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bytes {
    Low,
    High,
    Both,
}

/// Since when a channel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    /// It waits for its count, or for its trigger.
    Waits,
    Since(u64),
    /// The gate is low, after so many ticks.
    Held(u64),
}

#[derive(Clone, Debug)]
struct Channel {
    mode: u8,
    bytes: Bytes,
    bcd: bool,
    /// From which it counts down: 1 to 65536, or to 10000 in BCD.
    initial: u32,
    count: Count,
    gate: bool,
    /// The low byte, when the high one is yet to be written.
    low: Option<u8>,
    /// The next read is of the high byte.
    reads_high: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            mode: 0,
            bytes: Bytes::Both,
            bcd: false,
            initial: 0x1_0000,
            count: Count::Waits,
            gate: true,
            low: None,
            reads_high: false,
            latched_count: None,
            latched_status: None,
        }
    }
}

impl Channel {
    const fn is_periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    /// A control word for this channel.
    fn control(&mut self, value: u8, now_ns: u64) {
        let bytes = match value >> 4 & 0b11 {
            0 => return self.latch_count(now_ns),
            1 => Bytes::Low,
            2 => Bytes::High,
            _ => Bytes::Both,
        };
        let mode = match value >> 1 & 0b111 {
            mode @ 0..=5 => mode,
            mode => mode - 4,
        };
        *self = Self { mode, bytes, bcd: value & 1 != 0, gate: self.gate, ..Self::default() };
    }

    /// A byte of the count; true when the count is complete.
    fn write(&mut self, value: u8, now_ns: u64) -> bool {
        let count = match self.bytes {
            Bytes::Low => u16::from(value),
            Bytes::High => u16::from(value) << 8,
            Bytes::Both => match self.low.take() {
                Some(low) => u16::from_le_bytes([low, value]),
                None => {
                    self.low = Some(value);
                    if self.mode == 0 {
                        self.count = Count::Waits;
                    }
                    return false;
                }
            },
        };
        self.initial = match if self.bcd { from_bcd(count) } else { count.into() } {
            0 => self.modulus(),
            count => count,
        };
        self.count = match (self.mode, self.gate) {
            // These start with a rising gate.
            (1 | 5, _) => self.count,
            (_, true) => Count::Since(now_ns),
            (_, false) => Count::Held(0),
        };
        true
    }

    fn set_gate(&mut self, gate: bool, now_ns: u64) {
        if std::mem::replace(&mut self.gate, gate) == gate {
            return;
        }
        self.count = match (self.mode, gate, self.count) {
            (1 | 5, true, _) => Count::Since(now_ns),
            (1 | 5, false, count) => count,
            (_, false, Count::Since(_)) => Count::Held(self.ticks(now_ns).unwrap_or(0)),
            (2 | 3, true, Count::Held(_)) => Count::Since(now_ns),
            (_, true, Count::Held(ticks)) => Count::Since(now_ns.saturating_sub(ticks_to_ns(ticks))),
            (_, _, count) => count,
        };
    }

    fn ticks(&self, now_ns: u64) -> Option<u64> {
        match self.count {
            Count::Waits => None,
            Count::Since(start) => {
                let ticks = u128::from(now_ns.saturating_sub(start)) * HZ / SECOND_NS;
                Some(u64::try_from(ticks).unwrap_or(u64::MAX))
            }
            Count::Held(ticks) => Some(ticks),
        }
    }

    /// The output pin.
    fn output(&self, now_ns: u64) -> bool {
        let Some(ticks) = self.ticks(now_ns) else { return self.mode != 0 };
        let initial = u64::from(self.initial);
        match self.mode {
            0 | 1 => ticks >= initial,
            // A low gate holds it high.
            2 => !self.gate || ticks % initial != initial - 1,
            3 => !self.gate || ticks % initial < initial.div_ceil(2),
            _ => ticks != initial,
        }
    }

    fn current(&self, now_ns: u64) -> u16 {
        let ticks = self.ticks(now_ns).unwrap_or(0);
        let (initial, modulus) = (u64::from(self.initial), u64::from(self.modulus()));
        let count = match self.mode {
            2 => initial - ticks % initial,
            // It counts by two, twice a period.
            3 => initial - (ticks % initial * 2) % initial,
            _ => (initial + modulus - ticks % modulus) % modulus,
        };
        // A full count reads 0.
        let count = (count % modulus) as u16;
        if self.bcd { to_bcd(count) } else { count }
    }

    /// When the output next rises after `now_ns`.
    fn next_rise(&self, now_ns: u64) -> Option<u64> {
        let Count::Since(start) = self.count else { return None };
        let initial = u64::from(self.initial);
        let rise = match self.mode {
            2 | 3 => (self.ticks(now_ns)? / initial).saturating_add(1).saturating_mul(initial),
            _ => initial,
        };
        Some(start.saturating_add(ticks_to_ns(rise)))
    }

    fn latch_count(&mut self, now_ns: u64) {
        if self.latched_count.is_none() {
            self.latched_count = Some(self.current(now_ns));
        }
    }

    fn latch_status(&mut self, now_ns: u64) {
        let bytes = match self.bytes {
            Bytes::Low => 1,
            Bytes::High => 2,
            Bytes::Both => 3,
        };
        let null = u8::from(self.count == Count::Waits);
        let status =
            u8::from(self.output(now_ns)) << 7 | null << 6 | bytes << 4 | self.mode << 1 | u8::from(self.bcd);
        self.latched_status.get_or_insert(status);
    }

    fn read(&mut self, now_ns: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let count = self.latched_count.unwrap_or_else(|| self.current(now_ns));
        let [low, high] = count.to_le_bytes();
        let is_high = match self.bytes {
            Bytes::Low => false,
            Bytes::High => true,
            Bytes::Both => self.reads_high,
        };
        if self.bytes == Bytes::Both {
            self.reads_high = !is_high;
        }
        if is_high || self.bytes == Bytes::Low {
            self.latched_count = None;
        }
        if is_high { high } else { low }
    }

    const fn modulus(&self) -> u32 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }
}

/// Rounded up, so that at the time returned the tick has come.
fn ticks_to_ns(ticks: u64) -> u64 {
    u64::try_from((u128::from(ticks) * SECOND_NS).div_ceil(HZ)).unwrap_or(u64::MAX)
}

fn from_bcd(value: u16) -> u32 {
    // Digits above 9 count as what they are; the sum is cut to four digits.
    [1000, 100, 10, 1]
        .iter()
        .zip([12, 8, 4, 0])
        .map(|(weight, shift)| weight * u32::from(value >> shift & 0xf))
        .sum::<u32>()
        % 10_000
}

fn to_bcd(value: u16) -> u16 {
    [1000, 100, 10, 1].iter().fold(0, |bcd, weight| (bcd << 4) | (value / weight % 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Ticks of the input clock, ns.
    fn at(ticks: u64) -> u64 {
        ticks_to_ns(ticks)
    }

    fn load(pit: &mut Pit, channel: u8, mode: u8, count: u16, now_ns: u64) {
        pit.write(0x43, channel << 6 | 0x30 | mode << 1, now_ns);
        let [low, high] = count.to_le_bytes();
        pit.write(0x40 + u16::from(channel), low, now_ns);
        pit.write(0x40 + u16::from(channel), high, now_ns);
    }

    fn count(pit: &mut Pit, channel: u8, now_ns: u64) -> u16 {
        pit.write(0x43, channel << 6, now_ns);
        let port = 0x40 + u16::from(channel);
        u16::from_le_bytes([pit.read(port, now_ns), pit.read(port, now_ns + 1_000_000)])
    }

    #[test]
    fn a_rate_generator_ticks() {
        let mut pit = Pit::new();
        assert_eq!(pit.next_deadline_ns(), None);
        load(&mut pit, 0, 2, 11932, 0);
        let first = pit.next_deadline_ns().unwrap();
        assert_eq!(first, at(11932));
        assert_eq!(pit.expire(first - 1), None);
        assert_eq!(pit.expire(first), Some(first));
        assert_eq!(pit.next_deadline_ns(), Some(at(2 * 11932)));
        assert_eq!(
            pit.expire(at(5 * 11932) + 10),
            Some(at(2 * 11932)),
            "late: once for all that were missed"
        );
        assert_eq!(pit.next_deadline_ns(), Some(at(6 * 11932)));
        assert_eq!(count(&mut pit, 0, at(5 * 11932 + 100)), 11832);
        load(&mut pit, 0, 2, 2, 0);
        pit.expire(at(2)).unwrap();
        assert!(pit.next_deadline_ns().unwrap() >= SHORTEST_PERIOD_NS, "not as often as asked");
    }

    #[test]
    fn one_shot() {
        let mut pit = Pit::new();
        load(&mut pit, 0, 0, 1000, 50);
        assert_eq!(pit.next_deadline_ns(), Some(50 + at(1000)));
        assert_eq!(count(&mut pit, 0, 50 + at(400)), 600);
        assert!(pit.expire(50 + at(1000)).is_some());
        assert_eq!(pit.next_deadline_ns(), None);
        assert_eq!(count(&mut pit, 0, 50 + at(1001)), 0xffff, "it counts on");
        // The first byte of a new count stops it, a control word disarms it.
        load(&mut pit, 0, 0, 1000, 0);
        pit.write(0x40, 0, 0);
        assert_eq!(pit.next_deadline_ns(), None);
        load(&mut pit, 0, 0, 1000, 0);
        pit.write(0x43, 0x34, 0);
        assert_eq!(pit.next_deadline_ns(), None);
    }

    #[test]
    fn square_wave_counts_by_two() {
        let mut pit = Pit::new();
        load(&mut pit, 0, 3, 0, 0);
        assert_eq!(count(&mut pit, 0, at(100)), (0x10000u32 - 200) as u16);
        assert_eq!(pit.next_deadline_ns(), Some(at(0x10000)));
        let status = |pit: &mut Pit, now| {
            pit.write(0x43, 0xe2, now);
            pit.read(0x40, now)
        };
        assert_eq!(status(&mut pit, at(100)), 0xb6);
        assert_eq!(status(&mut pit, at(0x8001)), 0x36);
        pit.write(0x43, 0x36, 0);
        assert_eq!(status(&mut pit, 0), 0xf6, "no count yet");
    }

    #[test]
    fn the_speaker_channel_as_kernels_calibrate_with_it() {
        let mut pit = Pit::new();
        pit.write(0x61, 0x01, 0);
        load(&mut pit, 2, 0, 0xffff, 1000);
        assert_eq!(pit.read(0x61, 2000) & 0x2f, 0x01);
        assert_eq!(pit.read(0x61, 1000 + at(0xffff)) & 0x2f, 0x21);
        // A low gate holds the count.
        load(&mut pit, 2, 0, 1000, 0);
        pit.write(0x61, 0, at(300));
        assert_eq!(count(&mut pit, 2, at(5000)), 700);
        pit.write(0x61, 1, at(5000));
        assert!((599..=600).contains(&count(&mut pit, 2, at(5100))));
        // Refresh toggles.
        assert_ne!(pit.read(0x61, 0) & 0x10, pit.read(0x61, REFRESH_NS) & 0x10);
    }

    #[test]
    fn triggered_modes_wait_for_the_gate() {
        let mut pit = Pit::new();
        load(&mut pit, 2, 1, 100, 0);
        assert_eq!(pit.read(0x61, at(500)) & 0x20, 0x20);
        pit.write(0x61, 1, at(500));
        assert_eq!(pit.read(0x61, at(550)) & 0x20, 0);
        assert_eq!(pit.read(0x61, at(601)) & 0x20, 0x20);
    }

    #[test]
    fn bcd_and_single_bytes() {
        let mut pit = Pit::new();
        pit.write(0x43, 0x31, 0);
        pit.write(0x40, 0x34, 0);
        pit.write(0x40, 0x12, 0);
        assert_eq!(pit.next_deadline_ns(), Some(at(1234)));
        assert_eq!(count(&mut pit, 0, at(35)), 0x1199);
        pit.write(0x43, 0x14, 0);
        pit.write(0x40, 200, 0);
        assert_eq!(pit.read(0x40, at(50)), 150);
        pit.write(0x43, 0x24, 0);
        pit.write(0x40, 2, 0);
        assert_eq!((pit.read(0x40, at(256)), pit.read(0x40, at(256))), (1, 1));
    }

    #[test]
    fn latches_count_and_status_together() {
        let mut pit = Pit::new();
        load(&mut pit, 0, 2, 1000, 0);
        pit.write(0x43, 0xc2, at(10));
        assert_eq!(pit.read(0x40, 0), 0xb4);
        assert_eq!(u16::from_le_bytes([pit.read(0x40, at(90)), pit.read(0x40, at(95))]), 990);
    }

    proptest! {
        #[test]
        fn any_access_is_answered(accesses in prop::collection::vec((0usize..6, any::<u8>(), any::<u64>(), 0u8..3), 1..300)) {
            let mut pit = Pit::new();
            let ports = [0x40, 0x41, 0x42, 0x43, 0x61, 0x44];
            for (port, value, now, kind) in accesses {
                match kind {
                    0 => pit.write(ports[port], value, now),
                    1 => drop(pit.read(ports[port], now)),
                    _ => drop(pit.expire(now)),
                }
            }
        }
    }
}

//! The two 8259A interrupt controllers of a PC, cascaded at the master's line 2.
//!
//! Left out: MCS-80 mode, buffered mode, and the trigger-mode bit of ICW1 in favour of the ELCR, as in any PC with EISA
//! or PCI.

use super::inspect::PicState;

/// A line whose interrupt the guest has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PicEoi {
    /// 0 to 15.
    pub line: u8,
    /// Its vector.
    pub vector: u8,
    /// When the vCPU took it, ns.
    pub injected_ns: u64,
}

/// An interrupt of the pair that the vCPU takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Vector.
    pub vector: u8,
    /// 0 to 15; of a spurious one, 7 or 15.
    pub line: u8,
    /// When the line was raised, ns; of a spurious one, now.
    pub raised_ns: u64,
    /// The request was gone when it was acknowledged.
    pub spurious: bool,
}

/// The master's line that the slave is at.
const CASCADE: u8 = 2;

/// Lines that can be level-triggered: not the timer, keyboard, cascade, clock and coprocessor.
const ELCR_WRITABLE: [u8; 2] = [0xf8, 0xde];

/// The pair.
#[derive(Clone, Debug)]
pub struct Pic {
    master: Chip,
    slave: Chip,
}

impl Default for Pic {
    fn default() -> Self {
        Self::new()
    }
}

impl Pic {
    /// As PC firmware leaves them: vectors from 0x08 and 0x70. All lines are masked, because there is no firmware
    /// whose handlers could take them.
    #[must_use]
    pub const fn new() -> Self {
        Self { master: Chip::new(0x08, true), slave: Chip::new(0x70, false) }
    }

    /// Sets a line, 0 to 15. Line 2 is the cascade's and cannot be set.
    pub fn set_line(&mut self, line: u8, asserted: bool, now_ns: u64) {
        match line {
            CASCADE => {}
            0..8 => self.master.set_line(line, asserted, now_ns),
            8..16 => self.slave.set_line(line - 8, asserted, now_ns),
            _ => {}
        }
        self.cascade();
    }

    /// The master's and the slave's registers.
    #[must_use]
    pub const fn state(&self) -> [PicState; 2] {
        [self.master.state(), self.slave.state()]
    }

    /// Whether the INTR output is high.
    #[must_use]
    pub fn interrupt_pending(&self) -> bool {
        self.master.highest().is_some()
    }

    /// The vCPU's interrupt acknowledge cycle. With nothing pending it is a spurious line 7, or 15.
    pub fn acknowledge(&mut self, now_ns: u64) -> Acknowledged {
        let taken = match self.master.acknowledge(now_ns) {
            Some(CASCADE) => {
                let line = self.slave.acknowledge(now_ns);
                self.slave.acknowledged(line, 8, now_ns)
            }
            line => self.master.acknowledged(line, 0, now_ns),
        };
        self.cascade();
        taken
    }

    /// Reads port 0x20, 0x21, 0xa0, 0xa1, 0x4d0 or 0x4d1; other ports are all ones.
    pub fn read(&mut self, port: u16, now_ns: u64) -> u8 {
        let value = match port {
            0x20 => self.master.read_command(now_ns),
            0xa0 => self.slave.read_command(now_ns),
            0x21 => self.master.mask,
            0xa1 => self.slave.mask,
            0x4d0 => self.master.level,
            0x4d1 => self.slave.level,
            _ => 0xff,
        };
        self.cascade();
        value
    }

    /// Writes one of those ports. An EOI is returned.
    pub fn write(&mut self, port: u16, value: u8) -> Option<PicEoi> {
        let eoi = match port {
            0x20 => self.master.write_command(value),
            0xa0 => self.slave.write_command(value).map(|eoi| PicEoi { line: eoi.line + 8, ..eoi }),
            0x21 => self.master.write_data(value),
            0xa1 => self.slave.write_data(value),
            0x4d0 => self.master.set_level(value & ELCR_WRITABLE[0]),
            0x4d1 => self.slave.set_level(value & ELCR_WRITABLE[1]),
            _ => None,
        };
        self.cascade();
        // The master's part of a slave's interrupt says nothing about a device.
        eoi.filter(|eoi| eoi.line != CASCADE)
    }

    /// The slave's output is the master's line 2.
    fn cascade(&mut self) {
        let bit = 1 << CASCADE;
        if self.slave.highest().is_some() {
            self.master.requests |= bit;
        } else {
            self.master.requests &= !bit;
        }
    }
}

/// What the data port takes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Mask,
    Icw2,
    Icw3,
    Icw4,
}

/// One 8259A.
#[derive(Clone, Debug)]
struct Chip {
    is_master: bool,
    /// Lines asserted now.
    lines: u8,
    /// ELCR: lines that are level-triggered.
    level: u8,
    /// IRR.
    requests: u8,
    /// ISR.
    in_service: u8,
    /// IMR.
    mask: u8,
    /// ICW2: the vector of line 0.
    vector: u8,
    /// The line of the lowest priority; the one after it has the highest.
    lowest: u8,
    expects: Expects,
    icw1: u8,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    special_fully_nested: bool,
    special_mask: bool,
    reads_in_service: bool,
    polled: bool,
    raised_ns: [u64; 8],
    injected_ns: [u64; 8],
}

impl Chip {
    const fn new(vector: u8, is_master: bool) -> Self {
        Self {
            is_master,
            lines: 0,
            level: 0,
            requests: 0,
            in_service: 0,
            mask: 0xff,
            vector,
            lowest: 7,
            expects: Expects::Mask,
            icw1: 0,
            auto_eoi: false,
            rotate_on_auto_eoi: false,
            special_fully_nested: false,
            special_mask: false,
            reads_in_service: false,
            polled: false,
            raised_ns: [0; 8],
            injected_ns: [0; 8],
        }
    }

    const fn state(&self) -> PicState {
        PicState {
            vector: self.vector,
            requests: self.requests,
            in_service: self.in_service,
            mask: self.mask,
            level: self.level,
        }
    }

    /// An edge stays requested when its line falls, so that a device may pulse its line.
    fn set_line(&mut self, line: u8, asserted: bool, now_ns: u64) {
        let bit = 1 << (line & 7);
        let rose = asserted && self.lines & bit == 0;
        if asserted {
            self.lines |= bit;
        } else {
            self.lines &= !bit;
        }
        if rose {
            if self.requests & bit == 0 {
                self.raised_ns[usize::from(line & 7)] = now_ns;
            }
            self.requests |= bit;
        } else if !asserted && self.level & bit != 0 {
            self.requests &= !bit;
        }
    }

    fn set_level(&mut self, level: u8) -> Option<PicEoi> {
        self.level = level;
        self.requests = self.requests & !level | self.lines & level;
        None
    }

    /// The lines from the highest priority to the lowest.
    fn by_priority(&self) -> impl Iterator<Item = u8> + use<> {
        let lowest = self.lowest;
        (1..=8).map(move |n| (lowest + n) & 7)
    }

    /// The line that would be taken: the first requested, unless one before it or itself is in service.
    fn highest(&self) -> Option<u8> {
        let requests = self.requests & !self.mask;
        // In special mask mode, what is masked in service does not hold others back.
        let in_service = if self.special_mask { self.in_service & !self.mask } else { self.in_service };
        for line in self.by_priority() {
            let requested = requests & 1 << line != 0;
            if in_service & 1 << line != 0 {
                // In special fully nested mode, the slave may interrupt its own handler.
                let nests = self.special_fully_nested && self.is_master && line == CASCADE;
                return (requested && nests).then_some(line);
            }
            if requested {
                return Some(line);
            }
        }
        None
    }

    fn acknowledge(&mut self, now_ns: u64) -> Option<u8> {
        let line = self.highest()?;
        let bit = 1 << line;
        if self.level & bit == 0 {
            self.requests &= !bit;
        }
        self.injected_ns[usize::from(line)] = now_ns;
        if !self.auto_eoi {
            self.in_service |= bit;
        } else if self.rotate_on_auto_eoi {
            self.lowest = line;
        }
        Some(line)
    }

    /// Describes what [`Self::acknowledge`] returned; `first` is the number of this chip's line 0.
    fn acknowledged(&self, line: Option<u8>, first: u8, now_ns: u64) -> Acknowledged {
        let number = line.unwrap_or(7);
        Acknowledged {
            vector: self.vector | number,
            line: first + number,
            raised_ns: line.map_or(now_ns, |line| self.raised_ns[usize::from(line & 7)]),
            spurious: line.is_none(),
        }
    }

    fn read_command(&mut self, now_ns: u64) -> u8 {
        if std::mem::take(&mut self.polled) {
            return self.acknowledge(now_ns).map_or(0, |line| 0x80 | line);
        }
        if self.reads_in_service { self.in_service } else { self.requests }
    }

    fn write_command(&mut self, value: u8) -> Option<PicEoi> {
        if value & 0x10 != 0 {
            self.initialize(value);
        } else if value & 0x08 != 0 {
            self.polled = value & 0x04 != 0;
            match value & 0b11 {
                0b10 => self.reads_in_service = false,
                0b11 => self.reads_in_service = true,
                _ => {}
            }
            match value >> 5 & 0b11 {
                0b10 => self.special_mask = false,
                0b11 => self.special_mask = true,
                _ => {}
            }
        } else {
            return self.operate(value >> 5, value & 7);
        }
        None
    }

    /// ICW1: forgets all but the ELCR and the lines; the other initialization words follow at the data port.
    fn initialize(&mut self, icw1: u8) {
        let fresh = Self::new(self.vector, self.is_master);
        *self = Self {
            lines: self.lines,
            level: self.level,
            requests: self.lines & self.level,
            mask: 0,
            expects: Expects::Icw2,
            icw1,
            raised_ns: self.raised_ns,
            ..fresh
        };
    }

    /// OCW2: EOIs and rotations.
    fn operate(&mut self, command: u8, line: u8) -> Option<PicEoi> {
        match command {
            0b000 => self.rotate_on_auto_eoi = false,
            0b100 => self.rotate_on_auto_eoi = true,
            0b110 => self.lowest = line,
            0b001 | 0b101 => {
                let masked = if self.special_mask { self.mask } else { 0 };
                let served = self.in_service & !masked;
                let line = self.by_priority().find(|line| served & 1 << line != 0)?;
                return self.end(line, command == 0b101);
            }
            0b011 | 0b111 => return self.end(line, command == 0b111),
            // 0b010 does nothing.
            _ => {}
        }
        None
    }

    fn end(&mut self, line: u8, rotate: bool) -> Option<PicEoi> {
        let bit = 1 << line;
        let served = self.in_service & bit != 0;
        self.in_service &= !bit;
        if rotate {
            self.lowest = line;
        }
        let injected_ns = self.injected_ns[usize::from(line & 7)];
        served.then_some(PicEoi { line, vector: self.vector | line, injected_ns })
    }

    fn write_data(&mut self, value: u8) -> Option<PicEoi> {
        let last = if self.icw1 & 1 != 0 { Expects::Icw4 } else { Expects::Mask };
        match self.expects {
            Expects::Mask => self.mask = value,
            Expects::Icw2 => {
                self.vector = value & 0xf8;
                self.expects = if self.icw1 & 2 != 0 { last } else { Expects::Icw3 };
            }
            Expects::Icw3 => self.expects = last,
            Expects::Icw4 => {
                self.auto_eoi = value & 0x02 != 0;
                self.special_fully_nested = value & 0x10 != 0;
                self.expects = Expects::Mask;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Initialized as kernels do: vectors from 0x20, nothing masked.
    fn ready(icw4: u8) -> Pic {
        let mut pic = Pic::new();
        for (port, values) in [(0x20, [0x11, 0x20, 0x04, icw4, 0]), (0xa0, [0x11, 0x28, 0x02, icw4, 0])] {
            pic.write(port, values[0]);
            for value in &values[1..] {
                pic.write(port + 1, *value);
            }
        }
        pic
    }

    fn pulse(pic: &mut Pic, line: u8, now_ns: u64) {
        pic.set_line(line, true, now_ns);
        pic.set_line(line, false, now_ns);
    }

    #[test]
    fn an_edge_is_taken_and_ended() {
        let mut pic = ready(1);
        assert!(!pic.interrupt_pending());
        pulse(&mut pic, 4, 100);
        assert!(pic.interrupt_pending());
        assert_eq!(pic.read(0x20, 0), 0x10);
        let taken = pic.acknowledge(150);
        assert_eq!(taken, Acknowledged { vector: 0x24, line: 4, raised_ns: 100, spurious: false });
        pic.write(0x20, 0x0b);
        assert_eq!((pic.read(0x20, 0), pic.interrupt_pending()), (0x10, false));
        assert_eq!(pic.write(0x20, 0x20), Some(PicEoi { line: 4, vector: 0x24, injected_ns: 150 }));
        assert_eq!((pic.read(0x20, 0), pic.write(0x20, 0x20)), (0, None));
    }

    #[test]
    fn the_slave_needs_two_eois() {
        let mut pic = ready(1);
        pulse(&mut pic, 12, 7);
        assert_eq!(pic.read(0x20, 0), 0x04);
        let taken = pic.acknowledge(9);
        assert_eq!((taken.vector, taken.line, taken.raised_ns), (0x2c, 12, 7));
        pulse(&mut pic, 12, 10);
        assert_eq!(pic.write(0xa0, 0x20).map(|eoi| eoi.line), Some(12));
        assert!(!pic.interrupt_pending(), "the master still serves the cascade");
        assert_eq!(pic.write(0x20, 0x20), None);
        assert!(pic.interrupt_pending());
    }

    #[test]
    fn priorities_and_rotation() {
        let mut pic = ready(1);
        pulse(&mut pic, 5, 0);
        pulse(&mut pic, 3, 0);
        assert_eq!(pic.acknowledge(0).line, 3);
        assert!(!pic.interrupt_pending());
        pulse(&mut pic, 0, 0);
        assert_eq!(pic.acknowledge(0).line, 0);
        assert_eq!(pic.write(0x20, 0x63).map(|eoi| eoi.line), Some(3), "specific");
        pic.write(0x20, 0xa0);
        // Line 0 is the lowest now: 1 is the highest.
        pulse(&mut pic, 0, 0);
        assert_eq!(pic.acknowledge(0).line, 5);
        pic.write(0x20, 0xe5);
        assert_eq!(pic.acknowledge(0).line, 0);
        pic.write(0x20, 0xc7);
        assert_eq!(pic.master.lowest, 7);
    }

    #[test]
    fn spurious() {
        let mut pic = ready(1);
        pic.write(0x4d0, 0xff);
        assert_eq!(pic.read(0x4d0, 0), 0xf8, "some lines are edges always");
        pic.write(0x4d1, 0x02);
        pic.set_line(5, true, 0);
        assert!(pic.interrupt_pending());
        pic.set_line(5, false, 0);
        assert_eq!(pic.acknowledge(3), Acknowledged { vector: 0x27, line: 7, raised_ns: 3, spurious: true });
        assert_eq!(pic.write(0x20, 0x20), None);
        pic.set_line(9, true, 0);
        pic.slave.requests = 0;
        assert_eq!(pic.acknowledge(3), Acknowledged { vector: 0x2f, line: 15, raised_ns: 3, spurious: true });
    }

    #[test]
    fn a_level_stays_requested() {
        let mut pic = ready(1);
        pic.write(0x4d0, 0x20);
        pic.set_line(5, true, 0);
        assert_eq!(pic.acknowledge(0).line, 5);
        pic.write(0x20, 0x20);
        assert_eq!(pic.acknowledge(0).line, 5);
        pic.set_line(5, false, 0);
        pic.write(0x20, 0x20);
        assert!(!pic.interrupt_pending());
    }

    #[test]
    fn modes() {
        let mut pic = ready(3);
        pulse(&mut pic, 1, 0);
        pic.acknowledge(0);
        pulse(&mut pic, 6, 0);
        assert_eq!(pic.acknowledge(0).line, 6, "automatic EOI");
        pulse(&mut pic, 6, 0);
        pic.write(0x20, 0x0c);
        assert_eq!((pic.read(0x20, 0), pic.read(0x20, 0)), (0x86, 0), "polled");

        let mut pic = ready(1);
        pulse(&mut pic, 1, 0);
        pic.acknowledge(0);
        pic.write(0x21, 0x02);
        pulse(&mut pic, 6, 0);
        assert!(!pic.interrupt_pending());
        pic.write(0x20, 0x68);
        assert!(pic.interrupt_pending(), "special mask");
    }

    #[test]
    fn masked_until_it_is_set_up() {
        let mut pic = Pic::new();
        pulse(&mut pic, 0, 0);
        assert!(!pic.interrupt_pending());
        pic.write(0x21, 0xfe);
        assert_eq!(pic.acknowledge(0).vector, 8);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Pulse(u8),
        Acknowledge,
        End,
        Mask(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0u8..16).prop_map(Step::Pulse),
            3 => Just(Step::Acknowledge),
            2 => Just(Step::End),
            1 => any::<u16>().prop_map(Step::Mask),
        ]
    }

    /// The lines in the order of priority of a PC in fully nested mode.
    const ORDER: [u8; 15] = [0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 3, 4, 5, 6, 7];

    proptest! {
        /// Fully nested mode against lists in the order of priority. A slave's line holds back the whole slave in the
        /// master, so the handler of one ends before another of the slave is taken.
        #[test]
        fn agrees_with_the_model(steps in prop::collection::vec(step(), 1..200)) {
            let mut pic = ready(1);
            let (mut requested, mut mask, mut served) = ([false; 16], 0u16, Vec::<u8>::new());
            for step in steps {
                match step {
                    Step::Pulse(line) => {
                        pulse(&mut pic, line, 0);
                        requested[usize::from(line)] |= line != CASCADE;
                    }
                    Step::Acknowledge => {
                        let rank = |line: u8| if line >= 8 { 2 } else { line };
                        let limit = served.iter().map(|&line| rank(line)).min().unwrap_or(8);
                        let masked = |line: u8| {
                            mask & 1 << line != 0 || line >= 8 && mask & 1 << CASCADE != 0
                        };
                        let expected = ORDER.into_iter()
                            .find(|&line| requested[usize::from(line)] && !masked(line) && rank(line) < limit);
                        prop_assert_eq!(pic.interrupt_pending(), expected.is_some());
                        if let Some(line) = expected {
                            let taken = pic.acknowledge(0);
                            prop_assert_eq!((taken.line, taken.vector, taken.spurious), (line, 0x20 + line, false));
                            requested[usize::from(line)] = false;
                            served.push(line);
                        }
                    }
                    Step::End => {
                        if let Some(line) = served.pop() {
                            if line >= 8 {
                                prop_assert_eq!(pic.write(0xa0, 0x20).map(|eoi| eoi.line), Some(line));
                            }
                            let eoi = pic.write(0x20, 0x20).map(|eoi| eoi.line);
                            prop_assert_eq!(eoi, (line < 8).then_some(line));
                        }
                    }
                    Step::Mask(value) => {
                        mask = value;
                        pic.write(0x21, value as u8);
                        pic.write(0xa1, (value >> 8) as u8);
                    }
                }
            }
        }

        #[test]
        fn any_access_is_answered(accesses in prop::collection::vec((0usize..8, any::<u8>(), 0u8..4), 1..300)) {
            let mut pic = Pic::new();
            let ports = [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x22, 0xffff];
            for (now, (port, value, kind)) in (0..).zip(accesses) {
                match kind {
                    0 => drop(pic.write(ports[port], value)),
                    1 => drop(pic.read(ports[port], now)),
                    2 => pic.set_line(value, port & 1 != 0, now),
                    _ => drop(pic.acknowledge(now)),
                }
            }
        }
    }
}

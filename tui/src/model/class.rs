//! What the timeline tells apart by colour.

use trace_format::event::{ExitReason, Hardware, Payload};

/// A group of events that share a colour and a letter in the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Port input and output.
    Io,
    /// Memory-mapped input and output.
    Mmio,
    /// Model-specific registers.
    Msr,
    /// `HLT`.
    Halt,
    /// Hypercalls of any kind.
    Hypercall,
    /// Breakpoints, steps and the monitor's own probes.
    Debug,
    /// The monitor or the host interrupted the vCPU, or it asked for a window.
    Interrupted,
    /// Guest physical memory that the host must map first: EPT violations, nested page faults.
    Memory,
    /// Any other exit: what ends a run, or what a guest rarely does.
    OtherExit,
    /// Traps and their returns.
    Trap,
    /// Interprocessor interrupts: sent, taken, acknowledged.
    Ipi,
    /// Other interrupts.
    Irq,
    /// Everything else.
    Note,
}

impl Class {
    /// Every class, exits first.
    pub const ALL: [Self; 13] = [
        Self::Io,
        Self::Mmio,
        Self::Msr,
        Self::Halt,
        Self::Hypercall,
        Self::Debug,
        Self::Interrupted,
        Self::Memory,
        Self::OtherExit,
        Self::Trap,
        Self::Ipi,
        Self::Irq,
        Self::Note,
    ];

    /// The classes of exits are the first so many of [`Self::ALL`].
    pub const EXITS: usize = 9;

    /// The class of an event.
    #[must_use]
    pub fn of(payload: &Payload) -> Self {
        match payload {
            Payload::Exit(exit) => Self::of_exit(&exit.reason),
            Payload::Trap(_) | Payload::TrapReturn(_) => Self::Trap,
            Payload::Ipi(_) | Payload::IpiAccepted(_) | Payload::IpiEoi(_) => Self::Ipi,
            Payload::Irq(_) | Payload::IrqEoi(_) => Self::Irq,
            _ => Self::Note,
        }
    }

    /// The class of an exit.
    #[must_use]
    pub fn of_exit(reason: &ExitReason) -> Self {
        match reason {
            ExitReason::IoIn { .. } | ExitReason::IoOut { .. } => Self::Io,
            ExitReason::MmioRead { .. } | ExitReason::MmioWrite { .. } => Self::Mmio,
            ExitReason::Msr { .. } => Self::Msr,
            ExitReason::Halt => Self::Halt,
            ExitReason::Hypercall { .. } | ExitReason::HyperV { .. } | ExitReason::Xen { .. } => {
                Self::Hypercall
            }
            ExitReason::Debug { .. } | ExitReason::Probe { .. } => Self::Debug,
            ExitReason::InterruptWindow | ExitReason::Interrupted => Self::Interrupted,
            ExitReason::MemoryFault { .. } => Self::Memory,
            ExitReason::Hardware(exit) => Self::of_hardware(exit),
            _ => Self::OtherExit,
        }
    }

    fn of_hardware(exit: &Hardware) -> Self {
        match exit.name() {
            "io-instruction" => Self::Io,
            "ept-misconfig" => Self::Mmio,
            "msr-read" | "msr-write" | "msr-access" | "msr-read-imm" | "msr-write-imm" => Self::Msr,
            "hlt" | "idle-hlt" | "mwait-instruction" | "mwait" => Self::Halt,
            "vmcall" | "vmmcall" => Self::Hypercall,
            "monitor-trap-flag" | "dr-access" | "db-exception" | "bp-exception" => Self::Debug,
            "external-interrupt" | "interrupt-window" | "virtual-interrupt" | "nmi-window" | "nmi"
            | "preemption-timer" => Self::Interrupted,
            "ept-violation" | "npf" | "pml-full" => Self::Memory,
            _ => Self::OtherExit,
        }
    }

    /// A letter for terminals without colour.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Io => 'i',
            Self::Mmio => 'm',
            Self::Msr => 'r',
            Self::Halt => 'h',
            Self::Hypercall => 'y',
            Self::Debug => 'd',
            Self::Interrupted => 'w',
            Self::Memory => 'e',
            Self::OtherExit => 'x',
            Self::Trap => 't',
            Self::Ipi => 'p',
            Self::Irq => 'q',
            Self::Note => '.',
        }
    }

    /// For the timeline's legend.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Mmio => "mmio",
            Self::Msr => "msr",
            Self::Halt => "hlt",
            Self::Hypercall => "hypercall",
            Self::Debug => "debug",
            Self::Interrupted => "window",
            Self::Memory => "memory",
            Self::OtherExit => "other",
            Self::Trap => "trap",
            Self::Ipi => "ipi",
            Self::Irq => "irq",
            Self::Note => "note",
        }
    }
}

/// How many events of each class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mix([u32; Class::ALL.len()]);

impl Mix {
    /// Counts one event.
    pub fn add(&mut self, class: Class) {
        let count = &mut self.0[class as usize];
        *count = count.saturating_add(1);
    }

    /// Counts all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a = a.saturating_add(b);
        }
    }

    /// Events of `class`.
    #[must_use]
    pub const fn count(&self, class: Class) -> u32 {
        self.0[class as usize]
    }

    /// All exits.
    #[must_use]
    pub fn exits(&self) -> u32 {
        self.0[..Class::EXITS].iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The most frequent class of exits, the first of them where several are.
    #[must_use]
    pub fn dominant_exit(&self) -> Option<Class> {
        let mut best = None;
        let mut most = 0;
        for class in &Class::ALL[..Class::EXITS] {
            if self.count(*class) > most {
                most = self.count(*class);
                best = Some(*class);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_the_order_of_their_numbers() {
        for (number, class) in Class::ALL.iter().enumerate() {
            assert_eq!(*class as usize, number);
        }
        assert_eq!(Class::ALL[Class::EXITS - 1], Class::OtherExit);
    }

    #[test]
    fn letters_are_distinct() {
        let mut letters: Vec<char> = Class::ALL.iter().map(|c| c.letter()).collect();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), Class::ALL.len());
    }

    #[test]
    fn dominant_is_the_most_frequent_exit() {
        let mut mix = Mix::default();
        assert_eq!(mix.dominant_exit(), None);
        mix.add(Class::Trap);
        mix.add(Class::Trap);
        assert_eq!(mix.dominant_exit(), None, "a trap is no exit");
        mix.add(Class::Mmio);
        assert_eq!(mix.dominant_exit(), Some(Class::Mmio));
        mix.add(Class::Io);
        assert_eq!(mix.dominant_exit(), Some(Class::Io), "the first of equals");
        mix.add(Class::Mmio);
        assert_eq!(mix.dominant_exit(), Some(Class::Mmio));
        assert_eq!(mix.exits(), 3);
    }
}

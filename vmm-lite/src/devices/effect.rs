//! What a port write asks of the monitor.

use crate::irq::PicEoi;

/// What a port write asks of the owner. Interrupts are not among it: after every access, drain
/// [`crate::irq::Chips::next_message`] and look at [`crate::irq::Pic::interrupt_pending`] and
/// [`crate::irq::Chips::next_deadline_ns`].
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
    /// The guest turns the machine off: ACPI's S5.
    PowerOff,
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
    /// ACPI's reset register, 0x60c.
    Acpi,
}

//! The devices of the guest's PC that are not interrupt controllers, and the buses that find one for a port or an
//! address.
//!
//! Like those, they are plain state machines: no KVM, no trace, no threads, the time is a parameter. What a guest
//! does to the outside comes back as a [`PortEffect`], so that handling an exit is one match.
//!
//! | ports | device |
//! |---|---|
//! | 0x20-0x21, 0xa0-0xa1, 0x4d0-0x4d1 | 8259s |
//! | 0x40-0x43, 0x61 | 8254, speaker gate |
//! | 0x60, 0x64 | keyboard controller with a keyboard, IRQ 1; reset |
//! | 0x70-0x71 | CMOS memory and clock |
//! | 0x80, 0xed | POST code, delay; ignored |
//! | 0x92 | A20 (always on), fast reset |
//! | 0xe9 | debug console |
//! | 0xf4 | debug exit |
//! | 0x3c0-0x3df | VGA registers |
//! | 0x3f8-0x3ff | first serial port, IRQ 4 |
//! | 0x510-0x511 | firmware configuration (`fw_cfg`) |
//! | 0x600-0x60c | ACPI: PM1 registers, timer, reset |
//! | 0xcf9 | reset control |
//! | 0x5650 | calls of built-in guests: counters and markers |
//!
//! Everything else reads all ones and ignores writes; so do 0xcf8 and 0xcfc, which is how a machine without PCI
//! answers.
//!
//! | gpa | device |
//! |---|---|
//! | 0xd0000000-0xd0000fff | [virtio console](virtio), IRQ 10 |
//! | 0xd0001000-0xd0001fff | [virtio block device](virtio) if there is a disk, IRQ 11 |
//!
//! The interrupt controllers' own addresses are in [`crate::irq`].

mod bus;
mod cmos;
mod effect;
pub mod fw_cfg;
mod i8042;
mod keyboard;
mod mmio_bus;
pub mod power;
mod serial;
mod vga;
pub mod virtio;

pub use bus::{PORT_CALL, PORT_DEBUG_CONSOLE, PORT_DEBUG_EXIT, PortBus};
pub use cmos::{Cmos, MemorySizes};
pub use effect::{PortEffect, ResetLine};
pub use i8042::{I8042, KEYBOARD_IRQ};
pub use keyboard::{Key, Keyboard};
pub use mmio_bus::{MmioBus, MmioDevice};
pub use serial::{COM1, COM1_IRQ, Serial};
pub use vga::{TextMode, Vga};

//! How a vCPU stands when the guest's first instruction runs.
//!
//! | gpa | what |
//! |---|---|
//! | 0x500 | GDT |
//! | 0x600 | [boot information](info), for images that come with no boot protocol |
//! | 0x1000-0x6fff | page tables of [64-bit mode](long_mode) |
//! | 0x8000 | the boot stack's top |
//! | 0x10000-0x2ffff | [what a boot protocol hands over](area) |
//!
//! The boot information is the guest's interface, described for its authors in `guests/runtime/vmscope.h`.

mod area;
mod entry;
mod info;
mod long_mode;
mod protected_mode;
mod real_mode;

pub(crate) use area::{Area, END as AREA_END};
pub use entry::{Entry, EntryRegisters, Mode};
pub(crate) use info::{BOOT_INFO, BootInfo, MAGIC};
pub(crate) use long_mode::{BOOT_STACK_TOP, enter_long_mode, write_tables};
pub(crate) use protected_mode::enter_protected_mode;
pub(crate) use real_mode::{FLAT_LOAD, enter_real_mode};

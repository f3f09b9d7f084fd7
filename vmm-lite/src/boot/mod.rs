//! How a vCPU stands when the guest's first instruction runs.
//!
//! The layout of low memory and the boot information are the guest's interface, described for its authors in
//! `guests/vmscope.h`.

mod info;
mod long_mode;
mod real_mode;

pub(crate) use info::{BootInfo, MAGIC};
pub(crate) use long_mode::{BOOT_STACK_TOP, LONG_MODE_LOWEST, enter_long_mode, write_tables};
pub(crate) use real_mode::{FLAT_LOAD, enter_real_mode};

//! What a PC's firmware leaves in memory for the kernel that it starts: the memory map and the tables that describe
//! the machine.
//!
//! No firmware runs here: the monitor writes the tables before the guest's first instruction.

pub mod e820;

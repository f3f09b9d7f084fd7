//! What the end-to-end tests share: skips that can be seen, runs of guests, GDB, and the vmscope program
//! with its terminal.

pub mod gdb;
pub mod images;
pub mod initramfs;
pub mod linux;
pub mod printed;
pub mod program;
pub mod readers;
pub mod real;
pub mod replays;
pub mod run;
pub mod skip;
pub mod terminal;

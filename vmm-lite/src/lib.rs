//! The vmscope monitor.

pub mod guests;
pub mod irq;

//! The vmscope monitor.

pub mod guests;
pub mod irq;
pub mod walk;

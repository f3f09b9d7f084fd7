//! The vmscope monitor.

pub mod devices;
pub mod guests;
pub mod irq;
pub mod walk;

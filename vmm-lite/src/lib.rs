//! The vmscope monitor.
pub mod irq;

//! The vmscope monitor.

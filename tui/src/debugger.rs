//! A debugger beside the UI, as the UI sees it.

use std::sync::Arc;

/// Where debuggers connect, and what the one that has does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debugger {
    /// What a debugger connects to.
    pub address: Arc<str>,
    /// From other machines, too.
    pub open: bool,
    /// One is attached.
    pub attached: bool,
    /// On a recorded trace: where it is while it is attached.
    pub place: Option<Place>,
}

/// Where a debugger is in a recorded trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The event's number.
    pub event: u64,
    /// How often it has stopped; the last time there.
    pub stops: u64,
}

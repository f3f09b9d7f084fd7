//! The place in a recorded trace that a debugger and the UI beside it tell each other.
//!
//! A debugger begins at the UI's cursor. From then on it has a place of its own: GDB keeps what it has read of registers
//! and memory until it moves by itself, so that the UI's user cannot move it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::debugger::Place;

/// Shared by both; its clones are one.
#[derive(Clone, Debug, Default)]
pub struct Cursor(Arc<Mutex<Places>>);

#[derive(Debug, Default)]
struct Places {
    /// The UI's cursor, if there is a UI.
    ui: Option<u64>,
    /// Where the debugger is while one is attached.
    debugger: Option<u64>,
    stops: u64,
}

impl Cursor {
    /// The UI's cursor is at this event.
    pub fn set_ui(&self, event: u64) {
        self.places().ui = Some(event);
    }

    /// Where a debugger that comes is to begin, if there is a UI that says so.
    pub(super) fn ui(&self) -> Option<u64> {
        self.places().ui
    }

    /// The debugger has stopped at this event.
    pub(super) fn stopped_at(&self, event: u64) {
        let mut places = self.places();
        places.debugger = Some(event);
        places.stops += 1;
    }

    /// It has gone.
    pub(super) fn gone(&self) {
        self.places().debugger = None;
    }

    /// Where the debugger is.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let places = self.places();
        places.debugger.map(|event| Place { event, stops: places.stops })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

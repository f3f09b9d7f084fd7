//! Where a debugger stops is what is to be seen.

use trace_format::event::Actor;

use super::App;
use crate::debugger::{Debugger, Place};
use crate::guest::Machine;

impl App {
    /// What a debugger beside does. The cursor goes to where it stops, once that event has been read. Returns whether
    /// there is something new to be seen.
    pub fn set_debugger(&mut self, debugger: Debugger) -> bool {
        let place = debugger.place;
        let mut new = self.debugger.as_ref() != Some(&debugger);
        self.debugger = Some(debugger);
        if let Some(Place { event, stops }) = place
            && stops != self.followed_stops
            && event < self.known
        {
            self.followed_stops = stops;
            self.select(event);
            self.refresh();
            new = true;
        }
        new
    }

    /// Who follows a guest that has been stopped somewhere is there, whatever came after: the other vCPUs' exits.
    pub(super) fn look_for_stop(&mut self) {
        let stopped = matches!(self.machine, Some(Machine::Paused { by: Actor::Gdb | Actor::User }));
        let stop = self.summary.stop.as_ref().filter(|_| stopped).map(|stop| stop.number);
        if self.stop != stop {
            self.stop = stop;
            self.at_stop = stop.is_some();
        }
    }
}

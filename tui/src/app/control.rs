//! Controlling the guest.

use trace_format::event::MACHINE;

use super::App;
use super::action::Command;
use crate::guest::Machine;

impl App {
    pub(super) fn toggle_pause(&mut self) -> Option<Command> {
        match &self.machine {
            Some(Machine::Running) => return Some(Command::Pause),
            Some(Machine::Paused { .. }) => return Some(Command::Resume),
            Some(Machine::Stopped { why }) => self.tell(format!("nothing to pause: {why}")),
            None => self.tell("nothing to pause: this is a recorded trace"),
        }
        None
    }

    pub(super) fn step(&mut self) -> Option<Command> {
        match &self.machine {
            Some(Machine::Paused { .. }) => {
                let vcpu = self.selected.as_ref().map_or(0, |event| event.vcpu);
                self.follow = true;
                return Some(Command::Step { vcpu: if vcpu == MACHINE { 0 } else { vcpu } });
            }
            Some(Machine::Running) => self.tell("the guest runs: pause it with Space, then step"),
            Some(Machine::Stopped { why }) => self.tell(format!("nothing to step: {why}")),
            None => self.tell("nothing to step: this is a recorded trace"),
        }
        None
    }
}

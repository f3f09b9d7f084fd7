//! Controlling the guest.

use std::path::PathBuf;

use trace_format::Filter;
use trace_format::event::MACHINE;

use super::App;
use super::action::{Command, Wanted};
use super::location::Location;
use crate::guest::Machine;
use crate::model::rip::rip;

impl App {
    /// Whether there is a guest that can still do something; if not, why it cannot `what`.
    pub(super) fn guest_to(&self, what: &str) -> Result<(), String> {
        match &self.machine {
            Some(Machine::Running | Machine::Paused { .. }) => Ok(()),
            Some(Machine::Stopped { why }) => Err(format!("nothing to {what}: {why}")),
            None => Err(format!("nothing to {what}: this is a recorded trace")),
        }
    }

    /// The same, said to the user.
    fn has_guest_to(&mut self, what: &str) -> bool {
        self.guest_to(what).map_err(|why| self.tell(why)).is_ok()
    }

    /// The vCPU that something is done to: the selected event's.
    pub(super) fn chosen_vcpu(&self) -> u8 {
        self.selected.as_ref().map(|event| event.vcpu).filter(|vcpu| *vcpu != MACHINE).unwrap_or(0)
    }

    pub(super) fn toggle_pause(&mut self) -> Option<Command> {
        match &self.machine {
            Some(Machine::Running) => Some(Command::Pause),
            Some(Machine::Paused { .. }) => Some(Command::Resume),
            _ => {
                self.has_guest_to("pause");
                None
            }
        }
    }

    pub(super) fn step(&mut self) -> Option<Command> {
        let vcpu = self.vcpu_to_step()?;
        Some(Command::Step { vcpu })
    }

    pub(super) fn step_over(&mut self) -> Option<Command> {
        let vcpu = self.vcpu_to_step()?;
        Some(Command::StepOver { vcpu })
    }

    fn vcpu_to_step(&mut self) -> Option<u8> {
        if !self.has_guest_to("step") {
            return None;
        }
        if self.machine == Some(Machine::Running) {
            self.tell("the guest runs: pause it with Space, then step");
            return None;
        }
        self.follow = true;
        Some(self.chosen_vcpu())
    }

    /// Lets the guest run until it makes an event that matches.
    pub(super) fn run_to(&mut self, filter: Filter) -> Option<Command> {
        if !self.has_guest_to("run") {
            return None;
        }
        self.follow = true;
        Some(Command::RunTo(Wanted(filter)))
    }

    /// Sets a breakpoint where the selected event was, or takes it away.
    pub(super) fn toggle_breakpoint_here(&mut self) -> Option<Command> {
        let event = || self.selected.as_ref().and_then(|event| rip(&event.payload));
        let here = self.chosen_instruction().or_else(event);
        match here {
            _ if !self.has_guest_to("stop") => None,
            Some(gva) => self.toggle_breakpoint(&Location::at(gva)),
            None => {
                self.refuse("this event does not tell where the vCPU was: B asks for an address or a symbol");
                None
            }
        }
    }

    /// Sets a breakpoint somewhere, or takes it away.
    pub(super) fn toggle_breakpoint(&mut self, location: &Location) -> Option<Command> {
        if !self.has_guest_to("stop") {
            return None;
        }
        match self.locate(location) {
            Ok(gva) => Some(Command::ToggleBreakpoint { vcpu: self.chosen_vcpu(), gva }),
            Err(why) => {
                self.refuse(why);
                None
            }
        }
    }

    pub(super) fn clear_breakpoints(&mut self) -> Option<Command> {
        self.has_guest_to("clear").then_some(Command::ClearBreakpoints)
    }

    /// Says which breakpoints there are.
    pub(super) fn list_breakpoints(&mut self) {
        if !self.has_guest_to("list") {
            return;
        }
        let names: Vec<String> = self.breakpoints.iter().map(|gva| self.name_of(*gva)).collect();
        self.tell(match names.len() {
            0 => "there is no breakpoint: b sets one where the selected event was, B anywhere".to_owned(),
            1 => format!("1 breakpoint: {}", names[0]),
            count => format!("{count} breakpoints: {}", names.join(", ")),
        });
    }

    pub(super) fn reset(&mut self) -> Option<Command> {
        if !self.has_guest_to("reset") {
            return None;
        }
        (self.follow, self.at_stop) = (true, false);
        Some(Command::Reset)
    }

    pub(super) fn stop(&mut self) -> Option<Command> {
        self.has_guest_to("stop").then_some(Command::Stop)
    }

    /// The name to propose for a copy of what is recorded so far, or why there is none to make.
    pub(super) fn name_of_copy(&self) -> Result<String, String> {
        match self.machine {
            None => Err("nothing to save: the trace is a file of its own already".to_owned()),
            Some(_) => Ok(format!("{}-{}.vmt", self.guest_file_name(), self.known)),
        }
    }

    pub(super) fn save_copy(&mut self, path: PathBuf) -> Option<Command> {
        match self.name_of_copy() {
            Ok(_) => Some(Command::SaveCopy { path }),
            Err(why) => {
                self.tell(why);
                None
            }
        }
    }

    /// What breakpoints the user has set in the guest, gva. Returns whether that is new.
    pub fn set_breakpoints(&mut self, breakpoints: Vec<u64>) -> bool {
        let new = self.breakpoints != breakpoints;
        self.breakpoints = breakpoints;
        new
    }

    /// The user's breakpoints, gva.
    #[must_use]
    pub fn breakpoints(&self) -> &[u64] {
        &self.breakpoints
    }

    /// What the guest was let run for has come, or something else: that is what is to be seen.
    pub fn has_stopped(&mut self, why: String) {
        self.follow = true;
        self.tell(why);
    }
}

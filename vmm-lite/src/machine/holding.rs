//! Stopping the guest and letting it go on.

use crossbeam_channel::Receiver;
use trace_format::event::{Actor, Debugger, Payload, StopReason, VcpuState};

use super::attachment::{Attachment, Due};
use super::{Claim, Machine, MachineState, Stop, StopCause, VcpuShared, lock};
use crate::error::{Error, Result};
use crate::vcpu_set::VcpuSet;

impl Machine {
    /// Every stop from now on.
    pub(crate) fn stops(&self) -> Receiver<Stop> {
        self.listeners.add()
    }

    /// All of its vCPUs.
    pub(crate) fn all(&self) -> VcpuSet {
        VcpuSet::first(self.vcpus.len() as u8)
    }

    /// Ends the run; the first reason counts.
    pub(crate) fn stop(&self, why: StopReason) {
        if self.run.stop(why.clone()) {
            self.record(Payload::State(VcpuState::Stopped { why: why.clone() }));
            self.vcpus.iter().for_each(VcpuShared::insist);
            self.timekeeper.poke();
            self.tell(None, StopCause::Ended { why });
        }
    }

    /// Ends the run because of the host or the monitor.
    pub(crate) fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.stop(StopReason::HostError);
    }

    /// The guest on `vcpu`, or of itself, has come to its end, which waits for a debugger that is attached.
    pub(crate) fn end(&self, vcpu: Option<u8>, why: StopReason) {
        let held = match &mut *lock(&self.attachment) {
            Some(attachment) => {
                attachment.hold(why.clone());
                true
            }
            None => false,
        };
        if !held {
            self.stop(why);
        } else if self.claim(Actor::Gdb)
            && let Some(why) = self.untold_end()
        {
            // Otherwise it has stopped for something else in the same moment, and is told of this when it is to go on.
            self.tell(vcpu, StopCause::Ending { why });
        }
    }

    /// The guest on `vcpu` has come to its end because the host or the monitor cannot go on with it.
    pub(crate) fn give_up(&self, vcpu: u8, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.end(Some(vcpu), StopReason::HostError);
    }

    /// The end that the guest has come to and of which the debugger that is attached does not know; it does from now
    /// on.
    pub(crate) fn untold_end(&self) -> Option<StopReason> {
        lock(&self.attachment).as_mut()?.tell()
    }

    /// Pauses a running guest; false if it does not run. Does not wait for the vCPUs.
    pub(crate) fn begin_pause(&self, by: Actor) -> bool {
        let paused = self.run.pause(by);
        if paused {
            self.has_paused(by);
            self.tell(None, StopCause::Paused { by });
        }
        paused
    }

    /// Stops the guest for something that a vCPU has met; false if somebody else was faster. Who is told so follows with
    /// [`Self::tell`]. Does not wait for the vCPUs.
    pub(crate) fn claim(&self, by: Actor) -> bool {
        match self.run.claim(by) {
            Claim::Paused => self.has_paused(by),
            Claim::SliceOver => self.vcpus.iter().for_each(VcpuShared::insist),
            Claim::TooLate => return false,
        }
        true
    }

    fn has_paused(&self, by: Actor) {
        self.record(Payload::State(VcpuState::Paused { by }));
        self.vcpus.iter().for_each(VcpuShared::insist);
    }

    /// Tells everybody who listens that the guest has stopped.
    pub(crate) fn tell(&self, vcpu: Option<u8>, cause: StopCause) {
        self.listeners.tell(&Stop { vcpu, cause });
    }

    /// Lets the vCPUs `free` of a paused guest run again. Does nothing if it runs.
    pub(crate) fn resume(&self, by: Actor, free: VcpuSet) -> Result<()> {
        let due = match &mut *lock(&self.attachment) {
            Some(_) if by != Actor::Gdb => {
                return Err(Error::WrongState {
                    operation: "resume",
                    state: "is held by GDB, which may resume it",
                });
            }
            Some(attachment) => attachment.due(),
            None => Due::Nothing,
        };
        match due {
            Due::Nothing => {}
            Due::Tell(why) => {
                self.tell(None, StopCause::Ending { why });
                return Ok(());
            }
            Due::End(why) => {
                self.stop(why);
                return Ok(());
            }
        }
        if self.run.resume(free) {
            self.record(Payload::State(VcpuState::Running));
            self.notify_all();
            self.timekeeper.poke();
        } else if self.run.is_stopped() {
            return Err(Error::WrongState { operation: "resume", state: "has ended" });
        }
        Ok(())
    }

    /// Gives the guest to a debugger, and pauses it.
    pub(crate) fn attach(&self, by: Actor) -> Result<()> {
        let mut attachment = lock(&self.attachment);
        if attachment.is_some() {
            return Err(Error::WrongState { operation: "attach", state: "has a debugger attached" });
        }
        if self.run.is_stopped() {
            return Err(Error::WrongState { operation: "attach", state: "has ended" });
        }
        *attachment = Some(Attachment::new(self.run.state() == MachineState::Running));
        drop(attachment);
        self.record(Payload::Debugger(Debugger::Attached { by }));
        self.begin_pause(by);
        Ok(())
    }

    /// Takes the guest from the debugger that has it: it goes on as before, or comes to its end.
    pub(crate) fn detach(&self, by: Actor) {
        let Some(attachment) = lock(&self.attachment).take() else { return };
        self.record(Payload::Debugger(Debugger::Detached { by }));
        let ran = attachment.ran;
        if let Some(why) = attachment.into_end() {
            self.stop(why);
        } else if ran {
            // If it has ended meanwhile there is nothing to resume.
            drop(self.resume(by, self.all()));
        }
        // It may have gone while it let only some run.
        if self.run.free_all(self.all()) {
            self.notify_all();
        }
    }
}

//! The guest begins anew.

use trace_format::event::Actor;

use super::Control;
use crate::error::{Error, Result};

impl Control {
    /// Has the guest begin anew: memory holds the image and nothing else, devices, interrupt controllers and vCPUs are
    /// as after power-on. The run goes on, and with it its trace, the time and everybody who is attached; a paused guest
    /// stays paused, before its first instruction. What users and GDB have set stays; a breakpoint whose address is not
    /// mapped at the beginning waits until it is. An end that waits for GDB has not come.
    ///
    /// A reset that the guest asks for itself ends the run.
    ///
    /// # Errors
    /// When the run has ended, or the image cannot be read again or has changed: then the guest goes on as it was. When
    /// the host refuses in the middle of it the run ends.
    pub fn reset(&self, by: Actor) -> Result<()> {
        // The first vCPU is held up only by what cannot fail for the user's reasons.
        let pieces = self.machine.beginning.read_again()?;
        let life = self.machine.life();
        let outcome = self.on(0, move |thread| thread.reset_machine(&pieces, by))?;
        if let Err(error) = outcome {
            if self.machine.life() == life && !self.machine.run.is_stopped() {
                let shown = error.to_string();
                self.machine.fail(error);
                return Err(Error::ResetFailed { why: shown });
            }
            return Err(error);
        }
        // A vCPU follows before it does anything that it is asked.
        (0..self.machine.vcpus.len() as u8).try_for_each(|vcpu| self.on(vcpu, |_| ()))?;
        self.place_breakpoints_again()?;
        self.machine.record_screen();
        self.flush();
        Ok(())
    }

    /// Puts users' breakpoints into the memory of a guest that has begun anew, where it is mapped already.
    fn place_breakpoints_again(&self) -> Result<()> {
        let shared = &self.machine.probes;
        let paging = shared.paging(&self.registers(0)?.system);
        if shared.breakpoints.place_again(&self.machine.memory, &paging) {
            self.tell_of_breakpoints()?;
        }
        Ok(())
    }
}

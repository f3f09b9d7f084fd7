//! What others ask a vCPU's thread to do.

use trace_format::event::{Actor, Debugger, Payload};

use super::{Activity, VcpuThread};
use crate::error::{Error, Result};
use crate::kvm::Exit;
use crate::probe::Stepped;

/// Something to do on a vCPU's own thread, out of the guest.
pub(crate) type Request = Box<dyn FnOnce(&mut VcpuThread) + Send>;

/// How many exits one step may take: a string instruction of a few pages, or a first touch that repeats it.
const MOST_EXITS: usize = 64;

impl VcpuThread {
    pub(crate) fn vcpu(&mut self) -> &mut crate::kvm::Vcpu {
        &mut self.vcpu
    }

    /// Takes over breakpoints that others have set.
    pub(crate) fn update_debug(&mut self) -> Result<()> {
        let (probes, mut cx) = self.probing(0);
        probes.update(&mut cx)
    }

    /// Executes one instruction; the other vCPUs are parked. Returns RIP before and after.
    pub(crate) fn step(&mut self, by: Actor) -> Result<(u64, u64)> {
        if self.activity == Activity::WaitingForSipi {
            return Err(Error::WrongState { operation: "step the vCPU", state: "has not started it yet" });
        }
        let from = self.vcpu.rip();
        // A halted vCPU stays where it is until an interrupt wakes it.
        if self.activity == Activity::Running {
            self.step_through(from)?;
        }
        let to = self.vcpu.rip();
        self.record(Payload::Debugger(Debugger::Stepped { by, from, to }));
        self.close_exit();
        Ok((from, to))
    }

    fn step_through(&mut self, from: u64) -> Result<()> {
        for _ in 0..MOST_EXITS {
            let timing = self.begin();
            let now = self.now(timing);
            let (probes, mut cx) = self.probing(now);
            match probes.step(&mut cx)? {
                Stepped::Done if self.vcpu.rip() != from => return Ok(()),
                // The first touch of a page repeats a step at the same place on some hosts; so does an instruction
                // that jumps to itself.
                Stepped::Done => {}
                Stepped::Exit(exit) => {
                    let repeats = matches!(exit, Exit::Interrupted | Exit::InterruptWindow);
                    self.handle(exit, timing)?;
                    self.settle()?;
                    if !repeats && (self.vcpu.rip() != from || self.activity != Activity::Running) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

//! A vCPU of a machine that begins anew.

use std::sync::Arc;

use trace_format::event::Actor;

use super::{Activity, VcpuThread};
use crate::beginning::Pieces;
use crate::error::{Error, Result};

impl VcpuThread {
    /// Has the machine begin anew. The other vCPUs are held meanwhile, and follow before they do anything else.
    pub(crate) fn reset_machine(&mut self, pieces: &Pieces, by: Actor) -> Result<()> {
        self.settle()?;
        self.flush_console();
        self.close_exit();
        let machine = Arc::clone(&self.machine);
        if !machine.run.hold_others(self.number, || machine.notify_all()) {
            return Err(Error::WrongState { operation: "reset", state: "has ended" });
        }
        let outcome = machine.begin_anew(pieces, by).and_then(|()| self.keep_up_with_resets());
        machine.run.release_others();
        machine.notify_all();
        outcome
    }

    /// Whether the machine has begun anew and this vCPU has not.
    pub(super) fn is_of_another_life(&self) -> bool {
        self.machine.life() != self.life
    }

    /// Begins anew if the machine has.
    pub(super) fn keep_up_with_resets(&mut self) -> Result<()> {
        if !self.is_of_another_life() {
            return Ok(());
        }
        self.life = self.machine.life();
        self.vcpu.restore(&self.power_on)?;
        if self.number == 0 {
            self.machine.beginning.entry.enter(&mut self.vcpu);
        }
        (self.cr3, self.cr8, self.injected) = (self.vcpu.cr3(), self.vcpu.cr8(), None);
        self.apic_page = self.with_lapic(|lapic| lapic.mmio_page()).flatten();
        let (probes, mut cx) = self.probing(0);
        probes.begin_anew(&mut cx)?;
        self.look = true;
        self.set_activity(Activity::first(self.number));
        self.close_exit();
        Ok(())
    }
}

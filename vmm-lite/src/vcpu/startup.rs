//! INIT and start-up IPIs (SDM vol. 3, 10.4).

use trace_format::event::{IpiAccepted, Payload};

use super::{Activity, VcpuThread};
use crate::boot::enter_real_mode;
use crate::error::Result;
use crate::machine::{Startup, lock};

impl VcpuThread {
    /// Acts on the INIT and start-up IPIs that have come.
    pub(super) fn take_startups(&mut self) -> Result<()> {
        let waiting = match self.machine.vcpus.get(usize::from(self.number)) {
            Some(shared) => std::mem::take(&mut *lock(&shared.startups)),
            None => return Ok(()),
        };
        for startup in waiting {
            match startup.page {
                None => {
                    self.accept(&startup);
                    self.init()?;
                }
                // A vCPU that does not wait for a start-up IPI ignores it.
                Some(page) if self.activity == Activity::WaitingForSipi => {
                    self.accept(&startup);
                    enter_real_mode(&mut self.vcpu, u16::from(page) << 8, 0, 0);
                    self.set_activity(Activity::Running);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn init(&mut self) -> Result<()> {
        self.settle()?;
        self.vcpu.set_sregs(&self.power_on.sregs);
        self.vcpu.set_regs(&self.power_on.regs);
        // Nothing that was on its way survives an INIT.
        self.vcpu.clear_events()?;
        self.with_lapic(crate::irq::Lapic::init);
        self.cr8 = 0;
        self.vcpu.set_cr8(0);
        self.probes.reset();
        self.set_activity(Activity::WaitingForSipi);
        Ok(())
    }

    fn accept(&mut self, startup: &Startup) {
        let now = self.machine.clock.now();
        self.record(Payload::IpiAccepted(IpiAccepted {
            id: startup.id,
            sender: startup.sender,
            vector: startup.page.unwrap_or(0),
            latency_ns: now.saturating_sub(startup.sent_ns),
            merged: false,
        }));
    }
}

//! A machine that begins anew, while its trace and everybody who looks at it go on.

use std::sync::atomic::Ordering;

use trace_format::event::{Actor, Payload, VcpuState};

use super::{Machine, lock};
use crate::beginning::Pieces;
use crate::error::Result;
use crate::kvm;

impl Machine {
    /// How often the machine has begun anew.
    pub(crate) fn life(&self) -> u64 {
        self.life.load(Ordering::Acquire)
    }

    /// Makes memory, devices and interrupt controllers as after power-on. Every vCPU must be out of the guest, with
    /// nothing left to do for its last exit, and follows as soon as it looks at [`Self::life`].
    ///
    /// # Errors
    /// When the host refuses: nothing of the machine can be relied on then.
    pub(crate) fn begin_anew(&self, pieces: &Pieces, by: Actor) -> Result<()> {
        self.record_screen();
        self.record(Payload::State(VcpuState::Reset { by }));
        // Devices first: other threads type into them, and those may then write to memory.
        for device in self.mmio.devices() {
            let mut transport = lock(&device.transport);
            transport.reset();
            // The line falls with the controllers.
            let _line = transport.take_line();
        }
        {
            let mut bus = lock(&self.bus);
            *bus = self.beginning.bus(self.clock.now());
            self.sink.reset()?;
            self.note_pics(&bus);
        }
        for vcpu in &self.vcpus {
            if let Some(mut lapic) = vcpu.lapic() {
                lapic.reset();
            }
            lock(&vcpu.startups).clear();
        }
        self.probes.begin_anew();
        kvm::clear(&self.memory)?;
        self.beginning.load(pieces, &self.memory)?;
        if let Some(attachment) = &mut *lock(&self.attachment) {
            attachment.forget_end();
            *lock(&self.failure) = None;
        }
        self.life.fetch_add(1, Ordering::AcqRel);
        self.timekeeper.poke();
        Ok(())
    }
}

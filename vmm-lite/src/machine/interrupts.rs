//! Interrupts between vCPUs, and from the shared controllers to vCPUs.

use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;
use trace_format::event::{DeliveryMode, Ipi};

use super::{Machine, Startup, lock};
use crate::devices::PortBus;
use crate::error::Result;
use crate::irq::route::{self, Message};
use crate::irq::{Controllers, Icr, Origin, Raised};

/// The most vCPUs a machine has.
const MOST_VCPUS: usize = 16;

impl Machine {
    /// Delivers what vCPU `sender` wrote into its ICR at `now`; returns the event that tells of it.
    ///
    /// The event must be recorded with time `now` before the guest goes on; targets may take the interrupt at once.
    pub(crate) fn send_ipi(&self, sender: u8, icr: &Icr, now: u64) -> Ipi {
        let id = self.new_ipi();
        let targets = route::ipi(icr, sender, &self.addresses());
        let ipi =
            Ipi { id, icr: icr.raw, vector: icr.vector, mode: icr.mode, shorthand: icr.shorthand, targets };
        for (n, target) in self.vcpus.iter().enumerate().filter(|(n, _)| targets & 1 << n != 0) {
            let origin = Origin::ipi(id, sender, now);
            match icr.mode {
                DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                    if let Some(mut lapic) = target.lapic() {
                        lapic.raise(icr.vector, false, origin);
                    }
                }
                DeliveryMode::Nmi => {
                    if let Some(mut lapic) = target.lapic() {
                        lapic.raise_nmi(origin);
                    }
                }
                DeliveryMode::Init | DeliveryMode::StartUp => {
                    let page = (icr.mode == DeliveryMode::StartUp).then_some(icr.vector);
                    // Eight are enough: a vCPU that has not looked at eight of them would ignore the ninth too.
                    let startup = Startup { id, sender, sent_ns: now, page };
                    let _ = lock(&target.startups).try_push(startup);
                }
                DeliveryMode::Smi | DeliveryMode::InitDeassert | DeliveryMode::Reserved => continue,
            }
            // The sender looks at its own APIC before it enters the guest anyway.
            if n != usize::from(sender) {
                target.notify();
            }
        }
        ipi
    }

    /// Passes on what the shared controllers have to say after any access to them.
    pub(crate) fn deliver_from(&self, bus: &mut PortBus) {
        if let Err(error) = self.sink.deliver(self, bus) {
            self.fail(error);
        }
    }

    /// What is in the registers of the shared controllers.
    pub(crate) fn controllers(&self) -> Result<Controllers> {
        self.sink.controllers(&lock(&self.bus))
    }

    /// Notes whether the 8259s want an interrupt taken.
    pub(super) fn note_pics(&self, bus: &PortBus) {
        let pending = bus.chips.pic.interrupt_pending();
        // The lock on the bus is held, so nobody else writes it.
        if pending == self.pic_pending.load(Ordering::Relaxed) {
            return;
        }
        self.pic_pending.store(pending, Ordering::Release);
        if pending && let Some(boot) = self.vcpus.first() {
            boot.notify();
        }
    }

    /// Whether the 8259s want an interrupt taken.
    pub(crate) fn pic_pending(&self) -> bool {
        self.pic_pending.load(Ordering::Acquire)
    }

    /// Gives a message to the monitor's own local APICs; whether any of them took it.
    pub(super) fn deliver(&self, message: &Message, origin: Origin) -> bool {
        let targets = route::message(message, &self.addresses());
        let mut taken = false;
        for (n, target) in self.vcpus.iter().enumerate() {
            if targets & 1 << n == 0 {
                continue;
            }
            let Some(mut lapic) = target.lapic() else { continue };
            taken |= lapic.raise_message(message, origin) != Raised::Ignored;
            drop(lapic);
            target.notify();
        }
        taken
    }

    /// The id of an IPI's event.
    pub(crate) fn new_ipi(&self) -> u64 {
        self.next_ipi.fetch_add(1, Ordering::Relaxed)
    }

    fn addresses(&self) -> ArrayVec<route::Address, MOST_VCPUS> {
        self.vcpus.iter().take(MOST_VCPUS).filter_map(|vcpu| Some(vcpu.lapic()?.address())).collect()
    }
}

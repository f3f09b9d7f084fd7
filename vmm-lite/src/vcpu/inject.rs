//! Interrupts on their way into the guest.

use trace_format::event::{IpiAccepted, IpiEoi, Irq, IrqEoi, IrqSource, Payload};

use super::VcpuThread;
use crate::error::Result;
use crate::irq::{Eoi, Origin, Origins, Source};
use crate::machine::lock;

const VECTOR_NMI: u8 = 2;

impl VcpuThread {
    /// Whether an interrupt ends a `HLT`.
    pub(super) fn is_woken(&mut self) -> bool {
        let enabled = self.vcpu.interrupts_enabled();
        let pic = self.machine.pic_pending();
        self.with_lapic(|lapic| {
            lapic.nmi_pending() || enabled && (lapic.deliverable().is_some() || pic && lapic.accepts_extint())
        })
        .unwrap_or(false)
    }

    /// Injects the most urgent interrupt if the guest can take one, and asks for an exit when it can if not.
    pub(super) fn inject(&mut self) -> Result<()> {
        // It meets the breakpoint again at once. After an interrupt it would be reported anew without having got on.
        if self.vcpu.ready_for_interrupt() {
            let (probes, mut cx) = self.probing(0);
            if probes.is_at_reported(&mut cx) {
                self.look = true;
                return Ok(());
            }
        }
        if let Some(origins) = self.with_lapic(crate::irq::Lapic::take_nmi).flatten() {
            self.vcpu.nmi()?;
            self.report_taken(VECTOR_NMI, &origins);
        }
        if self.vcpu.ready_for_interrupt() {
            let pic = self.machine.pic_pending();
            if pic && self.with_lapic(|lapic| lapic.accepts_extint()).unwrap_or(false) {
                self.inject_from_pic()?;
            } else {
                self.inject_from_lapic()?;
            }
        }
        let pic = self.machine.pic_pending();
        let more = self
            .with_lapic(|lapic| lapic.deliverable().is_some() || pic && lapic.accepts_extint())
            .unwrap_or(false);
        self.vcpu.request_interrupt_window(more);
        // What could not be injected now must be looked at again after the next exit, whatever it is.
        self.look = more;
        Ok(())
    }

    /// Injects the 8259s' interrupt if the guest can take one, and asks for an exit when it can if not. KVM says that
    /// it can only if its local APIC lets such interrupts through.
    pub(super) fn inject_extint(&mut self) -> Result<()> {
        if self.machine.pic_pending() && self.vcpu.ready_for_interrupt() {
            self.inject_from_pic()?;
        }
        let more = self.machine.pic_pending();
        self.vcpu.request_interrupt_window(more);
        self.look = more;
        Ok(())
    }

    fn inject_from_lapic(&mut self) -> Result<()> {
        let now = self.machine.clock.now();
        let Some(taken) = self.with_lapic(|lapic| lapic.take(now)).flatten() else { return Ok(()) };
        self.vcpu.interrupt(taken.vector)?;
        self.injected = Some(taken.vector);
        self.report_taken(taken.vector, &taken.origins);
        Ok(())
    }

    fn inject_from_pic(&mut self) -> Result<()> {
        let now = self.machine.clock.now();
        let acknowledged = {
            let mut bus = lock(&self.machine.bus);
            let acknowledged = bus.chips.pic.acknowledge(now);
            self.machine.deliver_from(&mut bus);
            acknowledged
        };
        self.vcpu.interrupt(acknowledged.vector)?;
        self.injected = Some(acknowledged.vector);
        self.record(Payload::Irq(Irq {
            source: IrqSource::Pic { line: acknowledged.line },
            vector: acknowledged.vector,
            latency_ns: now.saturating_sub(acknowledged.raised_ns),
        }));
        Ok(())
    }

    /// Records that the vCPU takes an interrupt: one event for each of those who raised it.
    fn report_taken(&mut self, vector: u8, origins: &Origins) {
        let now = self.machine.clock.now();
        for (n, Origin { source, raised_ns }) in origins.iter().enumerate() {
            let latency_ns = now.saturating_sub(*raised_ns);
            self.record(match *source {
                Source::Ipi { id, sender } => {
                    Payload::IpiAccepted(IpiAccepted { id, sender, vector, latency_ns, merged: n > 0 })
                }
                Source::Device(source) => Payload::Irq(Irq { source, vector, latency_ns }),
            });
        }
    }

    /// Records an EOI, one event for each of those who raised the interrupt, and tells the IOAPIC.
    pub(super) fn report_eoi(&mut self, eoi: &Eoi, now: u64) {
        for Origin { source, raised_ns } in eoi.origins.iter() {
            self.record(match *source {
                Source::Ipi { id, sender } => Payload::IpiEoi(IpiEoi {
                    id,
                    sender,
                    vector: eoi.vector,
                    latency_ns: now.saturating_sub(*raised_ns),
                }),
                Source::Device(source) => Payload::IrqEoi(IrqEoi {
                    source,
                    vector: eoi.vector,
                    latency_ns: now.saturating_sub(eoi.injected_ns),
                }),
            });
        }
        if eoi.level {
            let mut bus = lock(&self.machine.bus);
            bus.chips.ioapic.eoi(eoi.vector, now);
            self.machine.deliver_from(&mut bus);
        }
    }
}

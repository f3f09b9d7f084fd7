//! Where the interrupts of devices go.
//!
//! Devices set lines of [`crate::irq::Chips`]; whoever has touched them calls [`Machine::deliver_from`]. What comes of
//! that depends on who plays the interrupt controllers, and is chosen once, when the machine is made.

use std::fmt::Debug;
use std::sync::Arc;

use super::Machine;
use crate::devices::PortBus;
use crate::error::Result;
use crate::irq::{Controllers, MsiMessage};
use crate::kvm::{PowerOnChips, VmFd};

/// Passes on what the shared controllers have to say.
pub(crate) trait Sink: Debug + Send + Sync {
    /// After any access to `bus`.
    ///
    /// # Errors
    /// When KVM refuses an interrupt.
    fn deliver(&self, machine: &Machine, bus: &mut PortBus) -> Result<()>;

    /// The machine begins anew: what KVM plays of the shared controllers is as after power-on.
    ///
    /// # Errors
    /// When KVM refuses.
    fn reset(&self) -> Result<()> {
        Ok(())
    }

    /// What is in the registers of the shared controllers.
    ///
    /// # Errors
    /// When KVM plays them and does not tell.
    fn controllers(&self, bus: &PortBus) -> Result<Controllers> {
        Ok(Controllers { ioapic: bus.chips.ioapic.redirections().collect(), pics: bus.chips.pic.state() })
    }
}

/// To the monitor's own local APICs.
#[derive(Debug)]
pub(crate) struct OwnApics;

impl Sink for OwnApics {
    fn deliver(&self, machine: &Machine, bus: &mut PortBus) -> Result<()> {
        while let Some(request) = bus.chips.next_message() {
            if !machine.deliver(&request.message, request.origin) {
                bus.chips.ioapic.refused(request.pin);
            }
        }
        machine.note_pics(bus);
        Ok(())
    }
}

/// To KVM's local APICs, as messages; the 8259s' interrupts are the first vCPU's to fetch.
#[derive(Debug)]
pub(crate) struct KernelApics {
    pub(crate) vm: Arc<VmFd>,
}

impl Sink for KernelApics {
    fn deliver(&self, machine: &Machine, bus: &mut PortBus) -> Result<()> {
        let ioapic = &mut bus.chips.ioapic;
        if ioapic.take_changed() {
            // Before the first message whose EOI has to come back.
            let messages = ioapic.level_messages().map(|(pin, message)| (pin, MsiMessage::new(&message)));
            self.vm.expect_eois(messages)?;
        }
        while let Some(request) = bus.chips.next_message() {
            if !self.vm.send_message(MsiMessage::new(&request.message)) {
                bus.chips.ioapic.refused(request.pin);
            }
        }
        machine.note_pics(bus);
        Ok(())
    }

    fn reset(&self) -> Result<()> {
        self.vm.expect_eois(std::iter::empty())
    }
}

/// To controllers that are all KVM's, as changes of lines. Our own are never programmed and have nothing to say.
#[derive(Debug)]
pub(crate) struct KernelLines {
    pub(crate) vm: Arc<VmFd>,
    pub(crate) power_on: PowerOnChips,
}

impl Sink for KernelLines {
    fn deliver(&self, _machine: &Machine, bus: &mut PortBus) -> Result<()> {
        while let Some(change) = bus.chips.lines.next_change() {
            self.vm.set_line(change.line, change.asserted)?;
        }
        Ok(())
    }

    fn reset(&self) -> Result<()> {
        self.vm.restore_chips(&self.power_on)
    }

    fn controllers(&self, _bus: &PortBus) -> Result<Controllers> {
        self.vm.controllers()
    }
}

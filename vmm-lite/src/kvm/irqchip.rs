//! KVM's own interrupt controllers (Documentation/virt/kvm/api.rst, 4.24 to 4.26, 4.52, 4.70 and 7.5).

use std::fmt;

use arrayvec::ArrayVec;
use kvm_bindings::{
    KVM_CAP_SET_GUEST_DEBUG2, KVM_CAP_SPLIT_IRQCHIP, KVM_GUESTDBG_BLOCKIRQ, KVM_IRQ_ROUTING_IRQCHIP,
    KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
    KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_UNINITIALIZED,
    KVM_PIT_SPEAKER_DUMMY, KvmIrqRouting, kvm_enable_cap, kvm_irq_routing_entry, kvm_irq_routing_irqchip,
    kvm_irq_routing_msi, kvm_irqchip, kvm_lapic_state, kvm_mp_state, kvm_msi, kvm_pit_config, kvm_pit_state2,
};
use kvm_ioctls::{Cap, MsrFilterDefaultAction};

use super::host::Host;
use super::msr_filter;
use super::vcpu::Vcpu;
use super::vm::VmFd;
use crate::config::Irqchip;
use crate::error::{Error, Result};
use crate::irq::{Controllers, IOAPIC_PINS, MsiMessage, PicState, Redirection, isa_line_to_pin};

/// What a vCPU does whose local APIC KVM plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// Runs, or would if it were let into the guest.
    Runnable,
    /// Has executed `HLT`.
    Halted,
    /// Waits for INIT or a start-up IPI.
    WaitingForSipi,
}

impl Host {
    /// Fails if this host's KVM does not play these controllers.
    ///
    /// # Errors
    /// Names the capability that is missing.
    pub(crate) fn require_irqchip(&self, irqchip: Irqchip) -> Result<()> {
        let required: &[(Cap, &'static str)] = match irqchip {
            Irqchip::User => &[],
            Irqchip::Split => {
                &[(Cap::SplitIrqchip, "KVM_CAP_SPLIT_IRQCHIP"), (Cap::SignalMsi, "KVM_CAP_SIGNAL_MSI")]
            }
            Irqchip::Kernel => &[(Cap::Irqchip, "KVM_CAP_IRQCHIP"), (Cap::Pit2, "KVM_CAP_PIT2")],
        };
        let purpose = match irqchip {
            Irqchip::User => "--irqchip user",
            Irqchip::Split => "--irqchip split",
            Irqchip::Kernel => "--irqchip kernel",
        };
        match required.iter().find(|(cap, _)| !self.kvm.check_extension(*cap)) {
            Some((_, name)) => Err(Error::MissingCapability { name, purpose }),
            None => Ok(()),
        }
    }

    /// Whether the timer of KVM's local APICs has a TSC-deadline mode.
    #[must_use]
    pub(crate) fn has_tsc_deadline(&self) -> bool {
        self.kvm.check_extension(Cap::TscDeadlineTimer)
    }

    /// Whether KVM can hold its interrupts back while a vCPU is stepped.
    #[must_use]
    pub(crate) fn can_block_interrupts(&self) -> bool {
        let flags = self.kvm.check_extension_raw(KVM_CAP_SET_GUEST_DEBUG2.into());
        flags > 0 && flags as u32 & KVM_GUESTDBG_BLOCKIRQ != 0
    }
}

impl VmFd {
    /// Makes KVM play what `irqchip` gives to it; the ISA lines `levels`, a bit each, are level-triggered at its 8259s.
    /// Before the first vCPU.
    ///
    /// # Errors
    /// When KVM refuses.
    pub(crate) fn create_irqchip(&self, irqchip: Irqchip, levels: u16) -> Result<()> {
        match irqchip {
            Irqchip::User => return Ok(()),
            Irqchip::Split => {
                let cap = kvm_enable_cap {
                    cap: KVM_CAP_SPLIT_IRQCHIP,
                    // Routes of our IOAPIC's pins come first in the table.
                    args: [IOAPIC_PINS.into(), 0, 0, 0],
                    ..kvm_enable_cap::default()
                };
                self.fd.enable_cap(&cap).map_err(|e| Error::kvm("KVM_ENABLE_CAP for SPLIT_IRQCHIP", e))?;
            }
            Irqchip::Kernel => {
                self.fd.create_irq_chip().map_err(|e| Error::kvm("KVM_CREATE_IRQCHIP", e))?;
                // Port 0x61 is KVM's then, too.
                let pit = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..kvm_pit_config::default() };
                self.fd.create_pit2(pit).map_err(|e| Error::kvm("KVM_CREATE_PIT2", e))?;
                self.set_routes(&wiring())?;
                self.set_level_lines(levels)?;
            }
        }
        // KVM needs the accesses to the local APICs' MSRs itself.
        self.fd
            .set_msr_filter(MsrFilterDefaultAction::ALLOW, &msr_filter::forwarded_without_apic())
            .map_err(|e| Error::kvm("KVM_X86_SET_MSR_FILTER", e))
    }

    /// Sends a message to KVM's local APICs; whether any of them took it.
    pub(crate) fn send_message(&self, message: MsiMessage) -> bool {
        let MsiMessage { address, data } = message;
        let msi = kvm_msi { address_lo: address, data, ..kvm_msi::default() };
        // KVM calls it an error when nobody has this address.
        self.fd.signal_msi(msi).is_ok_and(|taken| taken > 0)
    }

    /// Tells KVM's local APICs which EOIs our IOAPIC waits for: those of these messages, each of a pin.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn expect_eois(&self, messages: impl Iterator<Item = (u8, MsiMessage)>) -> Result<()> {
        let routes: Vec<_> = messages
            .map(|(pin, MsiMessage { address, data })| {
                let mut route = kvm_irq_routing_entry {
                    gsi: pin.into(),
                    type_: KVM_IRQ_ROUTING_MSI,
                    ..kvm_irq_routing_entry::default()
                };
                route.u.msi =
                    kvm_irq_routing_msi { address_lo: address, data, ..kvm_irq_routing_msi::default() };
                route
            })
            .collect();
        self.set_routes(&routes)
    }

    /// Sets an ISA interrupt line of KVM's controllers.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn set_line(&self, line: u8, asserted: bool) -> Result<()> {
        self.fd.set_irq_line(line.into(), asserted).map_err(|e| Error::kvm("KVM_IRQ_LINE", e))
    }

    /// Sets the ELCRs of KVM's 8259s, as firmware would.
    fn set_level_lines(&self, levels: u16) -> Result<()> {
        let [master, slave] = levels.to_le_bytes();
        for (chip_id, levels) in [(KVM_IRQCHIP_PIC_MASTER, master), (KVM_IRQCHIP_PIC_SLAVE, slave)] {
            let mut chip = self.chip(chip_id)?;
            // SAFETY: the id says that `pic` is the active member; it is plain data.
            let pic = unsafe { &mut chip.chip.pic };
            pic.elcr = levels & pic.elcr_mask;
            self.fd.set_irqchip(&chip).map_err(|e| Error::kvm("KVM_SET_IRQCHIP", e))?;
        }
        Ok(())
    }

    /// Notes the state of KVM's shared controllers and its 8254, which nobody has used yet.
    ///
    /// # Errors
    /// When an ioctl fails.
    pub(crate) fn power_on_chips(&self) -> Result<PowerOnChips> {
        let chips = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC];
        let mut noted = ArrayVec::new();
        for id in chips {
            noted.push(self.chip(id)?);
        }
        let pit = self.fd.get_pit2().map_err(|e| Error::kvm("KVM_GET_PIT2", e))?;
        Ok(PowerOnChips { chips: noted, pit })
    }

    /// Gives them a state that [`Self::power_on_chips`] noted.
    ///
    /// # Errors
    /// When an ioctl fails.
    pub(crate) fn restore_chips(&self, state: &PowerOnChips) -> Result<()> {
        // KVM keeps the levels of lines apart from the chips.
        (0..16)
            .filter(|line| isa_line_to_pin(*line).is_some())
            .try_for_each(|line| self.set_line(line, false))?;
        for chip in &state.chips {
            self.fd.set_irqchip(chip).map_err(|e| Error::kvm("KVM_SET_IRQCHIP", e))?;
        }
        self.fd.set_pit2(&state.pit).map_err(|e| Error::kvm("KVM_SET_PIT2", e))
    }

    /// What KVM's IOAPIC and 8259s have in their registers.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn controllers(&self) -> Result<Controllers> {
        let ioapic = self.chip(KVM_IRQCHIP_IOAPIC)?;
        // SAFETY: the id says that `ioapic` is the active member; it is plain data.
        let ioapic = unsafe { ioapic.chip.ioapic };
        let pins = (0..IOAPIC_PINS).zip(ioapic.redirtbl).map(|(pin, entry)| Redirection {
            pin,
            // SAFETY: both members of the union are plain data of the same 8 bytes.
            raw: unsafe { entry.bits },
            asserted: ioapic.irr & 1 << pin != 0,
        });
        let pic = |id| {
            let chip = self.chip(id)?;
            // SAFETY: the id says that `pic` is the active member; it is plain data.
            let pic = unsafe { chip.chip.pic };
            Ok(PicState {
                vector: pic.irq_base,
                requests: pic.irr,
                in_service: pic.isr,
                mask: pic.imr,
                level: pic.elcr,
            })
        };
        Ok(Controllers {
            ioapic: pins.collect(),
            pics: [pic(KVM_IRQCHIP_PIC_MASTER)?, pic(KVM_IRQCHIP_PIC_SLAVE)?],
        })
    }

    fn chip(&self, chip_id: u32) -> Result<kvm_irqchip> {
        let mut chip = kvm_irqchip { chip_id, ..kvm_irqchip::default() };
        self.fd.get_irqchip(&mut chip).map_err(|e| Error::kvm("KVM_GET_IRQCHIP", e))?;
        Ok(chip)
    }

    fn set_routes(&self, routes: &[kvm_irq_routing_entry]) -> Result<()> {
        let routing = KvmIrqRouting::from_entries(routes)
            .map_err(|_| Error::os("make room for interrupt routes", libc::ENOMEM))?;
        self.fd.set_gsi_routing(&routing).map_err(|e| Error::kvm("KVM_SET_GSI_ROUTING", e))
    }
}

/// The shared controllers that KVM plays, and its 8254, after power-on.
pub(crate) struct PowerOnChips {
    chips: ArrayVec<kvm_irqchip, 3>,
    pit: kvm_pit_state2,
}

impl fmt::Debug for PowerOnChips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PowerOnChips").finish_non_exhaustive()
    }
}

/// The registers of a local APIC that KVM plays.
pub(crate) struct ApicPage(kvm_lapic_state);

impl ApicPage {
    /// The register whose offset in the page is 16 times `index`.
    pub(crate) fn register(&self, index: u8) -> u32 {
        let start = 16 * usize::from(index);
        let bytes = self.0.regs.get(start..start + 4).unwrap_or_default();
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(byte.cast_unsigned()))
    }
}

impl Vcpu {
    /// The registers of the local APIC that KVM plays.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn apic_page(&self) -> Result<ApicPage> {
        self.fd.get_lapic().map(ApicPage).map_err(|e| Error::kvm("KVM_GET_LAPIC", e))
    }

    /// What a vCPU does whose local APIC KVM plays, as of the last exit.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn run_state(&self) -> Result<RunState> {
        let state = self.fd.get_mp_state().map_err(|e| Error::kvm("KVM_GET_MP_STATE", e))?;
        Ok(match state.mp_state {
            KVM_MP_STATE_UNINITIALIZED | KVM_MP_STATE_INIT_RECEIVED => RunState::WaitingForSipi,
            KVM_MP_STATE_HALTED => RunState::Halted,
            _ => RunState::Runnable,
        })
    }

    /// Ends the `HLT` of a vCPU whose local APIC KVM plays.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn wake(&self) -> Result<()> {
        let state = kvm_mp_state { mp_state: KVM_MP_STATE_RUNNABLE };
        self.fd.set_mp_state(state).map_err(|e| Error::kvm("KVM_SET_MP_STATE", e))
    }

    /// Halts a vCPU whose local APIC KVM plays, as `HLT` does.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn halt(&self) -> Result<()> {
        let state = kvm_mp_state { mp_state: KVM_MP_STATE_HALTED };
        self.fd.set_mp_state(state).map_err(|e| Error::kvm("KVM_SET_MP_STATE", e))
    }
}

/// The wiring of our own controllers, for KVM's. Its own puts the timer on the IOAPIC's pin 0, where our MP table and
/// MADT do not have it.
fn wiring() -> Vec<kvm_irq_routing_entry> {
    let route = |line: u8, irqchip, pin: u8| {
        let mut route = kvm_irq_routing_entry {
            gsi: line.into(),
            type_: KVM_IRQ_ROUTING_IRQCHIP,
            ..kvm_irq_routing_entry::default()
        };
        route.u.irqchip = kvm_irq_routing_irqchip { irqchip, pin: pin.into() };
        route
    };
    let pics = (0..16).filter(|line| isa_line_to_pin(*line).is_some()).map(|line| match line {
        0..8 => route(line, KVM_IRQCHIP_PIC_MASTER, line),
        _ => route(line, KVM_IRQCHIP_PIC_SLAVE, line - 8),
    });
    let ioapic = (0..16).filter_map(|line| Some(route(line, KVM_IRQCHIP_IOAPIC, isa_line_to_pin(line)?)));
    pics.chain(ioapic).collect()
}

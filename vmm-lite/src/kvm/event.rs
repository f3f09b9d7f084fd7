//! Exceptions and interrupts that the monitor puts into a vCPU, and state that KVM keeps outside `kvm_run`.

use kvm_bindings::kvm_vcpu_events;

use super::vcpu::Vcpu;
use crate::error::{Error, Result};

/// An exception for the guest, at the instruction that RIP points to (SDM vol. 3, 7.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    vector: u8,
    error_code: Option<u32>,
    /// What CR2 becomes.
    address: Option<u64>,
}

impl Exception {
    /// #UD.
    pub(crate) const fn invalid_opcode() -> Self {
        Self::plain(6)
    }

    /// #NM.
    pub(crate) const fn no_device() -> Self {
        Self::plain(7)
    }

    /// #SS.
    pub(crate) const fn stack_fault(error_code: u32) -> Self {
        Self { error_code: Some(error_code), ..Self::plain(12) }
    }

    /// #GP.
    pub(crate) const fn general_protection(error_code: u32) -> Self {
        Self { error_code: Some(error_code), ..Self::plain(13) }
    }

    /// #PF at gva `address`.
    pub(crate) const fn page_fault(address: u64, error_code: u32) -> Self {
        Self { vector: 14, error_code: Some(error_code), address: Some(address) }
    }

    /// #MF.
    pub(crate) const fn floating_point() -> Self {
        Self::plain(16)
    }

    const fn plain(vector: u8) -> Self {
        Self { vector, error_code: None, address: None }
    }
}

/// What enters a handler of the guest's behind the instruction that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An exception without an error code: a trap.
    Trap {
        /// Its vector.
        vector: u8,
    },
    /// `INT n` in ring 0, where it differs in nothing from an interrupt.
    Interrupt {
        /// Its vector.
        vector: u8,
    },
}

/// What shields the next instruction from interrupts (SDM vol. 3, 7.8.1 and 7.8.3): bits of KVM's `interrupt.shadow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Shadow {
    /// A load of SS, which holds back debug exceptions too.
    MovSs = 1,
    /// `STI`.
    Sti = 2,
}

impl Event {
    /// #BP.
    pub(crate) const BREAKPOINT: Self = Self::Trap { vector: 3 };
    /// #DB.
    pub(crate) const DEBUG: Self = Self::Trap { vector: 1 };
}

impl Vcpu {
    /// Gives the guest an exception at the next entry.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn raise(&mut self, exception: Exception) -> Result<()> {
        if let Some(address) = exception.address {
            let mut sregs = self.sregs();
            sregs.cr2 = address;
            self.set_sregs(&sregs);
        }
        let mut events = self.events()?;
        events.exception.injected = 1;
        events.exception.nr = exception.vector;
        events.exception.has_error_code = u8::from(exception.error_code.is_some());
        events.exception.error_code = exception.error_code.unwrap_or(0);
        self.queue(&events)
    }

    /// Goes on behind the instruction of `len` bytes at RIP, which has been carried out: what it was shielded from by
    /// `STI` or a debugger's resume flag comes now.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn pass_instruction(&mut self, len: u64) -> Result<()> {
        const RFLAGS_RF: u64 = 1 << 16;
        let mut regs = self.regs();
        regs.rip = regs.rip.wrapping_add(len);
        regs.rflags &= !RFLAGS_RF;
        self.set_regs(&regs);
        self.end_shadow()
    }

    /// Ends what `STI` or a load of SS shields the next instruction from.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn end_shadow(&mut self) -> Result<()> {
        let mut events = self.events()?;
        if events.interrupt.shadow != 0 {
            events.interrupt.shadow = 0;
            self.set_events(&events)?;
        }
        Ok(())
    }

    /// Shields the next instruction from interrupts.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn begin_shadow(&mut self, shadow: Shadow) -> Result<()> {
        let mut events = self.events()?;
        events.interrupt.shadow = shadow as u8;
        self.set_events(&events)
    }

    /// Enters a handler at the next entry; RIP is, or will be, behind the instruction.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn deliver(&mut self, event: Event) -> Result<()> {
        let mut events = self.events()?;
        match event {
            Event::Trap { vector } => {
                events.exception.injected = 1;
                events.exception.nr = vector;
                events.exception.has_error_code = 0;
            }
            Event::Interrupt { vector } => {
                // Not `soft`: then RIP would have to be at the instruction, and its length known to KVM.
                events.interrupt.injected = 1;
                events.interrupt.nr = vector;
                events.interrupt.soft = 0;
            }
        }
        self.queue(&events)
    }

    /// Whether an exception or interrupt comes before the next instruction that the monitor has put there.
    #[must_use]
    pub(crate) fn has_event(&self) -> bool {
        self.event_queued
    }

    /// The vector of what [`Self::has_event`] tells of.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn queued_vector(&self) -> Result<Option<u8>> {
        if !self.event_queued {
            return Ok(None);
        }
        let events = self.events()?;
        Ok(match (events.exception.injected, events.interrupt.injected) {
            (0, 0) => None,
            (0, _) => Some(events.interrupt.nr),
            _ => Some(events.exception.nr),
        })
    }

    fn queue(&mut self, events: &kvm_vcpu_events) -> Result<()> {
        self.set_events(events)?;
        self.event_queued = true;
        Ok(())
    }

    /// XCR0.
    ///
    /// # Errors
    /// When the ioctl fails, or KVM keeps no such register.
    pub(crate) fn xcr0(&self) -> Result<u64> {
        let xcrs = self.fd.get_xcrs().map_err(|e| Error::kvm("KVM_GET_XCRS", e))?;
        let known = xcrs.xcrs.iter().take(xcrs.nr_xcrs as usize);
        let xcr0 = known.into_iter().find(|register| register.xcr == 0);
        xcr0.map(|register| register.value).ok_or_else(|| Error::os("read XCR0", libc::ENODEV))
    }

    /// Forgets every translation of the guest's: KVM does so when a control bit that matters to paging changes.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn flush_tlb(&mut self) -> Result<()> {
        const CR4_PGE: u64 = 1 << 7;
        self.flush_registers()?;
        let sregs = kvm_bindings::kvm_sregs { interrupt_bitmap: [0; 4], ..self.sregs() };
        let changed = kvm_bindings::kvm_sregs { cr4: sregs.cr4 ^ CR4_PGE, ..sregs };
        for step in [changed, sregs] {
            self.fd.set_sregs(&step).map_err(|e| Error::kvm("KVM_SET_SREGS", e))?;
        }
        Ok(())
    }
}

//! A vCPU.

use std::ptr;

use kvm_bindings::{
    CpuId, KVM_EXIT_IO, KVM_EXIT_MEMORY_FAULT, KVM_EXIT_MMIO, KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR,
    KVM_VCPUEVENT_VALID_NMI_PENDING, KVM_VCPUEVENT_VALID_SHADOW, KVM_VCPUEVENT_VALID_SMM, Msrs,
    kvm_debugregs, kvm_interrupt, kvm_msr_entry, kvm_regs, kvm_run, kvm_sregs, kvm_vcpu_events,
};
use kvm_ioctls::{SyncReg, VcpuFd};
use vmm_sys_util::ioctl::{ioctl, ioctl_with_ref};
use vmm_sys_util::{ioctl_io_nr, ioctl_iow_nr};

use super::debug::DebugControl;
use super::exit::Exit;
use super::kick::{Kick, KickTarget};
use super::xsave;
use crate::error::{Error, Result};

// KVM_RUN, Documentation/virt/kvm/api.rst 4.10.
ioctl_io_nr!(KVM_RUN, kvm_bindings::KVMIO, 0x80);
// KVM_INTERRUPT, Documentation/virt/kvm/api.rst 4.16.
ioctl_iow_nr!(KVM_INTERRUPT, kvm_bindings::KVMIO, 0x86, kvm_interrupt);

/// A vCPU, owned by the thread that runs it.
///
/// General and segment registers are kept in step through `kvm_run` (`KVM_CAP_SYNC_REGS`), so reading them after an
/// exit costs nothing and writing them costs no system call of its own.
#[derive(Debug)]
pub(crate) struct Vcpu {
    pub(super) fd: VcpuFd,
    number: u8,
    debug: DebugControl,
    run_size: usize,
    /// The monitor has put an exception or interrupt into KVM that it has not delivered yet: another interrupt would
    /// replace it.
    pub(super) event_queued: bool,
    /// Where the upper halves of the YMM registers are in an XSAVE area, in bytes, if the guest's CPU has them.
    pub(super) ymm_upper: Option<usize>,
}

/// How `KVM_RUN` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// With an exit.
    Exit,
    /// By a signal, or because `immediate_exit` was set.
    Interrupted,
}

impl Vcpu {
    pub(super) fn new(mut fd: VcpuFd, number: u8, run_size: usize) -> Result<Self> {
        let regs = fd.get_regs().map_err(|e| Error::kvm("KVM_GET_REGS", e))?;
        let sregs = fd.get_sregs().map_err(|e| Error::kvm("KVM_GET_SREGS", e))?;
        fd.set_sync_valid_reg(SyncReg::Register);
        fd.set_sync_valid_reg(SyncReg::SystemRegister);
        let sync = fd.sync_regs_mut();
        sync.regs = regs;
        sync.sregs = sregs;
        Ok(Self {
            fd,
            number,
            debug: DebugControl::default(),
            run_size,
            event_queued: false,
            ymm_upper: None,
        })
    }

    /// Its number, from 0.
    #[must_use]
    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// Makes the present thread the one that `kick` interrupts.
    ///
    /// # Errors
    /// When the signal handler cannot be installed.
    pub(crate) fn kick_target<'k>(&mut self, kick: &'k Kick) -> Result<KickTarget<'k>> {
        let flag = ptr::from_mut(&mut self.fd.get_kvm_run().immediate_exit);
        KickTarget::new(kick, flag)
    }

    /// Enters the guest until the next exit.
    ///
    /// # Errors
    /// When `KVM_RUN` fails for another reason than a signal.
    pub(crate) fn run(&mut self) -> Result<Exit> {
        Ok(match self.enter()? {
            Left::Exit => self.exit(),
            Left::Interrupted => Exit::Interrupted,
        })
    }

    /// As [`Self::run`], for who must note the time before anything else.
    ///
    /// # Errors
    /// As [`Self::run`].
    #[inline]
    pub(crate) fn enter(&mut self) -> Result<Left> {
        match self.kvm_run() {
            Ok(()) => {
                self.event_queued = false;
                Ok(Left::Exit)
            }
            Err(e) if matches!(e.errno(), libc::EINTR | libc::EAGAIN) => {
                self.fd.get_kvm_run().immediate_exit = 0;
                if self.event_queued {
                    // The signal may have come before KVM got to deliver it.
                    let events = self.events()?;
                    self.event_queued = events.exception.injected != 0 || events.interrupt.injected != 0;
                }
                Ok(Left::Interrupted)
            }
            Err(e) => Err(Error::kvm("KVM_RUN", e)),
        }
    }

    /// The exit after which [`Self::enter`] returned [`Left::Exit`].
    #[inline]
    pub(crate) fn exit(&mut self) -> Exit {
        Exit::read(self.fd.get_kvm_run())
    }

    /// Completes a port or MMIO read or an MSR access that the last exit left open, without running the guest.
    ///
    /// An exit that comes of it is the next of the same instruction: the write that follows the read of `or [mem], eax`
    /// or the next element of a string; KVM carries on with at most 1024 of those. It must be handled as any other, and
    /// then completed.
    ///
    /// # Errors
    /// When `KVM_RUN` fails.
    pub(crate) fn complete_pending(&mut self) -> Result<Option<Exit>> {
        self.fd.get_kvm_run().immediate_exit = 1;
        let outcome = self.kvm_run();
        let run = self.fd.get_kvm_run();
        run.immediate_exit = 0;
        match outcome {
            Err(e) if matches!(e.errno(), libc::EINTR | libc::EAGAIN) => Ok(None),
            Err(e) => Err(Error::kvm("KVM_RUN", e)),
            Ok(()) => Ok(Some(Exit::read(run))),
        }
    }

    /// `VcpuFd::run` would decode the exit, as [`Exit::read`] does.
    fn kvm_run(&mut self) -> std::result::Result<(), kvm_ioctls::Error> {
        // SAFETY: the file is a vCPU, and KVM_RUN takes no argument.
        match unsafe { ioctl(&self.fd, KVM_RUN()) } {
            0 => Ok(()),
            _ => {
                let error = kvm_ioctls::Error::last();
                if has_exit(self.fd.get_kvm_run(), error) { Ok(()) } else { Err(error) }
            }
        }
    }

    /// The data of the port I/O that the last exit is about: what an `OUT` wrote, or where an `IN` expects its answer.
    /// Empty after another exit.
    pub(crate) fn io_data(&mut self) -> &mut [u8] {
        let size = self.run_size;
        let run = self.fd.get_kvm_run();
        if run.exit_reason != KVM_EXIT_IO {
            return &mut [];
        }
        // SAFETY: the exit reason says that `io` is the active member; it is plain data.
        let io = unsafe { run.__bindgen_anon_1.io };
        let len = usize::from(io.size) * io.count as usize;
        let Ok(offset) = usize::try_from(io.data_offset) else { return &mut [] };
        if offset.checked_add(len).is_none_or(|end| end > size) {
            return &mut [];
        }
        let base = ptr::from_mut(run).cast::<u8>();
        // SAFETY: offset + len was just checked to be inside the mapping that `run` begins.
        let data = unsafe { base.add(offset) };
        // SAFETY: inside the mapping, which lives as long as `self.fd`; no other reference to it exists while `self`
        // is borrowed, and the kernel touches it only inside KVM_RUN.
        unsafe { std::slice::from_raw_parts_mut(data, len) }
    }

    /// Answers the MMIO read of the last exit with the first bytes of `data`.
    pub(crate) fn answer_mmio(&mut self, data: [u8; 8]) {
        let run = self.fd.get_kvm_run();
        if run.exit_reason == KVM_EXIT_MMIO {
            run.__bindgen_anon_1.mmio.data = data;
        }
    }

    /// Answers the MSR access of the last exit: `Some(data)` (for a write the value does not matter), or `None` for
    /// #GP.
    pub(crate) fn answer_msr(&mut self, data: Option<u64>) {
        let run = self.fd.get_kvm_run();
        if matches!(run.exit_reason, KVM_EXIT_X86_RDMSR | KVM_EXIT_X86_WRMSR) {
            run.__bindgen_anon_1.msr.error = u8::from(data.is_none());
            run.__bindgen_anon_1.msr.data = data.unwrap_or(0);
        }
    }

    /// Answers the hypercall of the last exit.
    pub(crate) fn answer_hypercall(&mut self, result: u64) {
        let run = self.fd.get_kvm_run();
        if run.exit_reason == kvm_bindings::KVM_EXIT_HYPERCALL {
            run.__bindgen_anon_1.hypercall.ret = result;
        }
    }

    /// General registers as of the last exit or write.
    #[must_use]
    pub(crate) fn regs(&mut self) -> kvm_regs {
        self.sync().regs
    }

    /// Segment and control registers, likewise.
    #[must_use]
    pub(crate) fn sregs(&mut self) -> kvm_sregs {
        self.sync().sregs
    }

    /// RIP, likewise.
    #[must_use]
    pub(crate) fn rip(&mut self) -> u64 {
        self.sync().regs.rip
    }

    /// CR3, likewise.
    #[must_use]
    pub(crate) fn cr3(&mut self) -> u64 {
        self.sync().sregs.cr3
    }

    /// EFER, likewise.
    #[must_use]
    pub(crate) fn efer(&mut self) -> u64 {
        self.sync().sregs.efer
    }

    /// Current privilege level, likewise.
    #[must_use]
    pub(crate) fn cpl(&mut self) -> u8 {
        self.sync().sregs.ss.dpl
    }

    /// Base (gva) and limit of the interrupt descriptor table, likewise.
    #[must_use]
    pub(crate) fn idt(&mut self) -> (u64, u16) {
        let idt = &self.sync().sregs.idt;
        (idt.base, idt.limit)
    }

    /// The registers in `kvm_run`, without the copy that `VcpuFd::sync_regs` makes at every exit.
    fn sync(&mut self) -> &kvm_bindings::kvm_sync_regs {
        // SAFETY: both members of the union are plain data, and `new` had KVM fill this one.
        unsafe { &self.fd.get_kvm_run().s.regs }
    }

    /// Sets the general registers at the next entry.
    pub(crate) fn set_regs(&mut self, regs: &kvm_regs) {
        self.fd.sync_regs_mut().regs = *regs;
        self.fd.set_sync_dirty_reg(SyncReg::Register);
    }

    /// Sets segment and control registers at the next entry.
    ///
    /// Their `interrupt_bitmap` is not taken: KVM would queue an interrupt that it reported as being delivered once
    /// more, and one that is queued stays so without it.
    pub(crate) fn set_sregs(&mut self, sregs: &kvm_sregs) {
        self.fd.sync_regs_mut().sregs = kvm_sregs { interrupt_bitmap: [0; 4], ..*sregs };
        self.fd.set_sync_dirty_reg(SyncReg::SystemRegister);
    }

    /// Sets all of them at once, and now. Those that KVM refuses stay as they are; set by [`Self::set_sregs`] they would
    /// make the next entry fail.
    ///
    /// # Errors
    /// When KVM refuses them.
    pub(crate) fn try_set(&mut self, regs: &kvm_regs, sregs: &kvm_sregs) -> Result<()> {
        self.flush_registers()?;
        let before = (self.regs(), self.sregs());
        self.set_sregs(sregs);
        self.set_regs(regs);
        let outcome = self.flush_registers();
        if outcome.is_err() {
            self.set_sregs(&before.1);
            self.set_regs(&before.0);
            self.flush_registers()?;
        }
        self.fetch_sregs()?;
        outcome
    }

    /// What KVM made of segment and control registers that it got by another way than `kvm_run`.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn fetch_sregs(&mut self) -> Result<()> {
        self.flush_registers()?;
        self.fd.sync_regs_mut().sregs = self.fd.get_sregs().map_err(|e| Error::kvm("KVM_GET_SREGS", e))?;
        Ok(())
    }

    /// Whether an external interrupt can be injected now.
    #[must_use]
    pub(crate) fn ready_for_interrupt(&mut self) -> bool {
        const RFLAGS_IF: u64 = 1 << 9;
        // KVM's answer is as old as the exit; the monitor may have changed RFLAGS since.
        !self.event_queued
            && self.sync().regs.rflags & RFLAGS_IF != 0
            && self.fd.get_kvm_run().ready_for_interrupt_injection != 0
    }

    /// Whether RFLAGS.IF is set as of the last exit or write: `if_flag` in `kvm_run` knows of no write.
    #[must_use]
    pub(crate) fn interrupts_enabled(&mut self) -> bool {
        const RFLAGS_IF: u64 = 1 << 9;
        self.sync().regs.rflags & RFLAGS_IF != 0
    }

    /// Asks for an exit as soon as the guest can take an interrupt, or no longer.
    pub(crate) fn request_interrupt_window(&mut self, wanted: bool) {
        self.fd.get_kvm_run().request_interrupt_window = u8::from(wanted);
    }

    /// CR8 as of the last exit.
    #[must_use]
    pub(crate) fn cr8(&mut self) -> u64 {
        self.fd.get_kvm_run().cr8
    }

    /// Tells KVM the task priority at the next entry.
    pub(crate) fn set_cr8(&mut self, cr8: u64) {
        self.fd.get_kvm_run().cr8 = cr8;
    }

    /// Queues external interrupt `vector` for the next entry.
    ///
    /// # Errors
    /// When one is queued already, or the ioctl fails.
    pub(crate) fn interrupt(&mut self, vector: u8) -> Result<()> {
        let interrupt = kvm_interrupt { irq: u32::from(vector) };
        // SAFETY: the file is a vCPU and the argument is what KVM_INTERRUPT reads.
        let code = unsafe { ioctl_with_ref(&self.fd, KVM_INTERRUPT(), &interrupt) };
        if code != 0 {
            return Err(Error::kvm("KVM_INTERRUPT", kvm_ioctls::Error::last()));
        }
        // A second one before the entry would replace it.
        self.event_queued = true;
        Ok(())
    }

    /// Queues a non-maskable interrupt.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn nmi(&self) -> Result<()> {
        self.fd.nmi().map_err(|e| Error::kvm("KVM_NMI", e))
    }

    /// Sets the guest debug state; cheap when nothing changes and `single_step` is off. A step must be asked for each
    /// time, because KVM and the guest may have dropped TF.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn set_debug(&mut self, debug: DebugControl) -> Result<()> {
        if debug == self.debug && !debug.single_step {
            return Ok(());
        }
        // KVM_SET_GUEST_DEBUG moves TF in and out of RFLAGS, so registers that wait in kvm_run must go first, and
        // what is there afterwards must be fetched.
        self.flush_registers()?;
        self.fd.set_guest_debug(&debug.to_kvm()).map_err(|e| Error::kvm("KVM_SET_GUEST_DEBUG", e))?;
        self.debug = debug;
        self.fd.sync_regs_mut().regs = self.fd.get_regs().map_err(|e| Error::kvm("KVM_GET_REGS", e))?;
        Ok(())
    }

    /// The guest debug state that is set.
    #[must_use]
    pub(crate) fn debug(&self) -> DebugControl {
        self.debug
    }

    /// Pending and blocked events.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn events(&self) -> Result<kvm_vcpu_events> {
        self.fd.get_vcpu_events().map_err(|e| Error::kvm("KVM_GET_VCPU_EVENTS", e))
    }

    /// Sets pending and blocked events that [`Self::events`] gave, but for those that may have come since: where KVM
    /// plays the local APICs other vCPUs send NMIs and INITs at any time.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn set_events(&self, events: &kvm_vcpu_events) -> Result<()> {
        // A pending INIT goes with the state of system management mode, which nothing here changes.
        const FROM_OTHERS: u32 = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SMM;
        self.put_events(&kvm_vcpu_events { flags: events.flags & !FROM_OTHERS, ..*events })
    }

    /// Forgets all pending and blocked events, an NMI and the shadow of `STI` too.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn clear_events(&mut self) -> Result<()> {
        let flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
        self.event_queued = false;
        self.put_events(&kvm_vcpu_events { flags, ..kvm_vcpu_events::default() })
    }

    fn put_events(&self, events: &kvm_vcpu_events) -> Result<()> {
        self.fd.set_vcpu_events(events).map_err(|e| Error::kvm("KVM_SET_VCPU_EVENTS", e))
    }

    /// The guest's own debug registers: what it has written to them, whatever the monitor has in the CPU's.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn debug_registers(&self) -> Result<kvm_debugregs> {
        self.fd.get_debug_regs().map_err(|e| Error::kvm("KVM_GET_DEBUGREGS", e))
    }

    /// Sets them.
    ///
    /// # Errors
    /// When KVM refuses a value.
    pub(crate) fn set_debug_registers(&self, registers: &kvm_debugregs) -> Result<()> {
        self.fd.set_debug_regs(registers).map_err(|e| Error::kvm("KVM_SET_DEBUGREGS", e))
    }

    /// Sets the guest's own DR6.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn set_dr6(&self, dr6: u64) -> Result<()> {
        self.set_debug_registers(&kvm_debugregs { dr6, ..self.debug_registers()? })
    }

    /// Reads an MSR; `None` if this host does not have it.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn msr(&self, index: u32) -> Result<Option<u64>> {
        let mut msrs = one_msr(index, 0)?;
        let read = self.fd.get_msrs(&mut msrs).map_err(|e| Error::kvm("KVM_GET_MSRS", e))?;
        Ok((read == 1).then(|| msrs.as_slice()[0].data))
    }

    /// Writes an MSR; false if the host refuses the value.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn set_msr(&self, index: u32, data: u64) -> Result<bool> {
        let msrs = one_msr(index, data)?;
        Ok(self.fd.set_msrs(&msrs).map_err(|e| Error::kvm("KVM_SET_MSRS", e))? == 1)
    }

    /// Sets what `CPUID` answers.
    ///
    /// # Errors
    /// When the host refuses it.
    pub(crate) fn set_cpuid(&mut self, cpuid: &CpuId) -> Result<()> {
        self.fd.set_cpuid2(cpuid).map_err(|e| Error::kvm("KVM_SET_CPUID2", e))?;
        self.ymm_upper = xsave::ymm_upper(cpuid);
        Ok(())
    }

    /// The frequency of the guest's TSC in kHz, 0 if the host does not tell.
    #[must_use]
    pub(crate) fn tsc_khz(&self) -> u64 {
        self.fd.get_tsc_khz().map_or(0, u64::from)
    }

    /// Writes registers that wait in `kvm_run` to the vCPU now.
    pub(super) fn flush_registers(&mut self) -> Result<()> {
        let dirty = self.fd.get_kvm_run().kvm_dirty_regs;
        let sync = self.fd.sync_regs();
        if dirty & u64::from(SyncReg::SystemRegister as u32) != 0 {
            self.fd.set_sregs(&sync.sregs).map_err(|e| Error::kvm("KVM_SET_SREGS", e))?;
            self.fd.clear_sync_dirty_reg(SyncReg::SystemRegister);
        }
        if dirty & u64::from(SyncReg::Register as u32) != 0 {
            self.fd.set_regs(&sync.regs).map_err(|e| Error::kvm("KVM_SET_REGS", e))?;
            self.fd.clear_sync_dirty_reg(SyncReg::Register);
        }
        Ok(())
    }
}

/// Whether there is an exit though `KVM_RUN` failed with `error`: `KVM_EXIT_MEMORY_FAULT` alone comes like that, and
/// after other errors the reason is an old one (Documentation/virt/kvm/api.rst, `KVM_EXIT_MEMORY_FAULT`).
fn has_exit(run: &kvm_run, error: kvm_ioctls::Error) -> bool {
    matches!(error.errno(), libc::EFAULT | libc::EHWPOISON) && run.exit_reason == KVM_EXIT_MEMORY_FAULT
}

fn one_msr(index: u32, data: u64) -> Result<Msrs> {
    let entry = kvm_msr_entry { index, data, ..kvm_msr_entry::default() };
    Msrs::from_entries(&[entry]).map_err(|_| Error::os("make room for an MSR", libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kvm::Host;
    use crate::memory::Memory;

    #[test]
    fn events_of_others_are_kept_until_all_are_cleared() {
        let Ok(host) = Host::open() else {
            eprintln!("SKIP events_of_others_are_kept_until_all_are_cleared: no /dev/kvm");
            return;
        };
        let vm = host.create_vm(Memory::new(1 << 20).unwrap()).unwrap();
        let mut vcpu = vm.create_vcpu(0).unwrap();
        let mut events = vcpu.events().unwrap();
        assert_eq!(events.nmi.pending, 0);
        vcpu.nmi().unwrap();
        events.interrupt.shadow = 1;
        vcpu.set_events(&events).unwrap();
        let now = vcpu.events().unwrap();
        assert_eq!(
            (now.nmi.pending, now.interrupt.shadow != 0),
            (1, true),
            "an NMI came after the events were read"
        );
        vcpu.clear_events().unwrap();
        let now = vcpu.events().unwrap();
        assert_eq!((now.nmi.pending, now.interrupt.shadow), (0, 0));
    }

    #[test]
    fn a_memory_fault_is_an_exit_that_comes_with_an_error() {
        let mut run = kvm_run { exit_reason: KVM_EXIT_MEMORY_FAULT, ..kvm_run::default() };
        run.__bindgen_anon_1.memory_fault.gpa = 0x5000;
        run.__bindgen_anon_1.memory_fault.size = 0x1000;
        for (errno, has) in
            [(libc::EFAULT, true), (libc::EHWPOISON, true), (libc::EINTR, false), (libc::ENOMEM, false)]
        {
            assert_eq!(has_exit(&run, kvm_ioctls::Error::new(errno)), has, "errno {errno}");
        }
        assert_eq!(Exit::read(&run), Exit::MemoryFault { flags: 0, gpa: 0x5000, size: 0x1000 });
        run.exit_reason = KVM_EXIT_IO;
        assert!(!has_exit(&run, kvm_ioctls::Error::new(libc::EFAULT)));
    }
}

//! A vCPU as it was after power-on, for a machine that begins anew.

use kvm_bindings::{
    KVM_MAX_MSR_ENTRIES, Msrs, kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs,
    kvm_sregs, kvm_xcrs, kvm_xsave,
};

use super::host::Host;
use super::vcpu::Vcpu;
use crate::error::{Error, Result};
use crate::msr::IA32_TIME_STAMP_COUNTER;

/// Everything that KVM keeps of a vCPU.
pub(crate) struct PowerOn {
    pub(crate) regs: kvm_regs,
    pub(crate) sregs: kvm_sregs,
    msrs: Vec<kvm_msr_entry>,
    /// None on a CPU without XSAVE.
    xcrs: Option<kvm_xcrs>,
    xsave: Box<kvm_xsave>,
    debug: kvm_debugregs,
    /// The local APIC and what the vCPU does, where KVM plays the one and so decides the other.
    apic: Option<(kvm_lapic_state, kvm_mp_state)>,
}

impl Host {
    /// The MSRs that belong to a vCPU's state: those of the CPU, and those of KVM's own, through which it writes to
    /// guest memory.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn msrs(&self) -> Result<Vec<u32>> {
        let list = self.kvm.get_msr_index_list().map_err(|e| Error::kvm("KVM_GET_MSR_INDEX_LIST", e))?;
        Ok(list.as_slice().iter().copied().filter(|index| *index != IA32_TIME_STAMP_COUNTER).collect())
    }
}

impl Vcpu {
    /// Notes the state of a vCPU that has not run yet, with these of its MSRs.
    ///
    /// # Errors
    /// When an ioctl fails.
    pub(crate) fn power_on(&mut self, msrs: &[u32]) -> Result<PowerOn> {
        let xsave = self.fd.get_xsave().map_err(|e| Error::kvm("KVM_GET_XSAVE", e))?;
        Ok(PowerOn {
            regs: self.regs(),
            sregs: self.sregs(),
            msrs: self.known_msrs(msrs)?,
            xcrs: self.fd.get_xcrs().ok().filter(|xcrs| xcrs.nr_xcrs > 0),
            xsave: Box::new(xsave),
            debug: self.debug_registers()?,
            // Without a local APIC in KVM there is nothing to get.
            apic: self.fd.get_lapic().ok().zip(self.fd.get_mp_state().ok()),
        })
    }

    /// Gives the vCPU a state that [`Self::power_on`] noted. Debug state that is the monitor's stays.
    ///
    /// # Errors
    /// When an ioctl fails.
    pub(crate) fn restore(&mut self, state: &PowerOn) -> Result<()> {
        self.clear_events()?;
        self.request_interrupt_window(false);
        self.set_sregs(&state.sregs);
        self.set_regs(&state.regs);
        self.set_cr8(state.sregs.cr8);
        self.flush_registers()?;
        if let Some(xcrs) = &state.xcrs {
            self.fd.set_xcrs(xcrs).map_err(|e| Error::kvm("KVM_SET_XCRS", e))?;
        }
        // SAFETY: no component that is enabled dynamically is, so KVM reads no more than the 4096 bytes of `region`.
        unsafe { self.fd.set_xsave(&state.xsave) }.map_err(|e| Error::kvm("KVM_SET_XSAVE", e))?;
        self.restore_msrs(&state.msrs)?;
        self.set_debug_registers(&state.debug)?;
        if let Some((apic, activity)) = &state.apic {
            self.fd.set_lapic(apic).map_err(|e| Error::kvm("KVM_SET_LAPIC", e))?;
            self.fd.set_mp_state(*activity).map_err(|e| Error::kvm("KVM_SET_MP_STATE", e))?;
        }
        self.fetch_sregs()
    }

    /// The values of those MSRs that can be read: KVM stops at the first that it does not have.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn known_msrs(&self, indices: &[u32]) -> Result<Vec<kvm_msr_entry>> {
        let mut known = Vec::with_capacity(indices.len());
        let mut rest = indices;
        while !rest.is_empty() {
            let asked: Vec<_> = (rest.iter().take(KVM_MAX_MSR_ENTRIES))
                .map(|index| kvm_msr_entry { index: *index, ..kvm_msr_entry::default() })
                .collect();
            let mut msrs = entries(&asked)?;
            let read = self.fd.get_msrs(&mut msrs).map_err(|e| Error::kvm("KVM_GET_MSRS", e))?;
            known.extend(msrs.as_slice().iter().take(read));
            let done = if read < asked.len() { read + 1 } else { read };
            rest = rest.get(done..).unwrap_or_default();
        }
        Ok(known)
    }

    /// Sets those MSRs that have changed. Some that can be read cannot be written, and never change.
    fn restore_msrs(&self, msrs: &[kvm_msr_entry]) -> Result<()> {
        let indices: Vec<u32> = msrs.iter().map(|msr| msr.index).collect();
        let now = self.known_msrs(&indices)?;
        for msr in msrs.iter().filter(|msr| !now.contains(msr)) {
            self.set_msr(msr.index, msr.data)?;
        }
        Ok(())
    }
}

fn entries(entries: &[kvm_msr_entry]) -> Result<Msrs> {
    Msrs::from_entries(entries).map_err(|_| Error::os("make room for MSRs", libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::msr::IA32_KERNEL_GS_BASE;

    #[test]
    fn a_vcpu_is_as_after_power_on_again() {
        let Ok(host) = Host::open() else {
            eprintln!("SKIP a_vcpu_is_as_after_power_on_again: no /dev/kvm");
            return;
        };
        let vm = host.create_vm(Memory::new(1 << 20).unwrap()).unwrap();
        let mut vcpu = vm.create_vcpu(0).unwrap();
        let msrs = host.msrs().unwrap();
        assert!(msrs.contains(&IA32_KERNEL_GS_BASE) && !msrs.contains(&IA32_TIME_STAMP_COUNTER));
        let before = vcpu.power_on(&msrs).unwrap();
        let (mut regs, mut sregs) = (vcpu.regs(), vcpu.sregs());
        (regs.rax, sregs.cr2) = (7, 0x7000);
        vcpu.try_set(&regs, &sregs).unwrap();
        assert!(vcpu.set_msr(IA32_KERNEL_GS_BASE, 0x1234_5000).unwrap());
        let mut floats = vcpu.floating_point().unwrap();
        floats.xmm[3] = 5;
        vcpu.set_floating_point(&floats).unwrap();
        vcpu.set_debug_registers(&kvm_debugregs { db: [1, 2, 3, 4], ..before.debug }).unwrap();
        vcpu.nmi().unwrap();
        vcpu.restore(&before).unwrap();
        assert_eq!((vcpu.regs(), vcpu.sregs()), (before.regs, before.sregs));
        assert_eq!(vcpu.msr(IA32_KERNEL_GS_BASE).unwrap(), Some(0));
        assert_eq!(vcpu.floating_point().unwrap().xmm[3], 0);
        assert_eq!(vcpu.debug_registers().unwrap().db, [0; 4]);
        assert_eq!(vcpu.events().unwrap().nmi.pending, 0);
    }
}

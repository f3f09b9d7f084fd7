//! A virtual machine: memory slots and vCPUs.

use kvm_bindings::{
    KVM_CAP_X86_USER_SPACE_MSR, KVM_MEM_READONLY, KVM_MSR_EXIT_REASON_FILTER, KVM_MSR_EXIT_REASON_INVAL,
    KVM_MSR_EXIT_REASON_UNKNOWN, kvm_enable_cap, kvm_userspace_memory_region,
};
use kvm_ioctls::MsrFilterDefaultAction;

use super::msr_filter;
use super::vcpu::Vcpu;
use crate::error::{Error, Result};
use crate::memory::Memory;

/// The machine's file descriptor, and the memory that it maps.
#[derive(Debug)]
pub(crate) struct VmFd {
    // Before `memory`: the slots go before what they map.
    pub(super) fd: kvm_ioctls::VmFd,
    memory: Memory,
}

impl VmFd {
    /// Makes `memory` the guest's memory from gpa 0 on, with MSR accesses forwarded as `msr_filter` lists them.
    pub(super) fn new(fd: kvm_ioctls::VmFd, memory: Memory) -> Result<Self> {
        // KVM on Intel without unrestricted guest needs three pages of the guest's for itself (api.rst 4.40).
        fd.set_tss_address(0xfffb_d000).map_err(|e| Error::kvm("KVM_SET_TSS_ADDR", e))?;
        let reasons = KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN;
        let cap = kvm_enable_cap {
            cap: KVM_CAP_X86_USER_SPACE_MSR,
            args: [u64::from(reasons), 0, 0, 0],
            ..kvm_enable_cap::default()
        };
        fd.enable_cap(&cap).map_err(|e| Error::kvm("KVM_ENABLE_CAP for X86_USER_SPACE_MSR", e))?;
        fd.set_msr_filter(MsrFilterDefaultAction::ALLOW, &msr_filter::forwarded())
            .map_err(|e| Error::kvm("KVM_X86_SET_MSR_FILTER", e))?;
        for (slot, region) in memory.regions().enumerate() {
            let region = kvm_userspace_memory_region {
                slot: slot as u32,
                guest_phys_addr: region.gpa,
                memory_size: region.len,
                userspace_addr: region.hva,
                flags: 0,
            };
            // SAFETY: the host range belongs to `memory`, which `Self` keeps alive longer than the slot; guest memory
            // is only ever accessed through volatile accessors.
            unsafe { fd.set_user_memory_region(region) }
                .map_err(|e| Error::kvm("KVM_SET_USER_MEMORY_REGION", e))?;
        }
        Ok(Self { fd, memory })
    }

    /// Makes the page of memory at `gpa` read-only for the guest: `slot` must be unused, and memory at `gpa` must be
    /// outside the slots that exist. For calibration, whose memory ends before it.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn add_read_only_alias(&self, slot: u32, gpa: u64, of: u64) -> Result<()> {
        let region = self.memory.regions().find(|r| (r.gpa..r.gpa + r.len).contains(&of));
        let hva = region.map(|r| r.hva + (of - r.gpa)).ok_or(Error::NotMemory { gpa: of, len: 0x1000 })?;
        let alias = kvm_userspace_memory_region {
            slot,
            guest_phys_addr: gpa,
            memory_size: 0x1000,
            userspace_addr: hva,
            flags: KVM_MEM_READONLY,
        };
        // SAFETY: the host page belongs to `self.memory`, which lives as long as the slot.
        unsafe { self.fd.set_user_memory_region(alias) }
            .map_err(|e| Error::kvm("KVM_SET_USER_MEMORY_REGION", e))
    }

    /// Makes vCPU `number`.
    ///
    /// # Errors
    /// When KVM refuses, for example because there are too many.
    pub(crate) fn create_vcpu(&self, number: u8) -> Result<Vcpu> {
        let fd = self.fd.create_vcpu(u64::from(number)).map_err(|e| Error::kvm("KVM_CREATE_VCPU", e))?;
        Vcpu::new(fd, number, self.fd.run_size())
    }
}

//! `/dev/kvm` itself.

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, Kvm};

use super::vm::VmFd;
use crate::error::{Error, Result};
use crate::memory::Memory;

/// Capabilities that the monitor cannot do without: the capability, its name, what it is for.
const REQUIRED: [(Cap, &str, &str); 5] = [
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY", "guest memory"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT", "interrupting a vCPU without losing the request"),
    (Cap::X86UserSpaceMsr, "KVM_CAP_X86_USER_SPACE_MSR", "seeing accesses to model-specific registers"),
    (Cap::X86MsrFilter, "KVM_CAP_X86_MSR_FILTER", "seeing where the guest puts its system-call entry"),
    (Cap::SyncRegs, "KVM_CAP_SYNC_REGS", "reading registers at every exit without a system call"),
];

/// An open `/dev/kvm` that has what the monitor needs.
#[derive(Debug)]
pub(crate) struct Host {
    pub(super) kvm: Kvm,
}

/// The first capability that is required and not there is an error.
fn require(has: impl Fn(Cap) -> bool) -> Result<()> {
    match REQUIRED.iter().find(|(cap, ..)| !has(*cap)) {
        Some((_, name, purpose)) => Err(Error::MissingCapability { name, purpose }),
        None => Ok(()),
    }
}

/// What a host's KVM says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostFacts {
    /// `KVM_GET_API_VERSION`.
    pub api_version: i32,
    /// The most vCPUs that a machine should and can have.
    pub recommended_vcpus: usize,
    /// Likewise.
    pub maximum_vcpus: usize,
    /// Memory slots.
    pub memory_slots: usize,
    /// Optional capabilities by name, and whether they are there.
    pub capabilities: Vec<(&'static str, bool)>,
}

impl Host {
    /// Opens `/dev/kvm`.
    ///
    /// # Errors
    /// When there is none, or no permission, or it lacks a capability: the error says which and what to do.
    pub(crate) fn open() -> Result<Self> {
        let kvm = Kvm::new().map_err(|e| Error::open_kvm(e.errno()))?;
        if kvm.get_api_version() != kvm_bindings::KVM_API_VERSION as i32 {
            return Err(Error::ApiVersion { version: kvm.get_api_version() });
        }
        require(|cap| kvm.check_extension(cap))?;
        Ok(Self { kvm })
    }

    /// Makes a machine with `memory`.
    ///
    /// # Errors
    /// When KVM refuses.
    pub(crate) fn create_vm(&self, memory: Memory) -> Result<VmFd> {
        let fd = self.kvm.create_vm().map_err(|e| Error::kvm("KVM_CREATE_VM", e))?;
        VmFd::new(fd, memory)
    }

    /// What this host's CPU and KVM can offer a guest through `CPUID`.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn supported_cpuid(&self) -> Result<CpuId> {
        self.kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(|e| Error::kvm("KVM_GET_SUPPORTED_CPUID", e))
    }

    /// What it says about itself.
    #[must_use]
    pub(crate) fn facts(&self) -> HostFacts {
        let optional = [
            (Cap::ReadonlyMem, "read-only memory"),
            (Cap::SetGuestDebug, "guest debug"),
            (Cap::SplitIrqchip, "split irqchip"),
            (Cap::Irqchip, "in-kernel irqchip"),
            (Cap::TscDeadlineTimer, "TSC deadline"),
            (Cap::DebugHwBps, "debug registers"),
        ];
        HostFacts {
            api_version: self.kvm.get_api_version(),
            recommended_vcpus: self.kvm.get_nr_vcpus(),
            maximum_vcpus: self.kvm.get_max_vcpus(),
            memory_slots: self.kvm.get_nr_memslots(),
            capabilities: optional.map(|(cap, name)| (name, self.kvm.check_extension(cap))).to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_that_is_missing_is_named_with_its_purpose() {
        assert!(require(|_| true).is_ok());
        for (missing, name, purpose) in REQUIRED {
            let error = require(|cap| cap as u32 != missing as u32).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(name) && text.contains(purpose), "{text}");
        }
    }
}

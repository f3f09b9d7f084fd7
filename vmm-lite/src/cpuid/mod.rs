//! What `CPUID` tells the guest.

pub(crate) mod features;
mod topology;

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

use crate::calibration::Instructions;
use crate::error::{Error, Result};
use topology::Place;

const LEAF_FEATURES: u32 = 1;
const LEAF_KVM_FEATURES: u32 = 0x4000_0001;
const LEAF_EXTENDED_FEATURES: u32 = 0x8000_0001;
const LEAF_ADDRESS_SIZES: u32 = 0x8000_0008;

/// Leaf 1, ECX.
const X2APIC: u32 = 1 << 21;
const TSC_DEADLINE: u32 = 1 << 24;
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 0x80000001, EDX.
const ONE_GIB_PAGES: u32 = 1 << 26;
/// The clock features of KVM's own leaf: the others replace APIC accesses by hypercalls or shared memory, which would
/// hide them from the monitor.
const KVM_CLOCKS: u32 = 1 | 1 << 3 | 1 << 24;

/// What this machine offers beyond the host's `CPUID`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) vcpus: u8,
    pub(crate) x2apic: bool,
    pub(crate) tsc_deadline: bool,
    /// What is not offered because kernel code lacks it.
    pub(crate) hides: Instructions,
}

/// The host's `cpuid` as vCPU `number` shall see it.
///
/// # Errors
/// When it has more entries than KVM takes.
pub(crate) fn for_vcpu(host: &CpuId, number: u8, offer: Offer) -> Result<CpuId> {
    let mut entries = host.as_slice().to_vec();
    for entry in &mut entries {
        match entry.function {
            LEAF_FEATURES => {
                entry.ecx &= !(X2APIC | TSC_DEADLINE);
                entry.ecx |= HYPERVISOR;
                if offer.x2apic {
                    entry.ecx |= X2APIC;
                }
                if offer.tsc_deadline {
                    entry.ecx |= TSC_DEADLINE;
                }
            }
            LEAF_KVM_FEATURES => entry.eax &= KVM_CLOCKS,
            _ => {}
        }
    }
    features::hide(&mut entries, offer.hides);
    topology::describe(&mut entries, Place { number, vcpus: offer.vcpus });
    CpuId::from_entries(&entries).map_err(|_| Error::HostCannot {
        operation: "describe the guest's CPUs",
        why: "its KVM has more CPUID leaves than it takes",
    })
}

/// The names of the features that `hides` takes from the host's `cpuid`.
pub(crate) fn hidden(host: &CpuId, hides: Instructions) -> Vec<&'static str> {
    features::hide(&mut host.as_slice().to_vec(), hides)
}

/// EAX and EDX of leaf 1: family, model and stepping, and the oldest features.
pub(crate) fn signature(cpuid: &CpuId) -> (u32, u32) {
    leaf(cpuid, LEAF_FEATURES).map_or((0, 0), |entry| (entry.eax, entry.edx))
}

/// MAXPHYADDR, and whether there are 1 GiB pages.
pub(crate) fn paging_features(cpuid: &CpuId) -> (u8, bool) {
    let bits = leaf(cpuid, LEAF_ADDRESS_SIZES).map_or(36, |entry| entry.eax as u8);
    (bits, leaf(cpuid, LEAF_EXTENDED_FEATURES).is_some_and(|entry| entry.edx & ONE_GIB_PAGES != 0))
}

fn leaf(cpuid: &CpuId, function: u32) -> Option<&kvm_cpuid_entry2> {
    cpuid.as_slice().iter().find(|entry| entry.function == function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Instruction;

    fn host() -> CpuId {
        let entry = |function, [eax, ebx, ecx, edx]: [u32; 4]| kvm_cpuid_entry2 {
            function,
            eax,
            ebx,
            ecx,
            edx,
            ..kvm_cpuid_entry2::default()
        };
        CpuId::from_entries(&[
            entry(0, [0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65]),
            entry(1, [0x00a1_0f11, 0x800, X2APIC | TSC_DEADLINE | 1 << 13, 0x78b_fbff]),
            entry(0x4000_0001, [u32::MAX, 0, 0, 0]),
        ])
        .unwrap()
    }

    #[test]
    fn only_what_is_offered() {
        let offer = Offer {
            vcpus: 2,
            x2apic: false,
            tsc_deadline: true,
            hides: [Instruction::Cmpxchg16b].into_iter().collect(),
        };
        let cpuid = for_vcpu(&host(), 1, offer).unwrap();
        assert_eq!(leaf(&cpuid, 1).unwrap().ecx, TSC_DEADLINE | HYPERVISOR);
        assert_eq!(leaf(&cpuid, 1).unwrap().ebx >> 16, 0x0102);
        assert_eq!(leaf(&cpuid, 0x4000_0001).unwrap().eax, KVM_CLOCKS);
        assert_eq!(hidden(&host(), offer.hides), ["cx16"]);
        assert_eq!(hidden(&host(), Instructions::default()), Vec::<&str>::new());
    }
}

//! What `CPUID` tells the guest.

use kvm_bindings::CpuId;

const LEAF_FEATURES: u32 = 1;
const LEAF_TOPOLOGY: u32 = 0xb;
const LEAF_TOPOLOGY_V2: u32 = 0x1f;
const LEAF_KVM_FEATURES: u32 = 0x4000_0001;
const LEAF_EXTENDED_FEATURES: u32 = 0x8000_0001;
const LEAF_ADDRESS_SIZES: u32 = 0x8000_0008;

const X2APIC: u32 = 1 << 21;
const TSC_DEADLINE: u32 = 1 << 24;
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
}

/// The host's `cpuid` as vCPU `number` shall see it.
pub(crate) fn for_vcpu(host: &CpuId, number: u8, offer: Offer) -> CpuId {
    let mut cpuid = host.clone();
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            LEAF_FEATURES => {
                // EBX: initial APIC id in 31:24, number of logical processors in 23:16 (SDM vol. 2, "CPUID").
                entry.ebx = entry.ebx & 0xffff | u32::from(offer.vcpus) << 16 | u32::from(number) << 24;
                entry.ecx &= !(X2APIC | TSC_DEADLINE);
                if offer.x2apic {
                    entry.ecx |= X2APIC;
                }
                if offer.tsc_deadline {
                    entry.ecx |= TSC_DEADLINE;
                }
            }
            LEAF_TOPOLOGY | LEAF_TOPOLOGY_V2 => entry.edx = number.into(),
            LEAF_KVM_FEATURES => entry.eax &= KVM_CLOCKS,
            _ => {}
        }
    }
    cpuid
}

/// EAX and EDX of leaf 1: family, model and stepping, and the oldest features.
pub(crate) fn signature(cpuid: &CpuId) -> (u32, u32) {
    let leaf = cpuid.as_slice().iter().find(|entry| entry.function == LEAF_FEATURES);
    leaf.map_or((0, 0), |entry| (entry.eax, entry.edx))
}

/// MAXPHYADDR, and whether there are 1 GiB pages.
pub(crate) fn paging_features(cpuid: &CpuId) -> (u8, bool) {
    let leaf = |function| cpuid.as_slice().iter().find(|entry| entry.function == function);
    let bits = leaf(LEAF_ADDRESS_SIZES).map_or(36, |entry| entry.eax as u8);
    (bits, leaf(LEAF_EXTENDED_FEATURES).is_some_and(|entry| entry.edx & ONE_GIB_PAGES != 0))
}

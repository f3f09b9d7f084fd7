//! The machine's topology as `CPUID` tells it: one package, a core for each vCPU, no hyper-threads, and a last-level
//! cache that all share. The APIC id of a vCPU is its number.

use kvm_bindings::{KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

const LEAF_MAXIMUM: u32 = 0;
const LEAF_FEATURES: u32 = 1;
const LEAF_CACHES: u32 = 4;
const LEAF_TOPOLOGY: u32 = 0xb;
const LEAF_TOPOLOGY_V2: u32 = 0x1f;
const LEAF_AMD_FEATURES: u32 = 0x8000_0001;
const LEAF_AMD_SIZES: u32 = 0x8000_0008;
const LEAF_AMD_CACHES: u32 = 0x8000_001d;
const LEAF_AMD_TOPOLOGY: u32 = 0x8000_001e;
const LEAF_AMD_TOPOLOGY_V2: u32 = 0x8000_0026;

/// Leaf 1, EDX: the counts in EBX are valid.
const HYPER_THREADING: u32 = 1 << 28;
/// Leaf 0x80000001, ECX: the logical processors of leaf 1 are cores.
const CORES_LEGACY: u32 = 1 << 1;

/// A vCPU's place among all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) number: u8,
    pub(super) vcpus: u8,
}

impl Place {
    /// Bits of an APIC id that tell cores apart.
    const fn core_bits(self) -> u32 {
        (self.vcpus as u32).next_power_of_two().trailing_zeros()
    }

    /// How many APIC ids there is room for.
    const fn ids(self) -> u32 {
        1 << self.core_bits()
    }
}

/// Rewrites what KVM says of its host's topology.
pub(super) fn describe(entries: &mut Vec<kvm_cpuid_entry2>, place: Place) {
    let Place { number, vcpus } = place;
    let (number, vcpus) = (u32::from(number), u32::from(vcpus));
    let amd = is_amd(entries);
    for entry in entries.iter_mut() {
        match entry.function {
            LEAF_FEATURES => {
                // EBX: initial APIC id in 31:24, number of logical processors in 23:16 (SDM vol. 2, "CPUID").
                entry.ebx = entry.ebx & 0xffff | vcpus << 16 | number << 24;
                entry.edx = with_bit(entry.edx, HYPER_THREADING, vcpus > 1);
            }
            // EAX: type in 4:0, none if 0; threads that share it in 25:14, cores in the package in 31:26, both less one.
            LEAF_CACHES if entry.eax & 0x1f != 0 => {
                entry.eax =
                    entry.eax & 0x3fff | (sharers(entry.eax, place) - 1) << 14 | (place.ids() - 1) << 26;
            }
            LEAF_AMD_CACHES if entry.eax & 0x1f != 0 => {
                entry.eax = entry.eax & !(0xfff << 14) | (sharers(entry.eax, place) - 1) << 14;
            }
            LEAF_AMD_FEATURES if amd => entry.ecx = with_bit(entry.ecx, CORES_LEGACY, vcpus > 1),
            // ECX: cores less one in 7:0, bits of the APIC id for them in 15:12 (APM vol. 3, appendix E).
            LEAF_AMD_SIZES if amd => {
                entry.ecx = entry.ecx & !0xf0ff | (vcpus - 1) | place.core_bits() << 12;
            }
            // Extended APIC id; core id, and threads a core less one in 15:8; node 0 of one.
            LEAF_AMD_TOPOLOGY if amd => (entry.eax, entry.ebx, entry.ecx) = (number, number, 0),
            _ => {}
        }
    }
    let maximum = maximum_leaf(entries);
    entries
        .retain(|entry| !matches!(entry.function, LEAF_TOPOLOGY | LEAF_TOPOLOGY_V2 | LEAF_AMD_TOPOLOGY_V2));
    for leaf in [LEAF_TOPOLOGY, LEAF_TOPOLOGY_V2] {
        if leaf <= maximum {
            entries.extend(levels(leaf, place));
        }
    }
}

/// The levels of a topology leaf: threads in a core, cores in the package, and the end.
fn levels(function: u32, place: Place) -> [kvm_cpuid_entry2; 3] {
    const THREAD: u32 = 1;
    const CORE: u32 = 2;
    // Bits to shift the APIC id by for the next level, logical processors here, type.
    [(0, 1, THREAD), (place.core_bits(), place.vcpus.into(), CORE), (0, 0, 0)]
        .map(|(shift, processors, kind)| (shift, processors, kind << 8))
        .map({
            let mut next = 0;
            move |(eax, ebx, kind)| {
                let index = next;
                next += 1;
                kvm_cpuid_entry2 {
                    function,
                    index,
                    flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                    eax,
                    ebx,
                    ecx: kind | index,
                    edx: place.number.into(),
                    ..kvm_cpuid_entry2::default()
                }
            }
        })
}

/// How many APIC ids share a cache: level 1 and 2 are a core's own.
const fn sharers(eax: u32, place: Place) -> u32 {
    if eax >> 5 & 0b111 >= 3 { place.ids() } else { 1 }
}

fn maximum_leaf(entries: &[kvm_cpuid_entry2]) -> u32 {
    entries.iter().find(|entry| entry.function == LEAF_MAXIMUM).map_or(0, |entry| entry.eax)
}

fn is_amd(entries: &[kvm_cpuid_entry2]) -> bool {
    let vendor = entries.iter().find(|entry| entry.function == LEAF_MAXIMUM).map(|entry| {
        let mut vendor = [0; 12];
        for (bytes, register) in vendor.chunks_mut(4).zip([entry.ebx, entry.edx, entry.ecx]) {
            bytes.copy_from_slice(&register.to_le_bytes());
        }
        vendor
    });
    matches!(vendor.as_ref(), Some(b"AuthenticAMD" | b"HygonGenuine"))
}

const fn with_bit(value: u32, bit: u32, set: bool) -> u32 {
    if set { value | bit } else { value & !bit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, index: u32, registers: [u32; 4]) -> kvm_cpuid_entry2 {
        let [eax, ebx, ecx, edx] = registers;
        kvm_cpuid_entry2 { function, index, eax, ebx, ecx, edx, ..kvm_cpuid_entry2::default() }
    }

    fn find(entries: &[kvm_cpuid_entry2], function: u32, index: u32) -> [u32; 4] {
        let entry = entries.iter().find(|e| e.function == function && e.index == index).unwrap();
        [entry.eax, entry.ebx, entry.ecx, entry.edx]
    }

    fn vendor(name: &[u8; 12], maximum: u32) -> kvm_cpuid_entry2 {
        let part = |at: usize| u32::from_le_bytes(name[at..at + 4].try_into().unwrap());
        entry(0, 0, [maximum, part(0), part(8), part(4)])
    }

    #[test]
    fn an_intel_machine() {
        let mut entries = vec![
            vendor(b"GenuineIntel", 0x1f),
            entry(1, 0, [0, 0x0710_0800, 0, 0]),
            // A first-level data cache, a third-level one, and the end; the host's sharing.
            entry(4, 0, [0x1c00_4121, 0, 0, 0]),
            entry(4, 3, [0xfc3f_c163, 0, 0, 0]),
            entry(4, 4, [0, 0, 0, 0]),
            entry(0xb, 0, [1, 2, 0x100, 7]),
            entry(0x8000_0008, 0, [0x3027, 0, 0, 0]),
        ];
        describe(&mut entries, Place { number: 2, vcpus: 3 });
        assert_eq!(find(&entries, 1, 0), [0, 0x0203_0800, 0, 1 << 28]);
        assert_eq!(find(&entries, 4, 0)[0], 0x0c00_0121);
        assert_eq!(find(&entries, 4, 3)[0], 0x0c00_c163);
        assert_eq!(find(&entries, 4, 4)[0], 0);
        for leaf in [0xb, 0x1f] {
            assert_eq!(find(&entries, leaf, 0), [0, 1, 0x100, 2]);
            assert_eq!(find(&entries, leaf, 1), [2, 3, 0x201, 2]);
            assert_eq!(find(&entries, leaf, 2), [0, 0, 2, 2]);
        }
        assert_eq!(find(&entries, 0x8000_0008, 0)[2], 0, "AMD's");
    }

    #[test]
    fn an_amd_machine() {
        let mut entries = vec![
            vendor(b"AuthenticAMD", 0xd),
            entry(1, 0, [0, 0x800, 0, 0]),
            entry(0x8000_0001, 0, [0, 0, 0, 0]),
            entry(0x8000_0008, 0, [0x3030, 0, 0x7001, 0]),
            entry(0x8000_001d, 0, [0x121, 0, 0, 0]),
            entry(0x8000_001d, 3, [0x03ff_c163, 0, 0, 0]),
            entry(0x8000_001e, 0, [9, 9, 9, 0]),
        ];
        describe(&mut entries, Place { number: 3, vcpus: 4 });
        assert_eq!(find(&entries, 0x8000_0001, 0)[2], 2);
        assert_eq!(find(&entries, 0x8000_0008, 0)[2], 0x2003);
        assert_eq!(find(&entries, 0x8000_001d, 0)[0], 0x121);
        assert_eq!(find(&entries, 0x8000_001d, 3)[0], 0xc163);
        assert_eq!(find(&entries, 0x8000_001e, 0), [3, 3, 0, 0]);
        assert_eq!(find(&entries, 0xb, 1), [2, 4, 0x201, 3]);
        assert!(entries.iter().all(|entry| entry.function != 0x1f), "above the maximum");
    }

    #[test]
    fn one_vcpu_is_alone() {
        let mut entries = vec![vendor(b"AuthenticAMD", 0xd), entry(1, 0, [0, 0, 0, 1 << 28])];
        describe(&mut entries, Place { number: 0, vcpus: 1 });
        assert_eq!(find(&entries, 1, 0), [0, 0x1_0000, 0, 0]);
        assert_eq!(find(&entries, 0xb, 1), [0, 1, 0x201, 0]);
    }
}

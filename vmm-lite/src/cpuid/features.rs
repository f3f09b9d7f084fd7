//! Features that are hidden when guest kernel code cannot use them.
//!
//! Some KVMs carry out guest kernel code themselves and lack instructions that they offer; a kernel that believes
//! `CPUID` ends there. Calibration tries the instructions, and this table says which bits promise them.

use kvm_bindings::kvm_cpuid_entry2;

use crate::calibration::{Instruction, Instructions};

/// A register that `CPUID` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Ebx,
    Ecx,
    Edx,
}

/// A feature bit.
struct Feature {
    leaf: u32,
    register: Register,
    bit: u8,
    /// As Linux names it.
    name: &'static str,
    /// Hidden when kernel code lacks this.
    needs: Instruction,
}

const fn feature(leaf: u32, register: Register, bit: u8, name: &'static str, needs: Instruction) -> Feature {
    Feature { leaf, register, bit, name, needs }
}

/// All of index 0 (Intel SDM vol. 2A, "CPUID"; AMD APM vol. 3, appendix E). The instruction that a bit needs is what
/// the bit promises, or for the families that work on state beyond SSE's the one that saves such state.
const FEATURES: [Feature; 56] = {
    use Instruction as I;
    use Register::{Ebx, Ecx, Edx};
    const SEVEN: u32 = 7;
    const AMD: u32 = 0x8000_0001;
    const AMD_MORE: u32 = 0x8000_0008;
    [
        feature(1, Ecx, 0, "pni", I::Addsubps),
        feature(1, Ecx, 1, "pclmulqdq", I::Pclmulqdq),
        feature(1, Ecx, 3, "monitor", I::Monitor),
        feature(1, Ecx, 9, "ssse3", I::Pabsb),
        feature(1, Ecx, 12, "fma", I::Xsave),
        feature(1, Ecx, 13, "cx16", I::Cmpxchg16b),
        feature(1, Ecx, 19, "sse4_1", I::Ptest),
        feature(1, Ecx, 20, "sse4_2", I::Crc32),
        feature(1, Ecx, 22, "movbe", I::Movbe),
        feature(1, Ecx, 23, "popcnt", I::Popcnt),
        feature(1, Ecx, 25, "aes", I::Aesenc),
        feature(1, Ecx, 26, "xsave", I::Xsave),
        feature(1, Ecx, 27, "osxsave", I::Xsave),
        feature(1, Ecx, 28, "avx", I::Xsave),
        feature(1, Ecx, 29, "f16c", I::Xsave),
        feature(1, Ecx, 30, "rdrand", I::Rdrand),
        feature(SEVEN, Ebx, 0, "fsgsbase", I::Rdfsbase),
        feature(SEVEN, Ebx, 3, "bmi1", I::Andn),
        feature(SEVEN, Ebx, 5, "avx2", I::Xsave),
        feature(SEVEN, Ebx, 8, "bmi2", I::Shlx),
        feature(SEVEN, Ebx, 10, "invpcid", I::Invpcid),
        feature(SEVEN, Ebx, 14, "mpx", I::Xsave),
        feature(SEVEN, Ebx, 16, "avx512f", I::Xsave),
        feature(SEVEN, Ebx, 17, "avx512dq", I::Xsave),
        feature(SEVEN, Ebx, 18, "rdseed", I::Rdseed),
        feature(SEVEN, Ebx, 19, "adx", I::Adcx),
        feature(SEVEN, Ebx, 20, "smap", I::Clac),
        feature(SEVEN, Ebx, 21, "avx512ifma", I::Xsave),
        feature(SEVEN, Ebx, 23, "clflushopt", I::Clflushopt),
        feature(SEVEN, Ebx, 24, "clwb", I::Clwb),
        feature(SEVEN, Ebx, 28, "avx512cd", I::Xsave),
        feature(SEVEN, Ebx, 29, "sha_ni", I::Sha1nexte),
        feature(SEVEN, Ebx, 30, "avx512bw", I::Xsave),
        feature(SEVEN, Ebx, 31, "avx512vl", I::Xsave),
        feature(SEVEN, Ecx, 1, "avx512vbmi", I::Xsave),
        feature(SEVEN, Ecx, 3, "pku", I::Xsave),
        feature(SEVEN, Ecx, 6, "avx512_vbmi2", I::Xsave),
        feature(SEVEN, Ecx, 8, "gfni", I::Gf2p8mulb),
        feature(SEVEN, Ecx, 9, "vaes", I::Xsave),
        feature(SEVEN, Ecx, 10, "vpclmulqdq", I::Xsave),
        feature(SEVEN, Ecx, 11, "avx512_vnni", I::Xsave),
        feature(SEVEN, Ecx, 12, "avx512_bitalg", I::Xsave),
        feature(SEVEN, Ecx, 14, "avx512_vpopcntdq", I::Xsave),
        feature(SEVEN, Ecx, 22, "rdpid", I::Rdpid),
        feature(SEVEN, Ecx, 27, "movdiri", I::Movdiri),
        feature(SEVEN, Ecx, 28, "movdir64b", I::Movdir64b),
        feature(SEVEN, Edx, 14, "serialize", I::Serialize),
        feature(SEVEN, Edx, 22, "amx_bf16", I::Xsave),
        feature(SEVEN, Edx, 24, "amx_tile", I::Xsave),
        feature(AMD, Ecx, 5, "abm", I::Lzcnt),
        feature(AMD, Ecx, 6, "sse4a", I::Extrq),
        feature(AMD, Ecx, 11, "xop", I::Xsave),
        feature(AMD, Ecx, 16, "fma4", I::Xsave),
        feature(AMD, Edx, 27, "rdtscp", I::Rdtscp),
        feature(AMD_MORE, Ebx, 0, "clzero", I::Clzero),
        feature(AMD_MORE, Ebx, 9, "wbnoinvd", I::Wbnoinvd),
    ]
};

/// State components and their sizes: there are none without `XSAVE`.
const LEAF_STATE: u32 = 0xd;

impl Feature {
    /// Its register, if it is in this entry.
    fn register<'a>(&self, entry: &'a mut kvm_cpuid_entry2) -> Option<&'a mut u32> {
        (entry.function == self.leaf && entry.index == 0).then_some(match self.register {
            Register::Ebx => &mut entry.ebx,
            Register::Ecx => &mut entry.ecx,
            Register::Edx => &mut entry.edx,
        })
    }

    /// Clears it in these entries; true if it was set.
    fn clear(&self, entries: &mut [kvm_cpuid_entry2]) -> bool {
        let mut was_set = false;
        for register in entries.iter_mut().filter_map(|entry| self.register(entry)) {
            was_set |= *register & 1 << self.bit != 0;
            *register &= !(1 << self.bit);
        }
        was_set
    }
}

/// The instructions that these entries promise.
pub(crate) fn offered(entries: &[kvm_cpuid_entry2]) -> Instructions {
    let mut entries = entries.to_vec();
    FEATURES.iter().filter(|feature| feature.clear(&mut entries)).map(|feature| feature.needs).collect()
}

/// Clears the bits that promise what kernel code `lacks`, and returns the names of those that were set.
pub(super) fn hide(entries: &mut Vec<kvm_cpuid_entry2>, lacks: Instructions) -> Vec<&'static str> {
    let promises = FEATURES.iter().filter(|feature| lacks.contains(feature.needs));
    let hidden = promises.filter(|feature| feature.clear(entries)).map(|feature| feature.name).collect();
    if lacks.contains(Instruction::Xsave) {
        entries.retain(|entry| entry.function != LEAF_STATE);
    }
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Vec<kvm_cpuid_entry2> {
        let entry = |function| kvm_cpuid_entry2 {
            function,
            ebx: u32::MAX,
            ecx: u32::MAX,
            edx: u32::MAX,
            ..kvm_cpuid_entry2::default()
        };
        [1, 7, 0xd, 0x8000_0001, 0x8000_0008].map(entry).to_vec()
    }

    #[test]
    fn what_kernel_code_has_stays() {
        let mut entries = everything();
        assert!(hide(&mut entries, Instructions::default()).is_empty());
        assert_eq!(entries, everything());
    }

    #[test]
    fn what_it_lacks_goes() {
        let mut entries = everything();
        let lacks = [Instruction::Cmpxchg16b, Instruction::Clwb].into_iter().collect();
        assert_eq!(hide(&mut entries, lacks), ["cx16", "clwb"]);
        assert_eq!(entries[0].ecx, !(1 << 13));
        assert_eq!(entries[1].ebx, !(1 << 24));
        assert_eq!(hide(&mut entries, lacks), Vec::<&str>::new(), "once");
    }

    #[test]
    fn the_avx_families_go_with_their_state() {
        let mut entries = everything();
        let hidden = hide(&mut entries, [Instruction::Xsave].into_iter().collect());
        assert!(
            ["xsave", "osxsave", "avx", "avx2", "avx512f", "fma4"].iter().all(|name| hidden.contains(name))
        );
        assert!(entries.iter().all(|entry| entry.function != 0xd));
        assert!(!offered(&entries).contains(Instruction::Xsave));
    }

    #[test]
    fn every_bit_is_listed_once() {
        for (n, feature) in FEATURES.iter().enumerate() {
            let same = |other: &Feature| {
                (other.leaf, other.register, other.bit) == (feature.leaf, feature.register, feature.bit)
                    || other.name == feature.name
            };
            assert!(!FEATURES[n + 1..].iter().any(same), "{}", feature.name);
        }
    }
}

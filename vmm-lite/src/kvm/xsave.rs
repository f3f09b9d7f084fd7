//! x87, SSE and AVX for people and debuggers: everything of it, where [`super::Fpu`] is what an x87 instruction needs.

use kvm_bindings::{CpuId, kvm_xsave};

use super::vcpu::Vcpu;
use crate::error::{Error, Result};

/// XCR0's and XSTATE_BV's bits (SDM vol. 1, 13.1).
const X87: u32 = 1;
const SSE: u32 = 1 << 1;
const AVX: u32 = 1 << 2;
/// Where things are in the area, in words: XMM0 and XSTATE_BV (SDM vol. 1, 13.4).
const XMM: usize = 40;
const XSTATE_BV: usize = 128;
/// The size of a component that has 16 upper halves of YMM registers, in bytes.
const YMM_UPPER_SIZE: usize = 16 * 16;
/// Where ST0 is, in words; each register has four.
const ST: usize = 8;

/// What x87 and SSE have after reset (SDM vol. 3, table 11-1).
const FCW_AFTER_RESET: u16 = 0x37f;
const MXCSR_AFTER_RESET: u32 = 0x1f80;

/// The state of x87, SSE and AVX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloatingPoint {
    /// Control word.
    pub fcw: u16,
    /// Status word.
    pub fsw: u16,
    /// The tag word in its short form: a bit for each physical register R0 to R7 that is in use. See
    /// [`Self::tag_word`].
    pub in_use: u8,
    /// The last opcode, 11 bits; some CPUs keep it only after an exception that is not masked.
    pub fop: u16,
    /// The last instruction's address, as FXSAVE64 has it.
    pub fip: u64,
    /// Its operand's address, likewise.
    pub fdp: u64,
    /// ST0 to ST7 as they are in memory: significand, then sign and exponent.
    pub st: [[u8; 10]; 8],
    /// Control and status of SSE.
    pub mxcsr: u32,
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// Bits 128 to 255 of YMM0 to YMM15, all zero until the guest enables AVX in XCR0 and uses it. `None` if its CPU
    /// has no AVX.
    pub ymm_upper: Option<[u128; 16]>,
}

impl Default for FloatingPoint {
    /// As after reset.
    fn default() -> Self {
        Self {
            fcw: FCW_AFTER_RESET,
            fsw: 0,
            in_use: 0,
            fop: 0,
            fip: 0,
            fdp: 0,
            st: [[0; 10]; 8],
            mxcsr: MXCSR_AFTER_RESET,
            xmm: [0; 16],
            ymm_upper: None,
        }
    }
}

impl FloatingPoint {
    /// The tag word in its full form, two bits for each physical register: 0 valid, 1 zero, 2 special, 3 empty (SDM
    /// vol. 1, 8.1.7).
    #[must_use]
    pub fn tag_word(&self) -> u16 {
        let top = self.fsw >> 11 & 7;
        (0..8_u16).fold(0, |word, physical| {
            let st = usize::from(physical.wrapping_sub(top) & 7);
            let tag = match self.st.get(st) {
                Some(register) if self.in_use & 1 << physical != 0 => kind(register),
                _ => 3,
            };
            word | tag << (2 * physical)
        })
    }

    /// Sets [`Self::in_use`] by a tag word in its full form. What is in a register says of which kind it is, so only
    /// "empty" counts.
    pub fn set_tag_word(&mut self, word: u16) {
        self.in_use = (0..8).fold(0, |bits, n| bits | u8::from(word >> (2 * n) & 3 != 3) << n);
    }

    fn unpack(area: &kvm_xsave, ymm_upper: Option<usize>) -> Self {
        let word = |n: usize| area.region.get(n).copied().unwrap_or_default();
        let long = |n: usize| u64::from(word(n)) | u64::from(word(n + 1)) << 32;
        let wide = |n: usize| u128::from(long(n)) | u128::from(long(n + 2)) << 64;
        // A component without its bit is as after reset, whatever is in its place.
        let present = word(XSTATE_BV);
        let mut state = Self { mxcsr: word(6), ..Self::default() };
        if present & X87 != 0 {
            (state.fcw, state.fsw) = (word(0) as u16, (word(0) >> 16) as u16);
            (state.in_use, state.fop) = (word(1) as u8, (word(1) >> 16) as u16);
            (state.fip, state.fdp) = (long(2), long(4));
            state.st = std::array::from_fn(|n| {
                let bytes = wide(ST + 4 * n).to_le_bytes();
                std::array::from_fn(|at| bytes[at])
            });
        }
        if present & SSE != 0 {
            state.xmm = std::array::from_fn(|n| wide(XMM + 4 * n));
        }
        state.ymm_upper = ymm_upper
            .map(|at| std::array::from_fn(|n| if present & AVX != 0 { wide(at / 4 + 4 * n) } else { 0 }));
        state
    }

    /// Replaces this part of `area`; the rest stays.
    fn pack(&self, area: &mut kvm_xsave, ymm_upper: Option<usize>) {
        let mut put = |n: usize, value: u128, words: usize| {
            let bytes = value.to_le_bytes();
            for (word, value) in area.region.iter_mut().skip(n).zip(bytes.chunks_exact(4)).take(words) {
                *word = value.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
            }
        };
        put(0, u128::from(self.fcw) | u128::from(self.fsw) << 16, 1);
        put(1, u128::from(self.in_use) | u128::from(self.fop) << 16, 1);
        put(2, u128::from(self.fip) | u128::from(self.fdp) << 64, 4);
        put(6, self.mxcsr.into(), 1);
        for (n, st) in self.st.iter().enumerate() {
            let value = st.iter().rev().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
            put(ST + 4 * n, value, 4);
        }
        for (n, xmm) in self.xmm.iter().enumerate() {
            put(XMM + 4 * n, *xmm, 4);
        }
        let upper = ymm_upper.zip(self.ymm_upper.as_ref());
        if let Some((at, upper)) = upper {
            for (n, half) in upper.iter().enumerate() {
                put(at / 4 + 4 * n, *half, 4);
            }
        }
        area.region[XSTATE_BV] |= X87 | SSE | if upper.is_some() { AVX } else { 0 };
    }
}

/// Where the upper halves of the YMM registers are in an XSAVE area, in bytes, if `cpuid` has them. KVM's areas are laid
/// out as the host's CPU does it, and the guest's `CPUID` tells the same.
pub(super) fn ymm_upper(cpuid: &CpuId) -> Option<usize> {
    const LEAF_FEATURES: u32 = 1;
    const LEAF_STATE: u32 = 0xd;
    const XSAVE_AND_AVX: u32 = 1 << 26 | 1 << 28;
    const AVX_COMPONENT: u32 = 2;
    let leaf = |function, index| {
        cpuid.as_slice().iter().find(|entry| (entry.function, entry.index) == (function, index))
    };
    let promised = leaf(LEAF_FEATURES, 0)?.ecx & XSAVE_AND_AVX == XSAVE_AND_AVX;
    // EAX is the component's size, EBX its offset (SDM vol. 1, 13.2).
    let component = leaf(LEAF_STATE, AVX_COMPONENT)?;
    let at = component.ebx as usize;
    let fits = at.is_multiple_of(4) && at.checked_add(YMM_UPPER_SIZE)? <= size_of::<kvm_xsave>();
    (promised && component.eax as usize == YMM_UPPER_SIZE && fits).then_some(at)
}

/// A tag for what is in a register that is in use.
fn kind(register: &[u8; 10]) -> u16 {
    const VALID: u16 = 0;
    const ZERO: u16 = 1;
    const SPECIAL: u16 = 2;
    let exponent = u16::from_le_bytes([register[8], register[9]]) & 0x7fff;
    let significand = &register[..8];
    match exponent {
        0 if significand.iter().all(|byte| *byte == 0) => ZERO,
        0 | 0x7fff => SPECIAL,
        // Without its integer bit it is no number.
        _ if register[7] & 0x80 == 0 => SPECIAL,
        _ => VALID,
    }
}

impl Vcpu {
    /// x87, SSE and AVX. `KVM_GET_XSAVE` also works on CPUs without XSAVE.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn floating_point(&self) -> Result<FloatingPoint> {
        Ok(FloatingPoint::unpack(&*self.xsave_area()?, self.ymm_upper))
    }

    /// Sets them.
    ///
    /// # Errors
    /// When KVM refuses a value: MXCSR has bits that raise #GP.
    pub(crate) fn set_floating_point(&self, state: &FloatingPoint) -> Result<()> {
        let mut area = self.xsave_area()?;
        state.pack(&mut area, self.ymm_upper);
        // SAFETY: no component that is enabled dynamically is, so KVM reads no more than the 4096 bytes of `region`.
        unsafe { self.fd.set_xsave(&area) }.map_err(|e| Error::kvm("KVM_SET_XSAVE", e))
    }

    fn xsave_area(&self) -> Result<Box<kvm_xsave>> {
        self.fd.get_xsave().map(Box::new).map_err(|e| Error::kvm("KVM_GET_XSAVE", e))
    }
}

#[cfg(test)]
mod tests {
    use kvm_bindings::kvm_cpuid_entry2;

    use super::*;

    /// Where CPUs have them, in bytes and words.
    const YMM: usize = 576;
    const YMM_WORD: usize = YMM / 4;

    fn garbage(present: u32) -> Box<kvm_xsave> {
        let mut area = Box::new(kvm_xsave::default());
        for (n, word) in area.region.iter_mut().enumerate() {
            *word = (n as u32).wrapping_mul(0x0101_0101);
        }
        area.region[XSTATE_BV] = present;
        area
    }

    #[test]
    fn packing_undoes_unpacking_and_leaves_the_rest() {
        let area = garbage(X87 | SSE | AVX);
        let state = FloatingPoint::unpack(&area, Some(YMM));
        assert_eq!((state.fcw, state.fsw, state.in_use, state.fop), (0, 0, 1, 0x0101));
        assert_eq!(state.xmm[1], 0x2f2f_2f2f_2e2e_2e2e_2d2d_2d2d_2c2c_2c2c);
        assert_eq!(state.ymm_upper.unwrap()[0] as u32, 0x9090_9090);
        let mut again = garbage(X87 | SSE | AVX);
        FloatingPoint { ymm_upper: Some([7; 16]), ..FloatingPoint::default() }.pack(&mut again, None);
        assert_eq!(again.region[YMM_WORD], 0x9090_9090, "AVX is not the guest's");
        FloatingPoint::default().pack(&mut again, Some(YMM));
        assert_eq!(again.region[YMM_WORD], 0x9090_9090, "it is to be left");
        state.pack(&mut again, Some(YMM));
        // The tag's reserved byte and what is behind each ST are reserved, too.
        for n in (0..1024).filter(|n| *n != 1 && !(ST..XMM).contains(n)) {
            assert_eq!(again.region[n], area.region[n], "word {n}");
        }
        assert_eq!(FloatingPoint::unpack(&again, Some(YMM)), state);
    }

    #[test]
    fn a_component_that_is_not_there_is_as_after_reset() {
        let state = FloatingPoint::unpack(&garbage(0), Some(YMM));
        let mxcsr = 0x0606_0606;
        assert_eq!(state, FloatingPoint { mxcsr, ymm_upper: Some([0; 16]), ..FloatingPoint::default() });
        assert_eq!(FloatingPoint::unpack(&garbage(AVX), None).ymm_upper, None);
    }

    #[test]
    fn upper_halves_that_were_not_there_are_once_they_are_set() {
        let mut area = garbage(X87);
        let mut state = FloatingPoint::unpack(&area, Some(640));
        state.ymm_upper.as_mut().unwrap()[15] = 5 << 96;
        state.pack(&mut area, Some(640));
        assert_eq!(
            (area.region[XSTATE_BV], area.region[160], area.region[160 + 63]),
            (X87 | SSE | AVX, 0, 5)
        );
        assert_eq!(FloatingPoint::unpack(&area, Some(640)), state);
    }

    #[test]
    fn cpuid_says_where_the_upper_halves_are() {
        let cpuid = |ecx, [eax, ebx]: [u32; 2]| {
            let entry = |function, index| kvm_cpuid_entry2 { function, index, ..kvm_cpuid_entry2::default() };
            let features = kvm_cpuid_entry2 { ecx, ..entry(1, 0) };
            let component = kvm_cpuid_entry2 { eax, ebx, ..entry(0xd, 2) };
            CpuId::from_entries(&[features, entry(0xd, 0), component]).unwrap()
        };
        let both = 1 << 26 | 1 << 28;
        assert_eq!(ymm_upper(&cpuid(both, [256, 576])), Some(576));
        assert_eq!(ymm_upper(&cpuid(both, [256, 640])), Some(640));
        for none in [(1 << 26, [256, 576]), (1 << 28, [256, 576]), (both, [0, 0]), (both, [256, u32::MAX])] {
            assert_eq!(ymm_upper(&cpuid(none.0, none.1)), None, "{none:x?}");
        }
        assert_eq!(ymm_upper(&CpuId::new(0).unwrap()), None);
    }

    #[test]
    fn the_full_tag_word_says_what_is_in_each_register() {
        let mut state = FloatingPoint::default();
        assert_eq!(state.tag_word(), 0xffff);
        // ST0 is R6 and 1.0, ST1 is R7 and 0, ST2 is R0 and infinite.
        state.fsw = 6 << 11;
        state.in_use = 0b1100_0001;
        state.st[0] = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f];
        state.st[2] = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f];
        assert_eq!(state.tag_word(), 0b01_00_11_11_11_11_11_10);
        let word = state.tag_word();
        state.in_use = 0;
        state.set_tag_word(word);
        assert_eq!(state.in_use, 0b1100_0001);
    }
}

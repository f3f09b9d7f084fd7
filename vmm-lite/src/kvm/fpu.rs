//! The state of x87 and SSE, which KVM keeps outside `kvm_run`.

use std::fmt;

use kvm_bindings::kvm_xsave;

use super::vcpu::Vcpu;
use crate::error::{Error, Result};

/// XSTATE_BV's bits of x87 and SSE.
const X87_AND_SSE: u32 = 3;
/// Where XSTATE_BV is, in words: behind the 512 bytes of the legacy region.
const XSTATE_BV: usize = 128;
/// Where ST0 is, in words; each register has four (SDM vol. 1, table 10-2).
const REGISTERS: usize = 8;

/// The registers of x87 and MXCSR, as the legacy region of XSAVE has them (SDM vol. 1, 10.5.1).
pub(crate) struct Fpu {
    /// FCW.
    pub(crate) control: u16,
    /// FSW.
    pub(crate) status: u16,
    /// The tag word in its short form: a bit for each physical register that is in use.
    pub(crate) in_use: u8,
    /// MXCSR.
    pub(crate) mxcsr: u32,
    /// FIP, the address of the last instruction that was not about control.
    pub(crate) instruction: u64,
    /// FDP, the address of its operand in memory.
    pub(crate) operand: u64,
    /// ST0 to ST7: significand, then sign and exponent.
    pub(crate) registers: [(u64, u16); 8],
    /// Everything else.
    area: Box<kvm_xsave>,
}

impl Fpu {
    fn unpack(area: Box<kvm_xsave>) -> Self {
        let word = |n: usize| area.region.get(n).copied().unwrap_or_default();
        let long = |n: usize| u64::from(word(n)) | u64::from(word(n + 1)) << 32;
        Self {
            control: word(0) as u16,
            status: (word(0) >> 16) as u16,
            in_use: word(1) as u8,
            mxcsr: word(6),
            instruction: long(2),
            operand: long(4),
            registers: std::array::from_fn(|n| {
                let at = REGISTERS + 4 * n;
                (long(at), word(at + 2) as u16)
            }),
            area,
        }
    }

    fn pack(&mut self) -> &kvm_xsave {
        let mut put = |n: usize, value: u32| {
            if let Some(word) = self.area.region.get_mut(n) {
                *word = value;
            }
        };
        put(0, u32::from(self.control) | u32::from(self.status) << 16);
        // The last opcode (FOP) is none: processors may save it only after an exception that is not masked.
        put(1, u32::from(self.in_use));
        put(2, self.instruction as u32);
        put(3, (self.instruction >> 32) as u32);
        put(4, self.operand as u32);
        put(5, (self.operand >> 32) as u32);
        put(6, self.mxcsr);
        for (n, (significand, sign_exponent)) in self.registers.into_iter().enumerate() {
            let at = REGISTERS + 4 * n;
            put(at, significand as u32);
            put(at + 1, (significand >> 32) as u32);
            put(at + 2, u32::from(sign_exponent));
        }
        self.area.region[XSTATE_BV] |= X87_AND_SSE;
        &self.area
    }
}

impl fmt::Debug for Fpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fpu")
            .field("control", &self.control)
            .field("status", &self.status)
            .field("in_use", &self.in_use)
            .field("mxcsr", &self.mxcsr)
            .field("registers", &self.registers)
            .finish_non_exhaustive()
    }
}

impl Vcpu {
    /// The state of x87 and SSE.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn fpu(&self) -> Result<Fpu> {
        let area = self.fd.get_xsave().map_err(|e| Error::kvm("KVM_GET_XSAVE", e))?;
        Ok(Fpu::unpack(Box::new(area)))
    }

    /// Sets it. Not by `KVM_SET_FPU`: a state that XSAVE has marked as initial stays so under it.
    ///
    /// # Errors
    /// When the ioctl fails.
    pub(crate) fn set_fpu(&self, mut fpu: Fpu) -> Result<()> {
        // SAFETY: no component that is enabled dynamically is, so KVM reads no more than the 4096 bytes of `region`.
        unsafe { self.fd.set_xsave(fpu.pack()) }.map_err(|e| Error::kvm("KVM_SET_XSAVE", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_undoes_unpacking() {
        let mut area = Box::new(kvm_xsave::default());
        for (n, word) in area.region.iter_mut().enumerate() {
            *word = (n as u32).wrapping_mul(0x0101_0101);
        }
        let mut fpu = Fpu::unpack(area);
        assert_eq!((fpu.control, fpu.status, fpu.in_use, fpu.mxcsr), (0, 0, 1, 0x0606_0606));
        assert_eq!(fpu.registers[1], (0x0d0d_0d0d_0c0c_0c0c, 0x0e0e));
        fpu.registers[7] = (1, 0xbfff);
        fpu.status = 0x3800;
        let packed = fpu.pack();
        assert_eq!(packed.region[..2], [0x3800_0000, 1]);
        assert_eq!(packed.region[36..39], [1, 0, 0xbfff]);
        assert_eq!(packed.region[39], 39 * 0x0101_0101, "not x87's");
        assert_eq!(packed.region[XSTATE_BV] & X87_AND_SSE, X87_AND_SSE);
    }
}

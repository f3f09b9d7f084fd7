//! Guest debug state, which KVM replaces whole at each call.

use kvm_bindings::{
    KVM_GUESTDBG_BLOCKIRQ, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW_BP,
    KVM_GUESTDBG_USE_SW_BP, kvm_guest_debug, kvm_guest_debug_arch,
};

/// How many breakpoint registers an x86 CPU has.
pub(crate) const HARDWARE_BREAKPOINTS: usize = 4;

/// One breakpoint register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HardwareBreakpoint {
    /// Stops before the instruction at this gva.
    Execute(u64),
    /// Stops after a write to the `len` (1, 2, 4 or 8) bytes at this gva.
    #[allow(missing_docs)]
    Write { address: u64, len: u8 },
    /// Stops after a write to them, or a read.
    #[allow(missing_docs)]
    Access { address: u64, len: u8 },
}

/// Everything that `KVM_SET_GUEST_DEBUG` takes, as one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DebugControl {
    /// Report `INT3` to the monitor.
    pub software_breakpoints: bool,
    /// Stop after one instruction.
    pub single_step: bool,
    /// Hold back the interrupts of KVM's own controllers.
    pub block_interrupts: bool,
    /// DR0 to DR3.
    pub hardware: [Option<HardwareBreakpoint>; HARDWARE_BREAKPOINTS],
}

impl DebugControl {
    /// As the ioctl takes it. DR7 as in SDM vol. 3, 18.2.4.
    pub(super) fn to_kvm(self) -> kvm_guest_debug {
        const EXACT_AND_FIXED: u64 = 0x700;
        let mut control = 0;
        let mut registers = [0; 8];
        if self.software_breakpoints {
            control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
        }
        if self.single_step {
            control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
        }
        if self.block_interrupts {
            control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_BLOCKIRQ;
        }
        if self.hardware.iter().any(Option::is_some) {
            control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
            registers[7] = EXACT_AND_FIXED;
        }
        for (n, breakpoint) in self.hardware.iter().enumerate() {
            let Some(breakpoint) = *breakpoint else { continue };
            let (address, kind, len) = match breakpoint {
                HardwareBreakpoint::Execute(address) => (address, 0, 1),
                HardwareBreakpoint::Write { address, len } => (address, 1, len),
                HardwareBreakpoint::Access { address, len } => (address, 3, len),
            };
            let len_bits: u64 = match len {
                2 => 1,
                4 => 3,
                8 => 2,
                _ => 0,
            };
            registers[n] = address;
            registers[7] |= 2 << (2 * n) | (kind | len_bits << 2) << (16 + 4 * n);
        }
        kvm_guest_debug { control, pad: 0, arch: kvm_guest_debug_arch { debugreg: registers } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_for_turns_debugging_off() {
        assert_eq!(DebugControl::default().to_kvm().control, 0);
    }

    #[test]
    fn dr7_holds_kind_and_length_of_each_register() {
        let debug = DebugControl {
            hardware: [
                Some(HardwareBreakpoint::Execute(0x1000)),
                Some(HardwareBreakpoint::Access { address: 0x1800, len: 2 }),
                Some(HardwareBreakpoint::Write { address: 0x2000, len: 8 }),
                Some(HardwareBreakpoint::Write { address: 0x3000, len: 4 }),
            ],
            ..DebugControl::default()
        };
        let kvm = debug.to_kvm();
        assert_eq!(kvm.arch.debugreg, [0x1000, 0x1800, 0x2000, 0x3000, 0, 0, 0, 0xd970_07aa]);
    }
}

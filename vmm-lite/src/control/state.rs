//! What there is of a vCPU besides [`super::Registers`].

use super::Control;
use crate::error::Result;
use crate::irq::{ApicState, Controllers};
use crate::kvm::FloatingPoint;
use crate::vcpu::{Segment, VcpuThread};

/// The model-specific registers that a debugger shows: what the manuals call them, and their numbers.
pub const MSRS: [(&str, u32); 19] = [
    ("IA32_TIME_STAMP_COUNTER", 0x10),
    ("IA32_APIC_BASE", 0x1b),
    ("IA32_SYSENTER_CS", 0x174),
    ("IA32_SYSENTER_ESP", 0x175),
    ("IA32_SYSENTER_EIP", 0x176),
    ("IA32_MISC_ENABLE", 0x1a0),
    ("IA32_PAT", 0x277),
    ("IA32_MTRR_DEF_TYPE", 0x2ff),
    ("IA32_TSC_DEADLINE", 0x6e0),
    ("IA32_EFER", 0xc000_0080),
    ("IA32_STAR", 0xc000_0081),
    ("IA32_LSTAR", 0xc000_0082),
    ("IA32_CSTAR", 0xc000_0083),
    ("IA32_FMASK", 0xc000_0084),
    ("IA32_FS_BASE", 0xc000_0100),
    ("IA32_GS_BASE", 0xc000_0101),
    ("IA32_KERNEL_GS_BASE", 0xc000_0102),
    ("IA32_TSC_AUX", 0xc000_0103),
    ("MSR_KVM_SYSTEM_TIME_NEW", 0x4b56_4d01),
];

/// A model-specific register and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msr {
    /// What the manuals call it.
    pub name: &'static str,
    /// Its number.
    pub index: u32,
    /// Its value.
    pub value: u64,
}

/// The debug registers as the guest has written them: what the monitor uses for breakpoints does not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugRegisters {
    /// DR0 to DR3, gva.
    pub addresses: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
}

impl Control {
    /// x87, SSE and AVX of a vCPU. A running vCPU is interrupted for a moment.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn floating_point(&self, vcpu: u8) -> Result<FloatingPoint> {
        self.on(vcpu, |thread| thread.vcpu().floating_point())?
    }

    /// Sets them while the guest is paused. The upper halves of the YMM registers can be set only once the guest has
    /// enabled them; [`None`] leaves them.
    ///
    /// # Errors
    /// When the guest is not paused, there is no such vCPU, or KVM refuses a value.
    pub fn set_floating_point(&self, vcpu: u8, state: &FloatingPoint) -> Result<()> {
        let state = Box::new(state.clone());
        self.on_paused(vcpu, "set floating-point registers", move |thread| {
            thread.vcpu().set_floating_point(&state)
        })
    }

    /// Those of [`MSRS`] that this machine has.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn msrs(&self, vcpu: u8) -> Result<Vec<Msr>> {
        self.on(vcpu, |thread| {
            let mut msrs = Vec::with_capacity(MSRS.len());
            for (name, index) in MSRS {
                msrs.extend(thread.msr(index)?.map(|value| Msr { name, index, value }));
            }
            Ok(msrs)
        })?
    }

    /// One MSR, whether it has a name or not. `None` if the machine has none of that number.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn msr(&self, vcpu: u8, index: u32) -> Result<Option<u64>> {
        self.on(vcpu, move |thread| thread.msr(index))?
    }

    /// Sets an MSR while the guest is paused, as if the guest had written it, but for registers of an x2APIC, some of
    /// which make things happen.
    ///
    /// # Errors
    /// When the guest is not paused, there is no such vCPU or MSR, or it does not take this value.
    pub fn set_msr(&self, vcpu: u8, index: u32, value: u64) -> Result<()> {
        self.on_paused(vcpu, "set an MSR", move |thread| thread.set_msr(index, value))
    }

    /// A vCPU's debug registers.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn debug_registers(&self, vcpu: u8) -> Result<DebugRegisters> {
        self.on(vcpu, VcpuThread::debug_registers)?
    }

    /// Sets them while the guest is paused.
    ///
    /// # Errors
    /// When the guest is not paused, there is no such vCPU, or KVM refuses a value.
    pub fn set_debug_registers(&self, vcpu: u8, registers: &DebugRegisters) -> Result<()> {
        let registers = *registers;
        self.on_paused(vcpu, "set debug registers", move |thread| thread.set_debug_registers(&registers))
    }

    /// Loads segment registers while the guest is paused, all or none: a selector brings the base, limit and attributes
    /// of its descriptor in the guest's tables along; in real mode and virtual-8086 mode the base is 16 times the
    /// selector. CS and SS must have the same privilege level, so another is loaded into both at once.
    ///
    /// # Errors
    /// When the guest is not paused, there is no such vCPU, or a selector names no valid descriptor: the error says what
    /// is wrong with it.
    pub fn load_segments(&self, vcpu: u8, selectors: &[(Segment, u16)]) -> Result<()> {
        let selectors = selectors.to_vec();
        self.on_paused(vcpu, "load segment registers", move |thread| thread.load_segments(&selectors))
    }

    /// A vCPU's local APIC, the monitor's or KVM's.
    ///
    /// # Errors
    /// When there is no such vCPU, or the run has ended.
    pub fn apic(&self, vcpu: u8) -> Result<ApicState> {
        self.on(vcpu, |thread| {
            let apic = thread.machine().local_apic;
            apic.state(thread)
        })?
    }

    /// The IOAPIC and the 8259s, likewise.
    ///
    /// # Errors
    /// When KVM plays them and does not tell.
    pub fn controllers(&self) -> Result<Controllers> {
        self.machine.controllers()
    }
}

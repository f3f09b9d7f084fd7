//! What there is of a vCPU besides [`super::Registers`].

use super::Control;
use crate::error::Result;
use crate::irq::{ApicState, Controllers};
use crate::kvm::FloatingPoint;
use crate::msr::MSRS;
use crate::vcpu::{Segment, VcpuThread};

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

    /// Sets them while the guest is paused. [`None`] leaves the upper halves of the YMM registers; a guest without AVX
    /// has none that could be set.
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
            let values = thread.msrs(MSRS.iter().map(|(_, index)| *index))?;
            let named = MSRS.iter().zip(values);
            Ok(named.filter_map(|(&(name, index), value)| Some(Msr { name, index, value: value? })).collect())
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

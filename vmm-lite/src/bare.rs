//! A guest without a monitor, for benchmarks.

use std::time::{Duration, Instant};

use crate::beginning::Beginning;
use crate::calibration;
use crate::config::{Config, Irqchip};
use crate::error::Result;
use crate::irqchip::Plan;
use crate::kvm::Host;
use crate::memory::Memory;
use crate::vm::{load, make_vcpus};

/// Runs a guest that only touches ports and memory on its first vCPU, prepared as by [`crate::Vm::start`], in a bare
/// `KVM_RUN` loop: no devices, no interrupts, no events. Returns how long it ran, and its exits.
///
/// # Errors
/// As [`crate::Vm::start`]; the guest does anything else.
pub fn run_bare(config: &Config) -> Result<(Duration, u64)> {
    let host = Host::open()?;
    let calibration = calibration::calibrate(&host)?;
    let memory = Memory::new(config.memory_bytes)?;
    let (pieces, loaded) = load(config, &memory)?;
    let plan = Plan::new(&host, Irqchip::User, &calibration, config.vcpus, false)?;
    let vm = host.create_vm(memory.clone())?;
    let mut made = make_vcpus(&host, &vm, config, &calibration, &plan)?;
    Beginning::new(config, &pieces, &loaded, made.hardware(&plan, Vec::new())).furnish(&memory)?;
    let mut exits = 0;
    let start = Instant::now();
    if let Some(vcpu) = made.vcpus.first_mut() {
        loaded.entry.enter(vcpu);
        exits = vcpu.run_bare()?;
    }
    Ok((start.elapsed(), exits))
}

//! A machine without KVM, for tests.

use std::sync::Arc;

use trace_format::Header;
use trace_format::event::MACHINE;

use super::{Machine, MachineState, Parts, Sink, VcpuShared};
use crate::beginning::Beginning;
use crate::calibration::{BreakpointStop, Calibration, Instructions, SyscallEntry};
use crate::devices::{MemorySizes, MmioBus, PortBus};
use crate::firmware::configuration;
use crate::irq::Chips;
use crate::memory::Memory;
use crate::probe::{self, TrapSelection};
use crate::recorder::{Clock, Lane, RecordRegisters};
use crate::vcpu::{Activity, OwnApic};

/// A running machine of one vCPU that has no thread.
pub(super) fn machine(sink: Box<dyn Sink>, mmio: MmioBus) -> Machine {
    let calibration = Calibration {
        kernel_breakpoint: BreakpointStop::Direct,
        user_breakpoint: BreakpointStop::Direct,
        kernel_hardware: true,
        user_hardware: true,
        kernel_step: true,
        user_step: true,
        watchpoint: true,
        syscall: SyscallEntry::Normal,
        x2apic: false,
        read_only_memory: true,
        kernel_lacks: Instructions::default(),
    };
    let clock = Clock::start();
    let sizes = MemorySizes { below_4g: 1 << 20, above_4g: 0 };
    let (requests, _) = crossbeam_channel::unbounded();
    Machine::new(Parts {
        header: Header::default(),
        memory: Memory::new(1 << 20).unwrap(),
        beginning: Beginning::of("hello"),
        clock,
        state: MachineState::Running,
        probes: Arc::new(probe::Shared::new(
            calibration,
            TrapSelection::NONE,
            RecordRegisters::Never,
            40,
            false,
            false,
            false,
        )),
        vcpus: vec![VcpuShared::new(None, requests, Activity::Running)],
        bus: PortBus::new(Chips::new(1), sizes, configuration::items(1, 1 << 20, ""), 0, clock.now()),
        mmio,
        sink,
        local_apic: &OwnApic,
        ipis: None,
        lane: Lane::off(MACHINE, clock),
        flusher: None,
        timeout_ns: None,
    })
}

//! The vmscope monitor: runs a guest under KVM and records what the hypervisor sees.
//!
//! [`Vm::start`] boots a guest; [`Vm::control`] is the one way to it while it runs; [`Vm::wait`] waits for its end and
//! finishes the trace.

mod bare;
mod beginning;
mod boot;
pub mod calibration;
mod config;
mod control;
mod cpuid;
pub mod devices;
mod emulate;
mod error;
mod facts;
pub mod firmware;
pub mod guests;
pub mod image;
pub mod irq;
mod irqchip;
mod kernel_ipis;
mod kvm;
mod machine;
pub mod memory;
pub mod msr;
mod names;
mod pagemap;
mod probe;
mod recorder;
mod vcpu;
mod vcpu_set;
mod vm;
pub mod walk;

#[doc(hidden)]
pub use bare::run_bare;
pub use config::{Config, CpuModel, Image, Irqchip, Module, SymbolFile};
pub use control::{
    Control, DebugRegisters, GeneralRegisters, Msr, Placed, Point, PointKind, Registers, StepOutcome,
    SystemRegisters,
};
pub use error::{Error, Result, Stuck};
pub use facts::{Diagnosis, doctor};
pub use kvm::FloatingPoint;
pub use machine::{MachineState, Stop, StopCause, WatchAccess};
pub use probe::TrapSelection;
pub use recorder::{OnFull, RecordRegisters, Syscalls};
pub use vcpu::{Activity, Segment};
pub use vcpu_set::VcpuSet;
pub use vm::{Outcome, Vm};

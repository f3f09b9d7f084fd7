//! Everything that talks to `/dev/kvm`. This is the only module of the project with `unsafe` code.
//!
//! An exit leaves here as an owned value ([`Exit`]); the rest of the monitor handles it as a function of that value.
#![allow(unsafe_code, reason = "kvm_run is shared memory with unions, an ioctl and clocks have no wrapper")]

mod bare;
mod clear;
mod debug;
mod event;
mod exit;
mod fpu;
mod host;
mod irqchip;
mod kick;
mod monotonic;
mod msr_filter;
mod reset;
mod segment;
mod vcpu;
mod vm;
mod xsave;

pub(crate) use clear::clear;
pub(crate) use debug::{DebugControl, HARDWARE_BREAKPOINTS, HardwareBreakpoint};
pub(crate) use event::{Event, Exception, Shadow};
pub(crate) use exit::Exit;
pub(crate) use fpu::Fpu;
pub(crate) use host::Host;
pub(crate) use irqchip::{PowerOnChips, RunState};
pub(crate) use kick::Kick;
pub(crate) use monotonic::{monotonic_ns, time_stamp, time_stamps_are_clock};
pub(crate) use reset::PowerOn;
pub(crate) use segment::{code_segment, data_segment, segment_from_descriptor};
pub(crate) use vcpu::{Left, Vcpu};
pub(crate) use vm::VmFd;
pub use xsave::FloatingPoint;

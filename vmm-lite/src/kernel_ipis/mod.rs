//! IPIs that KVM's own local APICs send, as the host's tracepoint `kvm:kvm_apic_ipi` tells of them.
//!
//! Where KVM plays the local APICs an ICR write does not come to the monitor. The tracepoint fires on the sender's
//! vCPU thread with the low half of the ICR and the destination. Each vCPU thread opens it for itself; one thread reads
//! what they wrote ([`Watch`]). When a target takes an IPI, and its EOI, nobody tells.

mod message;
mod tracepoint;
mod watch;

pub(crate) use tracepoint::Tracepoint;
pub(crate) use watch::{Opened, Source, Watch, prepare};

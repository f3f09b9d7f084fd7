//! What can control a running guest. A replay has nothing of the kind.

use trace_format::event::{Actor, StopReason};

/// What a guest that can be controlled is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Machine {
    /// At least one vCPU may run.
    Running,
    /// No vCPU runs for now.
    Paused {
        /// Who asked for it.
        by: Actor,
    },
    /// The run is over.
    Stopped {
        /// Why.
        why: StopReason,
    },
}

/// A running guest. Every act is the user's; errors are for the user to read.
pub trait Guest {
    /// What it is doing.
    fn machine(&self) -> Machine;

    /// Stops every vCPU for now.
    ///
    /// # Errors
    /// The run is over, or another error of the monitor.
    fn pause(&self) -> anyhow::Result<()>;

    /// Lets every vCPU go on.
    ///
    /// # Errors
    /// As [`Self::pause`].
    fn resume(&self) -> anyhow::Result<()>;

    /// Executes one instruction on a paused guest's `vcpu` and tells where it is then: RIP, a gva.
    ///
    /// # Errors
    /// As [`Self::pause`]; the guest is not paused; the vCPU does not execute.
    fn step(&self, vcpu: u8) -> anyhow::Result<u64>;

    /// Ends the run.
    fn stop(&self);
}

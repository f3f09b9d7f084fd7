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

/// A key of the guest's keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Key {
    /// What a printable ASCII character needs, Shift included.
    Character(char),
    /// Ctrl and a letter.
    Control(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    Insert,
    Delete,
    /// F1 to F12.
    Function(u8),
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

    /// Types a key on the guest's keyboard. False if the guest does not take it: its keyboard has no such key or is
    /// switched off, or what was typed before has not been read.
    fn type_key(&self, key: Key) -> bool;

    /// Types bytes into the guest's serial port; tells for how many of them there was room.
    fn serial_input(&self, bytes: &[u8]) -> usize;

    /// Ends the run.
    fn stop(&self);
}

//! What can control a running guest. A replay has nothing of the kind.

use std::path::Path;

use trace_format::Filter;
use trace_format::event::{Actor, Registers, StopReason};

use crate::model::space::Stretch;

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

/// What has become of a breakpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toggled {
    /// It is there.
    Set,
    /// It will be there when its page is mapped.
    Waits,
    /// It is there no more.
    Gone,
}

/// A vCPU of a guest as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VcpuNow {
    /// Its registers.
    pub registers: Registers,
    /// Its next instruction, gva.
    pub next: u64,
    /// How wide the code is that it executes, in bits.
    pub code_bits: u32,
}

/// What an address space of a guest maps now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// gpa of its top table.
    pub table: u64,
    /// What is mapped, in the order of addresses.
    pub stretches: Vec<Stretch>,
    /// Paging is on; otherwise there are no tables, and every address is mapped to itself.
    pub paging: bool,
    /// There is more than was listed.
    pub more: bool,
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

    /// The same, but of a call, a system call or a repeated string instruction the whole: `None` if the guest has been
    /// let go for that. [`Self::stopped`] tells when it is done.
    ///
    /// # Errors
    /// As [`Self::step`]; there is no means to stop behind it; GDB holds the guest.
    fn step_over(&self, vcpu: u8) -> anyhow::Result<Option<u64>>;

    /// Lets the guest run until a vCPU makes an event that matches, or something else stops it.
    ///
    /// # Errors
    /// As [`Self::resume`].
    fn run_to(&self, filter: &Filter) -> anyhow::Result<()>;

    /// Why the guest has stopped, if it was let go for something or has met a breakpoint, since this was asked last; for
    /// the user to read. To be asked as often as [`Self::is_stepping_over`] wants it.
    ///
    /// # Errors
    /// If it could not be let go on.
    fn stopped(&self) -> anyhow::Result<Option<String>>;

    /// Whether a step over something is under way, in which the guest may have to be let go on many times.
    fn is_stepping_over(&self) -> bool;

    /// Sets a breakpoint at `gva`, translated by a vCPU's page tables, or takes it away.
    ///
    /// # Errors
    /// The run is over, or the host has no means to stop there.
    fn toggle_breakpoint(&self, vcpu: u8, gva: u64) -> anyhow::Result<Toggled>;

    /// Takes all of the user's breakpoints away.
    ///
    /// # Errors
    /// The run is over.
    fn clear_breakpoints(&self) -> anyhow::Result<()>;

    /// The user's breakpoints, gva.
    fn breakpoints(&self) -> Vec<u64>;

    /// Has the guest begin anew.
    ///
    /// # Errors
    /// The run is over, or the image cannot be read again.
    fn reset(&self) -> anyhow::Result<()>;

    /// The registers of a vCPU.
    ///
    /// # Errors
    /// The run is over, or there is no such vCPU.
    fn cpu(&self, vcpu: u8) -> anyhow::Result<VcpuNow>;

    /// Reads guest virtual memory through a vCPU's page tables, up to the first page that is not mapped; how many bytes
    /// that were.
    fn read(&self, vcpu: u8, gva: u64, buffer: &mut [u8]) -> usize;

    /// Reads the guest's physical memory from `gpa` on, up to the first page that is none. How many bytes were read.
    fn read_physical(&self, gpa: u64, buffer: &mut [u8]) -> usize;

    /// What a vCPU's page tables map, or those that begin at the top table `table`, gpa.
    ///
    /// # Errors
    /// If the vCPU does not tell.
    fn space(&self, vcpu: u8, table: Option<u64>) -> anyhow::Result<Space>;

    /// The file that it is recorded into, with everything that was recorded until now.
    fn trace(&self) -> Option<&Path>;

    /// Types a key on the guest's keyboard. False if the guest does not take it: its keyboard has no such key or is
    /// switched off, or what was typed before has not been read.
    fn type_key(&self, key: Key) -> bool;

    /// Types bytes into the guest's serial port; tells for how many of them there was room.
    fn serial_input(&self, bytes: &[u8]) -> usize;

    /// Ends the run.
    fn stop(&self);
}

//! What GDB debugs: a running guest or a recorded one. Everything else here knows only this.

use std::fmt;
use std::ops::Range;

use crossbeam_channel::Select;
use trace_format::event::{Actor, StopReason};

use super::monitor::Request;
use super::registers::RegisterFile;

/// A machine with vCPUs that a debugger can look at, and stop and move if it is stopped. vCPUs count from 0.
///
/// While a debugger is attached the machine runs only from [`Self::resume`] until [`Self::poll`] tells of a stop.
pub(crate) trait Debuggee: Send {
    /// How many vCPUs there are; at least one.
    fn vcpus(&self) -> u8;

    /// What more it can do than stop and go on.
    fn abilities(&self) -> Abilities;

    /// The physical memory, for `info mem`: ordered, without overlaps.
    fn memory(&self) -> Vec<Region>;

    /// A debugger has come: stops the machine and says which vCPU to look at first.
    ///
    /// # Errors
    /// When there is nothing any more that could be debugged.
    fn attach(&mut self) -> Result<u8, Failure>;

    /// The debugger has gone: takes its breakpoints away and lets the machine do what it did without. If it took leave it
    /// wants the machine to go on, even one that did not run when it came.
    fn detach(&mut self, took_leave: bool);

    /// Ends the machine.
    fn kill(&mut self);

    /// One line for `info threads`: state, privilege level, symbol.
    fn describe(&mut self, vcpu: u8) -> String;

    /// A vCPU's registers. What is not known is left out.
    ///
    /// # Errors
    /// When none is.
    fn registers(&mut self, vcpu: u8) -> Result<RegisterFile, Failure>;

    /// Sets those registers that `changed` has.
    ///
    /// # Errors
    /// When one of them cannot be set; none has been then.
    fn set_registers(&mut self, vcpu: u8, changed: &RegisterFile) -> Result<(), Failure>;

    /// Reads from `gva` on by a vCPU's tables, without breakpoints, and tells how many bytes could be read: those before
    /// the first that is not mapped or not memory.
    ///
    /// # Errors
    /// When not even the first could.
    fn read(&mut self, vcpu: u8, gva: u64, buffer: &mut [u8]) -> Result<usize, Failure>;

    /// Writes to `gva` by a vCPU's tables; breakpoints stay.
    ///
    /// # Errors
    /// When not all of it is mapped memory.
    fn write(&mut self, vcpu: u8, gva: u64, data: &[u8]) -> Result<(), Failure>;

    /// Stops every vCPU that comes to `point`, which `vcpu`'s tables translate.
    ///
    /// # Errors
    /// When this host or this trace has no means to.
    fn insert(&mut self, vcpu: u8, point: Point) -> Result<(), Failure>;

    /// Takes a point away; there need not be one.
    ///
    /// # Errors
    /// When the machine cannot be reached.
    fn remove(&mut self, vcpu: u8, point: Point) -> Result<(), Failure>;

    /// Stops at system calls with these numbers, at all with `Some` of none, at none with `None`.
    ///
    /// # Errors
    /// When there is no means to.
    fn catch_syscalls(&mut self, numbers: Option<Vec<u64>>) -> Result<(), Failure>;

    /// Moves the stopped machine: a motion for each vCPU.
    ///
    /// # Errors
    /// When it cannot move like that; it has not moved then.
    fn resume(&mut self, direction: Direction, motions: &[Motion]) -> Result<(), Failure>;

    /// Stops the machine soon, in any state; [`Self::poll`] tells of it as [`Cause::Interrupted`].
    fn interrupt(&mut self);

    /// Adds to `select` what becomes ready when [`Self::poll`] is to be called.
    fn wait_on<'a>(&'a self, select: &mut Select<'a>);

    /// Goes on with what takes many steps, a little at a time, and says what has become of the last motion. Also tells
    /// of the machine's end when nothing moves.
    fn poll(&mut self) -> Progress;

    /// Carries out a command after `monitor` that is not one of the front end's own, for a vCPU, and gives its output.
    ///
    /// # Errors
    /// When there is no such thing here, or it cannot be done.
    fn monitor(&mut self, vcpu: u8, request: Request) -> Result<String, Failure>;
}

/// What a debuggee can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// It goes backwards.
    pub(crate) reverse: bool,
    /// It has AVX registers.
    pub(crate) avx: bool,
    /// It stops at reads alone.
    pub(crate) watches_reads: bool,
}

/// A part of physical memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// gpa.
    pub(crate) range: Range<u64>,
    /// Memory, or devices.
    pub(crate) ram: bool,
}

/// Where to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    /// At what.
    pub(crate) kind: PointKind,
    /// gva.
    pub(crate) address: u64,
    /// How many bytes are watched; 1 for a breakpoint.
    pub(crate) len: u64,
}

/// What is stopped at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PointKind {
    /// An instruction about to be executed, by any means.
    Software,
    /// An instruction about to be executed, by breakpoint registers.
    Hardware,
    /// A write.
    Write,
    /// A read.
    Read,
    /// A read or write.
    Access,
}

/// What a vCPU does after a resumption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    /// It stays where it is.
    Hold,
    /// It runs.
    Continue,
    /// It executes one instruction, and then everything stops.
    Step,
    /// It executes instructions until it is outside of these addresses, and then everything stops.
    StepRange(Range<u64>),
}

/// In which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// As time goes.
    Forward,
    /// Back.
    Backward,
}

/// How a motion goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has to be polled again at once.
    Busy,
    /// It goes on by itself.
    Waiting,
    /// It is over.
    Stopped(Stop),
}

/// The end of a motion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// The vCPU it is about, if it is about one.
    pub(crate) vcpu: Option<u8>,
    /// Why.
    pub(crate) cause: Cause,
}

/// Why everything stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(feature = "live", target_os = "linux", target_arch = "x86_64")),
    allow(dead_code, reason = "a trace stops for less than a guest that runs")
)]
pub(crate) enum Cause {
    /// [`Debuggee::interrupt`].
    Interrupted,
    /// Somebody else wanted it.
    #[allow(missing_docs)]
    Paused { by: Actor },
    /// A step or a range of steps is done.
    Stepped,
    /// A breakpoint, in hardware or not.
    #[allow(missing_docs)]
    Breakpoint { hardware: bool },
    /// A watched address was accessed.
    #[allow(missing_docs)]
    Watchpoint { kind: PointKind, address: u64 },
    /// An event that was to be stopped at; said in words.
    Event(String),
    /// A system call begins.
    #[allow(missing_docs)]
    SyscallEntry { number: u64 },
    /// A system call returns.
    #[allow(missing_docs)]
    SyscallReturn { number: u64 },
    /// There is nothing more in this direction.
    EndOfTrace(Direction),
    /// The machine is about to end; it does when it is resumed. `event` is what led to it, in words, if that was to be
    /// stopped at.
    #[allow(missing_docs)]
    Ending { why: StopReason, event: Option<String> },
    /// The machine has ended.
    #[allow(missing_docs)]
    Ended { why: StopReason },
    /// A motion failed half-way; said in words.
    Failed(String),
}

/// Why something asked for was not done, for the user to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

impl Failure {
    /// With this text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

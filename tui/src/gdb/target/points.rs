//! Breakpoints, watchpoints, system calls.

use gdbstub::target::TargetResult;
use gdbstub::target::ext::breakpoints::{
    Breakpoints, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint, SwBreakpointOps,
    WatchKind,
};
use gdbstub::target::ext::catch_syscalls::{CatchSyscalls, SyscallNumbers};

use super::Target;
use crate::gdb::debuggee::{Failure, Point, PointKind};

/// A client may have so many breakpoints and watchpoints: more than anybody sets, and a few megabytes.
pub(super) const MOST_POINTS: usize = 1 << 16;
/// So many system calls can be caught by their numbers.
const MOST_SYSCALLS: usize = 1024;

impl Target<'_> {
    fn insert(&mut self, kind: PointKind, address: u64, len: u64) -> TargetResult<bool, Self> {
        let point = Point { kind, address, len };
        if self.points.len() >= MOST_POINTS && !self.points.contains(&point) {
            let why = format!("there are {MOST_POINTS} breakpoints already, and no more are taken");
            return self.note(Err(Failure(why)));
        }
        let done = self.debuggee.insert(self.vcpu, point);
        self.note(done)?;
        self.points.insert(point);
        Ok(true)
    }

    fn remove(&mut self, kind: PointKind, address: u64, len: u64) -> TargetResult<bool, Self> {
        let point = Point { kind, address, len };
        let done = self.debuggee.remove(self.vcpu, point);
        self.note(done)?;
        self.points.remove(&point);
        Ok(true)
    }
}

impl Breakpoints for Target<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Target<'_> {
    fn add_sw_breakpoint(&mut self, gva: u64, _: usize) -> TargetResult<bool, Self> {
        self.insert(PointKind::Software, gva, 1)
    }

    fn remove_sw_breakpoint(&mut self, gva: u64, _: usize) -> TargetResult<bool, Self> {
        self.remove(PointKind::Software, gva, 1)
    }
}

impl HwBreakpoint for Target<'_> {
    fn add_hw_breakpoint(&mut self, gva: u64, _: usize) -> TargetResult<bool, Self> {
        self.insert(PointKind::Hardware, gva, 1)
    }

    fn remove_hw_breakpoint(&mut self, gva: u64, _: usize) -> TargetResult<bool, Self> {
        self.remove(PointKind::Hardware, gva, 1)
    }
}

impl HwWatchpoint for Target<'_> {
    fn add_hw_watchpoint(&mut self, gva: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        self.insert(watched(kind), gva, len)
    }

    fn remove_hw_watchpoint(&mut self, gva: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        self.remove(watched(kind), gva, len)
    }
}

fn watched(kind: WatchKind) -> PointKind {
    match kind {
        WatchKind::Write => PointKind::Write,
        WatchKind::Read => PointKind::Read,
        WatchKind::ReadWrite => PointKind::Access,
    }
}

impl CatchSyscalls for Target<'_> {
    fn enable_catch_syscalls(&mut self, filter: Option<SyscallNumbers<'_, u64>>) -> TargetResult<(), Self> {
        let numbers: Vec<u64> = filter.map(|all| all.take(MOST_SYSCALLS + 1).collect()).unwrap_or_default();
        if numbers.len() > MOST_SYSCALLS {
            let why =
                format!("no more than {MOST_SYSCALLS} system calls are caught by number; catch them all");
            return self.note(Err(Failure(why)));
        }
        let done = self.debuggee.catch_syscalls(Some(numbers));
        self.note(done)
    }

    fn disable_catch_syscalls(&mut self) -> TargetResult<(), Self> {
        let done = self.debuggee.catch_syscalls(None);
        self.note(done)
    }
}

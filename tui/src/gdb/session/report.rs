//! Stops, as GDB is told of them.

use gdbstub::common::Signal;
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::reverse_exec::ReplayLogPosition;
use gdbstub::target::ext::breakpoints::WatchKind;
use gdbstub::target::ext::catch_syscalls::CatchSyscallPosition;
use trace_format::event::StopReason;

use super::{End, Machine, Session, State};
use crate::gdb::debuggee::{Cause, Direction, PointKind, Stop};
use crate::gdb::registers::Register;
use crate::gdb::target::tid_of;

type Reason = MultiThreadStopReason<u64>;

impl Session<'_> {
    /// Tells the client of a stop, first in words if it could not know from the rest.
    pub(super) fn report(&mut self, stop: &Stop) {
        let vcpu = stop.vcpu.filter(|vcpu| *vcpu < self.target.debuggee.vcpus()).unwrap_or(self.target.vcpu);
        self.target.vcpu = vcpu;
        if let Some(mut words) = words(&stop.cause) {
            if matches!(stop.cause, Cause::Ending { why: StopReason::TripleFault, .. }) && self.is_reset(vcpu)
            {
                words.push_str(RESET);
            }
            self.say(&words);
        }
        let told = match self.machine.take() {
            Some(Machine::Running(running)) => {
                running.report_stop(&mut self.target, reason(vcpu, &stop.cause)).ok()
            }
            other => other,
        };
        match told {
            Some(mut machine) => {
                let written = match &mut machine {
                    Machine::Idle(inner) => std::mem::take(&mut inner.borrow_conn().0),
                    Machine::Disconnected(inner) => std::mem::take(&mut inner.borrow_conn().0),
                    Machine::Running(_) | Machine::CtrlCInterrupt(_) => Vec::new(),
                };
                self.pass_on(&written);
                self.machine = Some(machine);
            }
            // A stop that gdbstub does not report is one all the same.
            None => self.send(format!("T05thread:{:x};", tid_of(vcpu)).as_bytes()),
        }
        self.state = match stop.cause {
            Cause::Ended { .. } => State::Over(End::DebuggeeEnded),
            _ => State::Asking,
        };
    }

    /// Whether a vCPU is where the processor begins after a reset (SDM vol. 3, "Processor State After Reset"), which no
    /// guest is by itself: it has left that place with its first jump.
    fn is_reset(&mut self, vcpu: u8) -> bool {
        let Ok(registers) = self.target.debuggee.registers(vcpu) else { return false };
        [(Register::Rip, 0xfff0), (Register::CsBase, 0xffff_0000)]
            .into_iter()
            .all(|(register, after)| registers.get_u64(register) == Some(after))
    }
}

/// The end of the debuggee as a reply to who asks how it is.
pub(super) fn end(cause: &Cause) -> Option<String> {
    match reason(0, cause) {
        Reason::Exited(status) => Some(format!("W{status:02x}")),
        Reason::Terminated(signal) => Some(format!("X{:02x}", signal.0)),
        _ => None,
    }
}

/// What a triple fault may have left.
const RESET: &str = "; KVM has reset this vCPU, and its registers tell nothing of the fault: 'monitor events' shows what led \
                     to it, and 'monitor break-on trap' stops at every trap before it";

fn words(cause: &Cause) -> Option<String> {
    match cause {
        Cause::Paused { by } => Some(format!("vmscope: paused by {}", by.name())),
        Cause::Event(event) => Some(format!("vmscope: stopped at {event}")),
        Cause::Failed(why) => Some(format!("vmscope: {why}")),
        Cause::Ending { why, event: None } => Some(format!(
            "vmscope: the guest is about to end: {why}; it is still here to look at, and ends when it is resumed"
        )),
        Cause::Ending { why, event: Some(event) } => {
            Some(format!("vmscope: stopped at {event}; the guest is about to end: {why}"))
        }
        Cause::Ended { why } => Some(format!("vmscope: the guest has ended: {why}")),
        Cause::Interrupted
        | Cause::Stepped
        | Cause::Breakpoint { .. }
        | Cause::Watchpoint { .. }
        | Cause::SyscallEntry { .. }
        | Cause::SyscallReturn { .. }
        | Cause::EndOfTrace(_) => None,
    }
}

fn reason(vcpu: u8, cause: &Cause) -> Reason {
    let tid = tid_of(vcpu);
    let signal = |signal| Reason::SignalWithThread { tid, signal };
    match cause {
        Cause::Interrupted | Cause::Paused { .. } => signal(Signal::SIGINT),
        Cause::Stepped | Cause::Event(_) | Cause::Failed(_) => signal(Signal::SIGTRAP),
        Cause::Breakpoint { hardware: false } => Reason::SwBreak(tid),
        Cause::Breakpoint { hardware: true } => Reason::HwBreak(tid),
        Cause::Watchpoint { kind, address } => Reason::Watch {
            tid,
            kind: match kind {
                PointKind::Read => WatchKind::Read,
                PointKind::Access => WatchKind::ReadWrite,
                PointKind::Write | PointKind::Software | PointKind::Hardware => WatchKind::Write,
            },
            addr: *address,
        },
        Cause::SyscallEntry { number } => {
            Reason::CatchSyscall { tid: Some(tid), number: *number, position: CatchSyscallPosition::Entry }
        }
        Cause::SyscallReturn { number } => {
            Reason::CatchSyscall { tid: Some(tid), number: *number, position: CatchSyscallPosition::Return }
        }
        Cause::EndOfTrace(direction) => Reason::ReplayLog {
            tid: Some(tid),
            pos: match direction {
                Direction::Backward => ReplayLogPosition::Begin,
                Direction::Forward => ReplayLogPosition::End,
            },
        },
        // It was waited for, and is no surprise.
        Cause::Ending { event: Some(_), .. } => signal(Signal::SIGTRAP),
        Cause::Ending { why, event: None } => signal(signal_of(why)),
        Cause::Ended { why } => match why {
            StopReason::GuestExit { status } => Reason::Exited(exit_code(*status)),
            StopReason::Reset { .. } | StopReason::PowerOff => Reason::Exited(0),
            StopReason::Ended { .. } => Reason::Terminated(Signal::SIGKILL),
            StopReason::TripleFault | StopReason::Deadlock | StopReason::HostError | StopReason::Timeout => {
                Reason::Terminated(signal_of(why))
            }
        },
    }
}

/// One that a program in the same trouble would get.
fn signal_of(why: &StopReason) -> Signal {
    match why {
        StopReason::TripleFault => Signal::SIGSEGV,
        StopReason::Deadlock => Signal::SIGABRT,
        StopReason::HostError => Signal::SIGILL,
        StopReason::Timeout => Signal::SIGALRM,
        StopReason::GuestExit { .. }
        | StopReason::Reset { .. }
        | StopReason::PowerOff
        | StopReason::Ended { .. } => Signal::SIGTERM,
    }
}

/// What fits into a byte; another failure must not look like success.
fn exit_code(status: u32) -> u8 {
    u8::try_from(status).unwrap_or(u8::MAX)
}

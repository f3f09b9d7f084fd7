//! What [`Control`] is to have and has not yet, made of what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, unbounded};
use vmm_lite::{Control, MachineState};

use super::BY;
use crate::gdb::debuggee::{Cause, Failure, Point, PointKind, Stop};

/// How often the guest is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// The guest.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) control: Control,
    stops: Receiver<MachineState>,
    dropped: Arc<AtomicBool>,
    points: Vec<u64>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

impl Engine {
    pub(super) fn new(control: Control) -> Self {
        let (sender, stops) = unbounded();
        let dropped = Arc::new(AtomicBool::new(false));
        let (watched, over) = (control.clone(), Arc::clone(&dropped));
        let mut last = watched.state();
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let state = watched.state();
                if state != last {
                    let ended = matches!(state, MachineState::Stopped { .. });
                    last = state.clone();
                    if state != MachineState::Running && sender.send(state).is_err() || ended {
                        break;
                    }
                }
                thread::sleep(LOOK);
            }
            while !over.load(Ordering::Relaxed) {
                thread::sleep(LOOK * 10);
            }
        });
        Self { control, stops, dropped, points: Vec::new() }
    }

    pub(super) fn attach(&mut self) -> Result<(), Failure> {
        self.control.pause(BY)?;
        self.forget_stops();
        Ok(())
    }

    pub(super) fn detach(&mut self) {
        for address in std::mem::take(&mut self.points) {
            let _ = self.control.remove_breakpoint(0, address);
        }
        let _ = self.control.resume(BY);
    }

    pub(super) fn insert(&mut self, vcpu: u8, point: Point) -> Result<(), Failure> {
        match point.kind {
            PointKind::Software | PointKind::Hardware => {
                self.control.add_breakpoint(vcpu, point.address)?;
                self.points.push(point.address);
                Ok(())
            }
            PointKind::Write | PointKind::Read | PointKind::Access => {
                Err(Failure::new("there are no watchpoints yet"))
            }
        }
    }

    pub(super) fn remove(&mut self, vcpu: u8, point: Point) -> Result<(), Failure> {
        self.points.retain(|address| *address != point.address);
        Ok(self.control.remove_breakpoint(vcpu, point.address)?)
    }

    pub(super) fn catch_syscalls(&mut self, numbers: Option<Vec<u64>>) -> Result<(), Failure> {
        match numbers {
            Some(_) => Err(Failure::new("system calls cannot be caught yet")),
            None => Ok(()),
        }
    }

    pub(super) fn pause(&self) {
        // What has ended need not be paused.
        let _ = self.control.pause(BY);
    }

    pub(super) fn resume(&mut self, vcpus: u16) -> Result<(), Failure> {
        let _ = vcpus;
        self.forget_stops();
        Ok(self.control.resume(BY)?)
    }

    /// Lets vCPUs run for a moment; says whether something stopped them.
    pub(super) fn slice(&mut self, vcpus: u16, time: Duration) -> Result<Option<Stop>, Failure> {
        self.resume(vcpus)?;
        thread::sleep(time);
        if let MachineState::Paused { .. } = self.control.state() {
            return Ok(Some(self.stop(&self.control.state())));
        }
        self.control.pause(BY)?;
        self.forget_stops();
        Ok(None)
    }

    pub(super) fn wait_on<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.stops);
    }

    pub(super) fn take_stop(&mut self) -> Option<Stop> {
        let state = self.stops.try_recv().ok()?;
        Some(self.stop(&state))
    }

    fn forget_stops(&self) {
        while self.stops.try_recv().is_ok() {}
    }

    fn stop(&self, state: &MachineState) -> Stop {
        match state {
            MachineState::Stopped { why } => Stop { vcpu: None, cause: Cause::Ended { why: why.clone() } },
            MachineState::Running => Stop { vcpu: None, cause: Cause::Interrupted },
            MachineState::Paused { by } => {
                for vcpu in 0..self.control.activities().len() as u8 {
                    if let Ok(registers) = self.control.registers(vcpu)
                        && self.control.breakpoints().contains(&registers.general.rip)
                    {
                        return Stop { vcpu: Some(vcpu), cause: Cause::Breakpoint { hardware: false } };
                    }
                }
                Stop { vcpu: None, cause: Cause::Paused { by: *by } }
            }
        }
    }
}

//! The thread that lets timers expire and looks at the text screen.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use trace_format::event::{Actor, StopReason};

use super::{Machine, MachineState, lock};
use crate::recorder::Flusher;

/// How often to look at the text screen, whether the trace can still be written, and whether a vCPU that steps alone comes
/// to an end.
const WATCH: Duration = Duration::from_millis(50);

/// Wakes the machine's timer thread.
#[derive(Debug)]
pub(crate) struct Timekeeper {
    poked: Mutex<bool>,
    changed: Condvar,
    timeout_ns: Option<u64>,
}

impl Timekeeper {
    pub(super) fn new(timeout_ns: Option<u64>) -> Self {
        Self { poked: Mutex::new(false), changed: Condvar::new(), timeout_ns }
    }

    /// A deadline may have changed.
    pub(crate) fn poke(&self) {
        *lock(&self.poked) = true;
        self.changed.notify_one();
    }

    fn sleep(&self, length: Duration) {
        let mut poked = lock(&self.poked);
        if !*poked {
            poked = self.changed.wait_timeout(poked, length).unwrap_or_else(PoisonError::into_inner).0;
        }
        *poked = false;
    }
}

/// Runs until the machine stops. While the guest is paused its timers wait.
pub(crate) fn keep_time(machine: &Machine) {
    let mut watched = Instant::now();
    let mut stepping = Stepping { alone: None, since_ns: 0 };
    loop {
        let state = machine.run.state();
        if matches!(state, MachineState::Stopped { .. }) {
            return;
        }
        let now = machine.clock.now();
        if machine.timekeeper.timeout_ns.is_some_and(|timeout| now >= timeout) {
            machine.stop(StopReason::Timeout);
            return;
        }
        let recording = machine.flusher.as_ref();
        if recording.is_some_and(Flusher::has_failed) {
            // What cannot be recorded must not go on; the recorder says why when the run is over.
            machine.stop(StopReason::Ended { by: Actor::Monitor });
            return;
        }
        if watched.elapsed() >= WATCH {
            machine.record_screen();
            watched = Instant::now();
        }
        let timers = if state == MachineState::Running { expire(machine, now) } else { None };
        let next = timers.into_iter().chain(machine.timekeeper.timeout_ns).min();
        stepping.nudge(machine, now);
        let length = next.map_or(WATCH, |at| Duration::from_nanos(at.saturating_sub(machine.clock.now())));
        if !length.is_zero() {
            machine.timekeeper.sleep(length.min(WATCH));
        }
    }
}

/// The vCPU that was alone at the last look.
///
/// A step should be over in microseconds. Where KVM does not report it, or a guest sees to that, the vCPU runs on while
/// the others wait for it.
struct Stepping {
    alone: Option<(u8, u64)>,
    since_ns: u64,
}

impl Stepping {
    fn nudge(&mut self, machine: &Machine, now: u64) {
        let alone = machine.run.alone();
        if alone != self.alone {
            (self.alone, self.since_ns) = (alone, now);
        } else if let Some((vcpu, _)) = alone
            && now.saturating_sub(self.since_ns) >= WATCH.as_nanos() as u64
            && let Some(vcpu) = machine.vcpus.get(usize::from(vcpu))
        {
            self.since_ns = now;
            vcpu.insist();
        }
    }
}

/// Lets expire what is due; the next deadline.
fn expire(machine: &Machine, now: u64) -> Option<u64> {
    let mut next = None;
    let mut earliest = |deadline: Option<u64>| next = next.into_iter().chain(deadline).min();
    {
        let mut bus = lock(&machine.bus);
        bus.expire(now);
        machine.deliver_from(&mut bus);
        earliest(bus.next_deadline_ns());
    }
    for vcpu in &machine.vcpus {
        let Some(mut lapic) = vcpu.lapic() else { continue };
        let expired = lapic.expire(now);
        earliest(lapic.next_deadline_ns());
        drop(lapic);
        if expired.is_some() {
            vcpu.notify();
        }
    }
    next
}

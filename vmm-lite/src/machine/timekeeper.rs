//! The thread that lets timers expire and looks at the text screen.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use trace_format::event::{Actor, StopReason};

use super::{Machine, MachineState, lock};
use crate::recorder::Flusher;

/// How often to look at the text screen, whether the trace can still be written, whether a vCPU that steps alone comes to
/// an end, and whether one that is to park has done so.
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

/// Without its timers, and the limit to its time, a guest must not go on, even if this thread ends by a panic.
struct EndOfThread<'m>(&'m Machine);

impl Drop for EndOfThread<'_> {
    fn drop(&mut self) {
        // After an orderly end the machine is stopped already.
        self.0.stop(StopReason::HostError);
    }
}

/// Runs until the machine stops. While no vCPU runs timers wait.
pub(crate) fn keep_time(machine: &Machine) {
    let _guard = EndOfThread(machine);
    let mut watched = Instant::now();
    let mut stepping = Stepping { alone: None, since_ns: 0 };
    loop {
        let state = machine.run.state();
        if matches!(state, MachineState::Stopped { .. }) {
            break;
        }
        let now = machine.clock.now();
        if machine.timekeeper.timeout_ns.is_some_and(|timeout| now >= timeout) {
            machine.stop(StopReason::Timeout);
            break;
        }
        let recording = machine.flusher.as_ref();
        if recording.is_some_and(Flusher::has_failed) {
            // What cannot be recorded must not go on; the recorder says why when the run is over.
            machine.stop(StopReason::Ended { by: Actor::Monitor });
            break;
        }
        if watched.elapsed() >= WATCH {
            machine.record_screen();
            insist(machine);
            watched = Instant::now();
        }
        let timers = if machine.run.runs() { expire(machine, now) } else { None };
        let next = timers.into_iter().chain(machine.timekeeper.timeout_ns).min();
        stepping.nudge(machine, now);
        let length = next.map_or(WATCH, |at| Duration::from_nanos(at.saturating_sub(machine.clock.now())));
        if !length.is_zero() {
            machine.timekeeper.sleep(length.min(WATCH));
        }
    }
    // A vCPU's thread that ends pokes this one.
    while insist(machine) {
        machine.timekeeper.sleep(WATCH);
    }
}

/// Kicks vCPUs that are to leave the guest and are still in it; whether there are any. They have been kicked once, but
/// the system may have had no room for the signal.
fn insist(machine: &Machine) -> bool {
    let late = (0..).zip(&machine.vcpus).filter(|(number, vcpu)| {
        // One whose thread has not begun looks at the state before it enters the guest, and need not ever begin.
        vcpu.thread.get().is_some() && machine.run.is_late(*number)
    });
    late.map(|(_, vcpu)| vcpu.insist()).count() > 0
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::devices::{MmioBus, PortBus};
    use crate::error::Result;
    use crate::machine::bare::machine;
    use crate::machine::{OwnApics, Sink};

    /// Takes no interrupt.
    #[derive(Debug)]
    struct Defective;

    impl Sink for Defective {
        fn deliver(&self, _: &Machine, _: &mut PortBus) -> Result<()> {
            panic!("on purpose");
        }
    }

    #[test]
    fn a_panic_ends_the_run() {
        let machine = machine(Box::new(Defective), MmioBus::new([]));
        let ended = std::thread::scope(|scope| scope.spawn(|| keep_time(&machine)).join());
        assert!(ended.is_err());
        assert_eq!(machine.run.state(), MachineState::Stopped { why: StopReason::HostError });
    }

    #[test]
    fn a_vcpu_that_missed_the_end_of_the_run_is_told_again() {
        let machine = machine(Box::new(OwnApics), MmioBus::new([]));
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (ready, is_ready) = crossbeam_channel::bounded(1);
            scope.spawn({
                let (machine, over) = (&machine, &over);
                move || {
                    let shared = &machine.vcpus[0];
                    shared.thread.set(std::thread::current()).unwrap();
                    ready.send(()).unwrap();
                    // The first call goes unheard.
                    for _ in 0..2 {
                        while !shared.attention.swap(false, Ordering::SeqCst) && !over.load(Ordering::SeqCst)
                        {
                            std::thread::park();
                        }
                    }
                    machine.run.order(0, true);
                    machine.timekeeper.poke();
                }
            });
            is_ready.recv().unwrap();
            machine.stop(StopReason::PowerOff);
            while machine.vcpus[0].attention.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            keep_time(&machine);
            let late = machine.run.is_late(0);
            over.store(true, Ordering::SeqCst);
            machine.notify_all();
            assert!(!late, "nobody told it");
        });
    }
}

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

/// Runs until the machine stops. While the guest is paused its timers wait.
pub(crate) fn keep_time(machine: &Machine) {
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
        let timers = if state == MachineState::Running { expire(machine, now) } else { None };
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use trace_format::Header;
    use trace_format::event::MACHINE;

    use super::*;
    use crate::calibration::{BreakpointStop, Calibration, Instructions, SyscallEntry};
    use crate::devices::{MemorySizes, MmioBus, PortBus};
    use crate::firmware::configuration;
    use crate::irq::Chips;
    use crate::machine::{OwnApics, Parts, Sink, VcpuShared};
    use crate::memory::Memory;
    use crate::probe::{self, TrapSelection};
    use crate::recorder::{Clock, Lane};
    use crate::vcpu::{Activity, OwnApic};

    /// A machine of one vCPU without KVM.
    fn machine(sink: Box<dyn Sink>) -> Machine {
        let calibration = Calibration {
            kernel_breakpoint: BreakpointStop::Direct,
            user_breakpoint: BreakpointStop::Direct,
            kernel_hardware: true,
            user_hardware: true,
            kernel_step: true,
            user_step: true,
            watchpoint: true,
            syscall: SyscallEntry::Normal,
            x2apic: false,
            read_only_memory: true,
            kernel_lacks: Instructions::default(),
        };
        let clock = Clock::start();
        let sizes = MemorySizes { below_4g: 1 << 20, above_4g: 0 };
        let (requests, _) = crossbeam_channel::unbounded();
        Machine::new(Parts {
            header: Header::default(),
            memory: Memory::new(1 << 20).unwrap(),
            clock,
            state: MachineState::Running,
            probes: Arc::new(probe::Shared::new(calibration, TrapSelection::NONE, 40, false, false, false)),
            vcpus: vec![VcpuShared::new(None, requests, Activity::Running)],
            bus: PortBus::new(Chips::new(1), sizes, configuration::items(1, 1 << 20, ""), 0, clock.now()),
            mmio: MmioBus::new([]),
            sink,
            local_apic: &OwnApic,
            ipis: None,
            lane: Lane::off(MACHINE, clock),
            flusher: None,
            timeout_ns: None,
        })
    }

    #[test]
    fn a_vcpu_that_missed_the_end_of_the_run_is_told_again() {
        let machine = machine(Box::new(OwnApics));
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

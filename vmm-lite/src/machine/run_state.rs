//! Whether the guest runs, and who decided.
//!
//! One state machine for everybody who can stop the guest. A vCPU that has seen a request to stop notes the request's
//! generation; whoever asked waits until every vCPU has noted it. A plain flag would lose a request that comes between
//! two others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trace_format::event::{Actor, StopReason};

use crate::vcpu_set::VcpuSet;

/// What the machine does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineState {
    /// Guest code runs.
    Running,
    /// It is stopped for now.
    Paused {
        /// By whom.
        by: Actor,
    },
    /// It has ended.
    Stopped {
        /// Why.
        why: StopReason,
    },
}

/// What a vCPU has to do about the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Run.
    Run,
    /// Stay out of the guest until further notice.
    Park,
    /// End.
    End,
}

/// What came of somebody's wish to stop a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It ran, and has been stopped.
    Paused,
    /// It was paused but for a slice, which is over.
    SliceOver,
    /// Somebody else has been first.
    TooLate,
}

#[derive(Debug)]
pub(crate) struct RunState {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Incremented with every change of `inner` that matters to vCPUs, so that they need no lock to see that nothing
    /// has changed.
    generation: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    state: MachineState,
    /// The vCPUs that may run: all, or some when a debugger holds the others; while the machine is paused none, or
    /// those that a debugger lets run for a slice of time.
    free: VcpuSet,
    /// The vCPU that may run alone.
    alone: Option<u8>,
    /// How often it has asked for that again while it was alone.
    nested: u32,
    /// The generation at which each vCPU parked; `None` while it is not parked.
    parked: Vec<Option<u64>>,
    /// Whether each vCPU sleeps in a way that no interrupt can end.
    dead: Vec<bool>,
}

impl RunState {
    pub(crate) fn new(vcpus: u8, state: MachineState) -> Self {
        let free = if state == MachineState::Running { VcpuSet::first(vcpus) } else { VcpuSet::NONE };
        let inner = Inner {
            state,
            free,
            alone: None,
            nested: 0,
            parked: vec![None; usize::from(vcpus)],
            dead: vec![false; usize::from(vcpus)],
        };
        Self { inner: Mutex::new(inner), changed: Condvar::new(), generation: AtomicU64::new(1) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present generation; compare with an earlier one to see whether [`Self::order`] may have changed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn state(&self) -> MachineState {
        self.lock().state.clone()
    }

    /// Whether any vCPU may run, if only for a slice.
    pub(crate) fn runs(&self) -> bool {
        !self.lock().free.is_empty()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.lock().state, MachineState::Stopped { .. })
    }

    /// The vCPU that runs alone, and the generation since which it does.
    pub(crate) fn alone(&self) -> Option<(u8, u64)> {
        let inner = self.lock();
        inner.alone.map(|vcpu| (vcpu, self.generation()))
    }

    /// Whether vCPU `vcpu` has to park or to end and has not yet. Not if it is alone: it is in a step.
    pub(crate) fn is_late(&self, vcpu: u8) -> bool {
        let inner = self.lock();
        let parked = inner.parked.get(usize::from(vcpu)).copied().flatten();
        inner.order(vcpu) != Order::Run
            && inner.alone != Some(vcpu)
            && parked.is_none_or(|generation| generation < self.generation())
    }

    /// What vCPU `vcpu` has to do. When it is to park and is `ready` for that, its last exit done with and recorded, it
    /// counts as parked from now on.
    pub(crate) fn order(&self, vcpu: u8, ready: bool) -> Order {
        let mut inner = self.lock();
        let order = inner.order(vcpu);
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(parked) = inner.parked.get_mut(usize::from(vcpu)) {
            let parks = order == Order::End || order == Order::Park && ready;
            *parked = parks.then_some(generation);
        }
        drop(inner);
        self.changed.notify_all();
        order
    }

    /// Ends the run; false if it has ended.
    pub(crate) fn stop(&self, why: StopReason) -> bool {
        self.change(|inner| {
            let ended = matches!(inner.state, MachineState::Stopped { .. });
            (!ended).then(|| (inner.state, inner.free) = (MachineState::Stopped { why }, VcpuSet::NONE))
        })
        .is_some()
    }

    /// Pauses a running machine; false if it does not run.
    pub(crate) fn pause(&self, by: Actor) -> bool {
        self.change(|inner| {
            let runs = inner.state == MachineState::Running;
            runs.then(|| (inner.state, inner.free) = (MachineState::Paused { by }, VcpuSet::NONE))
        })
        .is_some()
    }

    /// Pauses a machine of which a vCPU has met something to stop for, whether it runs or has a slice.
    pub(crate) fn claim(&self, by: Actor) -> Claim {
        self.change(|inner| {
            let claim = match inner.state {
                MachineState::Running => Claim::Paused,
                MachineState::Paused { .. } if !inner.free.is_empty() => Claim::SliceOver,
                MachineState::Paused { .. } | MachineState::Stopped { .. } => return None,
            };
            if claim == Claim::Paused {
                inner.state = MachineState::Paused { by };
            }
            inner.free = VcpuSet::NONE;
            Some(claim)
        })
        .unwrap_or(Claim::TooLate)
    }

    /// Lets the vCPUs `free` of a paused machine run; false if it is not paused.
    pub(crate) fn resume(&self, free: VcpuSet) -> bool {
        self.change(|inner| {
            let paused = matches!(inner.state, MachineState::Paused { .. });
            paused.then(|| (inner.state, inner.free) = (MachineState::Running, free))
        })
        .is_some()
    }

    /// Lets all vCPUs `all` of a running machine run, also those that were held; false if it does not run, or none was.
    pub(crate) fn free_all(&self, all: VcpuSet) -> bool {
        self.change(|inner| {
            let held = inner.state == MachineState::Running && inner.free != all;
            held.then(|| inner.free = all)
        })
        .is_some()
    }

    /// Lets the vCPUs `free` of a machine run that stays paused, until [`Self::end_slice`] or something to stop for;
    /// false if it is not paused.
    pub(crate) fn begin_slice(&self, free: VcpuSet) -> bool {
        self.change(|inner| {
            let paused = matches!(inner.state, MachineState::Paused { .. });
            paused.then(|| inner.free = free)
        })
        .is_some()
    }

    /// Waits until a slice is over, but no longer than `time`.
    pub(crate) fn wait_slice(&self, time: Duration) {
        let inner = self.lock();
        let lasts =
            |inner: &mut Inner| matches!(inner.state, MachineState::Paused { .. }) && !inner.free.is_empty();
        drop(self.changed.wait_timeout_while(inner, time, lasts));
    }

    /// Ends a slice; false if it was over.
    pub(crate) fn end_slice(&self) -> bool {
        self.change(|inner| {
            let has_slice = matches!(inner.state, MachineState::Paused { .. }) && !inner.free.is_empty();
            has_slice.then(|| inner.free = VcpuSet::NONE)
        })
        .is_some()
    }

    /// Changes what vCPUs look at, if `change` does.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> Option<T>) -> Option<T> {
        let mut inner = self.lock();
        let changed = change(&mut inner)?;
        self.generation.fetch_add(1, Ordering::AcqRel);
        drop(inner);
        self.changed.notify_all();
        Some(changed)
    }

    /// Waits until every vCPU has parked for the present generation, or the machine runs or has ended.
    pub(crate) fn wait_parked(&self) {
        let mut inner = self.lock();
        while matches!(inner.state, MachineState::Paused { .. })
            && !(inner.free.is_empty() && inner.all_parked(None, self.generation()))
        {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes `vcpu` the only one that may run and waits until the others have parked; `nudge` makes them look. False
    /// if the machine has been stopped meanwhile; otherwise [`Self::release_others`] must follow, once for each call.
    pub(crate) fn hold_others(&self, vcpu: u8, nudge: impl Fn()) -> bool {
        let mut inner = self.lock();
        if inner.alone == Some(vcpu) && !matches!(inner.state, MachineState::Stopped { .. }) {
            inner.nested += 1;
            return true;
        }
        // While another vCPU is alone this one counts as parked. One whose thread panicked stays alone for ever.
        while inner.alone.is_some() && !matches!(inner.state, MachineState::Stopped { .. }) {
            if let Some(parked) = inner.parked.get_mut(usize::from(vcpu)) {
                *parked = Some(self.generation());
            }
            self.changed.notify_all();
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(parked) = inner.parked.get_mut(usize::from(vcpu)) {
            *parked = None;
        }
        if matches!(inner.state, MachineState::Stopped { .. }) {
            return false;
        }
        inner.alone = Some(vcpu);
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        drop(inner);
        nudge();
        let mut inner = self.lock();
        while !inner.all_parked(Some(vcpu), generation) {
            // The end of a run may be that a vCPU's thread could not be started, which will never park.
            if matches!(inner.state, MachineState::Stopped { .. }) {
                inner.alone = None;
                return false;
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Ends [`Self::hold_others`].
    pub(crate) fn release_others(&self) {
        let mut inner = self.lock();
        if let Some(nested) = inner.nested.checked_sub(1) {
            inner.nested = nested;
            return;
        }
        inner.alone = None;
        drop(inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_all();
    }

    /// Notes that `vcpu` sleeps for ever, and tells whether the run does: whether all vCPUs sleep like that and none of
    /// them is `notified`.
    pub(crate) fn sleeps_for_ever(&self, vcpu: u8, notified: impl FnOnce() -> bool) -> bool {
        let mut inner = self.lock();
        if let Some(slot) = inner.dead.get_mut(usize::from(vcpu)) {
            *slot = true;
        }
        // Still locked: a vCPU that wakes says so here before it forgets why it was woken.
        inner.dead.iter().all(|dead| *dead) && !notified()
    }

    /// Notes that `vcpu` has woken. It must still count as notified, if it was.
    pub(crate) fn has_woken(&self, vcpu: u8) {
        if let Some(slot) = self.lock().dead.get_mut(usize::from(vcpu)) {
            *slot = false;
        }
    }
}

impl Inner {
    fn order(&self, vcpu: u8) -> Order {
        if matches!(self.state, MachineState::Stopped { .. }) {
            return Order::End;
        }
        let held = self.alone.is_some_and(|alone| alone != vcpu);
        if held || !self.free.contains(vcpu) { Order::Park } else { Order::Run }
    }

    fn all_parked(&self, except: Option<u8>, since: u64) -> bool {
        self.parked
            .iter()
            .enumerate()
            .filter(|(n, _)| except.is_none_or(|e| usize::from(e) != *n))
            .all(|(_, parked)| parked.is_some_and(|generation| generation >= since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSED: MachineState = MachineState::Paused { by: Actor::User };

    #[test]
    fn the_first_reason_to_stop_stays() {
        let run = RunState::new(1, MachineState::Running);
        assert!(run.stop(StopReason::Timeout));
        assert!(!run.stop(StopReason::PowerOff));
        assert_eq!(run.state(), MachineState::Stopped { why: StopReason::Timeout });
    }

    #[test]
    fn waiting_for_a_pause_ends_when_every_vcpu_has_seen_it() {
        let run = RunState::new(2, MachineState::Running);
        assert_eq!(run.order(0, true), Order::Run);
        std::thread::scope(|scope| {
            assert!(run.pause(Actor::User));
            scope.spawn(|| while run.order(0, true) != Order::Park {});
            scope.spawn(|| while run.order(1, true) != Order::Park {});
            run.wait_parked();
        });
    }

    #[test]
    fn a_vcpu_counts_as_parked_when_it_is_done_with_its_last_exit() {
        let run = RunState::new(1, MachineState::Running);
        assert!(run.pause(Actor::User));
        let all_parked = || run.lock().all_parked(None, run.generation());
        assert_eq!((run.order(0, false), all_parked(), run.is_late(0)), (Order::Park, false, true));
        assert_eq!((run.order(0, true), all_parked(), run.is_late(0)), (Order::Park, true, false));
        assert!(run.resume(VcpuSet::first(2)));
        assert!(!run.is_late(0), "it need not park any more");
        assert!(run.pause(Actor::User));
        assert!(run.is_late(0), "it parked for another pause");
        assert!(run.hold_others(0, || {}));
        assert!(!run.is_late(0), "it is in a step");
    }

    #[test]
    fn a_deadlock_is_one_while_nobody_can_wake() {
        let run = RunState::new(2, MachineState::Running);
        let nobody = || {
            // Who wakes now takes the notification away, and then it is too late to ask for it.
            assert!(run.inner.try_lock().is_err(), "a vCPU could wake meanwhile");
            false
        };
        assert!(!run.sleeps_for_ever(0, nobody), "vCPU 1 is awake");
        assert!(!run.sleeps_for_ever(1, || true), "vCPU 0 is about to wake");
        run.has_woken(0);
        assert!(!run.sleeps_for_ever(1, nobody));
        assert!(run.sleeps_for_ever(0, nobody));
    }

    #[test]
    fn a_vcpu_that_ends_while_alone_holds_up_nobody() {
        let run = RunState::new(1, MachineState::Running);
        assert!(run.hold_others(0, || {}));
        run.stop(StopReason::HostError);
        assert!(!run.hold_others(0, || {}), "waits for a vCPU that is gone");
    }

    #[test]
    fn a_vcpu_that_is_alone_stays_so_until_it_is_done() {
        let run = RunState::new(2, PAUSED);
        assert_eq!(run.order(1, true), Order::Park);
        std::thread::scope(|scope| {
            assert!(run.hold_others(0, || {
                scope.spawn(|| run.order(1, true));
            }));
        });
        assert!(run.hold_others(0, || panic!("the others are parked")));
        run.release_others();
        assert!(run.resume(VcpuSet::first(2)));
        assert_eq!(
            run.order(1, true),
            Order::Park,
            "another client has resumed the guest in the middle of a step"
        );
        run.release_others();
        assert_eq!(run.order(1, true), Order::Run);
    }

    #[test]
    fn the_end_of_the_run_ends_waiting_for_a_vcpu_that_never_parks() {
        let run = RunState::new(2, MachineState::Running);
        let stop = || assert!(run.stop(StopReason::HostError));
        assert!(!run.hold_others(0, stop));
        assert_eq!(run.alone(), None);
    }

    #[test]
    fn two_vcpus_that_both_want_to_be_alone_take_turns() {
        let run = RunState::new(2, MachineState::Running);
        let inside = AtomicU64::new(0);
        let work = |vcpu: u8| {
            for _ in 0..1000 {
                while run.order(vcpu, true) == Order::Park {
                    std::thread::yield_now();
                }
                if !run.hold_others(vcpu, || {}) {
                    break;
                }
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                inside.fetch_sub(1, Ordering::SeqCst);
                run.release_others();
            }
            run.stop(StopReason::PowerOff);
            assert_eq!(run.order(vcpu, true), Order::End);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| work(0));
            scope.spawn(|| work(1));
        });
        assert!(matches!(run.state(), MachineState::Stopped { .. }));
    }

    #[test]
    fn a_slice_is_for_some_and_ends_at_the_first_stop() {
        let run = RunState::new(2, PAUSED);
        let orders = || [run.order(0, true), run.order(1, true)];
        assert!(run.begin_slice(VcpuSet::only(1)));
        assert_eq!(
            (orders(), run.state()),
            ([Order::Park, Order::Run], PAUSED),
            "still paused for everybody"
        );
        assert_eq!(run.claim(Actor::Gdb), Claim::SliceOver);
        assert_eq!(run.claim(Actor::Gdb), Claim::TooLate);
        assert_eq!((orders(), run.state()), ([Order::Park; 2], PAUSED));
        assert!(!run.end_slice());
        assert!(run.begin_slice(VcpuSet::first(2)));
        assert!(run.end_slice());
        assert_eq!(orders(), [Order::Park; 2]);
    }

    #[test]
    fn some_run_while_others_are_held() {
        let run = RunState::new(2, PAUSED);
        assert!(!run.pause(Actor::User), "it is paused");
        assert!(run.resume(VcpuSet::only(0)));
        assert_eq!([run.order(0, true), run.order(1, true)], [Order::Run, Order::Park]);
        assert!(!run.begin_slice(VcpuSet::only(1)), "it runs");
        assert_eq!(run.claim(Actor::Gdb), Claim::Paused);
        assert_eq!(run.state(), MachineState::Paused { by: Actor::Gdb });
        assert!(run.stop(StopReason::PowerOff));
        assert_eq!((run.claim(Actor::Gdb), run.resume(VcpuSet::first(2))), (Claim::TooLate, false));
    }

    #[test]
    fn the_first_of_many_who_stop_a_guest_is_told_so() {
        let run = RunState::new(4, MachineState::Running);
        let first = AtomicU64::new(0);
        for _ in 0..200 {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        if run.claim(Actor::Gdb) == Claim::Paused {
                            first.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
            });
            assert!(run.resume(VcpuSet::first(4)));
        }
        assert_eq!(first.into_inner(), 200);
    }
}

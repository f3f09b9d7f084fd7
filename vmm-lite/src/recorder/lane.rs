//! A vCPU thread's end of the recording path.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use trace_format::event::{Event, Exit, Lost, LostReason, Payload};

use super::clock::{Clock, QuickClock};
use super::ring::{Consumer, Producer, ring};
use super::tripwire::{Met, Tripwire};

/// How long a vCPU sleeps between two looks at a full ring.
pub(super) const FULL_WAIT: Duration = Duration::from_micros(50);
/// The floor of a lane whose vCPU is in the guest: whatever it pushes next happens after the present moment.
pub(super) const IDLE: u64 = u64::MAX;

/// What a vCPU does when its ring is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// Waits: nothing is lost.
    #[default]
    Wait,
    /// Goes on: what is lost is counted and the count recorded.
    Drop,
}

impl FromStr for OnFull {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "wait" => Ok(Self::Wait),
            "drop" => Ok(Self::Drop),
            other => Err(format!("expected wait or drop, not {other:?}")),
        }
    }
}

/// What an exit cost, for events that are completed later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// When the exit happened, ns.
    pub time: u64,
    /// Time in the guest before it, ns.
    pub guest_ns: u64,
}

/// The end of a ring that belongs to one vCPU thread, or to the machine.
#[derive(Debug)]
pub(crate) struct Lane {
    ring: Option<Ring>,
    clock: QuickClock,
    vcpu: u8,
    /// When the vCPU last entered the guest or ended an event, ns.
    last: u64,
    /// Looks at every event, if somebody waits for one.
    tripwire: Option<Box<Tripwire>>,
}

#[derive(Debug)]
struct Ring {
    producer: Producer,
    floor: Arc<AtomicU64>,
    recorder: Thread,
    on_full: OnFull,
    dropped: u64,
}

/// The recorder's end.
#[derive(Debug)]
pub(super) struct LaneEnd {
    pub(super) consumer: Consumer,
    pub(super) floor: Arc<AtomicU64>,
}

impl Lane {
    /// A lane that records nothing.
    #[must_use]
    pub(crate) fn off(vcpu: u8, clock: Clock) -> Self {
        Self { ring: None, clock: QuickClock::new(clock), vcpu, last: 0, tripwire: None }
    }

    /// A lane, and the end of it that goes to the recorder's thread.
    pub(super) fn new(vcpu: u8, clock: Clock, on_full: OnFull, recorder: Thread) -> (Self, LaneEnd) {
        let (producer, consumer) = ring();
        // Its first event comes after the present moment too; a lane without events must hold up nobody.
        let floor = Arc::new(AtomicU64::new(IDLE));
        let end = LaneEnd { consumer, floor: Arc::clone(&floor) };
        (
            Self {
                ring: Some(Ring { producer, floor, recorder, on_full, dropped: 0 }),
                clock: QuickClock::new(clock),
                vcpu,
                last: 0,
                tripwire: None,
            },
            end,
        )
    }

    /// Whether events go anywhere.
    #[must_use]
    pub(crate) fn is_on(&self) -> bool {
        self.ring.is_some()
    }

    /// To be called first after an exit, and before events are recorded in general. Gives the time of the exit and how
    /// long the guest ran.
    pub(crate) fn leave_guest(&mut self) -> Timing {
        if let Some(ring) = &self.ring {
            // Before the clock is read; see the module's description.
            ring.floor.store(self.last, Ordering::SeqCst);
        }
        let time = self.clock.now();
        if let Some(ring) = &self.ring {
            ring.floor.store(time, Ordering::Release);
        }
        let guest_ns = time - self.last;
        self.last = time;
        Timing { time, guest_ns }
    }

    /// To be called last before the guest is entered, or before the thread waits. `exit` is the exit that has been
    /// handled, and its time; its `handling_ns` is filled in here.
    pub(crate) fn enter_guest(&mut self, exit: Option<(u64, &mut Exit)>) {
        let Some(ring) = &mut self.ring else { return };
        let now = self.clock.now();
        if let Some((time, exit)) = exit {
            exit.handling_ns = now - time;
            let quickly = ring.dropped == 0 && self.tripwire.is_none();
            let pushed = quickly && ring.producer.push_exit(time, self.vcpu, exit);
            if !pushed {
                self.push(time, Payload::Exit(exit.clone()));
            }
        }
        self.last = now;
        if let Some(ring) = &self.ring {
            // Seen late, it holds up others for a moment more; what was pushed is seen before it.
            ring.floor.store(IDLE, Ordering::Release);
        }
    }

    /// Records something that happens now. Only between [`Self::leave_guest`] and [`Self::enter_guest`].
    pub(crate) fn record(&mut self, payload: Payload) {
        if self.ring.is_some() {
            let now = self.now();
            self.push(now, payload);
        }
    }

    /// Records something that happened at `time`, not before the last [`Self::leave_guest`].
    pub(crate) fn record_at(&mut self, time: u64, payload: Payload) {
        if self.ring.is_some() {
            self.push(time.max(self.last), payload);
        }
    }

    /// The run's time in ns.
    #[must_use]
    pub(crate) fn now(&mut self) -> u64 {
        self.clock.now()
    }

    /// Has every event of this lane looked at from now on, if there is something to look for. Only a lane that records makes any.
    pub(crate) fn set_tripwire(&mut self, tripwire: Box<Tripwire>) {
        self.tripwire = tripwire.after(self.tripwire.take());
    }

    /// Whether an event was met that somebody waits for.
    pub(crate) fn has_met(&self) -> bool {
        self.tripwire.as_ref().is_some_and(|wire| wire.has_met())
    }

    /// What was met, until [`Self::forget_met`]. To be asked when the vCPU is to go on: what nobody waits for any more
    /// is forgotten then.
    pub(crate) fn met(&mut self) -> Option<Met> {
        self.tripwire.as_mut()?.met()
    }

    /// What was met has been told.
    pub(crate) fn forget_met(&mut self) {
        if let Some(wire) = &mut self.tripwire {
            wire.forget_met();
        }
    }

    fn push(&mut self, time: u64, mut payload: Payload) {
        let vcpu = self.vcpu;
        if let Some(wire) = &mut self.tripwire {
            let event = Event { time, vcpu, payload };
            wire.look(&event);
            payload = event.payload;
        }
        let Some(ring) = &mut self.ring else { return };
        if ring.dropped > 0 {
            let lost = Lost { count: ring.dropped, reason: LostReason::RingFull };
            if ring.producer.push(time, vcpu, Payload::Lost(lost)).is_err() {
                ring.dropped += 1;
                return;
            }
            ring.dropped = 0;
        }
        while let Err(back) = ring.producer.push(time, vcpu, payload) {
            ring.recorder.unpark();
            if ring.on_full == OnFull::Drop {
                ring.dropped += 1;
                return;
            }
            if ring.producer.is_abandoned() {
                return; // the recorder has failed and said so
            }
            payload = back;
            std::thread::sleep(FULL_WAIT);
        }
    }
}

impl Drop for Lane {
    /// The count of what was dropped last must not be dropped with the lane.
    fn drop(&mut self) {
        let time = self.clock.now();
        let vcpu = self.vcpu;
        let Some(ring) = &mut self.ring else { return };
        let dropped = std::mem::take(&mut ring.dropped);
        if dropped > 0 {
            ring.on_full = OnFull::Wait;
            let lost = Lost { count: dropped, reason: LostReason::RingFull };
            let mut payload = Payload::Lost(lost);
            while let Err(back) = ring.producer.push(time, vcpu, payload) {
                if ring.producer.is_abandoned() {
                    return;
                }
                payload = back;
                ring.recorder.unpark();
                std::thread::sleep(FULL_WAIT);
            }
        }
        ring.floor.store(IDLE, Ordering::SeqCst);
    }
}

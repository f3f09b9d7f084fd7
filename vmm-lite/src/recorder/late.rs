//! Events that are learned of after they happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use trace_format::event::Payload;

use super::lane::{FULL_WAIT, IDLE, LaneEnd};
use super::ring::{Producer, ring};

/// A lane whose events come from somewhere else, the host's tracepoints say, and reach it late.
///
/// Its floor is what its owner last promised; what is written to the trace is as far behind as that. It holds up
/// nobody before [`Self::begin`] and after it is dropped.
#[derive(Debug)]
pub(crate) struct LateLane {
    producer: Producer,
    floor: Arc<AtomicU64>,
    promised: u64,
    recorder: Thread,
}

impl LateLane {
    pub(super) fn new(recorder: Thread) -> (Self, LaneEnd) {
        let (producer, consumer) = ring();
        let floor = Arc::new(AtomicU64::new(IDLE));
        let end = LaneEnd { consumer, floor: Arc::clone(&floor) };
        (Self { producer, floor, promised: 0, recorder }, end)
    }

    /// From now on events may come of any time since; called before the first of them can happen.
    pub(crate) fn begin(&mut self) {
        self.floor.store(self.promised, Ordering::SeqCst);
    }

    /// Records what happened to `vcpu` at `time`. What comes in spite of a promise gets the time of the promise: the
    /// order of what is in the trace already is not disturbed.
    pub(crate) fn record(&mut self, vcpu: u8, time: u64, mut payload: Payload) {
        let time = time.max(self.promised);
        while let Err(back) = self.producer.push(time, vcpu, payload) {
            if self.producer.is_abandoned() {
                return; // the recorder has failed and said so
            }
            payload = back;
            self.recorder.unpark();
            std::thread::sleep(FULL_WAIT);
        }
    }

    /// Promises that nothing older than `time` will come.
    pub(crate) fn promise(&mut self, time: u64) {
        self.promised = self.promised.max(time);
        self.floor.store(self.promised, Ordering::Release);
    }

    /// How long the recorder sleeps at most, which is a good time for the lane's owner too.
    pub(crate) const NAP: Duration = super::thread::NAP;
}

impl Drop for LateLane {
    fn drop(&mut self) {
        self.floor.store(IDLE, Ordering::SeqCst);
    }
}

//! The recorder's thread.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use trace_format::{Header, Writer};

use super::clock::Clock;
use super::lane::{IDLE, Lane, LaneEnd, OnFull};
use super::late::LateLane;
use super::merge::Merge;
use super::ring::RING_EVENTS;
use crate::error::{Error, Result};

/// How long the thread sleeps when there is little to do. It runs on a CPU that vCPUs could have, and takes their
/// rings' memory away from theirs; a vCPU whose ring is full wakes it.
pub(super) const NAP: Duration = Duration::from_millis(2);
/// How old what is not yet in the file may get while somebody watches it grow.
const FLUSH_FOLLOWED: Duration = Duration::from_millis(50);
/// How old it may get otherwise: what a kill would cost.
const FLUSH_ALONE: Duration = Duration::from_millis(500);
/// Clock reads and loads of floors may be reordered by the CPU, and the clocks of two CPUs differ by a little; events
/// younger than this wait for the next round.
const SKEW_NS: u64 = 20_000;

/// How many events may wait for one lane: some 50 MiB, and more than a second of all that a busy guest does.
const MOST_WAITING: usize = 1 << 19;

/// Writes a trace while a guest runs.
#[derive(Debug)]
pub(crate) struct Recorder {
    thread: JoinHandle<Result<()>>,
    shared: Arc<Shared>,
    /// Taken by [`Recorder::lanes`].
    lanes: Vec<Lane>,
    /// Taken by [`Recorder::late_lane`].
    late: Option<LateLane>,
}

#[derive(Debug, Default)]
struct Shared {
    ending: AtomicBool,
    failed: AtomicBool,
    /// Flushes asked for and done.
    wanted: AtomicU64,
    done: AtomicU64,
}

impl Recorder {
    /// Creates the trace at `path` and starts the thread, with a lane for each of `vcpus` vCPUs and a last one for
    /// the machine.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn start(
        path: &Path,
        header: &Header,
        clock: Clock,
        on_full: OnFull,
        followed: bool,
    ) -> Result<Self> {
        let flush_every = if followed { FLUSH_FOLLOWED } else { FLUSH_ALONE };
        let file =
            File::create(path).map_err(|source| Error::CreateTrace { path: path.to_owned(), source })?;
        let writer = Writer::new(BufWriter::new(file), header)
            .map_err(|source| Error::Trace { path: path.to_owned(), source })?;
        let shared = Arc::new(Shared::default());
        let (ends, to_thread) = channel();
        let work = Work { path: path.to_owned(), shared: Arc::clone(&shared), clock, writer, flush_every };
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || work.run(&to_thread))
            .map_err(|source| Error::Os { operation: "start the recorder's thread", source })?;
        let (lanes, late) = make_lanes(header.vcpus, clock, on_full, &thread, &ends);
        Ok(Self { thread, shared, lanes, late: Some(late) })
    }

    /// The lanes: one for each vCPU in order, then the machine's. Empty the second time.
    pub(crate) fn lanes(&mut self) -> Vec<Lane> {
        std::mem::take(&mut self.lanes)
    }

    /// The lane for events that are learned of late. None the second time.
    pub(crate) fn late_lane(&mut self) -> Option<LateLane> {
        self.late.take()
    }

    /// A handle by which others ask for what has been recorded to be readable in the file.
    #[must_use]
    pub(crate) fn flusher(&self) -> Flusher {
        Flusher { shared: Arc::clone(&self.shared), thread: self.thread.thread().clone() }
    }

    /// Writes what is left and finishes the trace. All lanes must have been dropped.
    ///
    /// # Errors
    /// When the trace could not be written completely.
    pub(crate) fn finish(self) -> Result<()> {
        self.shared.ending.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().map_err(|_| Error::Panicked { thread: "recorder" })?
    }
}

/// Asks the recorder to make everything readable.
#[derive(Clone, Debug)]
pub(crate) struct Flusher {
    shared: Arc<Shared>,
    thread: thread::Thread,
}

impl Flusher {
    /// Returns when everything that was recorded before the call is in the file, or after half a second.
    pub(crate) fn flush(&self) {
        const PATIENCE: Duration = Duration::from_millis(500);
        let mine = self.shared.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        let deadline = Instant::now() + PATIENCE;
        while self.shared.done.load(Ordering::Acquire) < mine && Instant::now() < deadline {
            self.thread.unpark();
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Whether the trace could not be written any more; [`Recorder::finish`] says why.
    #[must_use]
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }
}

fn make_lanes(
    vcpus: u8,
    clock: Clock,
    on_full: OnFull,
    thread: &JoinHandle<Result<()>>,
    ends: &Sender<Vec<LaneEnd>>,
) -> (Vec<Lane>, LateLane) {
    let numbers = (0..vcpus).chain([trace_format::event::MACHINE]);
    let (lanes, mut lane_ends): (Vec<_>, Vec<_>) =
        numbers.map(|vcpu| Lane::new(vcpu, clock, on_full, thread.thread().clone())).unzip();
    let (late, late_end) = LateLane::new(thread.thread().clone());
    lane_ends.push(late_end);
    // The thread waits for them; if it is gone it has failed and says so when joined.
    drop(ends.send(lane_ends));
    (lanes, late)
}

struct Work {
    path: PathBuf,
    shared: Arc<Shared>,
    clock: Clock,
    writer: Writer<BufWriter<File>>,
    flush_every: Duration,
}

/// Tells others of a failure when it is dropped, even by a panic. The rings are gone with their ends by then, so no
/// vCPU waits for room any more.
struct Outcome {
    shared: Arc<Shared>,
    good: bool,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if !self.good {
            self.shared.failed.store(true, Ordering::Release);
        }
    }
}

impl Work {
    fn run(mut self, ends: &Receiver<Vec<LaneEnd>>) -> Result<()> {
        let Ok(lanes) = ends.recv() else { return Ok(()) };
        let Self { path, shared, .. } = &self;
        let path = path.clone();
        let mut outcome = Outcome { shared: Arc::clone(shared), good: false };
        let recorded = self.record(lanes).and_then(|()| self.writer.finish().map(drop));
        outcome.good = recorded.is_ok();
        recorded.map_err(|source| Error::Trace { path, source })
    }

    fn record(&mut self, mut lanes: Vec<LaneEnd>) -> Result<(), trace_format::Error> {
        let mut merge = Merge::new(lanes.len());
        let mut last_flush = Instant::now();
        // A flush that was asked for, and when it was noticed: it is done when everything before has been written.
        let mut asked: Option<(u64, u64)> = None;
        loop {
            let wanted = self.shared.wanted.load(Ordering::Acquire);
            if asked.is_none() && wanted > self.shared.done.load(Ordering::Relaxed) {
                asked = Some((wanted, self.clock.now()));
            }
            let ending = self.shared.ending.load(Ordering::Acquire);
            let floor = if ending { u64::MAX } else { self.floor(&lanes) };
            let mut drained = 0;
            for (n, lane) in lanes.iter_mut().enumerate() {
                // No more than were there when the floor was taken: a vCPU may push as fast as this takes.
                for event in std::iter::from_fn(|| lane.consumer.pop()).take(RING_EVENTS) {
                    merge.push(n, event);
                    drained += 1;
                }
            }
            merge.take_before(floor, |event| self.writer.append(&event.unpack()))?;
            merge.take_excess(MOST_WAITING, |event| self.writer.append(&event.unpack()))?;
            if ending {
                return Ok(());
            }
            let complete = asked.filter(|(_, noticed)| floor >= *noticed);
            if complete.is_some() || last_flush.elapsed() >= self.flush_every {
                self.writer.flush()?;
                last_flush = Instant::now();
            }
            if let Some((number, _)) = complete {
                self.shared.done.store(number, Ordering::Release);
                asked = None;
            }
            if drained < RING_EVENTS / 4 {
                thread::park_timeout(NAP);
            }
        }
    }

    /// The time before which no event can come any more.
    fn floor(&self, lanes: &[LaneEnd]) -> u64 {
        let now = self.clock.now().saturating_sub(SKEW_NS);
        fence(Ordering::SeqCst);
        lanes
            .iter()
            .map(|lane| match lane.floor.load(Ordering::SeqCst) {
                IDLE => now,
                floor => floor,
            })
            .fold(now, u64::min)
    }
}

#[cfg(test)]
mod tests {
    use trace_format::event::{AddressSpace, Exit, MACHINE, Payload};
    use trace_format::{Event, Reader};

    use super::*;

    fn header(vcpus: u8) -> Header {
        Header { vcpus, ..Header::default() }
    }

    fn recorded(path: &Path) -> Vec<Event> {
        let mut reader = Reader::open(path).unwrap();
        reader.forward(0).map(|event| event.unwrap().1).collect()
    }

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("vmscope-recorder-{name}-{}.vmt", std::process::id()))
    }

    #[test]
    fn a_lane_without_events_holds_up_nobody() {
        let path = scratch("idle");
        let mut recorder = Recorder::start(&path, &header(2), Clock::start(), OnFull::Wait, true).unwrap();
        let mut lanes = recorder.lanes();
        lanes[0].leave_guest();
        lanes[0].record(Payload::AddressSpace(AddressSpace { old: 0, new: 1 }));
        lanes[0].enter_guest(None);
        recorder.flusher().flush();
        assert_eq!(recorded(&path).len(), 1);
        drop(lanes);
        recorder.finish().unwrap();
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn threads_that_race_leave_one_time_order_and_nothing_out() {
        const EVENTS: u64 = 20_000;
        let path = scratch("race");
        let mut recorder = Recorder::start(&path, &header(3), Clock::start(), OnFull::Wait, true).unwrap();
        let lanes = recorder.lanes();
        thread::scope(|scope| {
            for mut lane in lanes {
                scope.spawn(move || {
                    for n in 0..EVENTS {
                        let timing = lane.leave_guest();
                        lane.record(Payload::AddressSpace(AddressSpace { old: n, new: n + 1 }));
                        let reason = trace_format::event::ExitReason::Halt;
                        let guest_ns = timing.guest_ns;
                        let mut exit = Exit { reason, rip: n, cpl: 0, guest_ns, handling_ns: 0 };
                        lane.enter_guest(Some((timing.time, &mut exit)));
                    }
                });
            }
        });
        recorder.finish().unwrap();
        let events = recorded(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(events.len() as u64, 4 * 2 * EVENTS);
        assert!(events.windows(2).all(|pair| pair[0].time <= pair[1].time));
        for vcpu in [0, 1, 2, MACHINE] {
            let spaces = events.iter().filter(|e| e.vcpu == vcpu).filter_map(|e| match &e.payload {
                Payload::AddressSpace(space) => Some(space.old),
                _ => None,
            });
            assert!(spaces.eq(0..EVENTS), "vCPU {vcpu}");
        }
    }

    #[test]
    fn a_lane_that_takes_long_does_not_hold_up_others_without_end() {
        let path = scratch("long");
        let mut recorder = Recorder::start(&path, &header(2), Clock::start(), OnFull::Wait, true).unwrap();
        let mut lanes = recorder.lanes();
        let timing = lanes[0].leave_guest();
        let event = |n| Payload::AddressSpace(AddressSpace { old: n, new: n });
        // More than may wait, by more than a block of the trace holds.
        let events = MOST_WAITING as u64 + 100_000;
        for n in 0..events {
            lanes[1].leave_guest();
            lanes[1].record(event(n));
            lanes[1].enter_guest(None);
        }
        recorder.flusher().flush();
        assert!(!recorded(&path).is_empty(), "all of them wait for the first");
        let reason = trace_format::event::ExitReason::Halt;
        let mut exit = Exit { reason, rip: 0, cpl: 0, guest_ns: timing.guest_ns, handling_ns: 0 };
        lanes[0].enter_guest(Some((timing.time, &mut exit)));
        drop(lanes);
        recorder.finish().unwrap();
        let recorded = recorded(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(recorded.len() as u64, events + 1);
        assert!(recorded.is_sorted_by_key(|event| event.time));
    }

    #[test]
    fn a_panic_is_a_failure() {
        let failed = |work: fn(&mut Outcome)| {
            let shared = Arc::new(Shared::default());
            let mut outcome = Outcome { shared: Arc::clone(&shared), good: false };
            drop(thread::spawn(move || work(&mut outcome)).join());
            shared.failed.load(Ordering::Acquire)
        };
        assert!(failed(|_| panic!("on purpose")));
        assert!(!failed(|outcome| outcome.good = true));
    }

    #[test]
    fn late_events_find_their_place() {
        let path = scratch("late");
        let mut recorder = Recorder::start(&path, &header(2), Clock::start(), OnFull::Wait, true).unwrap();
        let mut lanes = recorder.lanes();
        let mut late = recorder.late_lane().unwrap();
        assert!(recorder.late_lane().is_none());
        late.begin();
        let event = |n| Payload::AddressSpace(AddressSpace { old: n, new: n });
        let first = lanes[0].leave_guest().time;
        lanes[0].record(event(1));
        lanes[0].enter_guest(None);
        recorder.flusher().flush();
        assert_eq!(recorded(&path).len(), 0, "what happened before may still come");
        late.record(1, 0, event(0));
        late.promise(first + 1_000_000_000);
        late.record(1, first, event(2));
        drop((late, lanes));
        recorder.finish().unwrap();
        let events = recorded(&path);
        std::fs::remove_file(&path).unwrap();
        let told: Vec<_> = events.iter().map(|e| (e.vcpu, e.payload.clone())).collect();
        assert_eq!(told, [(1, event(0)), (0, event(1)), (1, event(2))]);
        assert_eq!(events[2].time, first + 1_000_000_000, "a promise is kept");
    }

    #[test]
    fn what_is_dropped_is_counted() {
        let path = scratch("drop");
        let mut recorder = Recorder::start(&path, &header(1), Clock::start(), OnFull::Drop, true).unwrap();
        let mut lanes = recorder.lanes();
        // More at one moment than a ring holds: some must go, or the recorder was as fast.
        const EVENTS: u64 = 100_000;
        lanes[0].leave_guest();
        for n in 0..EVENTS {
            lanes[0].record(Payload::AddressSpace(AddressSpace { old: n, new: n }));
        }
        lanes[0].enter_guest(None);
        drop(lanes);
        recorder.finish().unwrap();
        let (mut kept, mut lost) = (0, 0);
        for event in recorded(&path) {
            match event.payload {
                Payload::Lost(loss) => lost += loss.count,
                _ => kept += 1,
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(kept + lost, EVENTS);
    }
}

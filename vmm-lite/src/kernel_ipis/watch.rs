//! The thread that reads what the tracepoint wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use perf_event::Sampler;
use perf_event::data::Record;
use trace_format::event::{Lost, LostReason, Payload};

use super::tracepoint::Tracepoint;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::recorder::{Clock, LateLane};

/// How long a sample may take from its time stamp to the ring. What takes longer appears a little later than it was.
const WRITING_NS: u64 = 1_000_000;

/// Where vCPU threads hand in their end of the tracepoint.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    tracepoint: Tracepoint,
    opened: Sender<(u8, Sampler)>,
}

impl Source {
    /// Opens the tracepoint for the present thread, which is vCPU `vcpu`'s. Before the vCPU runs.
    ///
    /// # Errors
    /// When the kernel refuses, though it did not when it was tried.
    pub(crate) fn attach(&self, vcpu: u8) -> Result<()> {
        let sampler = self
            .tracepoint
            .open()
            .map_err(|source| Error::Os { operation: "open the tracepoint kvm:kvm_apic_ipi", source })?;
        // Nobody reads it any more when the run has ended.
        drop(self.opened.send((vcpu, sampler)));
        Ok(())
    }
}

/// Reads the tracepoint of every vCPU while a guest runs.
#[derive(Debug)]
pub(crate) struct Watch {
    thread: JoinHandle<()>,
    ending: Arc<AtomicBool>,
}

/// What vCPU threads have handed in.
#[derive(Debug)]
pub(crate) struct Opened {
    tracepoint: Tracepoint,
    rings: Receiver<(u8, Sampler)>,
}

/// The vCPU threads' end and the reader's.
pub(crate) fn prepare(tracepoint: Tracepoint) -> (Source, Opened) {
    let (opened, rings) = unbounded();
    (Source { tracepoint, opened }, Opened { tracepoint, rings })
}

impl Watch {
    /// Starts the thread, before any vCPU.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(crate) fn start(opened: Opened, mut lane: LateLane, machine: Arc<Machine>) -> Result<Self> {
        lane.begin();
        let ending = Arc::new(AtomicBool::new(false));
        let work = Work {
            opened,
            lane,
            start_ns: machine.clock.start_monotonic_ns(),
            clock: machine.clock,
            machine,
            rings: Vec::new(),
            ending: Arc::clone(&ending),
        };
        let thread = thread::Builder::new()
            .name("ipis".to_owned())
            .spawn(move || work.run())
            .map_err(|source| Error::Os { operation: "start a thread", source })?;
        Ok(Self { thread, ending })
    }

    /// Reads what is left; all vCPU threads must have ended. True if the thread panicked.
    pub(crate) fn finish(self) -> bool {
        self.ending.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().is_err()
    }
}

struct Work {
    opened: Opened,
    lane: LateLane,
    /// `CLOCK_MONOTONIC` at the start of the run's clock.
    start_ns: u64,
    clock: Clock,
    machine: Arc<Machine>,
    rings: Vec<(u8, Sampler)>,
    ending: Arc<AtomicBool>,
}

impl Work {
    fn run(mut self) {
        loop {
            let ending = self.ending.load(Ordering::Acquire);
            // Before the rings are read: what is not there then is younger, or is being written.
            let now = self.clock.now();
            self.read();
            if ending {
                return;
            }
            self.lane.promise(now.saturating_sub(WRITING_NS));
            thread::park_timeout(LateLane::NAP);
        }
    }

    fn read(&mut self) {
        self.rings.extend(self.opened.rings.try_iter());
        let vcpus = self.machine.vcpus.len() as u8;
        let mut found = Vec::new();
        for (vcpu, ring) in &mut self.rings {
            while let Some(record) = ring.next_record() {
                match record.parse_record() {
                    Ok(Record::Sample(sample)) => {
                        let time = sample.time().unwrap_or(0).saturating_sub(self.start_ns);
                        let message = sample.raw().and_then(|raw| self.opened.tracepoint.decode(raw));
                        found.extend(message.map(|message| (time, *vcpu, Ok(message))));
                    }
                    Ok(Record::Lost(lost)) => found.push((self.clock.now(), *vcpu, Err(lost.lost))),
                    _ => {}
                }
            }
        }
        found.sort_by_key(|(time, ..)| *time);
        for (time, vcpu, told) in found {
            let payload = match told {
                Ok(message) => Payload::Ipi(message.to_event(self.machine.new_ipi(), vcpu, vcpus)),
                Err(count) => Payload::Lost(Lost { count, reason: LostReason::RingFull }),
            };
            self.lane.record(vcpu, time, payload);
        }
    }
}

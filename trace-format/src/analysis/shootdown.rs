//! Shootdowns and other conversations by IPIs, put together from their events.
//!
//! The initiator writes the ICR, each target takes the interrupt and acknowledges it. Where a kernel writes the ICR once for
//! each target, as for xAPIC without a shorthand, the IPIs belong together that one vCPU sends with one vector to different
//! targets before any of them has acknowledged. Which vectors are shootdowns the trace does not tell; the handlers' symbols
//! do, and so they are named. The initiator of a shootdown waits for the last acknowledgement: that is the stall.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;

use super::{Durations, Quantiles};
use crate::Header;
use crate::describe::Code;
use crate::event::{DeliveryMode, Event, Payload};

/// Conversations that have begun and not ended; more are forgotten, the oldest first. A target that is halted with
/// interrupts off may never answer.
const MOST_OPEN: usize = 1024;

/// One conversation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shootdown {
    /// Number of the first event, the ICR write's.
    pub event: u64,
    /// When, ns.
    pub time: u64,
    /// The vCPU that sent it.
    pub initiator: u8,
    /// The vector.
    pub vector: u8,
    /// Who was to take it, in the order of vCPUs.
    pub targets: Vec<Target>,
    /// From the ICR write to the last acknowledgement, ns; `None` if a target has not acknowledged.
    pub stall_ns: Option<u64>,
}

/// What a target did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Target {
    /// The vCPU.
    pub vcpu: u8,
    /// From the ICR write to its acceptance, ns, if that was seen.
    pub accept_ns: Option<u64>,
    /// From the ICR write to its EOI, ns, if that was seen.
    pub eoi_ns: Option<u64>,
}

impl Shootdown {
    /// The target that acknowledged last.
    #[must_use]
    pub fn slowest(&self) -> Option<Target> {
        self.targets
            .iter()
            .copied()
            .filter(|target| target.eoi_ns.is_some())
            .max_by_key(|target| target.eoi_ns)
    }

    fn target(&mut self, vcpu: u8) -> Option<&mut Target> {
        self.targets.iter_mut().find(|target| target.vcpu == vcpu)
    }

    fn is_complete(&self) -> bool {
        self.targets.iter().all(|target| target.eoi_ns.is_some())
    }
}

/// All conversations with one vector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VectorReport {
    /// The vector.
    pub vector: u8,
    /// The handler, by its symbol or address, if it was seen.
    pub handler: Option<String>,
    /// How many conversations.
    pub count: u64,
    /// How many of them did not end within the trace.
    pub incomplete: u64,
    /// How many targets they had together.
    pub targets: u64,
    /// From the ICR write to each target's acceptance.
    pub accept_ns: Option<Quantiles>,
    /// From the ICR write to the last EOI, of those that ended.
    pub stall_ns: Option<Quantiles>,
    /// The sum of that, ns.
    pub total_stall_ns: u128,
}

/// What is known of a vector.
#[derive(Clone, Debug, Default)]
struct Vector {
    count: u64,
    complete: u64,
    targets: u64,
    handler: Option<u64>,
    accepted: Durations,
    stalls: Durations,
}

/// Puts conversations together. Events come in order.
#[derive(Clone, Debug)]
pub struct Shootdowns {
    vectors: BTreeMap<u8, Vector>,
    open: VecDeque<Shootdown>,
    /// The conversation and the delay of an IPI against its first, by the IPI's id.
    ids: HashMap<u64, (u64, u64)>,
    slowest: Vec<Shootdown>,
    most: usize,
    /// From sender to target: acceptances.
    matrix: Vec<Vec<u64>>,
}

impl Shootdowns {
    /// Keeps the `most` slowest conversations.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            vectors: BTreeMap::new(),
            open: VecDeque::new(),
            ids: HashMap::new(),
            slowest: Vec::new(),
            most,
            matrix: Vec::new(),
        }
    }

    /// Takes an event in. A conversation counts if its ICR write is `selected`, whatever its other events are.
    pub fn add(&mut self, number: u64, event: &Event, selected: bool) {
        match &event.payload {
            // INIT and start-up are answered by nobody.
            Payload::Ipi(ipi)
                if selected
                    && ipi.targets != 0
                    && matches!(ipi.mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority) =>
            {
                self.sent(number, event, ipi);
            }
            Payload::IpiAccepted(accepted) => {
                if selected || self.ids.contains_key(&accepted.id) {
                    self.count(accepted.sender, event.vcpu);
                    if let Some(vector) = self.vectors.get_mut(&accepted.vector) {
                        vector.accepted.add(accepted.latency_ns);
                    }
                }
                let latency_ns = accepted.latency_ns;
                self.answer(accepted.id, event.vcpu, |target, delay| {
                    target.accept_ns = Some(latency_ns.saturating_add(delay));
                });
            }
            Payload::IpiEoi(eoi) => {
                self.answer(eoi.id, event.vcpu, |target, delay| {
                    target.eoi_ns = Some(eoi.latency_ns.saturating_add(delay));
                });
            }
            // A vector's handler is the same on all vCPUs.
            Payload::Trap(trap) => {
                if let Some(vector) =
                    u8::try_from(trap.vector).ok().and_then(|vector| self.vectors.get_mut(&vector))
                {
                    vector.handler.get_or_insert(trap.handler);
                }
            }
            _ => {}
        }
    }

    fn sent(&mut self, number: u64, event: &Event, ipi: &crate::event::Ipi) {
        let targets = (0..16_u8).filter(|vcpu| ipi.targets >> vcpu & 1 != 0);
        let targets: Vec<Target> =
            targets.map(|vcpu| Target { vcpu, accept_ns: None, eoi_ns: None }).collect();
        let vector = self.vectors.entry(ipi.vector).or_default();
        vector.targets += targets.len() as u64;
        let same =
            self.open.iter_mut().rev().find(|open| open.initiator == event.vcpu && open.vector == ipi.vector);
        if let Some(open) = same
            && open
                .targets
                .iter()
                .all(|old| old.eoi_ns.is_none() && targets.iter().all(|new| new.vcpu != old.vcpu))
        {
            open.targets.extend(targets);
            open.targets.sort_by_key(|target| target.vcpu);
            self.ids.insert(ipi.id, (open.event, event.time.saturating_sub(open.time)));
            return;
        }
        vector.count += 1;
        self.ids.insert(ipi.id, (number, 0));
        let (initiator, vector) = (event.vcpu, ipi.vector);
        self.open.push_back(Shootdown {
            event: number,
            time: event.time,
            initiator,
            vector,
            targets,
            stall_ns: None,
        });
        if self.open.len() > MOST_OPEN
            && let Some(forgotten) = self.open.pop_front()
        {
            self.ids.retain(|_, (event, _)| *event != forgotten.event);
        }
    }

    /// A target has done something about an IPI.
    fn answer(&mut self, id: u64, vcpu: u8, seen: impl FnOnce(&mut Target, u64)) {
        let Some(&(event, delay)) = self.ids.get(&id) else { return };
        let Some(at) = self.open.iter().position(|open| open.event == event) else { return };
        let Some(open) = self.open.get_mut(at) else { return };
        if let Some(target) = open.target(vcpu) {
            seen(target, delay);
        }
        if open.is_complete()
            && let Some(mut ended) = self.open.remove(at)
        {
            self.ids.retain(|_, (event, _)| *event != ended.event);
            ended.stall_ns = ended.slowest().and_then(|target| target.eoi_ns);
            let vector = self.vectors.entry(ended.vector).or_default();
            vector.complete += 1;
            vector.stalls.add(ended.stall_ns.unwrap_or(0));
            self.keep(ended);
        }
    }

    /// Keeps it if it is among the slowest.
    fn keep(&mut self, ended: Shootdown) {
        let at = self.slowest.partition_point(|kept| kept.stall_ns >= ended.stall_ns);
        if at < self.most {
            self.slowest.insert(at, ended);
            self.slowest.truncate(self.most);
        }
    }

    fn count(&mut self, sender: u8, target: u8) {
        /// Senders and targets of a forged trace may be any.
        const MOST: usize = 64;
        let (sender, target) = (usize::from(sender), usize::from(target));
        if sender >= MOST || target >= MOST {
            return;
        }
        let size = self.matrix.len().max(sender + 1).max(target + 1);
        self.matrix.resize_with(size, Vec::new);
        self.matrix.iter_mut().for_each(|row| row.resize(size, 0));
        self.matrix[sender][target] += 1;
    }

    /// The conversations that took longest, the slowest first.
    #[must_use]
    pub fn slowest(&self) -> &[Shootdown] {
        &self.slowest
    }

    /// How many IPIs each vCPU (a row) sent that each (a column) accepted.
    #[must_use]
    pub fn matrix(&self) -> &[Vec<u64>] {
        &self.matrix
    }

    /// By vector, those that cost most first.
    #[must_use]
    pub fn vectors(&self, header: &Header) -> Vec<VectorReport> {
        let mut vectors: Vec<VectorReport> = self
            .vectors
            .iter()
            .map(|(number, vector)| VectorReport {
                vector: *number,
                handler: vector.handler.map(|address| Code { address, header }.to_string()),
                count: vector.count,
                incomplete: vector.count - vector.complete.min(vector.count),
                targets: vector.targets,
                accept_ns: vector.accepted.quantiles(),
                stall_ns: vector.stalls.quantiles(),
                total_stall_ns: vector.stalls.total_ns(),
            })
            .collect();
        vectors.sort_by_key(|vector| std::cmp::Reverse(vector.total_stall_ns));
        vectors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Ipi, IpiAccepted, IpiEoi, Shorthand};

    fn sent(time: u64, vcpu: u8, id: u64, vector: u8, targets: u16) -> Event {
        let (mode, shorthand) = (DeliveryMode::Fixed, Shorthand::None);
        Event { time, vcpu, payload: Payload::Ipi(Ipi { id, icr: 0, vector, mode, shorthand, targets }) }
    }

    fn accepted(time: u64, vcpu: u8, id: u64, latency_ns: u64) -> Event {
        let accepted = IpiAccepted { id, sender: 0, vector: 0xfd, latency_ns, merged: false };
        Event { time, vcpu, payload: Payload::IpiAccepted(accepted) }
    }

    fn eoi(time: u64, vcpu: u8, id: u64, latency_ns: u64) -> Event {
        Event { time, vcpu, payload: Payload::IpiEoi(IpiEoi { id, sender: 0, vector: 0xfd, latency_ns }) }
    }

    fn analyzed(events: &[Event]) -> Shootdowns {
        let mut shootdowns = Shootdowns::new(3);
        (0..).zip(events).for_each(|(number, event)| shootdowns.add(number, event, true));
        shootdowns
    }

    #[test]
    fn one_icr_write_to_several() {
        let found = analyzed(&[
            sent(1000, 0, 1, 0xfd, 0b110),
            accepted(1300, 1, 1, 300),
            accepted(1400, 2, 1, 400),
            eoi(1500, 1, 1, 500),
            eoi(1900, 2, 1, 900),
        ]);
        let [one] = found.slowest() else { panic!("{found:?}") };
        assert_eq!((one.event, one.initiator, one.stall_ns), (0, 0, Some(900)));
        assert_eq!(one.slowest(), Some(Target { vcpu: 2, accept_ns: Some(400), eoi_ns: Some(900) }));
        assert_eq!(found.matrix()[0], [0, 1, 1]);
        let vectors = found.vectors(&Header::default());
        assert_eq!((vectors[0].count, vectors[0].targets, vectors[0].incomplete), (1, 2, 0));
        assert_eq!(vectors[0].total_stall_ns, 900);
        assert!(found.open.is_empty() && found.ids.is_empty());
    }

    /// As with xAPIC: latencies of the second count from the first.
    #[test]
    fn an_icr_write_for_each_target() {
        let found = analyzed(&[
            sent(1000, 0, 1, 0xfd, 0b10),
            sent(1200, 0, 2, 0xfd, 0b100),
            eoi(1500, 1, 1, 500),
            eoi(1900, 2, 2, 700),
            // The same again is another one; so is one after an acknowledgement.
            sent(2000, 0, 3, 0xfd, 0b10),
            eoi(2100, 1, 3, 100),
            sent(2200, 0, 4, 0xfd, 0b100),
            sent(2300, 3, 5, 0xfd, 0b10),
            eoi(2400, 2, 4, 200),
        ]);
        let stalls: Vec<_> = found.slowest().iter().map(|one| (one.event, one.stall_ns)).collect();
        assert_eq!(stalls, [(0, Some(900)), (6, Some(200)), (4, Some(100))]);
        let vectors = found.vectors(&Header::default());
        assert_eq!((vectors[0].count, vectors[0].incomplete), (4, 1));
    }

    #[test]
    fn what_nobody_answers_is_forgotten() {
        let events: Vec<Event> = (0..5000).map(|n| sent(n, 0, n, 0xfd, 0b10)).collect();
        let found = analyzed(&events);
        assert!(found.open.len() <= MOST_OPEN && found.ids.len() <= MOST_OPEN);
        assert_eq!(found.vectors(&Header::default())[0].incomplete, 5000);
    }
}

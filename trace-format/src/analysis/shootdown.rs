//! Shootdowns and other conversations by IPIs, put together from their events.
//!
//! The initiator writes the ICR, each target takes the interrupt and acknowledges it. Where a kernel writes the ICR once for
//! each target, as for xAPIC without a shorthand, the IPIs belong together that one vCPU sends with one vector to different
//! targets before any of them has acknowledged. Which vectors are shootdowns the trace does not tell; the handlers' symbols
//! do, and so they are named. The initiator of a shootdown waits for the last acknowledgement: that is the stall.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::Quantiles;
use super::spans::Spans;
use crate::Header;
use crate::describe::Code;
use crate::event::{DeliveryMode, Event, Payload};

/// Conversations that have begun and not ended; more are forgotten, the oldest first. A target that is halted with
/// interrupts off may never answer.
const MOST_OPEN: usize = 1024;
/// Bytes that the distributions of the times of all vectors may take.
const MEMORY: usize = 4 << 20;

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
}

/// A conversation that has not ended.
#[derive(Clone, Debug)]
struct Open {
    shootdown: Shootdown,
    /// The ids of its IPIs: one for each target at most.
    ids: Vec<u64>,
}

/// Puts conversations together. Events come in order.
#[derive(Clone, Debug)]
pub struct Shootdowns {
    vectors: BTreeMap<u8, Vector>,
    /// By vector: how long until targets accepted, and the stalls.
    times: Spans<u8, 2>,
    /// By the number of the first event.
    open: BTreeMap<u64, Open>,
    /// The last conversation that a vCPU began with a vector, if it has not ended.
    last: HashMap<(u8, u8), u64>,
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
            times: Spans::new(MEMORY),
            open: BTreeMap::new(),
            last: HashMap::new(),
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
                    if self.vectors.contains_key(&accepted.vector) {
                        self.times.add(accepted.vector, [Some(accepted.latency_ns), None]);
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
        let key = (event.vcpu, ipi.vector);
        if let Some(open) = self.last.get(&key).and_then(|number| self.open.get_mut(number))
            && open
                .shootdown
                .targets
                .iter()
                .all(|old| old.eoi_ns.is_none() && targets.iter().all(|new| new.vcpu != old.vcpu))
        {
            open.ids.push(ipi.id);
            let open = &mut open.shootdown;
            open.targets.extend(targets);
            open.targets.sort_by_key(|target| target.vcpu);
            self.ids.insert(ipi.id, (open.event, event.time.saturating_sub(open.time)));
            return;
        }
        vector.count += 1;
        self.ids.insert(ipi.id, (number, 0));
        self.last.insert(key, number);
        let (initiator, vector) = key;
        let shootdown =
            Shootdown { event: number, time: event.time, initiator, vector, targets, stall_ns: None };
        self.open.insert(number, Open { shootdown, ids: vec![ipi.id] });
        if self.open.len() > MOST_OPEN
            && let Some((&oldest, _)) = self.open.first_key_value()
        {
            self.close(oldest);
        }
    }

    /// A target has done something about an IPI.
    #[inline]
    fn answer(&mut self, id: u64, vcpu: u8, seen: impl FnOnce(&mut Target, u64)) {
        let Some(&(event, delay)) = self.ids.get(&id) else { return };
        let Some(open) = self.open.get_mut(&event) else { return };
        if let Some(target) = open.shootdown.target(vcpu) {
            seen(target, delay);
        }
        if open.shootdown.is_complete()
            && let Some(mut ended) = self.close(event)
        {
            ended.stall_ns = ended.slowest().and_then(|target| target.eoi_ns);
            self.vectors.entry(ended.vector).or_default().complete += 1;
            self.times.add(ended.vector, [None, Some(ended.stall_ns.unwrap_or(0))]);
            self.keep(ended);
        }
    }

    /// Forgets the conversation that began with event `number`, and its IPIs.
    fn close(&mut self, number: u64) -> Option<Shootdown> {
        let Open { shootdown, ids } = self.open.remove(&number)?;
        for id in ids {
            // A trace may use an id twice.
            if self.ids.get(&id).is_some_and(|(event, _)| *event == number) {
                self.ids.remove(&id);
            }
        }
        let key = (shootdown.initiator, shootdown.vector);
        if self.last.get(&key) == Some(&number) {
            self.last.remove(&key);
        }
        Some(shootdown)
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
            .map(|(number, vector)| {
                let times = self.times.get(number);
                VectorReport {
                    vector: *number,
                    handler: vector.handler.map(|address| Code { address, header }.to_string()),
                    count: vector.count,
                    incomplete: vector.count - vector.complete.min(vector.count),
                    targets: vector.targets,
                    accept_ns: times.and_then(|[accepts, _]| accepts.quantiles()),
                    stall_ns: times.and_then(|[_, stalls]| stalls.quantiles()),
                    total_stall_ns: times.map_or(0, |[_, stalls]| stalls.total_ns()),
                }
            })
            .collect();
        vectors.sort_by_key(|vector| std::cmp::Reverse(vector.total_stall_ns));
        vectors
    }

    pub(super) fn error(&self) -> f64 {
        self.times.error()
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
        // With one vector, and with all.
        for vectors in [1, 256] {
            let send = |n: u64| sent(n, (n % 4) as u8, n, (n % vectors) as u8, 0b10);
            let found = analyzed(&(0..5000).map(send).collect::<Vec<_>>());
            assert!(found.open.len() <= MOST_OPEN && found.ids.len() <= MOST_OPEN);
            assert!(found.last.len() <= MOST_OPEN, "none of what is forgotten");
            let incomplete: u64 = found.vectors(&Header::default()).iter().map(|row| row.incomplete).sum();
            assert_eq!(incomplete, 5000);
        }
    }

    /// Those that wait for ever are not in the way of others, and one of them that is answered late is found.
    #[test]
    fn conversations_go_on_beside_a_thousand_that_are_never_answered() {
        let stuck = MOST_OPEN as u64 - 1;
        let mut events: Vec<Event> = (0..stuck).map(|id| sent(id, 2, id, 9, 0b10)).collect();
        for id in stuck..stuck + 2000 {
            events.extend([sent(id, 0, id, 0xfd, 0b10), accepted(id, 1, id, 3), eoi(id, 1, id, 5)]);
        }
        events.push(eoi(9000, 1, 0, 9000));
        let found = analyzed(&events);
        let vectors = found.vectors(&Header::default());
        let counts: Vec<_> = vectors.iter().map(|row| (row.vector, row.count, row.incomplete)).collect();
        assert_eq!(counts, [(0xfd, 2000, 0), (9, stuck, stuck - 1)]);
        assert_eq!(found.slowest()[0].stall_ns, Some(9000));
        assert_eq!((found.open.len() as u64, found.ids.len() as u64), (stuck - 1, stuck - 1));
    }

    #[test]
    fn an_id_that_is_used_twice_belongs_to_the_last() {
        let found = analyzed(&[
            sent(0, 0, 7, 0xfd, 0b10),
            sent(1, 3, 7, 0xfd, 0b100),
            eoi(2, 2, 7, 1),
            sent(3, 0, 8, 0xfd, 0b100),
            eoi(4, 2, 8, 1),
        ]);
        assert_eq!(found.slowest().len(), 1, "{found:?}");
        assert_eq!(found.open.len(), 1);
    }
}

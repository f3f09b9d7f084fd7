//! Totals by exit reason, trap and interrupt, kept as events come in.

use std::collections::HashMap;

use hdrhistogram::Histogram;
use trace_format::event::{Event, Payload};

/// The longest time that is told apart, ns (about 18 minutes); longer ones count as this.
const LONGEST_NS: u64 = 1 << 40;

/// Times, kept to two significant digits.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// The sum, ns.
    pub total_ns: u64,
    histogram: Option<Histogram<u64>>,
}

/// One exit reason.
#[derive(Clone, Debug)]
pub struct Exits {
    /// Its name.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
    /// Time in the guest before each.
    pub guest: Times,
    /// Time the monitor took for each.
    pub handling: Times,
}

/// One vector.
#[derive(Clone, Debug, Default)]
pub struct Traps {
    /// How many times its handler was entered.
    pub count: u64,
    /// From the handler's entry to its return.
    pub handler: Times,
}

/// Totals of everything read so far.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    exits: HashMap<&'static str, Exits>,
    traps: HashMap<u16, Traps>,
    /// ICR writes.
    pub ipis_sent: u64,
    /// From each ICR write to each target taking it.
    pub ipi_latency: Times,
    /// IPIs taken by a target.
    pub ipis_taken: u64,
    /// Time in guest mode before all exits, ns.
    pub guest_ns: u64,
    /// Time handling all exits, ns.
    pub handling_ns: u64,
}

impl Statistics {
    /// Counts an event.
    pub fn add(&mut self, event: &Event) {
        match &event.payload {
            Payload::Exit(exit) => {
                let reason = exit.reason.name();
                let exits = self.exits.entry(reason).or_insert_with(|| Exits {
                    reason,
                    count: 0,
                    guest: Times::default(),
                    handling: Times::default(),
                });
                exits.count += 1;
                exits.guest.add(exit.guest_ns);
                exits.handling.add(exit.handling_ns);
                self.guest_ns = self.guest_ns.saturating_add(exit.guest_ns);
                self.handling_ns = self.handling_ns.saturating_add(exit.handling_ns);
            }
            Payload::Trap(trap) => self.traps.entry(trap.vector).or_default().count += 1,
            Payload::TrapReturn(trap) => {
                self.traps.entry(trap.vector).or_default().handler.add(trap.duration_ns);
            }
            Payload::Ipi(_) => self.ipis_sent += 1,
            Payload::IpiAccepted(ipi) => {
                self.ipis_taken += 1;
                self.ipi_latency.add(ipi.latency_ns);
            }
            _ => {}
        }
    }

    /// Exit reasons, the most frequent first.
    #[must_use]
    pub fn exits(&self) -> Vec<&Exits> {
        let mut exits: Vec<&Exits> = self.exits.values().collect();
        exits.sort_by(|a, b| b.count.cmp(&a.count).then(a.reason.cmp(b.reason)));
        exits
    }

    /// Vectors, the most frequent first.
    #[must_use]
    pub fn traps(&self) -> Vec<(u16, &Traps)> {
        let mut traps: Vec<(u16, &Traps)> =
            self.traps.iter().map(|(vector, traps)| (*vector, traps)).collect();
        traps.sort_by(|a, b| b.1.count.cmp(&a.1.count).then(a.0.cmp(&b.0)));
        traps
    }

    /// All exits.
    #[must_use]
    pub fn exit_count(&self) -> u64 {
        self.exits.values().map(|exits| exits.count).sum()
    }

    /// The share of the vCPUs' time that went into handling exits, 0 to 1; `None` before the first exit.
    #[must_use]
    pub fn handling_share(&self) -> Option<f64> {
        let all = self.guest_ns.saturating_add(self.handling_ns);
        (all > 0).then(|| self.handling_ns as f64 / all as f64)
    }
}

impl Times {
    /// Counts one.
    pub fn add(&mut self, ns: u64) {
        self.total_ns = self.total_ns.saturating_add(ns);
        if self.histogram.is_none() {
            // Fails only for bounds out of order, and these are constant.
            self.histogram = Histogram::new_with_max(LONGEST_NS, 2).ok();
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(ns);
        }
    }

    /// The time that the share `quantile` (0 to 1) of all does not exceed, ns; `None` without any.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        self.histogram.as_ref().map(|histogram| histogram.value_at_quantile(quantile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trace_format::event::{Exit, ExitReason};

    fn exit(reason: ExitReason, guest_ns: u64) -> Event {
        Event {
            time: 0,
            vcpu: 0,
            payload: Payload::Exit(Exit { reason, rip: 0, cpl: 0, guest_ns, handling_ns: guest_ns / 4 }),
        }
    }

    #[test]
    fn reasons_are_sorted_by_count() {
        let mut statistics = Statistics::default();
        statistics.add(&exit(ExitReason::Shutdown, 0));
        for n in 1..=100 {
            statistics.add(&exit(ExitReason::Halt, n * 100));
        }
        let exits = statistics.exits();
        assert_eq!((exits[0].reason, exits[0].count), ("hlt", 100));
        assert_eq!((exits[1].reason, exits[1].count), ("shutdown", 1));
        let median = exits[0].guest.quantile(0.5).unwrap();
        assert!((4950..=5050).contains(&median), "{median}");
        let share = statistics.handling_share().unwrap();
        assert!((share - 0.2).abs() < 0.001, "{share}");
    }

    #[test]
    fn absurd_times_are_counted_as_the_longest() {
        let mut times = Times::default();
        times.add(u64::MAX);
        times.add(u64::MAX);
        assert_eq!(times.total_ns, u64::MAX);
        assert!(times.quantile(0.5).unwrap() >= LONGEST_NS);
        assert_eq!(Times::default().quantile(0.5), None);
    }
}

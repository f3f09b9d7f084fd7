//! Counting events as they come.

use std::collections::BTreeMap;

use super::Durations;
use super::report::{
    ExitReport, GuestReport, IpiReport, IrqReport, NamedFact, Report, TraceReport, TrapReport,
};
use super::spans::Spans;
use crate::Reader;
use crate::event::{
    Event, IrqSource, Kind, MACHINE, Payload, StopReason, TrapClass, VECTOR_SYSCALL, VcpuState, vector_name,
};

/// The most counters of a guest that are kept; a guest that makes up names must not fill the memory.
const MAX_COUNTERS: usize = 256;

/// The most interrupt sources that are told apart: machines have fewer pins, but a forged trace can name hundreds. The
/// others are counted together.
const MAX_SOURCES: usize = 64;
/// Bytes that the distributions of the times of exits may take, those of handlers and those of interrupts.
const MEMORY: [usize; 3] = [8 << 20, 4 << 20, 4 << 20];
/// What they are called.
const OTHER_SOURCES: &str = "others";

/// Counts events. What it holds is bounded by the number of kinds, reasons and vectors, not of events.
#[derive(Clone, Debug)]
pub struct Tally {
    events: u64,
    lost: u64,
    by_kind: [u64; Kind::ALL.len()],
    /// By reason: time in the guest, and of handling.
    exits: Spans<&'static str, 2>,
    traps: BTreeMap<u16, Traps>,
    /// By vector.
    handlers: Spans<u16, 1>,
    ipis: Ipis,
    /// By source, `None` for all for which there was no room: latency of the injection, and of the EOI.
    irqs: Spans<Option<IrqSource>, 2>,
    guest: GuestReport,
    highest_vcpu: Option<u8>,
}

#[derive(Clone, Debug, Default)]
struct Traps {
    class: Option<TrapClass>,
    count: u64,
}

#[derive(Clone, Debug, Default)]
struct Ipis {
    merged: u64,
    accepted: Durations,
    eois: Durations,
}

impl Default for Tally {
    fn default() -> Self {
        let [exits, handlers, irqs] = MEMORY;
        Self {
            events: 0,
            lost: 0,
            by_kind: [0; Kind::ALL.len()],
            exits: Spans::new(exits),
            traps: BTreeMap::new(),
            handlers: Spans::new(handlers),
            ipis: Ipis::default(),
            irqs: Spans::new(irqs),
            guest: GuestReport::default(),
            highest_vcpu: None,
        }
    }
}

impl Tally {
    /// Takes `event` in.
    pub fn add(&mut self, event: &Event) {
        self.events += 1;
        self.by_kind[event.payload.kind() as usize] += 1;
        if event.vcpu != MACHINE {
            self.highest_vcpu = self.highest_vcpu.max(Some(event.vcpu));
        }
        match &event.payload {
            Payload::Exit(exit) => {
                self.exits.add(exit.reason.name(), [Some(exit.guest_ns), Some(exit.handling_ns)]);
            }
            Payload::Trap(trap) => {
                if let Some(traps) = self.vector(trap.vector) {
                    traps.count += 1;
                    traps.class.get_or_insert(trap.class);
                }
            }
            Payload::TrapReturn(back) if self.vector(back.vector).is_some() => {
                self.handlers.add(back.vector, [Some(back.duration_ns)]);
            }
            Payload::IpiAccepted(accepted) => {
                self.ipis.merged += u64::from(accepted.merged);
                self.ipis.accepted.add(accepted.latency_ns);
            }
            Payload::IpiEoi(eoi) => self.ipis.eois.add(eoi.latency_ns),
            Payload::Irq(irq) => self.irqs.add(self.source(irq.source), [Some(irq.latency_ns), None]),
            Payload::IrqEoi(eoi) => self.irqs.add(self.source(eoi.source), [None, Some(eoi.latency_ns)]),
            Payload::Counter(counter) => {
                let counters = &mut self.guest.counters;
                if counters.len() < MAX_COUNTERS || counters.contains_key(counter.name.as_str()) {
                    counters.insert(counter.name.as_str().to_owned(), counter.value);
                }
            }
            Payload::State(VcpuState::Stopped { why }) if event.vcpu == MACHINE => {
                self.guest.stopped = Some(why.to_string());
                if let StopReason::GuestExit { status } = why {
                    self.guest.exit_status = Some(*status);
                }
            }
            Payload::Lost(lost) => self.lost = self.lost.saturating_add(lost.count),
            _ => {}
        }
    }

    /// Events of `kind` so far.
    #[must_use]
    pub const fn count(&self, kind: Kind) -> u64 {
        self.by_kind[kind as usize]
    }

    /// Events so far.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Exits so far by reason, the most frequent first, as parts of `duration_ns` on `vcpus` vCPUs.
    #[must_use]
    pub fn exits(&self, duration_ns: u64, vcpus: u8) -> Vec<ExitReport> {
        let share = |durations: &Durations| {
            let all = duration_ns as f64 * f64::from(vcpus);
            if all > 0.0 { durations.total_ns() as f64 / all } else { 0.0 }
        };
        let mut exits: Vec<ExitReport> = self
            .exits
            .iter()
            .filter_map(|(&reason, [guest, handling])| {
                let (guest_ns, handling_ns) = (guest.quantiles()?, handling.quantiles()?);
                let count = guest.count();
                let (guest_share, handling_share) = (share(guest), share(handling));
                let per_second = per_second(count, duration_ns);
                Some(ExitReport {
                    reason,
                    count,
                    guest_ns,
                    handling_ns,
                    per_second,
                    guest_share,
                    handling_share,
                })
            })
            .collect();
        exits.sort_by_key(|exit| std::cmp::Reverse(exit.count));
        exits
    }

    /// The report on what was counted, with what `reader` tells about the trace.
    #[must_use]
    pub fn report(&self, reader: &Reader) -> Report {
        self.report_of(reader, reader.duration_ns())
    }

    /// As [`Self::report`], of a part of the trace that is `duration_ns` long.
    #[must_use]
    pub(super) fn report_of(&self, reader: &Reader, duration_ns: u64) -> Report {
        let header = reader.header();
        let damage = reader.damage();
        let by_damage = damage.iter().filter_map(|damage| damage.events_lost).fold(0, u64::saturating_add);
        let vcpus = header.vcpus.max(self.highest_vcpu.map_or(0, |vcpu| vcpu + 1));
        Report {
            schema: 1,
            events: self.events,
            bytes: reader.bytes(),
            lost: self.lost.saturating_add(by_damage),
            unknown: reader.unknown_events(),
            duration_ns,
            vcpus,
            by_kind: Kind::ALL
                .into_iter()
                .map(|kind| (kind.name(), self.count(kind)))
                .filter(|&(_, count)| count != 0)
                .collect(),
            exits: self.exits(duration_ns, vcpus),
            traps: self.traps(),
            ipis: IpiReport {
                sent: self.count(Kind::Ipi),
                accepted: self.count(Kind::IpiAccepted),
                merged: self.ipis.merged,
                sent_per_second: per_second(self.count(Kind::Ipi), duration_ns),
                accepted_per_second: per_second(self.count(Kind::IpiAccepted), duration_ns),
                latency_ns: self.ipis.accepted.quantiles(),
                eoi_latency_ns: self.ipis.eois.quantiles(),
            },
            irqs: self.irqs(duration_ns),
            guest: self.guest.clone(),
            details: super::Details::default(),
            trace: TraceReport {
                guest: header.guest.clone(),
                command: header.command.clone(),
                guest_command_line: header.guest_command_line.clone(),
                memory_bytes: header.memory_bytes,
                start_unix_ns: header.start_unix_ns,
                tsc_khz: header.tsc_khz,
                recorder: header.recorder.clone(),
                host: header.host.iter().map(NamedFact::from).collect(),
                calibration: header.calibration.iter().map(NamedFact::from).collect(),
                not_seen: header.not_seen.clone(),
                finished: reader.is_finished(),
                blocks: reader.blocks().len() as u64,
                damage,
            },
        }
    }

    /// Traps so far by vector, the most frequent first.
    #[must_use]
    pub fn traps(&self) -> Vec<TrapReport> {
        let mut traps: Vec<TrapReport> = self
            .traps
            .iter()
            .map(|(&vector, traps)| {
                let class = traps.class.map_or("unknown", TrapClass::name);
                let times = self.handlers.get(&vector).map(|[times]| times);
                TrapReport {
                    vector,
                    name: vector_name(vector).unwrap_or(class),
                    class,
                    count: traps.count,
                    returned: times.map_or(0, Durations::count),
                    duration_ns: times.and_then(Durations::quantiles),
                }
            })
            .collect();
        traps.sort_by_key(|trap| std::cmp::Reverse(trap.count));
        traps
    }

    fn irqs(&self, duration_ns: u64) -> Vec<IrqReport> {
        let mut irqs: Vec<IrqReport> = self
            .irqs
            .iter()
            .map(|(source, [injected, eois])| IrqReport {
                source: source.map_or_else(|| OTHER_SOURCES.to_owned(), |source| source.to_string()),
                count: injected.count(),
                per_second: per_second(injected.count(), duration_ns),
                latency_ns: injected.quantiles(),
                eoi_latency_ns: eois.quantiles(),
            })
            .collect();
        irqs.sort_by_key(|irq| std::cmp::Reverse(irq.count));
        irqs
    }

    /// The entry of a vector; none for a number that no CPU has.
    fn vector(&mut self, vector: u16) -> Option<&mut Traps> {
        (vector <= VECTOR_SYSCALL).then(|| self.traps.entry(vector).or_default())
    }

    /// The source, if there is room for it.
    fn source(&self, source: IrqSource) -> Option<IrqSource> {
        (self.irqs.len() < MAX_SOURCES || self.irqs.get(&Some(source)).is_some()).then_some(source)
    }

    /// By how much quantiles are too high at most, as a fraction of themselves.
    pub(super) fn error(&self) -> f64 {
        self.exits.error().max(self.handlers.error()).max(self.irqs.error())
    }
}

fn per_second(count: u64, duration_ns: u64) -> f64 {
    if duration_ns > 0 { count as f64 * 1e9 / duration_ns as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Counter, Irq, Text};

    #[test]
    fn counters_with_names_made_up_are_bounded() {
        let mut tally = Tally::default();
        let mut count = |name: &str, value| {
            let name = Text::from(name).unwrap();
            tally.add(&Event { time: 0, vcpu: 0, payload: Payload::Counter(Counter { name, value }) });
        };
        (0..10_000).for_each(|n| count(&format!("counter {n}"), n));
        count("counter 0", 77);
        assert_eq!(tally.guest.counters.len(), MAX_COUNTERS);
        assert_eq!(tally.guest.counters["counter 0"], 77, "those that are kept go on counting");
    }

    #[test]
    fn interrupt_sources_made_up_are_bounded_and_counted() {
        let mut tally = Tally::default();
        let mut raise = |source| {
            let irq = Irq { source, vector: 32, latency_ns: u64::MAX };
            tally.add(&Event { time: 0, vcpu: 0, payload: Payload::Irq(irq) });
        };
        for pin in 0..=u8::MAX {
            raise(IrqSource::IoApic { pin });
            raise(IrqSource::Pic { line: pin });
        }
        raise(IrqSource::IoApic { pin: 0 });
        let irqs = tally.irqs(1);
        assert_eq!(irqs.len(), MAX_SOURCES + 1);
        assert_eq!((irqs[0].source.as_str(), irqs[0].count), (OTHER_SOURCES, 512 - MAX_SOURCES as u64));
        assert_eq!((irqs[1].source.as_str(), irqs[1].count), ("ioapic-0", 2), "those that are kept go on");
        assert_eq!(irqs.iter().map(|irq| irq.count).sum::<u64>(), 513, "none is left out");
    }
}

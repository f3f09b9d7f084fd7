//! What is compared of a trace.

use std::collections::{BTreeMap, HashMap};

use super::Subject;
use super::lane::Lanes;
use crate::analysis::Durations;
use crate::event::{Kind, Payload, VECTOR_SYSCALL, vector_name};
use crate::filter::table::kind_name;
use crate::filter::{self, Selection};
use crate::{Error, Event, Header, Reader};

/// A trace in numbers. Its size is bounded by the number of reasons, vectors, sources, symbols and vCPUs.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) events: u64,
    kinds: BTreeMap<Kind, u64>,
    exits: BTreeMap<&'static str, Exits>,
    traps: BTreeMap<u16, u64>,
    /// How long handlers took, by vector.
    handlers: BTreeMap<u16, Durations>,
    irqs: BTreeMap<&'static str, Irqs>,
    ipis: Irqs,
    symbols: HashMap<String, u64>,
    pub(super) lanes: Lanes,
}

#[derive(Default)]
struct Exits {
    guest: Durations,
    handling: Durations,
}

#[derive(Default)]
struct Irqs {
    accepted: Durations,
    acknowledged: Durations,
}

impl Profile {
    pub(super) fn of(reader: &mut Reader, selection: &Selection) -> Result<Self, Error> {
        let mut profile = Self::default();
        let header = reader.header().clone();
        reader.for_each(|number, event| {
            if selection.has(&filter::Subject { number, event, header: &header }) {
                profile.add(number, event, &header);
            }
        })?;
        Ok(profile)
    }

    fn add(&mut self, number: u64, event: &Event, header: &Header) {
        self.events += 1;
        *self.kinds.entry(event.payload.kind()).or_default() += 1;
        self.lanes.entry(event.vcpu).or_default().add(number, event, header);
        match &event.payload {
            Payload::Exit(exit) => {
                let exits = self.exits.entry(exit.reason.name()).or_default();
                exits.guest.add(exit.guest_ns);
                exits.handling.add(exit.handling_ns);
                let symbol = header.symbolize(exit.rip).map_or(NO_SYMBOL, |(name, _)| name);
                match self.symbols.get_mut(symbol) {
                    Some(count) => *count += 1,
                    None => drop(self.symbols.insert(symbol.to_owned(), 1)),
                }
            }
            // A forged trace may have vectors that are none.
            Payload::Trap(trap) if trap.vector <= VECTOR_SYSCALL => {
                *self.traps.entry(trap.vector).or_default() += 1;
            }
            Payload::TrapReturn(back) if back.vector <= VECTOR_SYSCALL => {
                let known = self.handlers.len() < MOST_HANDLERS || self.handlers.contains_key(&back.vector);
                let vector = if known { back.vector } else { OTHER_VECTORS };
                self.handlers.entry(vector).or_default().add(back.duration_ns);
            }
            Payload::IpiAccepted(ipi) => self.ipis.accepted.add(ipi.latency_ns),
            Payload::IpiEoi(ipi) => self.ipis.acknowledged.add(ipi.latency_ns),
            Payload::Irq(irq) => {
                self.irqs.entry(irq.source.class()).or_default().accepted.add(irq.latency_ns);
            }
            Payload::IrqEoi(irq) => {
                self.irqs.entry(irq.source.class()).or_default().acknowledged.add(irq.latency_ns);
            }
            _ => {}
        }
    }

    /// How often what happened.
    pub(super) fn counts(&self) -> BTreeMap<Subject, u64> {
        let kinds = self.kinds.iter().map(|(kind, count)| (Subject::new("kind", kind_name(*kind)), *count));
        let exits = self.exits.iter().map(|(name, exits)| (Subject::new("exit", name), exits.guest.count()));
        let traps = self.traps.iter().map(|(vector, count)| (trap("trap", *vector), *count));
        let irqs = self.irqs.iter().map(|(name, irqs)| (Subject::new("irq", name), irqs.accepted.count()));
        let symbols = self.symbols.iter().map(|(name, count)| (Subject::new("exits in", name), *count));
        kinds.chain(exits).chain(traps).chain(irqs).chain(symbols).collect()
    }

    /// How long what took.
    pub(super) fn times(&self) -> BTreeMap<Subject, &Durations> {
        let exits = self.exits.iter().flat_map(|(name, exits)| {
            [
                (Subject::new("guest before", name), &exits.guest),
                (Subject::new("handling", name), &exits.handling),
            ]
        });
        let traps = self.handlers.iter().map(|(vector, handler)| (trap("handler", *vector), handler));
        let accepted = |of: &'static str| Subject::new("accepted", of);
        let acknowledged = |of: &'static str| Subject::new("acknowledged", of);
        let irqs = self.irqs.iter().map(|(name, irqs)| (*name, irqs)).chain([("ipi", &self.ipis)]);
        let irqs = irqs.flat_map(|(name, irqs)| {
            [(accepted(name), &irqs.accepted), (acknowledged(name), &irqs.acknowledged)]
        });
        exits.chain(traps).chain(irqs).filter(|(_, durations)| durations.count() > 0).collect()
    }
}

/// As many vectors have a distribution of their own, which may be half a MiB; the rest has one together.
const MOST_HANDLERS: usize = 64;
/// The number for those, which is no vector's.
const OTHER_VECTORS: u16 = u16::MAX;
const NO_SYMBOL: &str = "(no symbol)";

fn trap(what: &'static str, vector: u16) -> Subject {
    match vector_name(vector) {
        Some(name) => Subject::new(what, name),
        None if vector == OTHER_VECTORS => Subject::new(what, "others"),
        None => Subject::new(what, &format!("{vector:#x}")),
    }
}

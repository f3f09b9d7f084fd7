//! Traps by vector, where they came from, and who handled them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::recent::Recent;
use super::spans::Spans;
use super::{Durations, Quantiles};
use crate::Header;
use crate::describe::Code;
use crate::event::{Event, Payload, VECTOR_SYSCALL, vector_name};

/// As many are told apart; guests and traces choose the addresses. The others are counted together.
const MOST: usize = 128;
/// Bytes that their times may take.
const MEMORY: usize = 4 << 20;

/// The traps of one vector that one handler got from one privilege level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HandlerReport {
    /// Vector, 256 for `SYSCALL`; `None` for all those for which there was no room.
    pub vector: Option<u16>,
    /// The vector's name, if it has one.
    pub name: Option<&'static str>,
    /// The privilege level they came from; `None` for returns whose entry was not seen.
    pub cpl: Option<u8>,
    /// The handler by its symbol or address; `None` as for `cpl`.
    pub handler: Option<String>,
    /// How many.
    pub count: u64,
    /// How many returns were seen.
    pub returned: u64,
    /// From entry to return.
    pub duration_ns: Option<Quantiles>,
}

/// Whence and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    vector: Option<u16>,
    /// Privilege level and address of the handler.
    from: Option<(u8, u64)>,
}

/// Counts traps. Events come in order.
#[derive(Clone, Debug)]
pub struct Handlers {
    counts: BTreeMap<Way, u64>,
    times: Spans<Way, 1>,
    /// Those that have not returned, and whether they count.
    open: Recent<(Way, bool)>,
}

impl Default for Handlers {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), times: Spans::new(MEMORY), open: Recent::default() }
    }
}

impl Handlers {
    /// Takes an event in. A return counts if it is `selected` or the entry was.
    pub fn add(&mut self, event: &Event, selected: bool) {
        match &event.payload {
            Payload::Trap(trap) if trap.vector <= VECTOR_SYSCALL => {
                let way = Way { vector: Some(trap.vector), from: Some((trap.cpl, trap.handler)) };
                if selected {
                    *self.row(way) += 1;
                }
                self.open.put(trap.id, (way, selected));
            }
            Payload::TrapReturn(back) if back.vector <= VECTOR_SYSCALL => {
                let unknown = (Way { vector: Some(back.vector), from: None }, false);
                let (way, counts) = self.open.take(back.id).unwrap_or(unknown);
                if selected || counts {
                    let way = self.known(way);
                    self.row(way);
                    self.times.add(way, [Some(back.duration_ns)]);
                }
            }
            _ => {}
        }
    }

    fn known(&self, way: Way) -> Way {
        let room = self.counts.len() < MOST || self.counts.contains_key(&way);
        if room { way } else { Way { vector: None, from: None } }
    }

    fn row(&mut self, way: Way) -> &mut u64 {
        self.counts.entry(self.known(way)).or_default()
    }

    /// The `most` most frequent.
    #[must_use]
    pub fn report(&self, header: &Header, most: usize) -> Vec<HandlerReport> {
        let mut rows: Vec<(&Way, &u64)> = self.counts.iter().collect();
        rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let row = |(way, count): (&Way, &u64)| {
            let times = self.times.get(way).map(|[times]| times);
            HandlerReport {
                vector: way.vector,
                name: way.vector.and_then(vector_name),
                cpl: way.from.map(|(cpl, _)| cpl),
                handler: way.from.map(|(_, address)| Code { address, header }.to_string()),
                count: *count,
                returned: times.map_or(0, Durations::count),
                duration_ns: times.and_then(Durations::quantiles),
            }
        };
        rows.into_iter().take(most).map(row).collect()
    }

    pub(super) fn error(&self) -> f64 {
        self.times.error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Trap, TrapClass, TrapReturn};

    fn entry(id: u64, vector: u16, cpl: u8, handler: u64) -> Event {
        let trap = Trap {
            id,
            vector,
            shared_by: 1,
            class: TrapClass::Fault,
            code: None,
            rip: 0,
            cs: 0,
            cpl,
            rsp: 0,
            handler,
            cr2: None,
        };
        Event { time: id, vcpu: 0, payload: Payload::Trap(trap) }
    }

    fn back(id: u64, vector: u16, duration_ns: u64) -> Event {
        Event {
            time: id,
            vcpu: 0,
            payload: Payload::TrapReturn(TrapReturn { id, vector, duration_ns, rip: 0 }),
        }
    }

    #[test]
    fn a_return_belongs_to_its_entry() {
        let mut handlers = Handlers::default();
        for (event, selected) in [
            (entry(1, 14, 3, 0x2000), true),
            (entry(2, 14, 0, 0x2000), true),
            (back(2, 14, 20), false),
            (back(1, 14, 100), true),
            (back(0, 14, 7), true),
            (entry(3, 14, 3, 0x2000), false),
            (back(3, 14, 9), false),
        ] {
            handlers.add(&event, selected);
        }
        let rows = handlers.report(&Header::default(), 10);
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.cpl, row.count, row.returned, row.duration_ns.map(|times| times.max)))
            .collect();
        let expected = [(Some(0), 1, 1, Some(20)), (Some(3), 1, 1, Some(100)), (None, 0, 1, Some(7))];
        assert_eq!(rows, expected);
    }

    #[test]
    fn handlers_made_up_are_bounded_and_counted() {
        let mut handlers = Handlers::default();
        for id in 0..10_000 {
            handlers.add(&entry(id, (id % 257) as u16, (id % 4) as u8, id), true);
            handlers.add(&back(id, 14, id << 40), true);
        }
        let rows = handlers.report(&Header::default(), usize::MAX);
        assert_eq!(rows.len(), MOST + 1);
        assert_eq!((rows[0].vector, rows[0].returned), (None, rows[0].count));
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 10_000);
    }
}

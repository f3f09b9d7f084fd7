//! Which code traps, through which vector, into which handler.

use std::collections::HashMap;

use trace_format::event::{Payload, VECTOR_SYSCALL};
use trace_format::filter::Subject;

/// As many ways are told apart: the guest and the trace choose the addresses. Others are counted together.
const MOST: usize = 8192;
/// Traps that have not returned, before the oldest are forgotten.
const MOST_OPEN: usize = 4096;

/// Whence and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Way {
    /// Vector, 256 for `SYSCALL`.
    pub vector: u16,
    /// The privilege level that trapped.
    pub cpl: u8,
    /// Where the function begins that trapped, gva; where it has no symbol, the instruction.
    pub origin: u64,
    /// The handler's first instruction, gva.
    pub handler: u64,
}

/// What went that way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// How many traps.
    pub count: u64,
    /// How many of them returned.
    pub returned: u64,
    /// In their handlers together, ns.
    pub total_ns: u64,
    /// In the handler at most, ns.
    pub longest_ns: u64,
}

/// All ways.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    ways: HashMap<Way, Flow>,
    /// Those that are open, by the trap's id: this round's and the one's before.
    open: [HashMap<u64, Way>; 2],
    /// Traps for which there was no room.
    others: u64,
}

impl Flows {
    /// Takes an event in.
    pub fn add(&mut self, subject: &Subject<'_>) {
        match &subject.event.payload {
            Payload::Trap(trap) if trap.vector <= VECTOR_SYSCALL => {
                let offset = subject.header.symbolize(trap.rip).map_or(0, |(_, offset)| offset);
                let origin = trap.rip.wrapping_sub(offset);
                let way = Way { vector: trap.vector, cpl: trap.cpl, origin, handler: trap.handler };
                if self.ways.len() >= MOST && !self.ways.contains_key(&way) {
                    self.others += 1;
                    return;
                }
                self.ways.entry(way).or_default().count += 1;
                if self.open[0].len() >= MOST_OPEN {
                    self.open[1] = std::mem::take(&mut self.open[0]);
                }
                self.open[0].insert(trap.id, way);
            }
            Payload::TrapReturn(back) => {
                let way = self.open.iter_mut().find_map(|open| open.remove(&back.id));
                if let Some(flow) = way.and_then(|way| self.ways.get_mut(&way)) {
                    flow.returned += 1;
                    flow.total_ns = flow.total_ns.saturating_add(back.duration_ns);
                    flow.longest_ns = flow.longest_ns.max(back.duration_ns);
                }
            }
            _ => {}
        }
    }

    /// Vectors with their handlers and the privilege levels they came from, the most frequent first. Their origins are
    /// those of [`Flows::from`].
    #[must_use]
    pub fn to(&self) -> Vec<(Way, Flow)> {
        self.grouped(|way| Some(Way { origin: 0, ..*way }))
    }

    /// Where the traps of a row of [`Flows::to`] came from, the most frequent first.
    #[must_use]
    pub fn from(&self, to: Way) -> Vec<(Way, Flow)> {
        self.grouped(|way| (Way { origin: 0, ..*way } == to).then_some(*way))
    }

    /// How many traps there was no room for.
    #[must_use]
    pub const fn others(&self) -> u64 {
        self.others
    }

    fn grouped(&self, group: impl Fn(&Way) -> Option<Way>) -> Vec<(Way, Flow)> {
        let mut groups: HashMap<Way, Flow> = HashMap::new();
        for (way, flow) in &self.ways {
            let Some(group) = group(way) else { continue };
            let sum = groups.entry(group).or_default();
            sum.count += flow.count;
            sum.returned += flow.returned;
            sum.total_ns = sum.total_ns.saturating_add(flow.total_ns);
            sum.longest_ns = sum.longest_ns.max(flow.longest_ns);
        }
        let mut rows: Vec<(Way, Flow)> = groups.into_iter().collect();
        rows.sort_by(|(a, x), (b, y)| y.count.cmp(&x.count).then(a.cmp(b)));
        rows
    }
}

impl Flow {
    /// In the handler on average, ns; `None` if none has returned.
    #[must_use]
    pub fn mean_ns(&self) -> Option<u64> {
        self.total_ns.checked_div(self.returned)
    }
}

#[cfg(test)]
mod tests {
    use trace_format::event::{Trap, TrapClass, TrapReturn};
    use trace_format::{Event, Header};

    use super::*;

    fn trap(id: u64, rip: u64) -> Payload {
        Payload::Trap(Trap {
            id,
            vector: 14,
            shared_by: 1,
            class: TrapClass::Fault,
            code: None,
            rip,
            cs: 0x33,
            cpl: 3,
            rsp: 0,
            handler: 0x9000,
            cr2: None,
        })
    }

    fn back(id: u64, duration_ns: u64) -> Payload {
        Payload::TrapReturn(TrapReturn { id, vector: 14, duration_ns, rip: 0 })
    }

    fn flows(payloads: impl IntoIterator<Item = Payload>) -> Flows {
        let (mut flows, header) = (Flows::default(), Header::default());
        for payload in payloads {
            let event = Event { time: 0, vcpu: 0, payload };
            flows.add(&Subject { number: 0, event: &event, header: &header });
        }
        flows
    }

    #[test]
    fn traps_are_joined_with_their_returns() {
        let flows =
            flows([trap(1, 0x10), trap(2, 0x20), back(2, 5), back(1, 7), trap(3, 0x10), back(9, 100)]);
        let to = flows.to();
        assert_eq!(to.len(), 1);
        assert_eq!(to[0].1, Flow { count: 3, returned: 2, total_ns: 12, longest_ns: 7 });
        let from = flows.from(to[0].0);
        assert_eq!((from[0].0.origin, from[0].1.count, from[0].1.mean_ns()), (0x10, 2, Some(7)));
        assert_eq!((from[1].0.origin, from[1].1.count, from[1].1.mean_ns()), (0x20, 1, Some(5)));
    }

    #[test]
    fn what_the_guest_makes_up_is_bounded_and_counted() {
        let flows = flows((0..10_000).map(|n| trap(n, n)));
        assert_eq!(flows.from(flows.to()[0].0).len(), MOST);
        assert_eq!(flows.others(), 10_000 - MOST as u64);
        assert!(flows.open[0].len() <= MOST_OPEN && flows.open[1].len() <= MOST_OPEN);
    }
}

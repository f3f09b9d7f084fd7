//! Times by how long they are, in buckets whose bounds are exact: what a bucket counts, a filter finds.

use std::collections::BTreeMap;
use std::ops::Range;

use trace_format::event::{Event, ExitReason, Payload, VECTOR_SYSCALL};

/// Times below this have a bucket each; each octave from there has [`PARTS`].
const SINGLE: u64 = 8;
const PARTS: u64 = 4;

/// How many times there are of which length. Buckets are at most a quarter of their time wide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The shortest time in it, ns.
    pub low: u64,
    /// The first longer one that is not, ns; `None` in the last one, which has no end.
    pub high: Option<u64>,
    /// How many.
    pub count: u64,
}

fn index(ns: u64) -> usize {
    let bucket = match ns.checked_ilog2() {
        Some(octave) if ns >= SINGLE => SINGLE + u64::from(octave - 3) * PARTS + (ns >> (octave - 2)) % PARTS,
        _ => ns,
    };
    // At most 8 + 61 * 4.
    bucket as usize
}

/// The shortest time in bucket `index`; `None` beyond the last one.
fn low(index: usize) -> Option<u64> {
    let index = index as u64;
    let Some(above) = index.checked_sub(SINGLE) else { return Some(index) };
    let octave = u32::try_from(above / PARTS).ok()?.checked_add(3).filter(|octave| *octave < u64::BITS)?;
    Some((PARTS + above % PARTS) << (octave - 2))
}

impl Histogram {
    /// Counts a time.
    pub fn add(&mut self, ns: u64) {
        let index = index(ns);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
        self.total += 1;
    }

    /// How many times there are.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The buckets from the first to the last that has any.
    #[must_use]
    pub fn buckets(&self) -> Vec<Bucket> {
        let Range { start, end } = self.range();
        (start..end)
            .filter_map(|n| Some(Bucket { low: low(n)?, high: low(n + 1), count: self.counts[n] }))
            .collect()
    }

    fn range(&self) -> Range<usize> {
        let first = self.counts.iter().position(|count| *count > 0).unwrap_or(0);
        first..self.counts.len()
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measured {
    /// Time in the guest before exits with this reason.
    Guest(&'static str),
    /// Time that the monitor took to handle them.
    Handling(&'static str),
    /// From the entry to this vector's handler to its return.
    Handler(u16),
    /// From an IPI's ICR write to its acceptance by a target, by vector.
    Accepted(u8),
    /// From there to the target's EOI.
    Acknowledged(u8),
}

/// An exit's reason as filters name it.
#[must_use]
pub fn reason(reason: &ExitReason) -> &'static str {
    match reason {
        ExitReason::Foreign { .. } => "foreign",
        other => other.name(),
    }
}

impl Measured {
    /// What an event measures.
    fn of(event: &Event) -> [Option<(Self, u64)>; 2] {
        match &event.payload {
            Payload::Exit(exit) => {
                let reason = reason(&exit.reason);
                [Some((Self::Guest(reason), exit.guest_ns)), Some((Self::Handling(reason), exit.handling_ns))]
            }
            Payload::TrapReturn(back) if back.vector <= VECTOR_SYSCALL => {
                [Some((Self::Handler(back.vector), back.duration_ns)), None]
            }
            Payload::IpiAccepted(ipi) => [Some((Self::Accepted(ipi.vector), ipi.latency_ns)), None],
            Payload::IpiEoi(ipi) => [Some((Self::Acknowledged(ipi.vector), ipi.latency_ns)), None],
            _ => [None, None],
        }
    }

    /// The filter that finds the events that are measured.
    #[must_use]
    pub fn events(&self) -> String {
        match self {
            Self::Guest(reason) | Self::Handling(reason) => format!("exit.reason == {reason}"),
            Self::Handler(vector) => format!("kind == trap-return and trap.vector == {vector}"),
            Self::Accepted(vector) => format!("kind == ipi-accepted and ipi.vector == {vector:#x}"),
            Self::Acknowledged(vector) => format!("kind == ipi-eoi and ipi.vector == {vector:#x}"),
        }
    }

    /// The filter that finds exactly the events that `bucket` counts.
    #[must_use]
    pub fn filter(&self, bucket: &Bucket) -> String {
        let field = match self {
            Self::Guest(_) => "exit.guest",
            Self::Handling(_) => "exit.handling",
            Self::Handler(_) | Self::Accepted(_) | Self::Acknowledged(_) => "latency",
        };
        let high = bucket.high.map_or_else(String::new, |high| format!(" and {field} < {high}ns"));
        format!("{} and {field} >= {}ns{high}", self.events(), bucket.low)
    }
}

/// The histograms of everything that is measured.
#[derive(Clone, Debug, Default)]
pub struct Histograms(BTreeMap<Measured, Histogram>);

impl Histograms {
    /// Takes in what `event` measures.
    pub fn add(&mut self, event: &Event) {
        for (measured, ns) in Measured::of(event).into_iter().flatten() {
            self.0.entry(measured).or_default().add(ns);
        }
    }

    /// That of `measured`, if there was any.
    #[must_use]
    pub fn get(&self, measured: Measured) -> Option<&Histogram> {
        self.0.get(&measured)
    }

    /// Everything that was measured.
    pub fn measured(&self) -> impl Iterator<Item = Measured> {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trace_format::event::{Exit, IpiAccepted, IpiEoi, TrapReturn};
    use trace_format::filter::Subject;
    use trace_format::{Filter, Header};

    use super::*;

    #[test]
    fn buckets_follow_each_other() {
        assert_eq!((low(0), low(8), low(9), low(12)), (Some(0), Some(8), Some(10), Some(16)));
        let mut n = 0;
        while let Some(from) = low(n) {
            let to = low(n + 1).unwrap_or(u64::MAX);
            assert!(from < to && index(from) == n, "bucket {n}");
            assert_eq!(index(to - 1), n);
            n += 1;
        }
        assert_eq!(index(u64::MAX), n - 1);
    }

    #[test]
    fn only_what_is_between_the_ends_is_shown() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.buckets(), []);
        for ns in [100, 100, 127, 130] {
            histogram.add(ns);
        }
        let bucket = |low, high, count| Bucket { low, high: Some(high), count };
        assert_eq!(histogram.buckets(), [bucket(96, 112, 2), bucket(112, 128, 1), bucket(128, 160, 1)]);
        assert_eq!(histogram.total(), 4);
    }

    fn events(ns: u64) -> Vec<Event> {
        let exit = Exit { reason: ExitReason::Halt, rip: 0, cpl: 0, guest_ns: ns, handling_ns: ns };
        let payloads = [
            Payload::Exit(exit),
            Payload::TrapReturn(TrapReturn { id: 0, vector: 14, duration_ns: ns, rip: 0 }),
            Payload::IpiAccepted(IpiAccepted {
                id: 0,
                sender: 0,
                vector: 0xfd,
                latency_ns: ns,
                merged: false,
            }),
            Payload::IpiEoi(IpiEoi { id: 0, sender: 0, vector: 0xfd, latency_ns: ns }),
        ];
        payloads.into_iter().map(|payload| Event { time: 0, vcpu: 0, payload }).collect()
    }

    proptest! {
        #[test]
        fn a_buckets_filter_finds_what_it_counts(ns in any::<u64>(), shift in 0_u32..64, other in any::<u64>()) {
            let (ns, header) = (ns >> shift, Header::default());
            for (event, other_event) in events(ns).into_iter().zip(events(other)) {
                for (measured, ns) in Measured::of(&event).into_iter().flatten() {
                    let mut histogram = Histogram::default();
                    histogram.add(ns);
                    let text = measured.filter(&histogram.buckets()[0]);
                    let filter = Filter::parse(&text).unwrap();
                    let matches = |event: &Event| filter.matches(&Subject { number: 0, event, header: &header });
                    prop_assert!(matches(&event), "{text}");
                    prop_assert_eq!(matches(&other_event), index(ns) == index(other), "{}", text);
                }
            }
        }
    }
}

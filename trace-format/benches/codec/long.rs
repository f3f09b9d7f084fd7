//! A long trace: the mixed stream over and over, with times and ids that go on.

#[path = "streams.rs"]
#[allow(dead_code, reason = "shared with another benchmark")]
mod streams;

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use trace_format::{Event, Header, Payload, Writer};

/// Writes a trace and returns its length in bytes.
pub(crate) fn generate(path: &Path, count: u64) -> u64 {
    let (_, make) = streams::all().into_iter().find(|(name, _)| name.starts_with("mixed")).unwrap();
    let cycle = make().events;
    let period = cycle.last().unwrap().time;
    let header = Header { vcpus: 4, ..Header::default() };
    let mut writer = Writer::new(BufWriter::new(File::create(path).unwrap()), &header).unwrap();
    let mut left = count;
    for round in 0.. {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(cycle.len());
        for event in &cycle[..take] {
            writer.append(&later(event, round, period)).unwrap();
        }
        left -= take as u64;
        if left == 0 {
            break;
        }
    }
    writer.finish().unwrap();
    std::fs::metadata(path).unwrap().len()
}

/// The event as it is `round` cycles later.
fn later(event: &Event, round: u64, period: u64) -> Event {
    /// More than there are in a cycle.
    const IDS: u64 = 1 << 20;
    let mut event = event.clone();
    event.time += round * period;
    match &mut event.payload {
        Payload::Trap(trap) => trap.id += round * IDS,
        Payload::TrapReturn(back) => back.id += round * IDS,
        Payload::Ipi(ipi) => ipi.id += round * IDS,
        Payload::IpiAccepted(accepted) => accepted.id += round * IDS,
        Payload::IpiEoi(eoi) => eoi.id += round * IDS,
        _ => {}
    }
    event
}

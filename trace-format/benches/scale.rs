//! What a long trace costs: opening it, going to a time, reading all of it, and the memory for that.
//!
//! `cargo bench -p trace-format --bench scale [-- EVENTS]`, 100 million events unless told. The trace is generated into the
//! temporary directory (some 300 MB) and deleted in the end; it repeats the mixed stream of the codec's benchmark, with
//! times and ids that go on. With `-- EVENTS --keep FILE` it is only written, to FILE, for measuring programs that read it.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

#[path = "codec/long.rs"]
mod long;

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use trace_format::filter::Subject;
use trace_format::reader::BlockEvents;
use trace_format::{Filter, Payload, Reader};

const EVENTS: u64 = 100_000_000;
/// Places to go to.
const SEEKS: u64 = 1000;

fn main() {
    // `cargo test --benches` passes this to see that the benchmark starts.
    let test = std::env::args().any(|argument| argument == "--test");
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let count = count.unwrap_or(if test { 100_000 } else { EVENTS });
    if let Some(path) = std::env::args().skip_while(|argument| argument != "--keep").nth(1) {
        let written = long::generate(Path::new(&path), count);
        println!("{count} events, {written} bytes in {path}");
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let written = long::generate(file.path(), count);
    println!("{count} events, {:.2} bytes an event", written as f64 / count as f64);
    // The generator's memory is not the reader's.
    let measured = std::fs::write("/proc/self/clear_refs", "5").is_ok();

    let start = Instant::now();
    let mut reader = Reader::open(file.path()).unwrap();
    show("open", start.elapsed());
    assert_eq!(reader.len(), count);

    let (first, last) = reader.time_range().unwrap();
    let mut seeks: Vec<Duration> = (0..SEEKS)
        .map(|n| {
            // All over the trace, without an order that a cache could use.
            let time = first + (last - first) / SEEKS * (n * 617 % SEEKS);
            let start = Instant::now();
            let number = reader.seek_time(time).unwrap();
            black_box(reader.event(number).unwrap());
            start.elapsed()
        })
        .collect();
    seeks.sort();
    show("seek, median", seeks[seeks.len() / 2]);
    show("seek, longest", seeks[seeks.len() - 1]);

    let start = Instant::now();
    let mut sum = 0u64;
    reader.for_each(|_, event| sum = sum.wrapping_add(black_box(event).time)).unwrap();
    black_box(sum);
    rate("read all, one core", count, start.elapsed());

    let start = Instant::now();
    let exits =
        |block: BlockEvents<'_>| block.iter().filter(|(_, e)| matches!(e.payload, Payload::Exit(_))).count();
    let mut total = 0;
    let ended = reader.read_blocks(
        |_| true,
        exits,
        |n| {
            total += n;
            ControlFlow::<()>::Continue(())
        },
    );
    assert!(ended.unwrap().is_continue());
    rate("count exits, all cores", count, start.elapsed());
    black_box(total);

    // Ten million events, one in each seven of which matches; and a filter that few blocks can match.
    let part = 10_000_000.min(count);
    for text in [
        "kind == exit and exit.reason == mmio and latency > 700ns and vcpu in {1, 2}",
        "kind == page-table-write",
    ] {
        let filter = Filter::parse(text).unwrap();
        let start = Instant::now();
        let matching = |block: BlockEvents<'_>| {
            let subjects =
                block.iter().map(|(number, event)| Subject { number, event, header: block.header });
            subjects.filter(|subject| filter.matches(subject)).count()
        };
        let mut matched = 0;
        let ended = reader.read_blocks(
            |block| block.first_event < part && filter.may_match(block),
            matching,
            |n| {
                matched += n;
                ControlFlow::<()>::Continue(())
            },
        );
        assert!(ended.unwrap().is_continue());
        println!("{:.3} s: {matched} of {part} events are {text}", start.elapsed().as_secs_f64());
    }

    match peak_kib().filter(|_| measured) {
        Some(kib) => println!("{:<26}{:>10.1} MiB", "most memory", kib as f64 / 1024.0),
        None => println!("most memory: not known on this system"),
    }
}

fn show(what: &str, time: Duration) {
    println!("{what:<26}{:>10.3} ms", time.as_secs_f64() * 1e3);
}

fn rate(what: &str, count: u64, time: Duration) {
    let seconds = time.as_secs_f64();
    println!("{what:<26}{:>10.1} M events/s ({seconds:.2} s)", count as f64 / seconds / 1e6);
}

/// The most memory that this process has had since it was last reset, KiB.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

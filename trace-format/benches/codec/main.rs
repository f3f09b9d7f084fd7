//! What a trace costs: bytes an event, and events a second on one core, encoding and decoding.
//!
//! `cargo bench -p trace-format`. The streams are made up, with the structure of real ones and times drawn from
//! log-normal distributions; `timing` is how many bytes an event the entropy of the times alone takes, below which
//! nothing lossless can go. A name after `--` limits the run to the streams that contain it; the path of a trace
//! measures that instead.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

mod streams;

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use streams::Stream;
use trace_format::reader::BlockEvents;
use trace_format::{Event, Header, Reader, Report, Writer};

/// Each figure is the best of this many runs.
const RUNS: usize = 5;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    println!(
        "{:<22} {:>9} {:>8} {:>8} {:>10} {:>10} {:>10} {:>10}",
        "stream", "events", "B/event", "timing", "encode", "decode", "all cores", "report"
    );
    let files: Vec<&String> = arguments.iter().filter(|argument| argument.ends_with(".vmt")).collect();
    for file in &files {
        let mut reader = Reader::open(file.as_str()).unwrap();
        let events = reader.forward(0).map(|event| event.unwrap().1).collect();
        measure(&Stream { name: "file", events, entropy: f64::NAN });
    }
    if files.is_empty() {
        let wanted =
            |name: &str| arguments.is_empty() || arguments.iter().any(|part| name.contains(part.as_str()));
        streams::all().into_iter().filter(|(name, _)| wanted(name)).for_each(|(_, make)| measure(&make()));
    }
}

fn measure(stream: &Stream) {
    let file = encode(&stream.events);
    let count = stream.events.len() as f64;
    let encoding = best(|| {
        black_box(encode(black_box(&stream.events)));
    });
    let decoding = best(|| {
        let mut reader = Reader::from_bytes(file.clone()).unwrap();
        let mut sum = 0u64;
        reader.for_each(|_, event| sum = sum.wrapping_add(black_box(event).time)).unwrap();
        black_box(sum);
    });
    let on_all_cores = best(|| {
        let mut reader = Reader::from_bytes(file.clone()).unwrap();
        let sum = |block: BlockEvents<'_>| {
            block.iter().fold(0u64, |sum, (_, e)| sum.wrapping_add(black_box(e).time))
        };
        let ended = reader.read_blocks(
            |_| true,
            sum,
            |sum| {
                black_box(sum);
                ControlFlow::<()>::Continue(())
            },
        );
        assert!(ended.unwrap().is_continue());
    });
    let reporting = best(|| {
        let mut reader = Reader::from_bytes(file.clone()).unwrap();
        black_box(Report::of(&mut reader).unwrap());
    });
    println!(
        "{:<22} {:>9} {:>8.3} {:>8.3} {:>8.1} M {:>8.1} M {:>8.1} M {:>8.1} M",
        stream.name,
        stream.events.len(),
        file.len() as f64 / count,
        stream.entropy,
        count / encoding / 1e6,
        count / decoding / 1e6,
        count / on_all_cores / 1e6,
        count / reporting / 1e6,
    );
}

fn encode(events: &[Event]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
    events.iter().for_each(|event| writer.append(event).unwrap());
    writer.finish().unwrap()
}

/// The shortest time that `f` takes, in seconds.
fn best(mut f: impl FnMut()) -> f64 {
    (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

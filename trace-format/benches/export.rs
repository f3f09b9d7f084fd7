//! What an export costs: events a second of each format, and the bytes that come out.
//!
//! `cargo bench -p trace-format --features parquet --bench export [-- EVENTS] [FORMAT...]`, 10 million events and every
//! format unless told. The trace is that of the benchmark `scale`; what is exported goes nowhere.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

#[path = "codec/long.rs"]
mod long;

use std::io::{self, Write};
use std::time::Instant;

use trace_format::Reader;
use trace_format::export::{self, Error, Written};
use trace_format::filter::Selection;

const EVENTS: u64 = 10_000_000;

type Export = fn(&mut Reader, &Selection, Counted<'_>) -> Result<Written, Error>;

const FORMATS: &[(&str, Export)] = &[
    ("perfetto", |reader, selection, out| export::perfetto(reader, selection, out)),
    ("chrome", |reader, selection, out| export::chrome(reader, selection, out)),
    ("csv", |reader, selection, out| export::csv(reader, selection, None, out)),
    #[cfg(feature = "parquet")]
    ("parquet", |reader, selection, out| export::parquet(reader, selection, out)),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` passes this to see that the benchmark starts.
    let test = arguments.iter().any(|argument| argument == "--test");
    let count = arguments.iter().find_map(|argument| argument.parse().ok());
    let count = count.unwrap_or(if test { 20_000 } else { EVENTS });
    let is_named = |name: &str| arguments.iter().any(|argument| argument == name);
    let any_named = FORMATS.iter().any(|(name, _)| is_named(name));
    let file = tempfile::NamedTempFile::new().unwrap();
    long::generate(file.path(), count);
    for (name, export) in FORMATS.iter().filter(|(name, _)| !any_named || is_named(name)) {
        let mut reader = Reader::open(file.path()).unwrap();
        let mut bytes = 0;
        let start = Instant::now();
        let written = export(&mut reader, &Selection::default(), Counted(&mut bytes)).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(written.events, count);
        let (rate, each) = (count as f64 / seconds / 1e6, bytes as f64 / count as f64);
        println!("{name:<10}{rate:>8.2} M events/s ({seconds:.2} s){each:>8.1} bytes an event");
    }
}

/// Counts what is written to it.
struct Counted<'a>(&'a mut u64);

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Importing a recording.

use trace_format::import::{Format, Source, import};
use trace_format::{Reader, verify};

/// Imports `bytes` as each format.
///
/// # Panics
///
/// If a line is not accounted for, or the trace is not sound.
pub fn run(bytes: &[u8]) {
    let lines =
        bytes.split(|&byte| byte == b'\n').count() - usize::from(bytes.is_empty() || bytes.ends_with(b"\n"));
    for format in [None, Some(Format::PerfScript), Some(Format::TraceCmd)] {
        let source = Source { format, ..Source::default() };
        let scratch = tempfile::tempfile().expect("a temporary file");
        let (trace, found) =
            import(bytes, &source, scratch, Vec::new()).expect("memory can be read and written");
        assert_eq!(found.lines, lines as u64);
        let ignored: u64 = found.ignored.values().sum();
        assert_eq!(found.lines, found.imported + ignored + found.late + found.unknown, "{found:?}");
        let mut reader = Reader::from_bytes(trace).expect("a trace");
        let verified = verify(&mut reader).expect("bytes in memory can be read");
        assert!(verified.is_sound() && verified.finished, "{verified:?}");
        assert_eq!(verified.events, found.events);
    }
}

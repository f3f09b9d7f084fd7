#![no_main]

use peak_alloc::PeakAlloc;

#[path = "../src/reader.rs"]
mod reader;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    reader::run(bytes);
    // A symbol table of 32 MiB is allowed, and its names and entries.
    assert!(HEAP.peak_usage() - before < 192 << 20, "{} bytes", HEAP.peak_usage() - before);
});
